"""Sound files: every rate and layout, and one clear sentence for every kind of damage."""

from __future__ import annotations

import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge_aac.audio.sources.file import load_waveform, read_blocks
from edge_aac.errors import DataError, InputMissingError
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
        monkeypatch.setattr("os.open", _refuse)
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
@pytest.mark.parametrize("value", [1e10, -1e20, 1e36])
@pytest.mark.parametrize("channels", [1, 2])
def test_absurdly_loud(tmp_path: Path, value: float, channels: int) -> None:
    path = tmp_path / "scaled.wav"
    frames = np.zeros((80_000, channels), np.float32)
    frames[60_000:, channels - 1] = value
    soundfile.write(path, frames, 16_000, subtype="FLOAT")
    message = refusal(path)
    assert "3.750 s" in message and "full scale" in message


def test_floats_at_the_scale_of_integers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "integers.wav"
    soundfile.write(path, np.full(100, 16_384, np.float32), 16_000, subtype="FLOAT")
    assert np.array_equal(load_waveform(path), np.full(100, 0.5, np.float32))
    assert "scale of 16-bit integers" in caplog.text and str(path) in caplog.text


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
