"""Free memory is given back."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from edge_aac.streaming.heap import INTERVAL_S, HeapTrimmer, trim_heap


def test_it_is_trimmed_once_an_interval() -> None:
    trimmed: list[int] = []
    trimmer = HeapTrimmer(100.0, lambda: trimmed.append(1))
    for second in range(100, 100 + 3 * round(INTERVAL_S) + 1):
        trimmer.tick(float(second))
    assert len(trimmed) == 3


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_pages_between_blocks_in_use_are_given_back() -> None:
    # Too small for pages of their own, so that they lie in the heap; every 64th holds the end of the heap in place.
    blocks = [np.ones(4_000, np.float64) for _ in range(2_048)]
    kept = blocks[::64]
    del blocks
    before = _resident_bytes()
    trim_heap()
    assert before - _resident_bytes() > 20 << 20
    assert all(block.all() for block in kept)
