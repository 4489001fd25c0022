"""Events: sounds that go on from window to window, with one start and one end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from edge_aac.fluency.sound_names import Say, SoundNames, SoundWords
from edge_aac.models.contract import ScoredCaption
from edge_aac.streaming.event_changes import EventChange
from edge_aac.streaming.events import EventTracker
from edge_aac.streaming.sounds import REMEMBERED_WORDINGS, CaptionReader
from tests.edge_aac.fakes import scored

_WINDOW, _HOP = 10, 2

Step = tuple[int, str]


def no_embedding(_texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """What the tracker is given where every caption has its embedding."""
    raise AssertionError("these have embeddings")


def _observe(tracker: EventTracker, number: int, caption: ScoredCaption | None, hop: int = _HOP) -> list[EventChange]:
    return _at(tracker, number * hop, number * hop + _WINDOW, caption)


def _at(tracker: EventTracker, start: int, end: int, caption: ScoredCaption | None) -> list[EventChange]:
    return tracker.observe(start, end, [] if caption is None else [caption]).changes


def _steps(changes: list[EventChange]) -> list[Step]:
    return [(change.number, change.state) for change in changes]


def test_same_thing_in_overlapping_windows() -> None:
    tracker = EventTracker(0.8, no_embedding)
    assert _steps(_observe(tracker, 0, scored("rain"))) == [(0, "start")]
    assert _steps(_observe(tracker, 1, scored("rain"))) == [(0, "update")]
    (change,) = _observe(tracker, 2, scored("rain"))
    assert (change.state, change.start, change.end, change.windows) == ("update", 0, 14, 3)
    # The windows 3 to 6 still overlap window 2, which ends at 14; window 7 starts there.
    for number in range(3, 7):
        assert _observe(tracker, number, None) == []
    (change,) = _observe(tracker, 7, None)
    assert (change.number, change.state, change.start, change.end, change.windows) == (0, "end", 0, 6, 3)
    # Window 3 starts at 6 and has it no more.
    assert tracker.finish().changes == []


@pytest.mark.parametrize(("degrees", "states"), [(36.0, ["start", "update"]), (37.5, ["start", "start"])])
def test_other_words_for_the_same(degrees: float, states: list[str]) -> None:
    tracker = EventTracker(0.8, no_embedding)  # the cosine of 36.87 degrees
    changes = [*_observe(tracker, 0, scored("rain")), *_observe(tracker, 1, scored("rain falls", direction=degrees))]
    assert [change.state for change in changes] == states


def test_the_same_words_are_the_same_whatever_the_embedding() -> None:
    tracker = EventTracker(1.0, no_embedding)
    _observe(tracker, 0, scored("rain", direction=0))
    assert _steps(_observe(tracker, 1, scored("rain", direction=90))) == [(0, "update")]


def test_a_wording_that_flickers_opens_nothing_twice() -> None:
    tracker = EventTracker(0.8, no_embedding)
    script = [scored("rain"), scored("dog", direction=90)] * 10
    changes = [change for number, caption in enumerate(script) for change in _observe(tracker, number, caption)]
    assert [change.number for change in changes if change.state == "start"] == [0, 1]
    assert [change.state for change in changes].count("end") == 0
    ends = tracker.finish().changes
    assert sorted(_steps(ends)) == [(0, "end"), (1, "end")]
    assert {change.windows for change in ends} == {10}


def test_one_that_is_captioned_no_more_ends_while_another_goes_on() -> None:
    tracker = EventTracker(0.8, no_embedding)
    _observe(tracker, 0, scored("rain"))
    changes = [change for number in range(1, 8) for change in _observe(tracker, number, scored("dog", direction=90))]
    assert (0, "end") in _steps(changes)
    ended = next(change for change in changes if change.state == "end")
    assert (ended.start, ended.end, ended.windows, ended.caption.text) == (0, _HOP, 1, "rain")
    # The end comes before what the window itself says.
    tracker = EventTracker(0.8, no_embedding)
    _at(tracker, 0, 10, scored("rain"))
    assert _steps(_at(tracker, 10, 20, scored("dog", direction=90))) == [(0, "end"), (1, "start")]


def test_captioned_again_after_its_end_is_a_new_event() -> None:
    tracker = EventTracker(0.8, no_embedding)
    _at(tracker, 0, 10, scored("rain"))
    assert _steps(_at(tracker, 10, 20, scored("rain"))) == [(0, "end"), (1, "start")]


def test_it_keeps_the_best_scored_caption() -> None:
    tracker = EventTracker(0.8, no_embedding)
    _observe(tracker, 0, scored("rain", hybrid=0.2))
    (better,) = _observe(tracker, 1, scored("heavy rain", hybrid=0.6, direction=10))
    (worse,) = _observe(tracker, 2, scored("rain falls", hybrid=0.4, direction=5))
    assert (better.caption.text, worse.caption.text) == ("heavy rain", "heavy rain")
    assert tracker.finish().changes[0].caption.text == "heavy rain"


def test_the_nearest_of_several_is_updated() -> None:
    tracker = EventTracker(0.7, no_embedding)
    _observe(tracker, 0, scored("rain", direction=0))
    _observe(tracker, 1, scored("dog", direction=60))
    assert _steps(_observe(tracker, 2, scored("puppy", direction=40))) == [(1, "update")]
    assert _steps(_observe(tracker, 3, scored("drops", direction=20))) == [(0, "update")]


def test_silence_alone_is_no_event() -> None:
    tracker = EventTracker(0.8, no_embedding)
    assert [change for number in range(20) for change in _observe(tracker, number, None)] == []
    assert tracker.finish().changes == []


def test_finish_ends_each_once() -> None:
    tracker = EventTracker(0.8, no_embedding)
    _observe(tracker, 0, scored("rain"))
    _observe(tracker, 1, scored("dog", direction=90))
    assert sorted(_steps(tracker.finish().changes)) == [(0, "end"), (1, "end")]
    assert tracker.finish().changes == []
    # Numbers go on, since they are those of the stream.
    assert _steps(_observe(tracker, 2, scored("rain"))) == [(2, "start")]


def test_skipped_windows_end_what_they_passed() -> None:
    tracker = EventTracker(0.8, no_embedding)
    _observe(tracker, 0, scored("rain"))
    assert _steps(_observe(tracker, 100, scored("rain"))) == [(0, "end"), (1, "start")]


@pytest.mark.parametrize("seed", range(20))
def test_every_start_has_one_end_whatever_is_captioned(seed: int) -> None:
    random = np.random.default_rng(seed)
    tracker = EventTracker(0.9, no_embedding)
    changes: list[EventChange] = []
    position = 0
    for _ in range(200):
        position += int(random.integers(1, 14))
        direction = float(random.integers(0, 8) * 45)
        caption = None if random.random() < 0.3 else scored(f"sound {direction}", float(random.random()), direction)
        changes += _at(tracker, position, position + _WINDOW, caption)
    changes += tracker.finish().changes
    for number in {change.number for change in changes}:
        own = [change for change in changes if change.number == number]
        assert [change.state for change in own] == ["start", *["update"] * (len(own) - 2), "end"]
        assert [change.windows for change in own] == [*range(1, len(own)), len(own) - 1]
        assert len({change.start for change in own}) == 1
        assert all(later.start <= earlier.end for earlier, later in zip(own, own[1:], strict=False))
    starts = [change.number for change in changes if change.state == "start"]
    assert starts == list(range(len(starts)))


def test_a_phrase_without_an_embedding_is_embedded_once() -> None:
    embedded: list[str] = []

    def embed(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        embedded.extend(texts)
        vectors = {"rain": (1.0, 0.0), "rain falls": (0.9, np.sqrt(0.19)), "a dog": (0.0, 1.0)}
        return np.array([vectors[text] for text in texts], np.float32)

    tracker = EventTracker(0.8, embed)

    def steps(number: int, text: str) -> list[Step]:
        return _steps(_observe(tracker, number, replace(scored(text), embedding=None)))

    assert [steps(number, text) for number, text in enumerate(["rain", "rain", "rain falls", "a dog", "rain"])] == [
        [(0, "start")],
        [(0, "update")],
        [(0, "update")],
        [(1, "start")],
        [(0, "update")],
    ]
    assert embedded == ["rain", "rain falls", "a dog"]
    # An embedding that is there is used.
    assert _steps(_observe(tracker, 5, scored("drops", direction=10.0))) == [(0, "update")]
    assert len(embedded) == 3


def test_events_expire_without_windows() -> None:
    tracker = EventTracker(0.8, no_embedding)
    _observe(tracker, 0, scored("rain"))
    assert tracker.expire(_WINDOW - 1).changes == []
    assert _steps(tracker.expire(_WINDOW).changes) == [(0, "end")]
    assert (tracker.open_events, tracker.expire(_WINDOW).changes) == (0, [])


def _listed() -> CaptionReader:
    names = {
        name: SoundWords((), (Say((name,), (verb, *more)),), ())
        for name, verb, *more in (("rain", "falls", "drums"), ("dog", "barks", "yaps"))
    }
    return CaptionReader(lambda text: tuple(text.split(" while ")), SoundNames(names, ("while",)))


def test_listed_sounds_are_told_apart_without_embeddings() -> None:
    tracker = EventTracker(0.8, no_embedding, phrases=_listed())
    texts = [
        "a dog barks while rain falls",
        "rain drums",
        "a dog yaps while rain falls",
        "rain falls while a dog barks",
    ]
    changes = [_steps(_observe(tracker, number, scored(text))) for number, text in enumerate(texts)]
    starts = [[number for number, state in steps if state == "start"] for steps in changes]
    assert starts == [[0, 1], [], [], []]
    assert tracker.wordings[0] != tracker.wordings[1]


def test_what_is_not_listed_is_compared_with_every_wording_of_what_is() -> None:
    """As if each wording had been embedded when it came, whichever is asked for first."""
    angles = {"rain falls": 0.0, "rain drums": 50.0, "it pours": 30.0, "a dog barks": 90.0}
    asked: list[str] = []

    def embed(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        asked.extend(texts)
        turned = np.radians([angles[text] for text in texts])
        return np.stack([np.cos(turned), np.sin(turned)], axis=1).astype(np.float32)

    tracker = EventTracker(np.cos(np.radians(6.0)), embed, phrases=_listed())

    def steps(number: int, text: str) -> list[Step]:
        return _steps(_observe(tracker, number, replace(scored(text), embedding=None)))

    assert [steps(0, "rain falls"), steps(1, "rain drums")] == [[(0, "start")], [(0, "update")]]
    assert asked == []
    # Their mean lies at 25 degrees, 5 from it; either alone would be too far.
    assert steps(2, "it pours") == [(0, "update")]
    assert asked == ["rain falls", "rain drums", "it pours"]
    assert steps(3, "a dog barks") == [(1, "start")]
    assert asked == ["rain falls", "rain drums", "it pours"]


def test_no_more_wordings_wait_to_be_embedded_than_are_remembered() -> None:
    asked: list[str] = []

    def embed(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        asked.extend(texts)
        return np.ones((len(texts), 1), np.float32)

    tracker = EventTracker(0.8, embed, phrases=_listed())
    for number in range(REMEMBERED_WORDINGS + 2):
        _observe(tracker, number, replace(scored(f"rain falls {number}"), embedding=None))
    assert asked == [f"rain falls {number}" for number in range(REMEMBERED_WORDINGS + 1)]
