"""The folder of clips: limits, oldest first; other files untouched; names that are safe."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_aac.errors import ConfigError
from edge_aac.streaming.clips.folder import BUFFERED_BYTES, CLIP, ClipFolder, Limits, clip_name

NOW_S = 1_777_629_600.0
DAY_S = 86_400.0


def _clip(folder: Path, age_days: float, size: int, caption: str = "rain") -> Path:
    path = folder / clip_name(NOW_S - DAY_S * age_days, "mic0", caption)
    path.write_bytes(bytes(size))
    return path


def _folder(path: Path, limits: Limits, free: Callable[[Path], int] | None = None) -> ClipFolder:
    return ClipFolder(path, limits, lambda: NOW_S, free)


def _saved(folder: ClipFolder, size: int, began_s: float = NOW_S) -> Path | None:
    """Save a clip of so many bytes as the writer does; None where there is no room."""
    if not folder.make_room(size):
        return None
    file = folder.new_file()
    os.write(file.descriptor, bytes(size))
    folder.note_size(file)
    if not folder.make_room(0):
        folder.discard(file)
        return None
    return folder.keep(file, began_s, "mic0", "a dog barks")


def _ours(path: Path) -> list[Path]:
    return sorted(each for each in path.iterdir() if CLIP.fullmatch(each.name))


def test_a_folder_that_was_removed_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "a" / "clips"
    folder = _folder(path, Limits(10**6))
    file = folder.new_file()
    shutil.rmtree(path.parent)
    with pytest.raises(FileNotFoundError):
        folder.keep(file, NOW_S, "mic0", "a dog barks")
    folder.discard(file)
    folder.tidy()
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert _saved(folder, 100) is not None
    assert folder.size_bytes == 100


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        folder = _folder(tmp_path / "a" / "clips", Limits(10**6))
        path = _saved(folder, 100)
    finally:
        os.umask(before)
    assert path is not None
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == [path.name], "the temporary file is gone"


def test_the_oldest_go_first(tmp_path: Path) -> None:
    old, middle, young = (_clip(tmp_path, age, 400_000) for age in (3, 2, 1))
    # What was written last is not what was heard last.
    os.utime(young, (0, 0))
    folder = _folder(tmp_path, Limits(1_000_000))
    assert (old.exists(), middle.exists(), young.exists()) == (False, True, True) and folder.removed == 1
    assert _saved(folder, 300_000) is not None
    assert (middle.exists(), young.exists()) == (False, True) and folder.removed == 2


def test_old_ones_go_at_the_start_and_later(tmp_path: Path) -> None:
    old, young = _clip(tmp_path, 31, 10), _clip(tmp_path, 29, 10)
    folder = _folder(tmp_path, Limits(10**6, 30 * DAY_S))
    assert not old.exists() and young.exists() and folder.removed == 1
    old = _clip(tmp_path, 31, 10)
    folder.tidy()
    assert not old.exists() and folder.removed == 2
    _clip(tmp_path, 3000, 10)
    assert _folder(tmp_path, Limits(10**6)).removed == 0, "without a limit of age they stay"


def test_room_stays_free_on_the_disk(tmp_path: Path) -> None:
    clips = [_clip(tmp_path, age, 100) for age in (3, 2, 1)]
    others = 750

    def free(path: Path) -> int:
        assert path == tmp_path
        return 1000 - others - sum(each.stat().st_size for each in _ours(path))

    folder = _folder(tmp_path, Limits(10**6, None, 100), free)
    assert [each.exists() for each in clips] == [False, False, True]
    # Nothing that is ours could make room any more: nothing is saved, and it goes on when there is room.
    others = 950
    assert not folder.make_room(10) and _ours(tmp_path) == []
    others = 500
    assert folder.make_room(10)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_limits_hold_whatever_happens(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("clips")
    others = {
        "holiday.flac": 10**6,
        "edge-aac_notes.txt": 7,
        "edge-aac_20260501T100000.000Z_mic0_rain.wav": 5,
        "edge-aac_20269901T100000.000Z_mic0_rain.flac": 5,
        "kept edge-aac_20200501T100000.000Z_mic0_rain.flac": 5,
        ".hidden": 3,
    }
    for name, size in others.items():
        (path / name).write_bytes(bytes(size))
    (path / "edge-aac_20200501T100000.000Z_mic0_folder.flac").mkdir()
    target = path / "holiday.flac"
    (path / "edge-aac_20200501T100000.000Z_mic0_link.flac").symlink_to(target)
    disk = data.draw(st.integers(0, 3_000_000))
    limits = Limits(
        data.draw(st.integers(20_000, 1_000_000)),
        data.draw(st.none() | st.floats(1.0, 40.0).map(lambda days: days * DAY_S)),
        data.draw(st.integers(0, 200_000)),
    )

    def used() -> int:
        return sum(
            each.stat().st_size for each in path.iterdir() if each.name.endswith((".part", ".flac")) and ours(each)
        )

    def ours(each: Path) -> bool:
        return each.is_file() and not each.is_symlink() and each.name not in others

    for age, size in data.draw(st.lists(st.tuples(st.floats(0, 50), st.integers(0, 300_000)), max_size=12)):
        _clip(path, age, size, f"rain {size}")
    folder = _folder(path, limits, lambda _: disk - used())
    assert used() <= limits.max_bytes
    for number, size in enumerate(data.draw(st.lists(st.integers(0, 400_000), max_size=10))):
        held = _ours(path)
        saved = _saved(folder, size, NOW_S + number)
        assert used() <= limits.max_bytes
        left = [each for each in _ours(path) if each != saved]
        gone = [each for each in held if each not in left and ours_by_name(each)]
        # Names begin with the time: what stays is younger than what went.
        assert all(one.name < other.name for one in gone for other in left if ours(other))
        if saved is not None and limits.min_free_bytes:
            assert disk - used() >= limits.min_free_bytes
    if limits.max_age_s is not None:
        oldest = clip_name(NOW_S - limits.max_age_s - 0.001, "", "")
        assert all(each.name > oldest[:28] for each in _ours(path) if ours(each))
    assert {name: (path / name).stat().st_size for name in others} == others, "other files are nobody's business"
    assert (path / "edge-aac_20200501T100000.000Z_mic0_link.flac").is_symlink()


def ours_by_name(path: Path) -> bool:
    return not path.name.endswith(("_folder.flac", "_link.flac"))


def test_no_clip_takes_the_place_of_another(tmp_path: Path) -> None:
    folder = _folder(tmp_path, Limits(10**6))
    paths = [_saved(folder, size) for size in (10, 20, 30)]
    assert len(set(paths)) == 3 and [path.stat().st_size for path in paths if path] == [10, 20, 30]
    assert all(path and CLIP.fullmatch(path.name) for path in paths)


def test_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: Any, **__: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    folder = _folder(tmp_path, Limits(10**6))
    paths = [_saved(folder, size) for size in (10, 20)]
    assert [path.stat().st_size for path in paths if path] == [10, 20]
    assert len(list(tmp_path.iterdir())) == 2


def test_rests_of_a_killed_run_are_removed_and_files_that_are_being_written_are_not(tmp_path: Path) -> None:
    running = _folder(tmp_path, Limits(10**6))
    written = running.new_file()
    rest = tmp_path / ".edge-aac_1-abc-0.flac.part"
    rest.write_bytes(b"fLaC")
    foreign = tmp_path / ".other.flac.part"
    foreign.write_bytes(b"fLaC")
    other = _folder(tmp_path, Limits(10**6))
    assert not rest.exists() and foreign.exists() and written.path.exists()
    running.discard(written)
    assert not written.path.exists() and other.removed == 0


def test_where_files_have_no_locks_only_what_lies_still_is_a_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: Any) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    old, young = (tmp_path / f".edge-aac_1-{name}-0.flac.part" for name in ("a", "b"))
    for path, age_s in ((old, 3600), (young, 1)):
        path.write_bytes(b"")
        os.utime(path, (NOW_S - age_s, NOW_S - age_s))
    _folder(tmp_path, Limits(10**6))
    assert not old.exists() and young.exists()


def test_a_clip_that_somebody_else_deleted_is_no_fault(tmp_path: Path) -> None:
    clips = [_clip(tmp_path, age, 400) for age in (3, 2, 1)]
    folder = _folder(tmp_path, Limits(1200))
    clips[0].unlink()
    assert folder.make_room(900) and folder.removed == 2


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"clips\.folder"):
        _folder(tmp_path / "file" / "clips", Limits(10**6))


@given(st.text(), st.text(), st.floats(0, 4e9), st.integers(1, 9))
def test_names_are_safe(source: str, caption: str, began_s: float, number: int) -> None:
    name = clip_name(began_s, source, caption, number)
    assert re.fullmatch(r"edge-aac_[0-9TZ.]+_[0-9a-z-]+_[0-9a-z-]+(_\d)?\.flac", name) and CLIP.fullmatch(name)
    assert len(name) <= 150


def test_names_tell_what_is_heard() -> None:
    name = clip_name(NOW_S + 0.25, "rtsp://porch/1", "Ein Hund bellt über die Straße!")
    assert name == "edge-aac_20260501T100000.250Z_rtsp-porch-1_ein-hund-bellt-uber-die-strae.flac"


def test_what_an_encoder_holds_back_counts(tmp_path: Path) -> None:
    folder = _folder(tmp_path, Limits(100_000))
    file = folder.new_file()
    os.write(file.descriptor, bytes(80_000))
    folder.note_size(file)
    # It may grow by its tags and its last samples when it ends: another one must not take that room.
    assert folder.size_bytes == 80_000 + BUFFERED_BYTES
    assert folder.make_room(3_000) and not folder.make_room(10_000)
    path = folder.keep(file, NOW_S, "mic0", "rain")
    assert folder.size_bytes == path.stat().st_size == 80_000
