"""Recordings that a build hears lie in a file, not in memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from quantize.device import build
from quantize.device.sound_file import SoundFile

MEGABYTE = 1_000_000


def _sounds(count: int, shape: tuple[int, ...] = (3, 2)) -> list[np.ndarray]:
    return [np.random.default_rng(number).normal(size=shape).astype(np.float32) for number in range(count)]


def test_what_was_written_is_read_in_any_part(tmp_path: Path) -> None:
    sounds = _sounds(7)
    kept = SoundFile.written(tmp_path / "sounds", iter(sounds))
    assert len(kept) == 7
    np.testing.assert_array_equal(np.stack(list(kept)), np.stack(sounds))
    np.testing.assert_array_equal(np.stack(list(kept[2:][1:3])), np.stack(sounds[3:5]))
    np.testing.assert_array_equal(kept[-1], sounds[-1])
    assert len(kept[:100]) == 7 and list(kept[7:]) == []
    with pytest.raises(IndexError):
        kept[7]


def test_sounds_of_two_shapes_and_none_at_all_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="shapes"):
        SoundFile.written(tmp_path / "sounds", [*_sounds(1), *_sounds(1, (4,))])
    with pytest.raises(ValueError, match="no sound"):
        SoundFile.written(tmp_path / "sounds", [])


def test_a_build_never_holds_all_recordings(tmp_path: Path) -> None:
    """Two hundred and fifty-six clips of seven seconds at 44.1 kHz would be more than 300 MB."""

    def recorded(_folder: Path, count: int) -> Iterator[np.ndarray]:
        return (np.full(MEGABYTE // 4, number, np.float32) for number in range(min(count, 120)))

    kind: Any = SimpleNamespace(check_sounds=lambda: [np.zeros(MEGABYTE // 4, np.float32)], recorded=recorded)
    store: Any = SimpleNamespace(scratch=tmp_path)
    tracemalloc.start()
    try:
        checked, own = build._sounds(kind, store, tmp_path)
        heard = [float(sound[0]) for sound in own]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert heard == list(range(120)) and len(checked) == 1 + build.CHECKED_RECORDINGS
    assert [float(sound[0]) for sound in checked[:3]] == [0.0, 0.0, 1.0], "what is made comes first"
    assert peak < 10 * MEGABYTE
