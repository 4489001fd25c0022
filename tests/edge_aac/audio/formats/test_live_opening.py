"""Live streams: they are heard as soon as it is known what they are, and are ended while that is not known."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge_aac.audio.sources.stdin import PipeSource
from edge_aac.errors import DataError
from tests.edge_aac.audio.formats.piped import first_block, open_pipe, seconds_through_pipe
from tests.edge_aac.audio.sound_files import encoded, needs_ffmpeg, noise, seconds_heard
from tests.waiting import PATIENCE_S, ended


def test_samples_that_begin_with_ones_are_not_waited_for() -> None:
    # Silence in mu-law, and -1 in 16 bits: the first byte of a frame of AAC, too.
    block = first_block(b"\xff" * 12_000)
    assert block is not None and len(block)


def test_an_mp3_is_heard_before_all_is_there_that_is_searched_for_frames() -> None:
    file = io.BytesIO()
    soundfile.write(file, noise(20.0), 16_000, format="MP3")
    content = file.getvalue()
    assert len(content) > 48_000
    block = first_block(content[:48_000])
    assert block is not None and len(block)


@pytest.mark.parametrize("silence_s", [0.0, 0.5])
def test_a_live_sound_of_no_length_is_not_held_back_to_be_judged(silence_s: float) -> None:
    # Programs write such a header into a pipe, in which they cannot go back.
    file = io.BytesIO()
    soundfile.write(file, np.concatenate((np.zeros(round(8_000 * silence_s)), noise(0.5))), 8_000, format="WAV")
    content = bytearray(file.getvalue())
    content[40:44] = bytes(4)
    block = first_block(bytes(content))
    assert block is not None and len(block)


@needs_ffmpeg
@pytest.mark.parametrize("tag_bytes", [0, 100, 100_000])
def test_aac_behind_an_id3_tag(tmp_path: Path, tag_bytes: int) -> None:
    path = encoded(tmp_path / "sound.adts", 3.0, "-f", "adts")
    size = bytes((tag_bytes >> shift) & 0x7F for shift in (21, 14, 7, 0))
    tag = b"ID3\x03\0\0" + size + b"APIC".ljust(tag_bytes, b"\0") if tag_bytes else b""
    path.write_bytes(tag + path.read_bytes())
    assert seconds_heard(path) == pytest.approx(3.0, abs=0.1)
    assert seconds_through_pipe(path.read_bytes()) == pytest.approx(3.0, abs=0.1)


@needs_ffmpeg
@pytest.mark.parametrize("codec", ["flac", "libspeex"])
def test_ogg_of_a_codec_that_libsndfile_does_not_read(tmp_path: Path, codec: str) -> None:
    path = encoded(tmp_path / "sound.ogg", 3.0, "-c:a", codec, rate=16_000)
    assert seconds_heard(path) == pytest.approx(3.0, abs=0.1)
    assert seconds_through_pipe(path.read_bytes()) == pytest.approx(3.0, abs=0.1)


def test_an_ogg_that_is_refused_does_not_end_in_silence() -> None:
    file = io.BytesIO()
    soundfile.write(file, noise(20.0), 16_000, format="OGG", subtype="VORBIS")
    content = bytearray(file.getvalue())
    assert content[28:35] == b"\x01vorbis"
    content[39] = 0  # no channels
    # The writer stays: what draws its pages waits for more.
    outcome: list[BaseException | None] = []
    with open_pipe(bytes(content), ended=False) as source:
        thread = threading.Thread(target=lambda: outcome.append(_error_of(source)))
        thread.start()
        thread.join(PATIENCE_S)
    (error,) = outcome
    assert isinstance(error, DataError)


@needs_ffmpeg
def test_a_source_that_waits_for_ffmpeg_is_closed(tmp_path: Path) -> None:
    path = encoded(tmp_path / "sound.mkv", 3.0, "-f", "matroska", "-c:a", "aac")
    outcome: list[BaseException | None] = []
    with open_pipe(path.read_bytes()[:300], ended=False) as source:
        thread = threading.Thread(target=lambda: outcome.append(_error_of(source)))
        thread.start()
        thread.join(1.0)
        assert not outcome
        source.close()
        ended(thread)
        assert outcome == [None]


def _error_of(source: PipeSource) -> BaseException | None:
    try:
        source.read()
    except DataError as error:
        return error
    return None
