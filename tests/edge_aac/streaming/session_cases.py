"""Sessions over fakes, with windows of 0.1 s, for the tests of this folder."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from edge_aac.audio.clock import Clocks
from edge_aac.audio.windows import WindowSlicer
from edge_aac.records import Event
from edge_aac.streaming.channel import ChannelSettings
from edge_aac.streaming.counters import Counters
from edge_aac.streaming.gate import EnergyGate, ScoreGate
from edge_aac.streaming.hub import Hub, Outlet
from edge_aac.streaming.session import Session
from tests.edge_aac.fakes import FakeModel, FakeSink, FakeSource, scored

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
) -> Session:
    """A session with one sink that takes all records."""
    stop = stop or threading.Event()
    made = Session(
        model=model or FakeModel(),
        hub=Hub([Outlet("fake", sink, kinds, QUEUE_RECORDS, stop)]),
        node="kitchen",
        stop=stop,
        health_interval_s=health_interval_s,
        max_batch=max_batch,
        clocks=clocks,
    )
    settings = ChannelSettings(EnergyGate(-70.0), score_gate or ScoreGate(), seed, every_window)
    for source in [sources] if isinstance(sources, FakeSource) else sources:
        made.add(source, WindowSlicer(WINDOW, hop), settings)
    return made


def counters(made: Session) -> Counters:
    """The counters of a session's only source."""
    (channel,) = made.channels
    return channel.counters


def states(sink: FakeSink) -> list[tuple[int, str]]:
    """Number and state of each event record."""
    return [(record.event, record.state) for record in sink.records if isinstance(record, Event)]
