"""Events by the rules of ``[events]``: two sounds at once, confirmed starts, bridged flickers, cool-down, bounds."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_aac.models.contract import ScoredCaption
from edge_aac.streaming.event_changes import EventChange, Observation
from edge_aac.streaming.event_settings import EventRules
from edge_aac.streaming.events import MAX_TRACKED, EventTracker

Step = tuple[int, str]
_SECOND = 100
"""Samples; windows of 10 s every 2 s below."""


def _steps(changes: Sequence[EventChange]) -> list[Step]:
    return [(change.number, change.state) for change in changes]


class _Stream:
    """Windows of 10 s every 2 s, observed by a tracker whose phrases are joined by " while "."""

    def __init__(self, *, hop_s: int = 2, same_similarity: float = 0.8, **rules: int) -> None:
        self.rules = EventRules(
            **{name: value * (_SECOND if "samples" in name else 1) for name, value in rules.items()}
        )
        self.tracker = EventTracker(same_similarity, self._embed, self.rules, lambda text: tuple(text.split(" while ")))
        self.hop_s = hop_s
        self.number = 0
        self.changes: list[EventChange] = []

    @staticmethod
    def _embed(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Phrases that end with the same word are one sound."""
        angles = [
            np.deg2rad({"rain": 0.0, "clock": 90.0, "dog": 180.0, "cat": 270.0}[text.split()[-1]]) for text in texts
        ]
        return np.array([(np.cos(angle), np.sin(angle)) for angle in angles], np.float32)

    def hear(self, *ranked: str) -> Observation:
        """The next window; its captions, best first."""
        start = self.number * self.hop_s * _SECOND
        self.number += 1
        captions = [ScoredCaption(text, 0.5 - 0.1 * rank, None, None) for rank, text in enumerate(ranked)]
        observation = self.tracker.observe(start, start + 10 * _SECOND, captions)
        self.changes += observation.changes
        return observation

    def spans_s(self) -> list[tuple[str, float, float]]:
        """Caption, start and end of each event that has ended."""
        return [
            (change.caption.text, change.start / _SECOND, change.end / _SECOND)
            for change in self.changes
            if change.state == "end"
        ]

    def finish(self) -> Observation:
        observation = self.tracker.finish()
        self.changes += observation.changes
        return observation


def test_two_sounds_in_one_caption_are_two_events() -> None:
    stream = _Stream()
    both = stream.hear("a clock while rain")
    assert [(change.number, change.caption.text) for change in both.changes] == [(0, "a clock"), (1, "rain")]
    assert both.events == (0, 1)
    assert stream.hear("heavy rain").events == (1,)
    assert stream.hear("rain while the clock").events == (1, 0)
    stream.finish()
    assert stream.spans_s() == [("a clock", 0.0, 14.0), ("heavy rain", 0.0, 14.0)], "a sentence beats a part of one"


def test_a_sound_named_twice_by_a_caption_is_heard_once() -> None:
    stream = _Stream()
    assert _steps(stream.hear("rain while heavy rain").changes) == [(0, "start")]
    assert stream.finish().changes[0].windows == 1


def test_a_start_and_an_end_lie_where_windows_first_and_last_tell() -> None:
    """A dog barks at 11 s, in the windows that start from 2 to 10 s: it began after 10 s, and ended before 12 s."""
    stream = _Stream()
    for start_s in range(0, 30, 2):
        stream.hear("a dog" if 2 <= start_s <= 10 else "rain")
    stream.finish()
    assert ("a dog", 10.0, 12.0) in stream.spans_s()


def test_an_end_is_never_before_its_start() -> None:
    stream = _Stream()
    for text in ("rain", "a dog", "rain", "rain"):
        stream.hear(text)
    stream.finish()
    # It was in one window of the five that hold one moment: began after 10 s, and was over before 4 s?
    assert ("a dog", 10.0, 12.0) in stream.spans_s()


def test_a_flicker_is_bridged() -> None:
    stream = _Stream(min_gap_samples=30)
    for number in range(40):
        # Of 10 s, and again after more than 30 s.
        stream.hear(*(["a clock while rain"] if number in (0, 10, 12, 39) else ["rain"]))
    stream.finish()
    clocks = [span for span in stream.spans_s() if "clock" in span[0]]
    assert clocks == [("a clock", 0.0, 26.0), ("a clock", 86.0, 88.0)]


@pytest.mark.parametrize(("windows", "states"), [(1, []), (2, ["start"]), (3, ["start", "update"])])
def test_a_start_is_confirmed(windows: int, states: list[str]) -> None:
    stream = _Stream(min_windows=2, min_gap_samples=30)
    for _ in range(windows):
        stream.hear("a dog")
    for _ in range(3):
        stream.hear()
    assert [change.state for change in stream.changes] == states
    assert stream.tracker.counters.unconfirmed == 0, "it may still come"
    for _ in range(30):
        stream.hear()
    assert stream.tracker.counters.unconfirmed == (0 if states else 1)
    assert stream.tracker.counters.events == (1 if states else 0)
    assert stream.tracker.open_events == 0


def test_other_candidates_confirm_and_keep_what_the_best_has_named() -> None:
    stream = _Stream(min_windows=2)
    stream.hear("rain", "rain while a clock")
    stream.hear("rain", "a clock")
    assert {change.caption.text for change in stream.changes} == {"rain"}, "only a best caption names a new sound"
    stream.hear("a clock", "rain")
    opened = stream.hear("rain", "rain while the clock")
    assert opened.started == (1,)
    assert opened.opening is not None and opened.opening.text == "rain while the clock"
    assert opened.events == (0,)


def test_what_the_last_window_has_is_an_event_all_the_same() -> None:
    stream = _Stream(min_windows=2)
    stream.hear("a dog")
    stream.hear("rain")
    ended = stream.finish()
    # Rain is in the only window that could have it; the dog was not heard again.
    assert [(change.state, change.caption.text) for change in ended.changes] == [("start", "rain"), ("end", "rain")]
    assert ended.opening is not None and ended.opening.text == "rain"


def test_what_nothing_contradicts_starts_when_no_more_windows_come() -> None:
    stream = _Stream(min_windows=2, min_gap_samples=30)
    stream.hear("a dog")
    assert stream.tracker.expire(10 * _SECOND - 1).changes == []
    started = stream.tracker.expire(10 * _SECOND)
    assert (started.started, started.opening and started.opening.text) == ((0,), "a dog")
    assert _steps(stream.tracker.expire(39 * _SECOND).changes) == []
    assert _steps(stream.tracker.expire(40 * _SECOND).changes) == [(0, "end")]


@pytest.mark.parametrize(("hop_s", "needed"), [(1, 3), (2, 2), (3, 1), (5, 1), (10, 1), (20, 1)])
def test_no_more_windows_are_asked_for_than_hold_a_moment(hop_s: int, needed: int) -> None:
    assert EventRules(min_windows=3).within(10 * _SECOND, hop_s * _SECOND).min_windows == needed


def test_a_hop_that_grows_asks_for_fewer() -> None:
    stream = _Stream(min_windows=2)
    stream.hear("rain")
    stream.hear("rain")
    stream.hop_s = 5
    stream.number = 2
    assert stream.hear("a dog").started == (1,), "each moment is in two windows now"


def test_updates_come_at_their_interval() -> None:
    stream = _Stream(update_samples=10)
    for _ in range(13):
        stream.hear("rain")
    updates = [change for change in stream.changes if change.state == "update"]
    assert [(change.end / _SECOND, change.windows) for change in updates] == [(20.0, 6), (30.0, 11)]
    assert stream.finish().changes[0].windows == 13


def test_a_window_that_sounds_the_same_names_the_same() -> None:
    stream = _Stream(min_windows=2)
    stream.hear("a clock while rain")
    again = stream.tracker.repeat(2 * _SECOND, 12 * _SECOND)
    assert again.started == (0, 1)
    stream.hear()
    assert stream.tracker.repeat(4 * _SECOND, 14 * _SECOND).events == ()


def test_the_same_sound_starts_nothing_within_the_cool_down() -> None:
    stream = _Stream(cooldown_samples=60)

    def barks(from_s: int, to_s: int) -> None:
        while stream.number * 2 < to_s:
            stream.hear(*(["a dog"] if stream.number * 2 >= from_s else []))

    barks(0, 6)
    # Within a minute of its end, at 6 s; and over within it, too.
    barks(40, 48)
    assert stream.tracker.counters.cooled == 0
    barks(58, 58)
    assert (stream.tracker.counters.cooled, stream.tracker.counters.events) == (1, 1)
    barks(60, 70)
    assert stream.tracker.counters.events == 2


def test_what_outlasts_the_cool_down_is_an_event_from_its_own_start() -> None:
    stream = _Stream(cooldown_samples=30)
    for start_s in range(0, 60, 2):
        stream.hear(*(["rain"] if start_s < 4 or start_s >= 20 else []))
    stream.finish()
    assert stream.spans_s() == [("rain", 0.0, 4.0), ("rain", 28.0, 68.0)]
    starts = [change for change in stream.changes if change.state == "start"]
    assert starts[1].end == 36 * _SECOND, "when the cool-down of 30 s from 4 s on was over"


def test_what_is_remembered_is_bounded() -> None:
    """A day of ever new sounds, each in one window alone, with a gap and a cool-down of days."""
    random = np.random.default_rng(0)
    sounds = [f"sound {number}" for number in range(1500)]
    vectors = dict(zip(sounds, random.normal(size=(1500, 32)).astype(np.float32), strict=True))

    def embed(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        found = np.stack([vectors[text] for text in texts])
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    tracker = EventTracker(0.99, embed, EventRules(1, 10**9, 10**9, 0))
    changes: list[EventChange] = []
    for number, text in enumerate(sounds):
        changes += tracker.observe(2 * number, 2 * number + 10, [ScoredCaption(text, 0.5, None, None)]).changes
        assert tracker.open_events <= MAX_TRACKED
    changes += tracker.finish().changes
    assert len([change for change in changes if change.state == "end"]) == 1500


def test_an_event_that_lasts_needs_no_more_memory() -> None:
    vectors = np.random.default_rng(0).normal(scale=0.01, size=(3000, 32)).astype(np.float32) + np.eye(1, 32)

    def embed(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        found = np.stack([vectors[int(text)] for text in texts])
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    tracker = EventTracker(0.8, embed, EventRules(1, 100, 100, 10**9))

    def hear(numbers: range) -> None:
        for number in numbers:
            tracker.observe(2 * number, 2 * number + 10, [ScoredCaption(str(number), 0.5, None, None)])

    tracemalloc.start()
    try:
        hear(range(600))
        before, _ = tracemalloc.get_traced_memory()
        hear(range(600, 3000))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert tracker.counters.events == 1, "wordings without end of one sound"
    assert after - before < 100_000, "2400 wordings would be more than 600 kB"


_HEARD = st.lists(
    st.tuples(
        st.sampled_from([1, 2, 5, 10, 30]),
        st.lists(
            st.lists(st.sampled_from(["rain", "heavy rain", "a clock", "a dog", "a cat"]), min_size=1, max_size=3).map(
                " while ".join
            ),
            max_size=3,
            unique=True,
        ),
    ),
    max_size=40,
)


@given(
    heard=_HEARD,
    min_windows=st.integers(1, 4),
    gap_s=st.sampled_from([0, 5, 30]),
    cooldown_s=st.sampled_from([0, 20]),
    update_s=st.sampled_from([0, 10]),
)
@settings(max_examples=150, deadline=None)
def test_whatever_is_heard_each_event_has_one_start_and_one_end(
    heard: list[tuple[int, list[str]]], min_windows: int, gap_s: int, cooldown_s: int, update_s: int
) -> None:
    stream = _Stream(
        min_windows=min_windows, min_gap_samples=gap_s, cooldown_samples=cooldown_s, update_samples=update_s, hop_s=1
    )
    for step_s, ranked in heard:
        stream.number += step_s
        stream.hear(*ranked)
    stream.finish()
    by_number: dict[int, list[EventChange]] = {}
    for change in stream.changes:
        by_number.setdefault(change.number, []).append(change)
    assert list(by_number) == list(range(len(by_number))), "numbers increase"
    assert len(by_number) == stream.tracker.counters.events
    for own in by_number.values():
        assert [change.state for change in own] == ["start", *["update"] * (len(own) - 2), "end"]
        assert len({change.start for change in own}) == 1
        assert all(change.start < change.end for change in own)
        assert [change.end for change in own[:-1]] == sorted(change.end for change in own[:-1])
        if not update_s:
            assert own[-1].end <= own[-2].end, "it ceased no later than its last window"
        assert all(after.end - before.end >= update_s * _SECOND for before, after in pairwise(own[:-1]))
    # One sound is never two events at once, and after a cool-down at the earliest another one.
    for sound in ("rain", "clock", "dog", "cat"):
        spans = sorted(
            (own[0].start, own[-1].end, own[0].end) for own in by_number.values() if own[0].caption.text.endswith(sound)
        )
        for (_, end, _), (start, _, told) in pairwise(spans):
            assert end <= start
            assert told - end > cooldown_s * _SECOND or not cooldown_s
    assert stream.tracker.open_events == 0
