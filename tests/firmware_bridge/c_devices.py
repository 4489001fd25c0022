"""Devices that run C: an emulated Cortex-M3 and the host program; and a host in a few lines for them."""

from __future__ import annotations

import os
import re
import select
import subprocess
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from firmware_bridge.adpcm import decode_block
from firmware_bridge.fields import Codec
from firmware_bridge.frame import Audio, Frame, Hello, Time, decode, encode
from firmware_bridge.packets import StreamReader, stream_packet
from tests.firmware_bridge.c_library import make, need

_LIMIT_S = 180.0
"""Longer than any of these tests takes: what hangs ends."""


class CortexM3:
    """An image that runs on QEMU's Cortex-M3.

    Attributes:
        terminal: path of the pseudo-terminal that is its link.

    Args:
        image: the ELF file.
        folder: where its console is written.
        instructions: whether each instruction takes a nanosecond of its time, whatever the machine's speed.
    """

    def __init__(self, image: Path, folder: Path, *, instructions: bool = False) -> None:
        need("qemu-system-arm")
        self._console = folder / "console.txt"
        self._console.write_text("")
        board = ["-M", "lm3s6965evb", "-display", "none", "-monitor", "none", "-kernel", str(image)]
        ports = ["-serial", "pty", "-serial", f"file:{self._console}"]
        clock = ["-icount", "shift=0"] if instructions else []
        self._process = subprocess.Popen(
            ["qemu-system-arm", *board, *clock, *ports], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self._process.stdout is not None
        path = None
        while path is None:
            line = self._process.stdout.readline()
            assert line, "QEMU ended before it named its terminal"
            path = re.search(r"/dev/pts/[0-9]+", line)
        self.terminal = path[0]

    @property
    def console(self) -> list[str]:
        """What it printed."""
        return self._console.read_text(errors="replace").splitlines()

    def wait_for(self, holds: Callable[[list[str]], bool]) -> list[str]:
        """Waits until the console's lines are so; returns them."""
        deadline = time.monotonic() + _LIMIT_S
        while not holds(self.console):
            assert self._process.poll() is None, "QEMU ended"
            assert time.monotonic() < deadline, self.console
            time.sleep(0.05)
        return self.console

    def screens(self) -> list[list[str]]:
        """What its display showed, one after the other: four rows each."""
        rows = [line[8:-1] for line in self.console if line.startswith("screen |") and line.endswith("|")]
        return [rows[at : at + 4] for at in range(0, len(rows) - 3, 4)]

    def close(self) -> None:
        """Switches it off."""
        self._process.kill()
        self._process.communicate()


@contextmanager
def cortex_m3(image: Path, folder: Path, *, instructions: bool = False) -> Iterator[CortexM3]:
    """Runs an image until the block ends."""
    board = CortexM3(image, folder, instructions=instructions)
    try:
        yield board
    finally:
        board.close()


def build_image(build: Path, folder: Path, recording: Path, codec: str = "PCM") -> Path:
    """Links a recording into the image of the device; returns the ELF file."""
    need("arm-none-eabi-gcc")
    make(build, f"RECORDING={recording}", f"IMAGE={folder}", f"CODEC=BRIDGE_{codec}", "cortex-m3")
    return folder / "cortex_m3.elf"


class SmallHost:
    """The least that a device needs of a host, on a terminal: answers HELLO, keeps what comes.

    Attributes:
        frames: that came, oldest first.
        refused: packets that were none.

    Args:
        line: file descriptor of the terminal; closed with the host.
    """

    def __init__(self, line: int) -> None:
        self._line = line
        self._reader = StreamReader()
        self.frames: list[Frame] = []

    @classmethod
    def at(cls, terminal: str) -> SmallHost:
        """A host at the terminal of that path."""
        line = os.open(terminal, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(line, termios.TCSANOW)
        return cls(line)

    @property
    def refused(self) -> int:
        """Packets that were none."""
        return self._reader.refused

    def send(self, frame: Frame) -> None:
        """Sends the device a frame."""
        self.write(stream_packet(encode(frame)))

    def write(self, data: bytes) -> None:
        """Sends the device bytes."""
        while data:
            data = data[os.write(self._line, data) :]

    def serve_until(self, holds: Callable[[SmallHost], bool]) -> None:
        """Listens until the frames are so."""
        deadline = time.monotonic() + _LIMIT_S
        while not holds(self):
            assert time.monotonic() < deadline, [type(frame).__name__ for frame in self.frames[-5:]]
            if not select.select([self._line], [], [], 0.1)[0]:
                continue
            for data in self._reader.feed(os.read(self._line, 4096)):
                frame = decode(data)
                self.frames.append(frame)
                if isinstance(frame, Hello):
                    self.send(Time(frame.device, frame.boot, frame.number, 9, 0))

    def audio(self) -> list[Audio]:
        """The AUDIO frames that came."""
        return [frame for frame in self.frames if isinstance(frame, Audio)]

    def close(self) -> None:
        """Closes the terminal."""
        os.close(self._line)


def samples_in(frames: list[Audio]) -> np.ndarray:
    """The sound of mono frames that follow each other without a gap, int16, shape (n,)."""
    pieces, at = [], 0
    for number, frame in enumerate(frames):
        assert (frame.sequence, frame.first_sample, frame.gated_samples, frame.channels) == (number, at, 0, 1)
        pieces.append(
            np.frombuffer(frame.payload, "<i2")
            if frame.codec is Codec.PCM
            else np.array(decode_block(frame.payload, frame.samples), np.int16)
        )
        at += frame.samples
    return np.concatenate(pieces)
