"""The writer of clips: nothing holds it up, a fault costs one clip and is told once."""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge_aac.streaming.clips import writer as writing
from edge_aac.streaming.clips.flac import FlacFile, read_tags
from edge_aac.streaming.clips.folder import CLIP, ClipFolder, Limits, TemporaryFile
from edge_aac.streaming.clips.writer import ClipFacts, ClipWriter
from tests.waiting import PATIENCE_S, until

SECOND = 16_000


def _noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-3000, 3000, samples).astype(np.int16)


class _Saved:
    """Collects the paths of saved clips."""

    def __init__(self) -> None:
        self.paths: list[Path] = []

    def facts(self, caption: str = "rain", began_s: float = 0.0) -> ClipFacts:
        return ClipFacts(began_s, "mic0", caption, {"TITLE": caption}, self.paths.append)


def _save(writer: ClipWriter, saved: _Saved, seed: int = 0) -> None:
    clip = writer.begin()
    assert clip is not None
    writer.append(clip, _noise(SECOND, seed))
    writer.finish(clip, saved.facts(began_s=seed))


def _files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_clips_side_by_side(tmp_path: Path) -> None:
    writer, saved = ClipWriter(ClipFolder(tmp_path, Limits(10**7))), _Saved()
    one, other = writer.begin(), writer.begin()
    assert one and other
    pieces = [_noise(SECOND, seed) for seed in range(6)]
    for number, piece in enumerate(pieces):
        assert writer.append(one if number % 2 else other, piece)
    writer.finish(one, saved.facts("a dog barks"))
    writer.finish(other, saved.facts("rain"))
    assert not writer.append(one, pieces[0]), "it is finished"
    writer.close(PATIENCE_S)
    assert len(saved.paths) == 2 and writer.health.saved == 2 and writer.health.queued_ms == 0
    for path, kept in zip(saved.paths, (pieces[1::2], pieces[::2]), strict=True):
        assert np.array_equal(soundfile.read(path, dtype="int16")[0], np.concatenate(kept))
    assert [read_tags(path)["TITLE"] for path in saved.paths] == ["a dog barks", "rain"]
    assert sorted(_files(tmp_path)) == sorted(path.name for path in saved.paths)


def test_what_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    writer = ClipWriter(ClipFolder(tmp_path, Limits(10**7)))
    for private in (True, False, False):
        clip = writer.begin()
        assert clip is not None and writer.append(clip, _noise(SECOND))
        writer.discard(clip, private=private)
        writer.discard(clip, private=private)
    writer.count_private()
    writer.close(PATIENCE_S)
    assert _files(tmp_path) == []
    assert (writer.health.private, writer.health.dropped, writer.health.saved) == (2, 2, 0)


class _Disk:
    """Stands between the writer and its files: full, slow or in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        self.gate = threading.Event()
        self.gate.set()
        self.busy = threading.Event()
        write = FlacFile.write

        def through(file: FlacFile, samples: np.ndarray) -> None:
            self.busy.set()
            self.gate.wait(PATIENCE_S)
            if self.full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            write(file, samples)

        monkeypatch.setattr(FlacFile, "write", through)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Disk]:
    made = _Disk(monkeypatch)
    yield made
    made.gate.set()


def _settled(writer: ClipWriter, saved: int, dropped: int) -> None:
    until(lambda: (writer.health.saved, writer.health.dropped) == (saved, dropped), lambda: writer.health)


def test_a_full_disk_is_told_once_and_clips_go_on_when_there_is_room(
    tmp_path: Path, disk: _Disk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    writer, saved = ClipWriter(ClipFolder(tmp_path, Limits(10**7))), _Saved()
    _save(writer, saved)
    _settled(writer, 1, 0)
    disk.full = True
    for number in range(3):
        _save(writer, saved, number)
    _settled(writer, 1, 3)
    assert writer.health.state == "failing" and "space" in (writer.health.reason or "")
    assert len(_files(tmp_path)) == 1, "no piece of a clip stays"
    disk.full = False
    _save(writer, saved, 7)
    writer.close(PATIENCE_S)
    assert (writer.health.state, writer.health.reason, writer.health.saved) == ("saving", None, 2)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2 and "space" in messages[0] and messages[1] == "clips are saved again"


def test_a_slow_disk_holds_up_nobody(tmp_path: Path, disk: _Disk) -> None:
    writer = ClipWriter(ClipFolder(tmp_path, Limits(10**7)), max_queued_samples=3 * SECOND)
    saved = _Saved()
    disk.gate.clear()
    clip = writer.begin()
    assert clip is not None
    taken = 0
    while writer.append(clip, _noise(SECOND)):
        taken += 1
    assert taken == 3, "what the disk has in hand still waits"
    assert writer.begin() is None and writer.health.dropped == 1 and writer.health.queued_ms == 3000
    writer.finish(clip, saved.facts())
    disk.gate.set()
    writer.close(PATIENCE_S)
    assert len(soundfile.read(saved.paths[0])[0]) == 3 * SECOND
    assert writer.health.saved == 1


def test_a_disk_that_hangs_is_left_behind_at_the_end(
    tmp_path: Path, disk: _Disk, caplog: pytest.LogCaptureFixture
) -> None:
    writer, saved = ClipWriter(ClipFolder(tmp_path, Limits(10**7))), _Saved()
    disk.gate.clear()
    for number in range(3):
        _save(writer, saved, number)
    assert disk.busy.wait(PATIENCE_S)
    writer.close(timeout_s=0.01)
    assert writer.health.dropped == 3 and "3 clips" in caplog.text
    assert writer.begin() is None


def test_limits_hold_while_a_clip_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit, largest = 400_000, 0
    note_size = ClipFolder.note_size

    def noted(folder: ClipFolder, file: TemporaryFile) -> None:
        nonlocal largest
        note_size(folder, file)
        largest = max(largest, sum(path.stat().st_size for path in tmp_path.iterdir()))

    monkeypatch.setattr(ClipFolder, "note_size", noted)
    folder = ClipFolder(tmp_path, Limits(limit))
    writer, saved = ClipWriter(folder), _Saved()
    for number in range(12):
        _save(writer, saved, number)
    clip = writer.begin()
    assert clip is not None
    for number in range(9):
        writer.append(clip, np.random.default_rng(number).integers(-32_768, 32_768, SECOND).astype(np.int16))
    writer.finish(clip, saved.facts(began_s=99))
    writer.close(PATIENCE_S)
    kept = [path for path in saved.paths if path.exists()]
    assert kept == saved.paths[-len(kept) :], "the oldest went first"
    assert 0 < largest <= limit and sum(path.stat().st_size for path in tmp_path.iterdir()) <= limit
    assert writer.health.removed == len(saved.paths) - len(kept) > 0


def test_a_clip_that_the_limits_have_no_room_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    writer, saved = ClipWriter(ClipFolder(tmp_path, Limits(10_000))), _Saved()
    _save(writer, saved)
    writer.close(PATIENCE_S)
    assert (writer.health.dropped, saved.paths, _files(tmp_path)) == (1, [], [])
    assert "no room" in caplog.text


def test_a_fault_of_the_program_ends_one_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, saved = ClipWriter(ClipFolder(tmp_path, Limits(10**7))), _Saved()
    with monkeypatch.context() as patched:
        patched.setattr(writing, "FlacFile", lambda _: 1 / 0)
        _save(writer, saved)
        _settled(writer, 0, 1)
    assert "ZeroDivisionError" in (writer.health.reason or "")
    _save(writer, saved)
    writer.close(PATIENCE_S)
    assert len(saved.paths) == 1 and all(CLIP.fullmatch(name) for name in _files(tmp_path))


def test_old_clips_go_while_nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "TIDY_INTERVAL_S", 0.01)
    now_s = 0.0
    folder = ClipFolder(tmp_path, Limits(10**7, max_age_s=100.0), lambda: now_s)
    writer, saved = ClipWriter(folder), _Saved()
    _save(writer, saved)
    _settled(writer, 1, 0)
    now_s = 101.0
    until(lambda: not _files(tmp_path))
    writer.close(PATIENCE_S)
    assert _files(tmp_path) == [] and writer.health.removed == 1
