"""A pause during an outage: the outage ends there, and is told; what follows is no loss."""

from __future__ import annotations

import threading
import time

from edge_aac.audio.clock import Clocks, SampleClock
from edge_aac.audio.connection import Loss, Outage
from edge_aac.audio.ring import SampleRing
from edge_aac.streaming.capture import Capture
from edge_aac.streaming.losses import LossAccount
from tests.edge_aac.fakes import FakeSource
from tests.edge_aac.streaming.session_cases import blocks
from tests.waiting import PATIENCE_S, until


class _Away(FakeSource):
    """A source that gave sound and is away now, as one that reconnects by itself tells it."""

    reason = "the device is gone"

    def __init__(self) -> None:
        super().__init__(blocks(4), live=True, endless=True)
        self.outage = Outage("disconnected", time.monotonic(), self.reason)

    def take_losses(self) -> list[Loss]:
        return []


def test_an_outage_ends_with_a_pause() -> None:
    source, ring, losses, clocks = _Away(), SampleRing(160_000), LossAccount(), Clocks()
    opened = threading.Event()

    def reopen() -> FakeSource:
        opened.set()
        return FakeSource(blocks(4), live=True, endless=True)

    capture = Capture(source, ring, SampleClock(clocks), losses, clocks, lambda: None, reopen)
    capture.start()
    try:
        until(lambda: ring.written_samples >= 4 * 800)
        assert capture.outage is source.outage
        until(lambda: losses.total_samples(capture.outage, clocks.running_s()))
        capture.pause()
        until(lambda: capture.parked)
        lost = losses.total_samples(capture.outage, clocks.running_s())
        time.sleep(0.2)
        assert (capture.outage, capture.state) == (None, "paused")
        assert losses.total_samples(capture.outage, clocks.running_s()) == lost > 0
        assert [gap.reason for gap in losses.take_due(clocks.running_s())] == ["disconnected"]
        capture.resume()
        assert opened.wait(PATIENCE_S)
    finally:
        capture.close()
        capture.join(PATIENCE_S)
