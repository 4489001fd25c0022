"""Runs inside valgrind: each loop once uncounted and once counted.

valgrind --tool=callgrind --instr-atstart=no … python -m benchmarks.instructions.worker marks.so
"""

from __future__ import annotations

import ctypes
import gc
import sys

from benchmarks.instructions.loops import loops


def main() -> None:
    """Count all loops; the counts are in valgrind's file, each under the loop's name."""
    marks = ctypes.CDLL(sys.argv[1])
    found = loops()
    gc.collect()
    gc.disable()  # it comes when it has counted enough objects, whichever loop made them
    marks.start_instrumentation()
    for name, loop in found.items():
        loop()
        marks.begin()
        loop()
        marks.end(name.encode())


if __name__ == "__main__":
    main()
