"""Decoding to the end: what came before damage is heard, whatever follows, and is told only then."""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge_aac.audio.decoding import Decoding
from edge_aac.audio.formats.byte_stream import ByteStream, StreamClosedError
from edge_aac.audio.sources.file import read_blocks
from edge_aac.audio.windows import file_windows
from edge_aac.errors import DataError
from tests.edge_aac.audio.sound_files import noise, tone
from tests.waiting import PATIENCE_S


def _heard(path: Path) -> tuple[float, str | None]:
    """Seconds that were heard, and the error at the end."""
    heard = 0
    try:
        for block in read_blocks(path):
            heard += len(block)
    except DataError as error:
        return heard / 16_000, str(error)
    return heard / 16_000, None


@pytest.mark.parametrize("rate", [16_000, 44_100])
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_what_is_there_of_a_cut_file_is_heard_to_its_end(tmp_path: Path, rate: int, subtype: str) -> None:
    path = tmp_path / "cut.wav"
    soundfile.write(path, tone(rate, 6.0), rate, subtype=subtype)
    content = path.read_bytes()
    sample_bytes = {"PCM_16": 2, "FLOAT": 4}[subtype]
    path.write_bytes(content[: len(content) - rate * sample_bytes])
    heard_s, error = _heard(path)
    assert heard_s == pytest.approx(5.0, abs=1e-3)
    assert error is not None and "truncated" in error


def test_sound_before_damage_is_heard_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "damaged.flac"
    soundfile.write(path, noise(6.0), 16_000)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 4_000] = bytes(4_000)
    path.write_bytes(content)
    heard_s, error = _heard(path)
    assert heard_s > 2.3
    assert error is not None


def test_a_cut_files_last_window_is_given_before_the_error(tmp_path: Path) -> None:
    path = tmp_path / "cut.wav"
    soundfile.write(path, tone(16_000, 30.0), 16_000)
    path.write_bytes(path.read_bytes()[: 44 + 25 * 32_000])
    ends = []
    with pytest.raises(DataError, match="25.00 s of the 30.00 s"):
        for window in file_windows(path, 160_000):
            ends.append((window.start + window.samples) / 16_000)
    assert ends == [10.0, 20.0, 25.0]


def test_files_of_two_kinds_one_after_the_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = b""
    for suffix, rate, channels in (
        ("wav", 16_000, 1),
        ("flac", 44_100, 2),
        ("aiff", 8_000, 1),
        ("flac", 16_000, 1),
        ("ogg", 16_000, 1),
        ("w64", 16_000, 1),
    ):
        path = tmp_path / f"part.{suffix}"
        soundfile.write(path, np.tile(tone(rate, 2.0)[:, None], (1, channels)), rate)
        content += path.read_bytes()
    joined = tmp_path / "joined"
    joined.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        heard_s, error = _heard(joined)
    assert error is None
    assert heard_s == pytest.approx(12.0, abs=0.01)
    assert caplog.text.count("several sound files") == 1


def test_mp3_before_another_kind(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "part.mp3", noise(3.0), 16_000)
    soundfile.write(tmp_path / "part.wav", noise(3.0), 16_000)
    joined = tmp_path / "joined"
    joined.write_bytes((tmp_path / "part.mp3").read_bytes() + (tmp_path / "part.wav").read_bytes())
    heard_s, error = _heard(joined)
    assert heard_s == pytest.approx(3.0, abs=0.2)
    assert error is not None and "another sound file" in error


def test_a_quiet_beginning_at_the_scale_of_24_bits_is_judged_by_the_whole_file(tmp_path: Path) -> None:
    samples = np.concatenate((np.rint(tone(16_000, 2.0) * 200), np.rint(tone(16_000, 2.0) * 2**23)))
    path = tmp_path / "scaled.wav"
    soundfile.write(path, samples.astype(np.float32), 16_000, subtype="FLOAT")
    sound = np.concatenate(list(read_blocks(path)))
    assert np.abs(sound).max() == pytest.approx(0.5, abs=0.01)
    assert np.abs(sound[:32_000]).max() < 1e-4


def test_closing_ends_a_decoding_that_waits() -> None:
    reader, writer = os.pipe()
    stream = ByteStream(reader, "pipe")
    ended: list[type[BaseException]] = []

    def decode() -> None:
        try:
            Decoding(stream)
        except StreamClosedError as error:
            ended.append(type(error))

    thread = threading.Thread(target=decode, daemon=True)
    thread.start()
    os.write(writer, b"RIFF")
    time.sleep(0.1)
    stream.cancel()
    thread.join(PATIENCE_S)
    assert ended == [StreamClosedError]
    os.close(writer)


def test_nothing_is_left_open(tmp_path: Path) -> None:
    for suffix in ("wav", "flac", "ogg", "mp3", "w64"):
        soundfile.write(tmp_path / f"whole.{suffix}", noise(2.0), 16_000)
        (tmp_path / f"cut.{suffix}").write_bytes((tmp_path / f"whole.{suffix}").read_bytes()[:9_000])
    before = len(os.listdir("/proc/self/fd"))
    for path in sorted(tmp_path.iterdir()):
        _heard(path)
        next(read_blocks(path), None)
    assert len(os.listdir("/proc/self/fd")) <= before + 1
    assert not [thread for thread in threading.enumerate() if thread.name == "edge-aac-pump"]


def test_sound_of_unknown_length_that_looks_like_a_tag_is_heard(tmp_path: Path) -> None:
    path = tmp_path / "unknown.wav"
    soundfile.write(path, noise(3.0), 16_000)
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = b"\xff" * 4
    # By its length the tag would reach far beyond the end.
    content[40_044:40_060] = b"ID3\x03\0\0\x7f\0\x10\0" + b"\x12\xfe" * 3
    path.write_bytes(content)
    assert _heard(path) == (pytest.approx(3.0), None)


def test_a_file_that_a_library_reads_keeps_its_place_while_its_scale_is_found(tmp_path: Path) -> None:
    path = tmp_path / "integers.caf"
    samples = np.round(32_767 * np.concatenate((0.5 * tone(16_000, 2.0), tone(16_000, 20.0))) / 0.5)
    soundfile.write(path, samples, 16_000, subtype="FLOAT")
    content = bytearray(path.read_bytes())
    # Without a number of frames in a packet the layout is left to libsndfile.
    packet_frames = content.index(b"desc") + 12 + 20
    content[packet_frames : packet_frames + 4] = bytes(4)
    path.write_bytes(content)
    assert _heard(path) == (pytest.approx(22.0), None)


@pytest.mark.parametrize("suffix", ["mp3", "ogg"])
@pytest.mark.parametrize("way", ["file", "pipe"])
def test_a_resource_fork_of_another_file_disturbs_nothing(
    tmp_path: Path, suffix: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"sound.{suffix}"
    soundfile.write(path, noise(2.0), 16_000)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "._").touch()
    if way == "pipe":
        os.mkfifo(tmp_path / "pipe")
        content, path = path.read_bytes(), tmp_path / "pipe"
        threading.Thread(target=path.write_bytes, args=(content,), daemon=True).start()
    heard_s, error = _heard(path)
    assert error is None
    assert heard_s == pytest.approx(2.0, abs=0.1)
