"""Compiles the C library of ``firmware_bridge/firmware`` and asks it, so that tests can compare it with Python's."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from firmware_bridge.frame import Frame, Hello, Time, decode, encode
from firmware_bridge.packets import Direction, StreamReader, seal, stream_packet, unseal, with_crc, without_crc

FIRMWARE = Path(__file__).parents[2] / "firmware_bridge" / "firmware"
_TIMEOUT_S = 600


def need(*programs: str) -> None:
    """Skips where a program is missing; fails with EDGE_AAC_REQUIRE_REAL_PARTS=1."""
    missing = [program for program in programs if shutil.which(program) is None]
    if not missing:
        return
    reason = f"{', '.join(missing)} not installed"
    if os.environ.get("EDGE_AAC_REQUIRE_REAL_PARTS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def make(build: Path, *words: str) -> str:
    """Runs make with ``build`` as its folder, one process at a time; fails with what it printed. Returns that."""
    need("make", "cc")
    command = ["make", "-s", "-C", str(FIRMWARE), f"BUILD={build}", *words]
    with build.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


class CodecPipe:
    """The C library's functions, asked in batches.

    Args:
        build: folder in which it was compiled.
    """

    def __init__(self, build: Path) -> None:
        self._program = build / "codec_pipe"

    def ask(self, requests: Iterable[tuple[str, bytes]]) -> list[bytes]:
        """Returns the answer to each request: a letter (see host/codec_pipe.c) and its bytes."""
        sent = b"".join(kind.encode() + struct.pack("<I", len(data)) + data for kind, data in requests)
        result = subprocess.run([self._program], input=sent, capture_output=True, timeout=_TIMEOUT_S, check=False)
        assert result.returncode == 0, result.stderr.decode()
        return list(_answers(result.stdout))

    def ask_one(self, kind: str, data: bytes) -> bytes:
        """Returns the answer to one request."""
        (answer,) = self.ask([(kind, data)])
        return answer


def _answers(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at)
        yield data[at + 4 : at + 4 + size]
        at += 4 + size


class ReadFrame:
    """The answer about one frame's bytes.

    Attributes:
        verdict: ``r`` read, ``u`` of an unknown type, ``x`` refused.
        again: the frame as C writes it from what it read.
        samples: of AUDIO, s16le, channels interleaved.
        fields: the words ``name=value`` of its fields, as in the vector files.
    """

    def __init__(self, answer: bytes) -> None:
        self.verdict = answer[:1].decode()
        self.again = self.samples = b""
        self.fields = ""
        if self.verdict == "r":
            (size,) = struct.unpack_from("<H", answer, 1)
            self.again = answer[3 : 3 + size]
            (count,) = struct.unpack_from("<H", answer, 3 + size)
            self.samples = answer[5 + size : 5 + size + count]
            self.fields = answer[5 + size + count :].decode("ascii").strip()


class ScriptedDevice:
    """A device of the C library with a time of its own, driven line by line (see host/device_script.c).

    Attributes:
        frames: frames that it sent, oldest first; those of a sealed link opened.
        packets: the same as packets.
        counters: session and counter of each frame of a sealed link.
        said: its other lines ("caption 1 a dog barks", "row 0 a dog", "more").

    Args:
        build: folder in which it was compiled.
        link: ``stream``, ``plain`` or ``sealed``.
        codec: ``pcm`` or ``adpcm``.
        ring: values that the ring holds.
        before: frames from before the gate opened that are kept.
    """

    KEY = bytes(range(32))
    ID, BOOT, RATE_HZ = 1, 77, 16_000

    def __init__(
        self,
        build: Path,
        link: str,
        codec: str = "pcm",
        *,
        channels: int = 1,
        frame_samples: int = 320,
        ring: int = 1024,
        before: int = 0,
        gate: bool = False,
    ) -> None:
        numbers = (channels, self.RATE_HZ, frame_samples, ring, before)
        words = [link, codec, *map(str, numbers), *(["gate"] if gate else [])]
        self._link = link
        self._process = subprocess.Popen(
            [build / "device_script", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._reader = StreamReader()
        self.frames: list[Frame] = []
        self.packets: list[bytes] = []
        self.counters: list[tuple[int, int]] = []
        self.said: list[str] = []

    def do(self, line: str) -> None:
        """Has it do one line."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        while (answer := self._process.stdout.readline()) != "done\n":
            assert answer, f"the device ended at '{line[:40]}'"
            if answer.startswith("sent "):
                self._sent(bytes.fromhex(answer[5:]))
            else:
                self.said.append(answer[:-1])

    def poll(self, milliseconds: int) -> None:
        """Lets time pass."""
        self.do(f"poll {milliseconds}")

    def record(self, samples: npt.ArrayLike) -> None:
        """Has the microphone take samples, channels interleaved, -32768 to 32767."""
        self.do(f"record {np.asarray(samples, dtype='<i2').tobytes().hex()}")

    def give(self, frame: Frame, session: int = 0, counter: int = 0, direction: Direction = Direction.DOWN) -> bytes:
        """Gives it a frame of the host's; returns the packet."""
        data = encode(frame)
        if self._link == "stream":
            packet = stream_packet(data)
        elif self._link == "plain":
            packet = with_crc(data)
        else:
            packet = seal(data, self.KEY, direction, session, counter)
        self.receive(packet)
        return packet

    def receive(self, packet: bytes) -> None:
        """Gives it bytes."""
        self.do(f"receive {packet.hex()}")

    def answer_hello(self, session: int = 5, unix_ms: int = 0) -> bytes:
        """Gives it the TIME that its last HELLO asks for; returns the packet."""
        hello = [frame for frame in self.frames if isinstance(frame, Hello)][-1]
        return self.give(Time(hello.device, hello.boot, hello.number, session, unix_ms))

    def take(self) -> list[Frame]:
        """Returns the frames that it sent since the last time, and forgets them and what it said."""
        frames, self.frames, self.said = self.frames, [], []
        return frames

    def close(self) -> None:
        """Ends it; its exit must be a good one."""
        self._process.communicate(timeout=_TIMEOUT_S)
        assert self._process.returncode == 0

    def _sent(self, packet: bytes) -> None:
        self.packets.append(packet)
        if self._link == "stream":
            frames = self._reader.feed(packet)
            assert self._reader.refused == 0
        elif self._link == "plain":
            frames = [without_crc(packet)]
        else:
            opened = unseal(packet, self.KEY, Direction.UP)
            frames = [opened.frame]
            self.counters.append((opened.session, opened.counter))
        self.frames += [decode(data) for data in frames]
