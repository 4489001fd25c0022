"""Sound that is written into a pipe, at once or as far as it goes, and what is heard of it."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

import numpy as np

from edge_aac.audio.sources.stdin import PipeSource
from tests.waiting import PATIENCE_S


@contextlib.contextmanager
def open_pipe(content: bytes, *, ended: bool) -> Iterator[PipeSource]:
    """A source that hears a pipe; where it is not ended, its writer stays without writing more."""
    reader, writer = os.pipe()
    left = threading.Event()

    def write() -> None:
        with contextlib.suppress(BrokenPipeError), open(writer, "wb", buffering=0) as pipe:
            rest = memoryview(content)
            while rest:
                rest = rest[pipe.write(rest) or 0 :]
            if not ended:
                left.wait()

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    source = PipeSource(reader, "stdin")
    try:
        yield source
    finally:
        source.close()
        left.set()
        os.close(reader)
        thread.join(PATIENCE_S)


def seconds_through_pipe(content: bytes) -> float:
    with open_pipe(content, ended=True) as source:
        heard = 0
        while (block := source.read()) is not None:
            heard += len(block)
        return heard / 16_000


def first_block(content: bytes) -> np.ndarray | None:
    """What is heard first while the writer stays; None where nothing is heard before it goes on."""
    heard: list[np.ndarray | None] = []
    with open_pipe(content, ended=False) as source:
        thread = threading.Thread(target=lambda: heard.append(source.read()), daemon=True)
        thread.start()
        thread.join(PATIENCE_S)
        return heard[0] if heard else None
