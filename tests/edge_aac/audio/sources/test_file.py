"""Sound files: every rate and layout, and one clear sentence for every kind of damage."""

from __future__ import annotations

import os
import struct
import threading
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np
import pytest
import soundfile

from edge_aac.audio.sources.file import FileSource, load_waveform, open_file, read_blocks
from edge_aac.errors import DataError, InputMissingError, UsageError
from tests.edge_aac.audio.sound_files import noise, refusal, tone


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_rates_and_channels(tmp_path: Path, rate: int, channels: int) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, np.repeat(tone(rate, 1.0)[:, None], channels, axis=1), rate, subtype="PCM_24")
    samples = load_waveform(path)
    assert samples.dtype == np.float32
    assert abs(len(samples) - 16_000) <= 1
    middle = slice(2_000, 14_000)
    assert np.abs(samples[middle] - tone(16_000, 1.0)[middle]).max() < 1e-3


def test_channels_are_averaged(tmp_path: Path) -> None:
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.tile([0.5, -0.25], (100, 1)), 16_000, subtype="FLOAT")
    assert np.array_equal(load_waveform(path), np.full(100, 0.125, np.float32))


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "aiff", "mp3", "w64", "caf", "rf64", "au", "voc"])
def test_formats(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, tone(44_100, 2.0), 44_100)
    samples = load_waveform(path)
    assert 31_000 < len(samples) < 36_000
    assert np.sqrt(np.mean(np.square(samples[8_000:24_000]))) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


@pytest.mark.parametrize("name", ["tone.raw", "tone.txt", "tone", "töne ♪.wav", "a\nb.wav"])
def test_the_content_decides_not_the_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    soundfile.write(path, tone(16_000, 0.5), 16_000, format="WAV")
    assert len(load_waveform(path)) == 8_000


def test_float_files_may_exceed_full_scale(tmp_path: Path) -> None:
    path = tmp_path / "loud.wav"
    soundfile.write(path, np.full(100, 3.5, np.float32), 16_000, subtype="FLOAT")
    assert np.array_equal(load_waveform(path), np.full(100, 3.5, np.float32))


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg"])
@pytest.mark.parametrize("rate", [16_000, 44_100])
@pytest.mark.parametrize("block", [1, 160, 4_099, 16_000])
def test_blocks_make_no_difference(tmp_path: Path, suffix: str, rate: int, block: int) -> None:
    path = tmp_path / f"noise.{suffix}"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.9, 0.9, (5_000, 2)), rate)
    blocks = list(read_blocks(path, block=block))
    assert all(len(piece) > 0 for piece in blocks)
    assert np.array_equal(np.concatenate(blocks), load_waveform(path))


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", 16_000, 1) as sound:
        for _ in range(120):
            sound.write(tone(16_000, 1.0))
    tracemalloc.start()
    total = sum(len(piece) for piece in read_blocks(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == 120 * 16_000
    assert peak < 2_000_000


def test_missing(tmp_path: Path) -> None:
    assert "no file" in refusal(tmp_path / "none.wav", InputMissingError)
    assert "no file" in refusal(tmp_path / "none" / "none.wav", InputMissingError)


def test_folder(tmp_path: Path) -> None:
    assert "folder" in refusal(tmp_path, InputMissingError)


def test_names_that_cannot_be(tmp_path: Path) -> None:
    refusal(tmp_path / ("x" * 300), InputMissingError)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    refusal(tmp_path / "loop", InputMissingError)
    with pytest.raises(InputMissingError):
        load_waveform("a\0b")


def test_not_permitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.wav"
    soundfile.write(path, tone(16_000, 0.1), 16_000)
    path.chmod(0)
    if os.access(path, os.R_OK):  # root reads everything
        monkeypatch.setattr("builtins.open", _refuse)
    assert "permission" in refusal(path, InputMissingError)


def _refuse(*_arguments: object, **_options: object) -> None:
    raise PermissionError(13, "Permission denied")


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.wav"
    path.touch()
    assert "0 bytes" in refusal(path)


@pytest.mark.parametrize("content", [b"This is a text.\n" * 100, b"R", b"RIFF", b"RIFF\0\0\0\0WAVE", b"\0" * 5000])
def test_not_audio(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "renamed.wav"
    path.write_bytes(content)
    assert "not a sound file" in refusal(path)


@pytest.mark.parametrize("suffix", ["wav", "aiff"])
def test_no_samples(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"nothing.{suffix}"
    soundfile.write(path, np.zeros(0), 44_100)
    assert "without any sound" in refusal(path)


@pytest.mark.parametrize("suffix", ["flac", "caf"])
def test_truncated(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut.{suffix}"
    soundfile.write(path, noise(5), 16_000)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    refusal(path)


def test_damage_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "damaged.flac"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 80_000), 16_000)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 60_000] = b"\0" * 60_000
    path.write_bytes(content)
    refusal(path)


def test_a_stream_of_unknown_length_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "piped.wav"
    soundfile.write(path, tone(16_000, 1.0), 16_000)
    content = bytearray(path.read_bytes())
    for size in (0xFFFFFFFF, 0x7FFFF000, 0x80000000):
        data = content.index(b"data")
        content[data + 4 : data + 8] = struct.pack("<I", size)
        content[4:8] = struct.pack("<I", size)
        path.write_bytes(content)
        assert len(load_waveform(path)) == 16_000


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("channels", [1, 2])
def test_not_a_number(tmp_path: Path, value: float, channels: int) -> None:
    path = tmp_path / "nan.wav"
    frames = np.zeros((80_000, channels), np.float32)
    frames[60_000, channels - 1] = value
    soundfile.write(path, frames, 16_000, subtype="FLOAT")
    assert "3.750 s" in refusal(path)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [1.1e6, -1e20, 1e36])
@pytest.mark.parametrize("channels", [1, 2])
def test_absurdly_loud(tmp_path: Path, value: float, channels: int) -> None:
    path = tmp_path / "scaled.wav"
    frames = np.zeros((80_000, channels), np.float32)
    frames[60_000:, channels - 1] = value
    soundfile.write(path, frames, 16_000, subtype="FLOAT")
    message = refusal(path)
    assert "3.750 s" in message and "full scale" in message


def test_loud_but_not_absurd(tmp_path: Path) -> None:
    path = tmp_path / "integers.wav"
    soundfile.write(path, np.full(100, 32_768, np.float32), 16_000, subtype="FLOAT")
    assert np.array_equal(load_waveform(path), np.full(100, 32_768, np.float32))


def test_absurd_rate(tmp_path: Path) -> None:
    path = tmp_path / "slow.wav"
    soundfile.write(path, np.zeros(100), 1)
    assert "1 Hz" in refusal(path)


def test_errors_are_chained(tmp_path: Path) -> None:
    path = tmp_path / "renamed.wav"
    path.write_bytes(b"text" * 100)
    with pytest.raises(DataError) as caught:
        load_waveform(path)
    assert isinstance(caught.value.__cause__, soundfile.LibsndfileError)


def test_descriptors_are_not_leaked(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.wav", tmp_path / "bad.wav"
    soundfile.write(good, tone(16_000, 0.1), 16_000)
    bad.write_bytes(b"text" * 100)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        load_waveform(good)
        with pytest.raises(DataError):
            load_waveform(bad)
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_file_source(tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(44_100, 2.3), 44_100)
    source = open_file(f"file:{path}")
    assert (source.name, source.live, source.lost_samples()) == (str(path), False, 0)
    blocks = []
    while (block := source.read()) is not None:
        blocks.append(block)
    assert source.read() is None
    assert np.array_equal(np.concatenate(blocks), load_waveform(path))
    source.close()
    source.close()
    assert source.read() is None


def test_source_errors_come_when_opened_or_read(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError):
        open_file(f"file:{tmp_path}/none.wav")
    path = tmp_path / "nan.wav"
    soundfile.write(path, np.array([0, np.nan], np.float32), 16_000, subtype="FLOAT")
    source = open_file(f"file:{path}")
    with pytest.raises(DataError):
        source.read()
    source.close()


def test_question_marks_in_names(tmp_path: Path) -> None:
    for name in ("what?.wav", "a?speed=1"):
        soundfile.write(tmp_path / name, tone(16_000, 0.1), 16_000, format="WAV")
        assert open_file(f"file:{tmp_path}/{name}").name == f"{tmp_path}/{name}"
    assert open_file(f"file:{tmp_path}/what?.wav?speed=2").name == f"{tmp_path}/what?.wav"


@pytest.mark.parametrize(
    "uri", ["file:", "file:a.wav?sped=1", "file:a.wav?speed=fast", "file:a.wav?speed=0", "file:a?b"]
)
def test_wrong_addresses(uri: str) -> None:
    with pytest.raises(UsageError):
        open_file(uri)


def test_paced_source_keeps_the_pace_and_ends_at_once(tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(16_000, 60.0), 16_000)
    source = open_file(f"file:{path}?speed=2")
    started_s = time.monotonic()
    heard = sum(_length(source.read()) for _ in range(5))
    assert time.monotonic() - started_s >= 0.9 * heard / 32_000
    ended = threading.Event()

    def drain() -> None:
        while source.read() is not None:
            pass
        ended.set()

    threading.Thread(target=drain, daemon=True).start()
    source.close()
    assert ended.wait(5)


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def _reading(source: FileSource) -> threading.Thread:
    def read() -> None:
        with suppress(DataError):
            source.read()

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    time.sleep(0.1)
    return thread


def _promptly(action: Callable[[], Any]) -> Any:
    """In a thread, so that what never ends does not hang the tests."""
    results: Queue[Any] = Queue()
    threading.Thread(target=lambda: results.put(action()), daemon=True).start()
    return results.get(timeout=2)


def test_a_named_pipe_is_heard(fifo: Path, tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(16_000, 3.0), 16_000)
    threading.Thread(target=fifo.write_bytes, args=(path.read_bytes(),), daemon=True).start()
    source = open_file(f"file:{fifo}")
    blocks = []
    while (block := source.read()) is not None:
        blocks.append(block)
    assert np.array_equal(np.concatenate(blocks), load_waveform(path))
    source.close()


def test_a_named_pipe_without_a_writer_holds_nobody_up(fifo: Path) -> None:
    source = _promptly(lambda: open_file(f"file:{fifo}"))
    reading = _reading(source)
    _promptly(source.close)
    fifo.write_bytes(b"text" * 100)
    reading.join(5)
    assert not reading.is_alive()


def test_a_named_pipe_with_a_quiet_writer_holds_nobody_up(fifo: Path, tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(16_000, 3.0), 16_000)
    before = len(os.listdir("/proc/self/fd"))
    source = _promptly(lambda: open_file(f"file:{fifo}"))
    reading = _reading(source)
    with fifo.open("wb") as writer:
        writer.write(path.read_bytes()[:10_000])
        writer.flush()
        time.sleep(0.1)
        _promptly(source.close)
        assert reading.is_alive()
    # Whoever was left reading closes the file.
    reading.join(5)
    assert not reading.is_alive()
    assert source.read() is None
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_named_pipe_with_something_else_in_it(fifo: Path) -> None:
    threading.Thread(target=fifo.write_bytes, args=(b"text" * 100,), daemon=True).start()
    source = open_file(f"file:{fifo}")
    with pytest.raises(DataError, match="not a sound file"):
        source.read()
    source.close()


def _length(block: np.ndarray | None) -> int:
    return 0 if block is None else len(block)
