"""Sound files that hold less than their header promises, and those whose header cannot know."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
import soundfile

from tests.edge_aac.audio.sound_files import noise, refusal, seconds_heard


@pytest.mark.parametrize("suffix", ["wav", "aiff", "rf64", "w64", "au", "voc"])
@pytest.mark.parametrize("kept", [0.5, 0.97])
def test_truncated(tmp_path: Path, suffix: str, kept: float) -> None:
    path = tmp_path / f"cut.{suffix}"
    soundfile.write(path, noise(5), 16_000)
    assert seconds_heard(path) == 5
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    assert "truncated" in refusal(path)


@pytest.mark.parametrize("suffix", ["wav", "aiff", "w64", "au", "caf", "rf64"])
def test_a_few_missing_bytes_are_no_cut(tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / f"short.{suffix}"
    soundfile.write(path, noise(1), 16_000)
    path.write_bytes(path.read_bytes()[:-2])
    assert seconds_heard(path) == pytest.approx(1, abs=0.3)
    assert "promises" in caplog.text


@pytest.mark.parametrize("endian", ["BIG", "LITTLE"])
def test_both_orders_of_au(tmp_path: Path, endian: str) -> None:
    path = tmp_path / "sun.au"
    soundfile.write(path, noise(1), 16_000, endian=endian)
    assert seconds_heard(path) == 1
    path.write_bytes(path.read_bytes()[:-10_000])
    assert "truncated" in refusal(path)


def test_au_of_unknown_length_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "piped.au"
    soundfile.write(path, noise(1), 16_000)
    content = path.read_bytes()
    path.write_bytes(content[:8] + b"\xff\xff\xff\xff" + content[12:])
    assert seconds_heard(path) == 1


def test_w64_of_unknown_length_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "piped.w64"
    soundfile.write(path, noise(1), 16_000)
    content = bytearray(path.read_bytes())
    # As ffmpeg writes into a pipe.
    content[16:24] = struct.pack("<Q", 2**64 - 1)
    size = content.index(b"data") + 16
    content[size : size + 8] = struct.pack("<Q", 2**63 - 1)
    path.write_bytes(content)
    assert seconds_heard(path) == 1


@pytest.mark.parametrize("size", [0, 23])
def test_w64_whose_chunks_lead_nowhere(tmp_path: Path, size: int) -> None:
    path = tmp_path / "odd.w64"
    soundfile.write(path, noise(1), 16_000)
    content = bytearray(path.read_bytes())
    content[56:64] = struct.pack("<Q", size)
    path.write_bytes(content)
    refusal(path)


@pytest.mark.parametrize("suffix", ["wav", "au", "w64", "voc"])
def test_what_stands_behind_the_sound_is_no_fault(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"more.{suffix}"
    soundfile.write(path, noise(1), 16_000)
    path.write_bytes(path.read_bytes() + b"\0" * 64)
    assert seconds_heard(path) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("suffix", ["w64", "au", "voc", "wav", "aiff", "caf", "flac"])
def test_only_a_header(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut.{suffix}"
    soundfile.write(path, noise(1), 16_000)
    path.write_bytes(path.read_bytes()[:9])
    refusal(path)
