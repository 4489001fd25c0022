"""Reads one input to its end in a process of its own, and prints how far it came and how much memory that took.

`python -m tests.edge_aac.audio.inputs.long_reading WAY PATH`: WAY is `file` (also for a named pipe) or `stdin`.
"""

from __future__ import annotations

import itertools
import json
import logging
import resource
import sys
from collections.abc import Iterator

import numpy as np

from edge_aac.audio.sources.address import open_source
from edge_aac.audio.sources.file import read_blocks
from edge_aac.errors import EdgeAacError

_LOUD = 0.5
_SETTLED_BLOCKS = 60


def _of_stdin() -> Iterator[np.ndarray]:
    source = open_source("stdin:")
    while (block := source.read()) is not None:
        yield block


def main() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    way, path = sys.argv[1:]
    position, loud, settled, error = 0, [], 0, ""
    try:
        blocks = _of_stdin() if way == "stdin" else read_blocks(path)
        for number in itertools.count():
            block = next(blocks, None)
            if block is None:
                break
            hits = np.flatnonzero(np.abs(block) > _LOUD)
            if len(hits) and (not loud or position + int(hits[0]) > loud[-1] + 1_600):
                loud.append(position + int(hits[0]))
            position += len(block)
            if number == _SETTLED_BLOCKS:
                settled = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    except EdgeAacError as refusal:
        error = str(refusal)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - settled
    print(json.dumps({"samples": position, "loud": loud, "grown_kb": grown, "error": error}))


if __name__ == "__main__":
    main()
