"""Blocks that one thread reads and another one ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator

import numpy as np
import numpy.typing as npt

from edge_aac.audio.connection import SourceState
from edge_aac.audio.formats.byte_stream import StreamClosedError

Blocks = Generator[npt.NDArray[np.float32], None, None]

_CLOSE_WAIT_S = 0.2


class BlockReader:
    """The reading side of a source whose sound a generator gives.

    Args:
        blocks: gives mono samples at 16 kHz, float32, shape (n,) with n > 0.
        state: of the source before its first block.
    """

    def __init__(self, blocks: Blocks, state: SourceState) -> None:
        self.state = state
        self.closed = threading.Event()
        self._blocks = blocks
        self._reading = threading.Lock()

    def read(self) -> npt.NDArray[np.float32] | None:
        """Gives the next block; None at the end or after :meth:`close`, whatever the closing raised in the generator.

        Raises:
            EdgeAacError: what the generator raises.
        """
        with self._reading:
            if self.closed.is_set():
                return None
            try:
                block = next(self._blocks, None)
            except StreamClosedError:
                return None
            except BaseException:
                if self.closed.is_set():
                    return None
                self.state = "failed"
                raise
        self.state = "listening"
        return block

    def close(self, cancel: Callable[[], None], release: Callable[[], None]) -> None:
        """Ends a :meth:`read`. May be called again.

        Args:
            cancel: ends what the generator waits for.
            release: lets go of what the generator uses; left out where a read is still under way, which then does so.
        """
        self.closed.set()
        cancel()
        if self._reading.acquire(timeout=_CLOSE_WAIT_S):
            self._blocks.close()
            release()
            self._reading.release()
