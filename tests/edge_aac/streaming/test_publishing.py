"""What is published of windows: which captions, with which events, and times that agree with each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge_aac.audio.windows import Window
from edge_aac.errors import DataError
from edge_aac.models.contract import Description, Latency, ScoredCaption
from edge_aac.records import Caption, Event, Record, TimeSpan, rfc3339
from edge_aac.streaming.building import RecordBuilder
from edge_aac.streaming.channel_time import ChannelTime
from edge_aac.streaming.counters import Counters, LatencyLog
from edge_aac.streaming.event_settings import EventRules
from edge_aac.streaming.events import EventTracker
from edge_aac.streaming.gate import ScoreGate
from edge_aac.streaming.outlet import Delivery
from edge_aac.streaming.publishing import DescriptionPublisher
from tests.edge_aac.fakes import MODEL, FakeModel, scored

_RATE = 16_000
_NOON_S = 1_777_629_600.0
RAIN, DOG = scored("rain"), scored("dog", direction=90)


class _Bench:
    """A publisher of windows of 10 s every 2 s, of a live source whose clock may be set."""

    def __init__(self, rules: EventRules, *, every_window: bool = False, min_score: float | None = None) -> None:
        self.records: list[Record] = []
        self.clock_s = _NOON_S
        self.now_s = 0.0
        self.counters, self.latencies = Counters(), LatencyLog()
        self.number = 0
        self.publisher = DescriptionPublisher(
            builder=RecordBuilder("kitchen", "mic0", MODEL),
            tracker=EventTracker(0.8, FakeModel().embed, rules, lambda text: tuple(text.split(" while "))),
            score_gate=ScoreGate(min_score),
            time_of=ChannelTime(self._span, lambda position: position / _RATE, lambda: 0, lambda: self.now_s),
            counters=self.counters,
            latencies=self.latencies,
            publish=self._deliver,
            live=True,
            every_window=every_window,
        )

    def _deliver(self, delivery: Delivery) -> None:
        self.records.append(delivery.record)
        if delivery.delivered is not None:
            delivery.delivered(self.now_s)

    def _span(self, start: int, end: int) -> TimeSpan:
        return TimeSpan(start=rfc3339(self.clock_s + start / _RATE), end=rfc3339(self.clock_s + end / _RATE))

    def hear(self, *ranked: ScoredCaption | DataError) -> None:
        """The next window: its captions, its error, or nothing of a silent one."""
        window = Window(2 * _RATE * self.number, 10 * _RATE, np.zeros((998, 128), np.float32), -20.0, -3.0, -20.0)
        self.number += 1
        if ranked and isinstance(ranked[0], DataError):
            self.publisher.settle(window, ranked[0])
            return
        captions = [one for one in ranked if isinstance(one, ScoredCaption)]
        latency = Latency(1.0, 1.0, 1.0)
        self.publisher.settle(window, Description(captions, np.ones(2, np.float32), 2, latency) if captions else None)

    @property
    def latest_caption(self) -> Caption:
        return [one for one in self.records if isinstance(one, Caption)][-1]

    @property
    def captions(self) -> list[tuple[str, int | None, list[int] | None]]:
        return [(one.caption, one.event, one.events) for one in self.records if isinstance(one, Caption)]

    @property
    def events(self) -> list[Event]:
        return [one for one in self.records if isinstance(one, Event)]


def _after_noon(seconds: float) -> str:
    return rfc3339(_NOON_S + seconds)


def test_a_latency_counts_from_the_end_of_the_sound_and_is_never_less_than_the_caption_took() -> None:
    bench = _Bench(EventRules(), every_window=True)
    for bench.now_s, latency_ms in ((9.9, 3.0), (12.5, 500.0)):  # the first window ends at 10 s, the second at 12 s
        bench.hear(RAIN)
        taken = bench.latencies.take()
        assert taken is not None
        assert taken.median == bench.latest_caption.latency_ms.total == latency_ms


def test_a_caption_that_names_two_events_lists_both() -> None:
    bench = _Bench(EventRules(), every_window=True)
    bench.hear(scored("rain while dog"))
    bench.hear(scored("dog while rain"))
    assert bench.captions == [("rain while dog", 0, [0, 1]), ("dog while rain", 1, [1, 0])]


def test_the_caption_that_opens_an_event_names_it() -> None:
    bench = _Bench(EventRules(min_windows=2))
    bench.hear(RAIN)
    bench.hear(RAIN)
    bench.hear(DOG)
    bench.hear(RAIN, DOG)
    assert bench.captions == [("rain", 0, None), ("dog", 1, None)]
    assert [(event.event, event.state) for event in bench.events if event.state == "start"] == [
        (0, "start"),
        (1, "start"),
    ]
    # A caption comes before the event that it opens.
    kinds = [(type(record).__name__, record.event) for record in bench.records if isinstance(record, (Caption, Event))]
    assert kinds.index(("Caption", 1)) < kinds.index(("Event", 1))


def _label(text: str, cosine: float, direction: float) -> ScoredCaption:
    """A label that a dual encoder compares: it is ranked, however far it is from the window."""
    return replace(scored(text, cosine, direction), log_likelihood=None, similarity=cosine)


def test_labels_that_are_compared_are_heard_only_where_they_are_near() -> None:
    """A dual encoder ranks all of its labels in every window."""
    bench = _Bench(EventRules())
    rain, dog = _label("rain", 0.6, 0), _label("dog", 0.05, 90)
    for _ in range(3):
        bench.hear(rain, dog)
    bench.hear(replace(dog, hybrid=0.5), replace(rain, hybrid=0.45))
    assert [event.state for event in bench.events if event.state == "end"] == [], "two at once go on"
    for _ in range(8):
        bench.hear(replace(dog, hybrid=0.7), replace(rain, hybrid=0.1))
    assert [(event.caption, event.state) for event in bench.events if event.state != "update"] == [
        ("rain", "start"),
        ("dog", "start"),
        ("rain", "end"),
    ]


def test_what_only_the_last_window_has_is_published_at_the_end() -> None:
    bench = _Bench(EventRules(min_windows=2))
    bench.hear(DOG)
    assert bench.records == []
    bench.publisher.finish()
    assert bench.captions == [("dog", 0, None)]
    assert [event.state for event in bench.events] == ["start", "end"]
    assert bench.counters.captions == bench.counters.events == 1


def test_a_doubt_neither_confirms_nor_contradicts() -> None:
    unsure = scored("dog", hybrid=-1.0, direction=90)
    bench = _Bench(EventRules(min_windows=2, min_gap_samples=30 * _RATE), min_score=0.0)
    bench.hear(RAIN)
    bench.hear(unsure)
    bench.hear(DataError("no number"))
    assert bench.captions == []
    bench.hear(RAIN)
    assert bench.captions == [("rain", 0, None)]
    bench.hear(unsure)
    bench.hear(unsure)
    bench.publisher.finish()
    (end,) = [event for event in bench.events if event.state == "end"]
    # No window told that it had ceased: it is said to last as long as the last one that had it.
    assert (end.caption, end.start, end.end) == ("rain", _after_noon(0), _after_noon(16))
    assert (bench.counters.unsure, bench.counters.failed, bench.counters.unconfirmed) == (3, 1, 0)


def test_an_end_may_lie_before_the_last_window_that_was_told() -> None:
    bench = _Bench(EventRules())
    bench.hear(RAIN)
    bench.hear(RAIN)
    for _ in range(6):
        bench.hear()
    assert [(event.state, event.start, event.end) for event in bench.events] == [
        ("start", _after_noon(0), _after_noon(10)),
        ("update", _after_noon(0), _after_noon(12)),
        ("end", _after_noon(0), _after_noon(4)),
    ]
    assert {event.id for event in bench.events} == {"20260501T100000.000Z-0"}


def test_a_clock_that_is_set_moves_no_end() -> None:
    for step_s in (-3_600.0, 3_600.0):
        bench = _Bench(EventRules())
        bench.hear(RAIN)
        bench.hear(RAIN)
        bench.clock_s += step_s
        for _ in range(6):
            bench.hear()
        assert bench.events[-1].state == "end"
        assert (bench.events[-1].start, bench.events[-1].end) == (_after_noon(0), _after_noon(4))


def test_sounds_that_were_no_events_are_counted() -> None:
    bench = _Bench(EventRules(min_windows=2, cooldown_samples=60 * _RATE))
    for caption in (DOG, RAIN, RAIN, None, None, None, None, None, None, None):
        bench.hear(*([] if caption is None else [caption]))
    bench.hear(RAIN)
    for _ in range(6):
        bench.hear()
    assert (bench.counters.events, bench.counters.unconfirmed, bench.counters.cooled) == (1, 1, 1)
    assert bench.captions == [("rain", 0, None)]
