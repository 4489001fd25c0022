"""What phones and cameras record, through the installed ffmpeg: all of it heard, or one sentence."""

from __future__ import annotations

import logging
import os
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest

from edge_aac.audio.formats.ffmpeg import Transcoded
from edge_aac.audio.formats.recognition import HEAD_BYTES, recognise
from tests.edge_aac.audio.formats.made_files import (
    LOSSY_AT_ENDS_S,
    MADE,
    SECONDS,
    VIDEO,
    heard,
    made,
    make,
    pour,
    refusal_of,
    samples_of,
)
from tests.edge_aac.audio.sound_files import needs_ffmpeg
from tests.waiting import ended

pytestmark = [needs_ffmpeg, pytest.mark.one_python]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("made")


def _amr(frames: int, *, wide: bool = False) -> bytes:
    """AMR of the highest bit rate, its parameters random: ffmpeg has no encoder for it."""
    random = np.random.default_rng(4)
    header, toc, size = (b"#!AMR-WB\n", b"\x44", 60) if wide else (b"#!AMR\n", b"\x3c", 31)
    return header + b"".join(toc + random.bytes(size) for _ in range(frames))


def _frequency(samples: np.ndarray, rate: int) -> float:
    # A mono sound in more channels is in the middle one.
    loudest = np.argmax(np.square(samples).sum(axis=0))
    middle = samples[len(samples) // 4 : -len(samples) // 4, loudest]
    return float(np.argmax(np.abs(np.fft.rfft(middle * np.hanning(len(middle))))) * rate / len(middle))


@pytest.mark.parametrize("name", MADE)
def test_a_tone_comes_back(folder: Path, name: str) -> None:
    samples, rate = heard(made(folder, name))
    _, made_rate, channels = MADE[name]
    assert (rate, samples.shape[1]) == (made_rate, channels)
    assert len(samples) / rate == pytest.approx(SECONDS, abs=LOSSY_AT_ENDS_S)
    assert _frequency(samples, rate) == pytest.approx(1000, abs=2)


@pytest.mark.parametrize("name", [name for name in MADE if not name.endswith((".mxf", "late_index.m4a"))])
def test_a_tone_through_a_pipe(folder: Path, name: str) -> None:
    path = made(folder, name)
    content = path.read_bytes()
    head, rest = content[:1000], content[1000:]
    if name in ("apple.caf", "camera.mov", "lossless.m4a", "opus.mp4"):
        pytest.skip("its index stands at the end")
    found = recognise(content[:HEAD_BYTES])
    assert found is not None
    reader, writer = os.pipe()
    feeding = threading.Thread(target=pour, args=(writer, rest))
    feeding.start()
    try:
        with Transcoded(reader, name, found, regular=False, head=head) as stream:
            samples = samples_of(stream)
            assert len(samples) / stream.rate == pytest.approx(SECONDS, abs=LOSSY_AT_ENDS_S)
    finally:
        os.close(reader)
        ended(feeding)


@pytest.mark.parametrize(("wide", "rate"), [(False, 8_000), (True, 16_000)])
@pytest.mark.parametrize("suffix", ["amr", "3gp"])
def test_telephone_codecs(tmp_path: Path, wide: bool, rate: int, suffix: str) -> None:
    path = tmp_path / "call.amr"
    path.write_bytes(_amr(200, wide=wide))
    if suffix == "3gp":
        source, path = path, path.with_suffix(".3gp")
        subprocess.run(["ffmpeg", "-v", "error", "-f", "amr", "-i", source, "-c", "copy", path], check=True, timeout=60)
    samples, heard_rate = heard(path)
    assert (heard_rate, samples.shape) == (rate, (4 * rate, 1))


def test_the_last_frame_of_a_call_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "call.amr"
    path.write_bytes(_amr(200)[:-10])
    samples, rate = heard(path)
    assert len(samples) / rate == pytest.approx(4, abs=0.05)


# What cannot be seen: a raw stream, or one without a promised length, is all there is of it.
_HALF_IS_ALL = {"phone.aac", "broadcast.latm", "film.ac3", "film.eac3", "film.dts", "film.thd"}
_HALF_IS_ALL |= {name for name in MADE if name.endswith((".ts", ".m2ts", ".mpg", ".opus", ".spx"))}


@pytest.mark.parametrize("name", sorted(set(MADE) - _HALF_IS_ALL))
def test_half_a_file_is_told(folder: Path, tmp_path: Path, name: str) -> None:
    content = made(folder, name).read_bytes()
    path = tmp_path / name
    path.write_bytes(content[: len(content) // 2])
    message = refusal_of(path)
    assert "copy it again from where it came from" in message


@pytest.mark.parametrize("name", sorted(_HALF_IS_ALL))
def test_half_a_stream_is_heard(folder: Path, tmp_path: Path, name: str) -> None:
    content = made(folder, name).read_bytes()
    path = tmp_path / name
    path.write_bytes(content[: len(content) // 2])
    samples, rate = heard(path)
    assert len(samples) / rate == pytest.approx(SECONDS / 2, abs=1.1), "a page of Ogg may hold a second"


@pytest.mark.parametrize(
    "name",
    [
        "early_index.m4a",
        "late_index.m4a",
        "phone.aac",
        "browser.webm",
        "v2.wma",
        "mp3.avi",
        "aac.ts",
        "film.ac3",
        "film.dts",
    ],
)
def test_a_hole_is_told(folder: Path, tmp_path: Path, name: str) -> None:
    content = bytearray(made(folder, name).read_bytes())
    third = len(content) // 3
    content[third : 2 * third] = bytes(third)
    path = tmp_path / name
    path.write_bytes(content)
    message = refusal_of(path)
    assert "damaged" in message or "truncated" in message


def test_one_damaged_frame_is_a_warning(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = bytearray(made(folder, "early_index.m4a").read_bytes())
    middle = 2 * len(content) // 3
    content[middle : middle + 60] = b"\xff" * 60
    path = tmp_path / "one.m4a"
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        samples, rate = heard(path)
    assert len(samples) / rate == pytest.approx(SECONDS, abs=LOSSY_AT_ENDS_S)
    assert "slightly damaged" in caplog.text


def test_video_beside_the_sound(tmp_path: Path) -> None:
    path = make(tmp_path / "film.mp4", "-c:v", "mpeg4", "-c:a", "aac", before=VIDEO)
    samples, rate = heard(path)
    assert len(samples) / rate == pytest.approx(SECONDS, abs=LOSSY_AT_ENDS_S)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
def test_sound_that_ends_before_the_video_is_whole(tmp_path: Path, suffix: str) -> None:
    longer = ("-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=12")
    path = make(tmp_path / f"film.{suffix}", "-c:v", "mpeg4", "-c:a", "aac", before=longer)
    samples, rate = heard(path)
    assert len(samples) / rate == pytest.approx(SECONDS, abs=LOSSY_AT_ENDS_S)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 4])
    assert "truncated" in refusal_of(path) or "moov" in refusal_of(path)


def test_a_second_track_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = make(tmp_path / "two.mkv", "-map", "0:a", "-map", "0:a", "-c:a", "aac")
    with caplog.at_level(logging.WARNING):
        heard(path)
    assert [record.getMessage() for record in caplog.records] == [
        f"{path} has 2 tracks of sound: only the first is heard"
    ]


def test_video_without_sound(tmp_path: Path) -> None:
    path = tmp_path / "mute.mp4"
    subprocess.run(["ffmpeg", "-v", "error", *VIDEO, "-c:v", "mpeg4", path], check=True, timeout=60)
    assert "without a track of sound" in refusal_of(path)


def test_encrypted_sound_is_never_heard(tmp_path: Path) -> None:
    path = make(
        tmp_path / "bought.mp4",
        *("-c:a", "aac", "-encryption_scheme", "cenc-aes-ctr", "-encryption_key", "00" * 16),
        *("-encryption_kid", "11" * 16),
    )
    assert "encrypted" in refusal_of(path)


def test_a_pause_of_the_clock_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = make(tmp_path / "pause.mkv", "-af", "asetpts='if(gt(T,2),PTS+3/TB,PTS)'", "-c:a", "flac")
    with caplog.at_level(logging.WARNING):
        samples, rate = heard(path)
    assert len(samples) / rate == pytest.approx(SECONDS, abs=LOSSY_AT_ENDS_S)
    assert "pauses" in caplog.text


@pytest.mark.parametrize("name", ["early_index.m4a", "browser.webm", "phone.aac", "v2.wma"])
@pytest.mark.parametrize("kept", [0, 1, 20, 300])
def test_next_to_nothing(folder: Path, tmp_path: Path, name: str, kept: int) -> None:
    content = made(folder, name).read_bytes()
    path = tmp_path / name
    path.write_bytes(content[:kept])
    refusal_of(path, recognise(content[:HEAD_BYTES]))
