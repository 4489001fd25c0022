"""Sessions over fakes, with windows of 0.1 s, for the tests of this folder."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from edge_aac.audio.clock import Clocks
from edge_aac.audio.windows import Window, WindowSlicer
from edge_aac.errors import DataError
from edge_aac.models.contract import Description, not_cancelled
from edge_aac.records import Event
from edge_aac.streaming.channel import Channel, ChannelSettings
from edge_aac.streaming.counters import Counters
from edge_aac.streaming.gate import EnergyGate, ScoreGate
from edge_aac.streaming.hub import Hub, Outlet
from edge_aac.streaming.session import Session
from tests.edge_aac.fakes import Array, FakeModel, FakeSink, FakeSource, scored
from tests.waiting import ended, until

WINDOW, HOP = 1_600, 800
QUEUE_RECORDS = 256
RAIN, DOG = scored("rain"), scored("dog", direction=90)


def noise(samples: int, seed: int = 0) -> np.ndarray:
    """Loud noise, float32."""
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


def blocks(count: int) -> list[Any]:
    """Blocks of one hop each."""
    return [noise(HOP, seed) for seed in range(count)]


def session(  # noqa: PLR0913 - the parts of a session
    sources: FakeSource | Sequence[FakeSource],
    sink: FakeSink,
    model: FakeModel | None = None,
    *,
    every_window: bool = True,
    stop: threading.Event | None = None,
    seed: int = 0,
    score_gate: ScoreGate | None = None,
    hop: int = HOP,
    health_interval_s: float = 0.0,
    kinds: Sequence[str] = ("caption", "event", "health"),
    max_batch: int = 16,
    clocks: Clocks | None = None,
    room: int = 100_000,
) -> Session:
    """A session with one sink that takes all records, and has room for so many of them that it drops none."""
    stop = stop or threading.Event()
    made = Session(
        model=model or FakeModel(),
        hub=Hub([Outlet("fake", sink, kinds, room, stop)]),
        node="kitchen",
        stop=stop,
        health_interval_s=health_interval_s,
        max_batch=max_batch,
        clocks=clocks,
    )
    settings = ChannelSettings(EnergyGate(-70.0), score_gate or ScoreGate(), seed, every_window)
    for source in [sources] if isinstance(sources, FakeSource) else sources:
        attend(made, source, made.add(source, WindowSlicer(WINDOW, hop), settings))
    return made


class AttendedSource(FakeSource):
    """A source that gives a block, or its end, when all before it is described and published.

    So no window is skipped because a machine under load delays a thread, and no other one stands for it.
    """

    attended: tuple[Session, Channel] | None = None

    def read(self) -> Array | None:
        if self.attended is not None:
            self._wait(*self.attended)
        return super().read()

    def _wait(self, made: Session, channel: Channel) -> None:
        scheduler, counters = made._scheduler, channel.counters

        def settled() -> bool:
            outcomes = counters.described + counters.same + counters.silent + counters.failed
            return (
                channel.capture.due_position > channel.written_samples
                and outcomes + counters.skipped.total() == counters.windows
            )

        def rounds() -> int:
            scheduler.wake()
            return scheduler.heartbeat.beats

        until(lambda: self.closed.is_set() or settled())
        # What a round has described is published when the next one has begun, and all of that at its end.
        before = rounds()
        until(lambda: self.closed.is_set() or rounds() > before + 1)


def attend(made: Session, source: FakeSource, channel: Channel) -> None:
    """Have an :class:`AttendedSource` wait for its session; any other source is left alone."""
    if isinstance(source, AttendedSource):
        source.attended = made, channel


class HeldModel(FakeModel):
    """A model whose first batch takes until something holds: on every machine, that much comes meanwhile."""

    held_until: Callable[[], object] = staticmethod(lambda: True)

    def describe(
        self,
        windows: Sequence[Window],
        rngs: Sequence[np.random.Generator],
        cancelled: Callable[[], bool] = not_cancelled,
    ) -> list[Description | DataError]:
        if not self.batches:
            until(self.held_until)
        return super().describe(windows, rngs, cancelled)


@contextmanager
def running(made: Session, stop: threading.Event) -> Iterator[None]:
    """A session that runs in a thread of its own, and is stopped at the end."""
    thread = threading.Thread(target=made.run, name="session-under-test", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        ended(thread)


def counters(made: Session) -> Counters:
    """The counters of a session's only source."""
    (channel,) = made.channels
    return channel.counters


def states(sink: FakeSink) -> list[tuple[int, str]]:
    """Number and state of each event record."""
    return [(record.event, record.state) for record in sink.records if isinstance(record, Event)]
