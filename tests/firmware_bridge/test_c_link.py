"""The C library's host program streams recordings over a pseudo-terminal, to a host in a few lines."""

from __future__ import annotations

import os
import random
import select
import subprocess
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from firmware_bridge.adpcm import AdpcmEncoder
from firmware_bridge.fields import Codec, Priority, Result
from firmware_bridge.frame import Ack, Caption, Hello
from tests.firmware_bridge.c_devices import SmallHost, samples_in
from tests.firmware_bridge.wav_files import samples_of, write_scene
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.waits
_STARTED = ("--speed", "20", "--stay", "0.5")


@contextmanager
def _streaming(c_build: Path, recording: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Runs the program at a pseudo-terminal; gives it, and the file descriptor of the other end."""
    host, device = os.openpty()
    tty.setraw(device)
    command = [c_build / "stream_wav", "--serial", os.ttyname(device), "--id", "7", *_STARTED, *options, recording]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process, host
    finally:
        process.kill()
        process.communicate()
        os.close(device)


@pytest.mark.parametrize("options", [(), ("--adpcm",)])
def test_a_file_arrives_whole_and_a_caption_is_shown(c_build: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    recording = write_scene(tmp_path / "scene.wav", 3.005)
    expected = samples_of(recording)
    with _streaming(c_build, recording, "--name", "kitchen", *options) as (process, line):
        host = SmallHost(line)
        host.serve_until(lambda host: len(host.audio()) > 5)
        host.send(Caption(7, 1, Priority.NORMAL, 1, "regen fällt auf ein blechdach, und ein hund bellt"))
        host.serve_until(lambda host: sum(frame.samples for frame in host.audio()) >= len(expected))
        printed, errors = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, errors) == (0, "")
        host.close()
    hello = host.frames[0]
    assert isinstance(hello, Hello)
    assert (hello.name, hello.codec) == ("kitchen", Codec.ADPCM if options else Codec.PCM)
    heard = samples_in(host.audio())
    assert len(heard) == len(expected)
    if options:
        error = heard.astype(float) - expected
        assert np.mean(error**2) < 0.05 * np.mean(expected.astype(float) ** 2), "13 dB below the sound"
    else:
        assert np.array_equal(heard, expected)
    assert [frame for frame in host.frames if isinstance(frame, Ack)] == [Ack(7, 4, Result.DONE, 1)]
    lines = printed.splitlines()
    assert "caption 1 priority 1 for 1 s: regen fällt auf ein blechdach, und ein hund bellt" in lines
    shown = lines.index("screen |regen fällt auf ein|")
    assert lines[shown + 1 : shown + 4] == ["screen |blechdach, und ein|", "screen |hund bellt|", "screen ||"]
    assert "lost 0 samples, refused 0 frames, showed 1 captions" in lines[-1]


def test_stereo_and_another_rate(c_build: Path, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    stereo = generator.integers(-30_000, 30_000, (44_100, 2), dtype=np.int16)
    soundfile.write(tmp_path / "stereo.wav", stereo, 44_100)
    with _streaming(c_build, tmp_path / "stereo.wav", "--speed", "5") as (_, line):
        host = SmallHost(line)
        host.serve_until(lambda host: sum(frame.samples for frame in host.audio()) >= len(stereo))
        host.close()
    hello = host.frames[0]
    assert isinstance(hello, Hello)
    assert (hello.rate_hz, hello.channels, hello.frame_samples) == (44_100, 2, 220)  # 5 ms: 880 bytes
    heard = np.concatenate([np.frombuffer(frame.payload, "<i2") for frame in host.audio()])
    assert np.array_equal(heard, stereo.ravel())


def test_a_line_that_corrupts_both_ways(c_build: Path, tmp_path: Path) -> None:
    """What arrives is what was sent, and a caption arrives in the end."""
    recording = write_scene(tmp_path / "scene.wav", 6.0)
    expected = samples_of(recording)
    generator = random.Random(7)
    with _streaming(c_build, recording, "--adpcm", "--speed", "2") as (process, line):
        host = _CorruptedHost(line, generator)
        host.serve_until(lambda host: any(isinstance(frame, Ack) for frame in host.frames) and _end(host) > 80_000)
        process.kill()
        host.close()
    frames = host.audio()
    assert host.refused > 20
    assert 30 < len(frames) < len(expected) // 320
    # Each frame that came is a whole one, at its place, byte for byte.
    encoder = AdpcmEncoder()
    payloads = [encoder.encode(expected[at : at + 320].tolist()) for at in range(0, len(expected), 320)]
    assert [frame.sequence * 320 for frame in frames] == [frame.first_sample for frame in frames]
    assert [frame.payload for frame in frames] == [payloads[frame.sequence] for frame in frames]


def _end(host: SmallHost) -> int:
    audio = host.audio()
    return audio[-1].first_sample + audio[-1].samples if audio else 0


class _CorruptedHost(SmallHost):
    """A host at a line that changes one byte in 250, which sends a caption with each fifth packet of its own."""

    def __init__(self, line: int, generator: random.Random) -> None:
        near, far = os.openpty()
        tty.setraw(near)
        tty.setraw(far)
        super().__init__(near)
        self._generator = generator
        self._lines = (line, far)
        self._ended = threading.Event()
        self._sent = 0
        self._carrier = threading.Thread(target=self._carry)
        self._carrier.start()

    def serve_until(self, holds: Callable[[SmallHost], bool]) -> None:
        """Sends a caption beside what any host does."""

        def checked(host: SmallHost) -> bool:
            if len(host.frames) // 20 > self._sent:
                self._sent += 1
                host.send(Caption(7, 1, Priority.NORMAL, 1, "a dog barks"))
            return holds(host)

        super().serve_until(checked)

    def close(self) -> None:
        self._ended.set()
        self._carrier.join()
        super().close()
        for line in self._lines:
            os.close(line)

    def _carry(self) -> None:
        device, far = self._lines
        while not self._ended.is_set():
            for line in select.select(self._lines, [], [], 0.1)[0]:
                try:
                    data = bytearray(os.read(line, 1024))
                except OSError:
                    return
                for at in range(len(data)):
                    if self._generator.random() < 0.004:
                        data[at] = self._generator.randrange(256)
                os.write(far if line == device else device, data)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((), 2),
        (("--udp", "127.0.0.1:5", "file.wav"), 2),
        (("--udp", "127.0.0.1:5", "--plain", "--key-file", "k", "file.wav"), 2),
        (("--serial", "/dev/null", "--udp", "127.0.0.1:5", "--plain", "file.wav"), 2),
        (("--serial", "/dev/null", "--loud", "file.wav"), 2),
        (("--serial", "/dev/null", "no-such-file.wav"), 1),
        (("--serial", "/dev/null", "--speed", "0", "file.wav"), 1),
        (("--udp", "127.0.0.1:5", "--plain", "--id"), 1),
    ],
)
def test_what_the_program_refuses(c_build: Path, tmp_path: Path, arguments: tuple[str, ...], code: int) -> None:
    result = subprocess.run(
        [c_build / "stream_wav", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (result.returncode, result.stdout) == (code, "")
    assert result.stderr.startswith("usage: " if code == 2 else "stream_wav: ")


@pytest.mark.parametrize("damage", ["empty", "cut", "no wav", "float", "many channels"])
def test_files_that_are_no_recording(c_build: Path, tmp_path: Path, damage: str) -> None:
    path = write_scene(tmp_path / "scene.wav", 0.1)
    if damage == "float":
        soundfile.write(path, np.zeros(100), 16_000, subtype="FLOAT")
    elif damage == "many channels":
        soundfile.write(path, np.zeros((100, 3)), 16_000)
    else:
        path.write_bytes({"empty": b"", "cut": path.read_bytes()[:30], "no wav": b"x" * 3000}[damage])
    result = subprocess.run(
        [c_build / "stream_wav", "--serial", "/dev/null", path],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.startswith(f"stream_wav: {path}: it ") or "its format or its sound" in result.stderr
