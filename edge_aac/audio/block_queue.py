"""What PortAudio's thread hands over: blocks of frames, bounded, with a count of what was lost before each."""

from __future__ import annotations

import math
import threading
import time
from collections import deque

# PortAudio's constants, fixed by its ABI; spelled here so that a test needs no PyAudio.
_PA_INPUT_OVERFLOW = 2
_PA_CONTINUE = 0


class LossMeter:
    """Estimates how much sound an overflow cost, from the clock and the frames that arrived.

    Between clock and frames lies the latency of the buffers. Its lowest value in the last seconds is the baseline, so
    that a slow crystal, or a device that runs percents slow, does not look like loss; what a flagged overflow adds
    above it was lost.

    Args:
        rate: the device's rate in Hz.
    """

    _PERIOD_S = 5.0

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._started_s: float | None = None
        self._frames = 0
        self._period_began_s = 0.0
        self._lowest_before = self._lowest = math.inf
        """Lowest lag in frames in the last period and in this one."""

    def update(self, now_s: float, frames: int, *, overflowed: bool) -> int:
        """Takes one callback's arrival, and gives the frames lost before it.

        Args:
            now_s: monotonic time of arrival in seconds.
            frames: frames that it brought.
            overflowed: PortAudio says that frames were lost before these.
        """
        self._frames += frames
        if self._started_s is None:
            self._started_s = self._period_began_s = now_s - frames / self._rate
        lag = (now_s - self._started_s) * self._rate - self._frames
        if overflowed:
            baseline = min(self._lowest_before, self._lowest)
            lost = 0 if math.isinf(baseline) else max(0, round(lag - baseline))
            self._frames += lost
            return lost
        if now_s - self._period_began_s >= self._PERIOD_S:
            self._period_began_s, self._lowest_before, self._lowest = now_s, self._lowest, lag
        self._lowest = min(lag, self._lowest)
        return 0


class BlockQueue:
    """Bounded hand-over from PortAudio's thread: the oldest blocks are dropped, and counted with the one after them.

    Args:
        rate: the stream's rate in Hz.
        channels: the stream's channels.
        capacity_blocks: blocks that it holds at most.
    """

    def __init__(self, rate: int, channels: int, capacity_blocks: int) -> None:
        self.rate = rate
        self.channels = channels
        self._blocks: deque[tuple[float, int, bytes]] = deque()
        self._frame_bytes = 2 * channels
        self._capacity_blocks = capacity_blocks
        self._meter = LossMeter(rate)
        self._changed = threading.Condition()

    def callback(self, data: bytes, frames: int, _times: object, status: int) -> tuple[None, int]:
        """Takes sound as PortAudio's callback; it must be short, since the device waits for it."""
        now_s = time.monotonic()
        with self._changed:
            lost = self._meter.update(now_s, frames, overflowed=bool(status & _PA_INPUT_OVERFLOW))
            if len(self._blocks) >= self._capacity_blocks:
                _, dropped_lost, dropped = self._blocks.popleft()
                gone = dropped_lost + len(dropped) // self._frame_bytes
                if self._blocks:
                    next_s, next_lost, next_data = self._blocks[0]
                    self._blocks[0] = (next_s, next_lost + gone, next_data)
                else:
                    lost += gone
            self._blocks.append((now_s, lost, data))
            self._changed.notify_all()
        return None, _PA_CONTINUE

    def take(self, timeout_s: float) -> tuple[float, int, bytes] | None:
        """Gives the oldest block: its arrival in monotonic seconds, the frames lost before it, and its frames.

        Returns:
            None where there is no block within ``timeout_s``.
        """
        with self._changed:
            if not self._blocks:
                self._changed.wait(timeout_s)
            return self._blocks.popleft() if self._blocks else None
