"""MP3 files: all of their frames are heard, with or without an index, or the file is refused."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge_aac.audio.formats.mpeg import find_frames
from edge_aac.audio.sources.address import Address, SourceContext
from edge_aac.audio.sources.file import load_waveform, open_file, read_blocks
from tests.edge_aac.audio.sound_files import encoded, needs_ffmpeg, noise, refusal, seconds_heard, tone
from tests.waiting import until

pytestmark = pytest.mark.one_python

_ID3V1 = b"TAG" + b"x" * 125
_APE = b"APETAGEX" + np.random.default_rng(1).bytes(6_000)


@pytest.fixture
def indexed(tmp_path: Path) -> Path:
    path = tmp_path / "noise.mp3"
    soundfile.write(path, noise(8), 16_000)
    with path.open("rb", buffering=0) as raw:
        frames = find_frames(raw).frames
    assert frames is not None and frames.promised == frames.count
    assert frames.sound_s == pytest.approx(8, abs=0.2)
    assert seconds_heard(path) == 8
    return path


@pytest.fixture
def bare(indexed: Path) -> Path:
    """Without its index."""
    with indexed.open("rb", buffering=0) as raw:
        frames = find_frames(raw).frames
    assert frames is not None
    path = indexed.with_name("bare.mp3")
    path.write_bytes(indexed.read_bytes()[frames.start :])
    assert seconds_heard(path) == pytest.approx(frames.sound_s, abs=0.04)
    return path


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_less_than_the_index_promises(indexed: Path, kept: float) -> None:
    content = indexed.read_bytes()
    indexed.write_bytes(content[: int(kept * len(content))])
    message = refusal(indexed)
    assert "truncated" in message and "promises" in message


def test_frames_lost_in_the_middle(indexed: Path) -> None:
    content = indexed.read_bytes()
    indexed.write_bytes(content[:8_000] + content[12_000:])
    assert "promises" in refusal(indexed)


def test_what_is_left_without_an_index_is_all_there_is(bare: Path) -> None:
    whole_s, content = seconds_heard(bare), bare.read_bytes()
    bare.write_bytes(content[: len(content) // 2])
    assert seconds_heard(bare) == pytest.approx(whole_s / 2, abs=0.08)


@pytest.mark.parametrize("tag", [b"", _ID3V1])
def test_files_one_after_the_other_are_all_heard(indexed: Path, bare: Path, tag: bytes) -> None:
    for path in (indexed, bare):
        once_s, content = seconds_heard(path), path.read_bytes()
        path.write_bytes(3 * (content + tag))
        assert seconds_heard(path) == pytest.approx(3 * once_s, abs=0.4)
        samples = load_waveform(path)
        assert np.sqrt(np.mean(np.square(samples[-16_000:-8_000]))) > 0.1


def test_files_of_two_rates_one_after_the_other(indexed: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.mp3"
    soundfile.write(other, noise(8, 44_100), 44_100)
    other.write_bytes(indexed.read_bytes() + other.read_bytes())
    assert "damaged" in refusal(other)


@pytest.mark.parametrize("junk_bytes", [5_000, 20_000, 200_000])
def test_junk_in_the_middle(indexed: Path, bare: Path, junk_bytes: int) -> None:
    for path in (indexed, bare):
        content = path.read_bytes()
        middle = len(content) // 2
        path.write_bytes(content[:middle] + np.random.default_rng(2).bytes(junk_bytes) + content[middle:])
        assert "damaged" in refusal(path)


@pytest.mark.parametrize("tail", [_ID3V1, _APE, _APE + _ID3V1, b"\0" * 20_000, np.random.default_rng(3).bytes(90_000)])
def test_what_stands_behind_the_last_frame_is_no_fault(indexed: Path, bare: Path, tail: bytes) -> None:
    for path in (indexed, bare):
        expected = load_waveform(path)
        path.write_bytes(path.read_bytes() + tail)
        assert np.array_equal(load_waveform(path), expected)


@pytest.mark.parametrize("samples", [10, 500, 3_000])
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_very_short(tmp_path: Path, samples: int, rate: int) -> None:
    path = tmp_path / "short.mp3"
    soundfile.write(path, np.full(samples, 0.5), rate)
    assert len(load_waveform(path)) >= samples * 16_000 // rate


@pytest.mark.parametrize("block", [1, 160, 4_099])
def test_blocks_make_no_difference(bare: Path, block: int) -> None:
    content = bare.read_bytes()
    bare.write_bytes(content[:6_000])
    assert np.array_equal(np.concatenate(list(read_blocks(bare, block=block))), load_waveform(bare))


@needs_ffmpeg
@pytest.mark.parametrize("index", ["0", "1"])
@pytest.mark.parametrize(
    "options",
    [
        ("-b:a", "64k"),
        ("-q:a", "4"),
        ("-abr", "1", "-b:a", "64k"),
        ("-q:a", "4", "-id3v2_version", "3", "-write_id3v1", "1", "-metadata", f"title={'x' * 5_000}"),
        ("-q:a", "4", "-id3v2_version", "0", "-write_apetag", "1", "-metadata", "title=x"),
        ("-q:a", "9", "-ac", "2", "-ar", "22050", "-reservoir", "0"),
        ("-b:a", "16k", "-ar", "8000"),
    ],
)
@pytest.mark.parametrize("piped", [False, True])
def test_what_ffmpeg_writes_is_whole(tmp_path: Path, index: str, options: tuple[str, ...], piped: bool) -> None:
    path = encoded(tmp_path / "whole.mp3", 12, *options, "-write_xing", index, piped=piped)
    # Without an index the encoder's own delay and padding are heard, too.
    assert 12 - 0.001 <= seconds_heard(path) <= 12.25
    samples = load_waveform(path)
    assert np.sqrt(np.mean(np.square(samples[8 * 16_000 : 11 * 16_000]))) > 0.1


@needs_ffmpeg
@pytest.mark.parametrize("rate", [16_000, 22_050, 24_000, 32_000, 44_100, 48_000])
def test_layer_2(tmp_path: Path, rate: int) -> None:
    path = encoded(tmp_path / "whole.mp2", 5, "-c:a", "mp2", "-b:a", "64k", "-ac", "1", rate=rate)
    assert seconds_heard(path) == pytest.approx(5, abs=0.15)
    content = path.read_bytes()
    path.write_bytes(content[:20_000] + b"\1" * 5_000 + content[20_000:])
    assert "damaged" in refusal(path)


def test_the_thread_that_fills_the_pipe_ends_with_the_file(bare: Path) -> None:
    bare.write_bytes(20 * bare.read_bytes())
    before = len(os.listdir("/proc/self/fd"))
    source = open_file(Address.parse(f"file:{bare}"), SourceContext())
    assert source.read() is not None
    source.close()
    next(read_blocks(bare))
    until(lambda: all(thread.name != "edge-aac-mp3" for thread in threading.enumerate()))
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_refused_file_is_let_go(indexed: Path) -> None:
    indexed.write_bytes(indexed.read_bytes()[:9_000])
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        refusal(indexed)
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_the_place_where_frames_begin_in_other_bytes(tmp_path: Path) -> None:
    path = tmp_path / "tone.mp3"
    soundfile.write(path, tone(44_100, 2), 44_100)
    content = path.read_bytes()
    for lead in (b"\xff" * 70_000, b"ID3\4\0\0\0\0\4\0" + b"\xff\xfb\x90\0" * 128, b"\xff" * 65_535):
        path.write_bytes(lead + content)
        with path.open("rb", buffering=0) as raw:
            frames = find_frames(raw).frames
            assert raw.tell() == 0
        assert frames is not None
        assert frames.end == len(lead) + len(content)
        assert frames.promised == frames.count
