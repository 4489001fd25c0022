"""Events of mixtures."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from quantize.data.everyday.events import Belief, HeardEvent, believed, mixed
from tests.quantize.data.everyday.event_lists import LEXICON, drawn_events, seeds


def _event(name: str, start_s: float, end_s: float, level_db: float = -20.0, count: int | None = None) -> HeardEvent:
    return HeardEvent(believed(LEXICON, name), start_s, end_s, level_db, count)


def test_a_name_is_as_exact_as_it_is_sure() -> None:
    event = HeardEvent((Belief("dog_bark", 0.5), Belief("dog", 0.75), Belief("animal", 0.95)), 0.0, 1.0)
    assert [event.named(sure) for sure in (0.4, 0.7, 0.9, 0.99)] == ["dog_bark", "dog", "animal", None]


def test_events_of_a_mixture_are_moved_and_made_louder() -> None:
    first = [_event("rain", 0.0, 10.0)]
    second = [_event("dog_bark", 1.0, 3.0, count=2)]
    rain, bark = mixed([(first, 0.0, 0.0), (second, 4.0, -6.0)], 10.0)
    assert (rain.start_s, rain.end_s) == (0.0, 10.0)
    assert (bark.start_s, bark.end_s, bark.level_db, bark.count) == (5.0, 7.0, -26.0, 2)


def test_what_is_cut_off_is_no_longer_counted() -> None:
    (bark,) = mixed([([_event("dog_bark", 1.0, 3.0, count=2)], 8.0, 0.0)], 10.0)
    assert (bark.start_s, bark.end_s, bark.count) == (9.0, 10.0, None)
    assert mixed([([_event("dog_bark", 1.0, 3.0)], 9.5, 0.0)], 10.0) == ()


@pytest.mark.parametrize(("gain_db", "left"), [(-10.0, 2), (-20.0, 1)])
def test_what_is_drowned_is_not_heard(gain_db: float, left: int) -> None:
    loud = [_event("chainsaw", 0.0, 10.0)]
    assert len(mixed([(loud, 0.0, 0.0), ([_event("clock", 2.0, 6.0)], 0.0, gain_db)], 10.0)) == left


def test_two_loud_sounds_at_once_drown_no_more_than_they_last() -> None:
    loud = [_event("chainsaw", 0.0, 4.0, count=None), _event("siren", 0.0, 4.0)]
    events = mixed([(loud, 0.0, 0.0), ([_event("sneeze", 2.0, 8.0, count=3)], 0.0, -20.0)], 10.0)
    assert [event.count for event in events if event.named() == "sneeze"] == [None]


@given(seeds)
@settings(max_examples=60, deadline=None)
def test_a_mixture_has_no_event_of_its_own(seed: int) -> None:
    import numpy as np

    rng = np.random.default_rng(seed)
    parts = [(drawn_events(rng), float(rng.uniform(0.0, 5.0)), float(rng.uniform(-12.0, 12.0))) for _ in range(3)]
    events = mixed(parts, 10.0)
    assert len(events) <= sum(len(part[0]) for part in parts)
    assert all(0.0 <= event.start_s < event.end_s <= 10.0 for event in events)
    loudest = max((event.level_db for event in events), default=None)
    if loudest is not None:
        every = [e.level_db + gain for heard, start, gain in parts for e in heard if e.start_s + start < 10.0]
        assert loudest == pytest.approx(max(every))
