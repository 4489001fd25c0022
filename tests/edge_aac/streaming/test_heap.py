"""Free memory is given back."""

from __future__ import annotations

import os
import subprocess
import sys
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


_FREED_WHILE_OPENING = """
import os
from edge_aac.streaming.heap import opening_heap

def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE") >> 20

large = bytearray(24 << 20)
del large  # from now on glibc would keep blocks of less in the heap
with opening_heap():
    before = resident()
    blocks = [b"x" * 250_000 for _ in range(200)]
    grown = resident() - before
    kept = blocks[::2]
    del blocks
    left = resident() - before
blocks = [b"x" * 250_000 for _ in range(200)]
end = blocks.pop()
del blocks  # what a run frees stays in the heap, for the next run
print(grown, left, resident() - before)
"""


def test_what_is_freed_while_something_is_opened_is_given_back_at_once() -> None:
    command = [sys.executable, "-c", _FREED_WHILE_OPENING]
    told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.split()
    grown, left, after = (int(mebibytes) for mebibytes in told)
    assert grown > 45
    assert left < 30, "half of them are in use"
    assert after > left + 15
