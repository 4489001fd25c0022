"""Ogg files that are cut, joined or damaged: no part of one is taken for the whole."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import soundfile

from tests.edge_aac.audio.sound_files import encoded, needs_ffmpeg, noise, refusal, seconds_heard

pytestmark = pytest.mark.one_python


@pytest.fixture(params=["VORBIS", "OPUS"])
def ogg(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "noise.ogg"
    soundfile.write(path, noise(8), 16_000, format="OGG", subtype=request.param)
    assert seconds_heard(path) == pytest.approx(8, abs=0.01)
    return path


def _pages(content: bytes) -> list[int]:
    """Where each page starts."""
    starts = []
    start = 0
    while start < len(content):
        assert content[start : start + 4] == b"OggS"
        starts.append(start)
        segments = content[start + 26]
        start += 27 + segments + sum(content[start + 27 : start + 27 + segments])
    return starts


@pytest.mark.parametrize("kept", [0.5, 0.7, 0.99])
def test_truncated(ogg: Path, kept: float) -> None:
    content = ogg.read_bytes()
    ogg.write_bytes(content[: int(kept * len(content))])
    assert "truncated" in refusal(ogg)


@pytest.mark.parametrize("missing", [1, 100])
def test_a_torn_last_page_is_noticed(ogg: Path, missing: int) -> None:
    ogg.write_bytes(ogg.read_bytes()[:-missing])
    assert "truncated" in refusal(ogg)


@pytest.mark.parametrize("left_of_page", [4, 26, 27])
def test_a_torn_page_header_is_noticed(ogg: Path, left_of_page: int) -> None:
    content = ogg.read_bytes()
    ogg.write_bytes(content[: _pages(content)[-1] + left_of_page])
    assert "truncated" in refusal(ogg)


def test_a_file_that_ends_between_pages_is_read_with_a_warning(ogg: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = ogg.read_bytes()
    ogg.write_bytes(content[: _pages(content)[-1]])
    with caplog.at_level(logging.WARNING):
        assert 5 < seconds_heard(ogg) < 8
    (record,) = caplog.records
    assert str(ogg) in record.getMessage() and "truncated" in record.getMessage()


def test_zeros_in_place_of_the_end(ogg: Path) -> None:
    content = ogg.read_bytes()
    last = _pages(content)[-1]
    ogg.write_bytes(content[:last] + b"\0" * (len(content) - last))
    assert "damaged" in refusal(ogg)


def test_a_page_lost_in_the_middle(ogg: Path) -> None:
    content = ogg.read_bytes()
    start = _pages(content)[-2]
    ogg.write_bytes(content[:start] + b"\0" * 100 + content[start + 100 :])
    refusal(ogg)


@pytest.mark.parametrize("tag", [b"TAG" + b"x" * 125, b"\0" * 70_000, b"OggS"[:3]])
def test_what_stands_behind_the_end_is_no_fault(ogg: Path, tag: bytes, caplog: pytest.LogCaptureFixture) -> None:
    ogg.write_bytes(ogg.read_bytes() + tag)
    with caplog.at_level(logging.WARNING):
        assert seconds_heard(ogg) == pytest.approx(8, abs=0.01)
    assert not caplog.records


@pytest.mark.parametrize("between", [b"", b"\0" * 70_000])
def test_files_one_after_the_other(ogg: Path, between: bytes, caplog: pytest.LogCaptureFixture) -> None:
    once_s = seconds_heard(ogg)
    ogg.write_bytes(ogg.read_bytes() + between + ogg.read_bytes())
    assert seconds_heard(ogg) == pytest.approx(2 * once_s, abs=0.01)
    assert "several" in caplog.text


def test_files_of_two_codecs_one_after_the_other(tmp_path: Path) -> None:
    contents = []
    for subtype in ("VORBIS", "OPUS"):
        soundfile.write(tmp_path / "part.ogg", noise(2), 16_000, format="OGG", subtype=subtype)
        contents.append((tmp_path / "part.ogg").read_bytes())
    path = tmp_path / "joined.ogg"
    path.write_bytes(b"".join(contents))
    assert seconds_heard(path) == pytest.approx(4, abs=0.05)


@needs_ffmpeg
@pytest.mark.parametrize("suffix", ["ogg", "opus"])
@pytest.mark.parametrize("options", [(), ("-page_duration", "20000"), ("-page_duration", "60000000")])
@pytest.mark.parametrize("piped", [False, True])
def test_what_ffmpeg_writes_is_whole(
    tmp_path: Path, suffix: str, options: tuple[str, ...], piped: bool, caplog: pytest.LogCaptureFixture
) -> None:
    codec = {"ogg": "libvorbis", "opus": "libopus"}[suffix]
    path = encoded(tmp_path / f"whole.{suffix}", 4, "-c:a", codec, *options, rate=48_000, piped=piped)
    with caplog.at_level(logging.WARNING):
        assert seconds_heard(path) == pytest.approx(4, abs=0.02)
    assert not caplog.records
