"""FLAC files that explain themselves."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_aac.streaming.clips.flac import MAX_TAG_BYTES, FlacFile, read_tags


@contextmanager
def _file(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-32_768, 32_768, samples).astype(np.int16)


def test_what_was_written_piece_by_piece_is_heard_with_its_tags(tmp_path: Path) -> None:
    path = tmp_path / "clip.flac"
    pieces = [_noise(length, length) for length in (1, 16_000, 333, 40_000)]
    tags = {"TITLE": "ein Hund bellt ünd 犬", "SOURCE": "mic0", "START": "2026-05-01T10:00:00.000Z"}
    with _file(path) as descriptor:
        file = FlacFile(descriptor)
        for piece in pieces:
            file.write(piece)
        file.finish(tags)
    samples, rate = soundfile.read(path, dtype="int16")
    assert rate == 16_000 and np.array_equal(samples, np.concatenate(pieces))
    assert read_tags(path) == tags
    with soundfile.SoundFile(path) as opened:
        assert opened.title == tags["TITLE"] and opened.comment == ""


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="ffprobe is not here")
def test_another_program_reads_the_tags(tmp_path: Path) -> None:
    path = tmp_path / "clip.flac"
    with _file(path) as descriptor:
        file = FlacFile(descriptor)
        file.write(_noise(16_000))
        file.finish({"TITLE": "a dog barks", "EVENT": "7"})
    command = ["ffprobe", "-v", "error", "-show_entries", "format=duration:format_tags", "-of", "default=nw=1", path]
    result = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert result.stderr == ""
    assert set(result.stdout.split("\n")[:-1]) == {"duration=1.000000", "TAG:TITLE=a dog barks", "TAG:EVENT=7"}


_NAMES = st.sampled_from(["TITLE", "DATE", "SOURCE", "NODE", "START", "CUT"])
# Text that is drawn is hardly ever longer than what is kept of it.
_VALUES = st.builds(lambda text, times: text * times, st.text(max_size=40), st.sampled_from([1, 2, 30, 400]))


@settings(max_examples=40, deadline=None)
@given(tags=st.dictionaries(_NAMES, _VALUES))
def test_any_tags(tags: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("clip") / "clip.flac"
    with _file(path) as descriptor:
        file = FlacFile(descriptor)
        file.write(np.zeros(100, np.int16))
        file.finish(tags)
    read = read_tags(path)
    assert set(read) == set(tags)
    for name, value in tags.items():
        assert len(read[name].encode()) <= MAX_TAG_BYTES
        assert value.encode("utf-8", "replace").decode("utf-8").startswith(read[name])
    assert len(soundfile.read(path)[0]) == 100


def test_a_full_disk_is_told_by_its_own_error(tmp_path: Path) -> None:
    path = tmp_path / "clip.flac"
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with _file(path) as descriptor:
            file = FlacFile(descriptor)
            with pytest.raises(OSError, match="File too large") as caught:
                for seed in range(10):
                    file.write(_noise(16_000, seed))
            assert caught.value.errno == errno.EFBIG
            file.abandon()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


def test_other_files_have_no_tags(tmp_path: Path) -> None:
    path = tmp_path / "clip.flac"
    path.write_bytes(b"RIFF....")
    with pytest.raises(ValueError, match="no FLAC"):
        read_tags(path)
    path.write_bytes(b"fLaC" + bytes([0x80, 0, 0, 34]) + bytes(34))
    with pytest.raises(ValueError, match="without room"):
        read_tags(path)
