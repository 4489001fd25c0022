"""A tagger's probabilities, made into events."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge_aac.errors import DataError
from edge_aac.timebase import SAMPLE_RATE
from quantize.data.everyday.confidence import confidences
from quantize.data.everyday.events import HeardEvent
from quantize.data.everyday.hearing import HearingRules, heard_events
from quantize.data.everyday.lexicon import english
from quantize.data.everyday.ontology import audioset
from tests.quantize.data.everyday.event_lists import seeds

LEXICON = english()
HOP_S = 0.5
STEPS = 20
_NUMBER = {node.name: node.index for node in audioset().classes}


def _tagged(**heard: tuple[float, int, int]) -> npt.NDArray[np.float64]:
    """Probabilities (20, 527) in which a class is heard with a probability from a step to another; "_" for " "."""
    given = np.full((STEPS, 527), 0.002)
    for name, (probability, start, end) in heard.items():
        given[start:end, _NUMBER[name.replace("_", " ")]] = probability
    return given


def _named(events: tuple[HeardEvent, ...]) -> list[tuple[str | None, float, float]]:
    return [(event.named(), event.start_s, event.end_s) for event in events]


def test_a_sound_is_an_event_from_where_it_is_heard_to_where_it_is_not() -> None:
    ((name, start, end),) = _named(heard_events(LEXICON, _tagged(Siren=(0.9, 6, 14)), HOP_S))
    assert name == "siren"
    assert (start, end) == pytest.approx((3.0, 7.0), abs=0.5)


def test_nothing_is_heard_in_nothing() -> None:
    assert heard_events(LEXICON, _tagged(), HOP_S) == ()
    assert heard_events(LEXICON, np.zeros((0, 527)), HOP_S) == ()


def test_gaps_are_bridged_and_long_ones_are_not() -> None:
    given = _tagged(Siren=(0.95, 2, 18))
    given[10:11, _NUMBER["Siren"]] = 0.0
    assert len(heard_events(LEXICON, given, HOP_S)) == 1
    given[7:13, _NUMBER["Siren"]] = 0.0
    assert [event[0] for event in _named(heard_events(LEXICON, given, HOP_S))] == ["siren", "siren"]
    assert len(heard_events(LEXICON, given, HOP_S, rules=HearingRules(merge_s=5.0))) == 1


def test_short_events_are_dropped() -> None:
    given = _tagged(Siren=(0.95, 6, 10))
    assert len(heard_events(LEXICON, given, HOP_S)) == 1
    assert heard_events(LEXICON, given, HOP_S, rules=HearingRules(min_s=4.0)) == ()


def test_a_sound_that_flickers_above_the_lower_threshold_goes_on() -> None:
    given = _tagged(Siren=(0.9, 4, 16))
    given[8:12, _NUMBER["Siren"]] = 0.45  # surer than off, less sure than on
    assert len(heard_events(LEXICON, given, HOP_S)) == 1
    strict = HearingRules(off=0.7, merge_s=0.0)
    assert len(heard_events(LEXICON, given, HOP_S, rules=strict)) == 2


def test_who_wavers_between_two_names_the_kind() -> None:
    # 0.4 is too little for a truck or a bus; together they are some vehicle.
    given = _tagged(Truck=(0.4, 4, 16), Bus=(0.4, 4, 16))
    ((name, _, _),) = _named(heard_events(LEXICON, given, HOP_S))
    assert name == "motor_vehicle"
    assert _named(heard_events(LEXICON, _tagged(Truck=(0.4, 4, 16)), HOP_S)) == []


def test_where_an_example_is_sure_there_is_no_event_of_the_kind() -> None:
    given = _tagged(Vehicle=(0.9, 2, 18), Train=(0.8, 5, 14))
    ((name, start, end),) = _named(heard_events(LEXICON, given, HOP_S))
    # It is one thing that is heard for as long as the kind is.
    assert name == "train" and start <= 1.5 and end >= 8.5


def test_two_examples_keep_their_own_times() -> None:
    given = _tagged(Animal=(0.9, 0, 20), Cat=(0.9, 0, 8), Sheep=(0.9, 12, 20))
    first, second = _named(heard_events(LEXICON, given, HOP_S))
    assert (first[0], second[0]) == ("cat", "sheep")
    assert first[2] <= 5.0 <= second[1]


def test_speech_that_something_else_explains_is_dropped() -> None:
    given = _tagged(Speech=(0.88, 4, 16), Siren=(0.95, 4, 16))
    assert [name for name, _, _ in _named(heard_events(LEXICON, given, HOP_S))] == ["siren"]
    believed_alike = HearingRules(overfiring=())
    both = _named(heard_events(LEXICON, given, HOP_S, rules=believed_alike))
    assert {name for name, _, _ in both} == {"siren", "speech"}
    alone = _tagged(Speech=(0.88, 4, 16))
    assert [name for name, _, _ in _named(heard_events(LEXICON, alone, HOP_S))] == ["speech"]


def test_a_label_makes_its_own_sound_likelier_and_others_less() -> None:
    given = _tagged(Truck=(0.45, 4, 16), Bus=(0.3, 4, 16))
    assert [name for name, _, _ in _named(heard_events(LEXICON, given, HOP_S, labels=["truck"]))] == ["truck"]
    unlike = _tagged(Siren=(0.6, 4, 16))
    assert [event[0] for event in _named(heard_events(LEXICON, unlike, HOP_S))] == ["siren"]
    assert [event[0] for event in _named(heard_events(LEXICON, unlike, HOP_S, labels=["truck"]))] == ["truck"]


def test_an_event_of_the_kind_is_what_the_label_says() -> None:
    ((name, _, _),) = _named(heard_events(LEXICON, _tagged(Animal=(0.9, 4, 16)), HOP_S, labels=["goat"]))
    assert name == "goat"


def test_an_example_of_the_label_is_told_in_its_place() -> None:
    ((name, _, _),) = _named(heard_events(LEXICON, _tagged(Howl=(0.8, 4, 16)), HOP_S, labels=["dog"]))
    assert name == "howl"


def test_a_label_that_the_tagger_never_hears_is_heard_where_anything_is() -> None:
    waveform = np.zeros(10 * SAMPLE_RATE, np.float32)
    waveform[3 * SAMPLE_RATE : 6 * SAMPLE_RATE] = _noise(3.0)
    (event,) = heard_events(LEXICON, _tagged(), HOP_S, waveform, labels=["footsteps"])
    assert (event.named(), event.start_s, event.end_s) == ("footsteps", 3.0, 6.0)


def test_what_nobody_knows_is_an_event_without_a_name() -> None:
    waveform = np.zeros(10 * SAMPLE_RATE, np.float32)
    waveform[3 * SAMPLE_RATE : 6 * SAMPLE_RATE] = _noise(3.0)
    (event,) = heard_events(LEXICON, _tagged(), HOP_S, waveform)
    assert (event.named(), event.start_s, event.end_s) == (None, 3.0, 6.0)
    # Noise that the tagger takes for noise is no unknown sound.
    assert heard_events(LEXICON, _tagged(White_noise=(0.9, 0, 20)), HOP_S, waveform) == ()


def test_single_sounds_are_counted_where_they_are_plain() -> None:
    waveform = np.zeros(10 * SAMPLE_RATE, np.float32)
    for second in (3.2, 4.3, 5.5):
        start = round(second * SAMPLE_RATE)
        waveform[start : start + 4800] = _noise(0.3)
    given = _tagged(Bark=(0.95, 6, 13))
    (event,) = heard_events(LEXICON, given, HOP_S, waveform)
    assert (event.named(), event.count) == ("dog_bark", 3)
    waveform[round(5.5 * SAMPLE_RATE) : round(7.0 * SAMPLE_RATE)] = _noise(1.5)  # no single bark
    assert [one.count for one in heard_events(LEXICON, given, HOP_S, waveform)] == [None]
    both = heard_events(LEXICON, given + _tagged(Siren=(0.95, 0, 20)) * 0.9, HOP_S, waveform)
    assert all(event.count is None for event in both)


def test_levels_are_of_the_sound_alone_where_it_is() -> None:
    waveform = 0.01 * _noise(10.0)
    waveform[: 5 * SAMPLE_RATE] += 0.3 * _noise(5.0)
    given = _tagged(Siren=(0.95, 0, 10), Chainsaw=(0.95, 0, 20))
    siren, saw = sorted(heard_events(LEXICON, given, HOP_S, waveform), key=lambda event: event.seconds)
    assert siren.level_db > saw.level_db + 10.0


def test_confidence_is_the_mean_over_the_event() -> None:
    steady = heard_events(LEXICON, _tagged(Siren=(0.9, 4, 16)), HOP_S)[0]
    flickering = _tagged(Siren=(0.9, 4, 16))
    flickering[8:12, _NUMBER["Siren"]] = 0.45
    assert heard_events(LEXICON, flickering, HOP_S)[0].beliefs[0].confidence < steady.beliefs[0].confidence


def test_what_comes_second_is_less_sure() -> None:
    alone = confidences(LEXICON, _tagged(Siren=(0.6, 0, 20)))["siren"][0]
    beside = confidences(LEXICON, _tagged(Siren=(0.6, 0, 20), Chainsaw=(0.9, 0, 20)))["siren"][0]
    assert beside < alone - 0.1


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (np.zeros((4, 500)), "have shape"),
        (np.zeros(527), "have shape"),
        (np.full((4, 527), 1.5), "between 0 and 1"),
        (np.full((4, 527), np.nan), "between 0 and 1"),
    ],
)
def test_what_is_no_probability_is_refused(given: npt.NDArray[np.float64], says: str) -> None:
    with pytest.raises(DataError, match=says):
        heard_events(LEXICON, given, HOP_S)


def test_a_label_that_is_no_sound_is_refused() -> None:
    with pytest.raises(DataError, match="no sound 'unicorn'"):
        heard_events(LEXICON, _tagged(), HOP_S, labels=["unicorn"])


@given(seeds, st.sampled_from([0.2, 0.5, 1.0]))
@example(1099, 1.0)  # an example that has grown reaches another of its kinds
@settings(max_examples=12, deadline=None)
def test_whatever_a_tagger_says(seed: int, hop_s: float) -> None:
    """A kind is as sure as its examples; a sound and its kind are never two events at one time."""
    rng = np.random.default_rng(seed)
    probabilities = rng.random((12, 527)) ** 12
    sure = confidences(LEXICON, probabilities)
    for name, values in sure.items():
        assert (values >= 0.0).all() and (values <= 1.0).all()
        for above in LEXICON[name].above:
            assert (sure[above] >= values - 1e-12).all()
    events = heard_events(LEXICON, probabilities, hop_s, labels=["dog"] if seed % 2 else [])
    assert list(events) == sorted(events, key=lambda event: (event.start_s, event.end_s))
    for event in events:
        assert 0.0 <= event.start_s < event.end_s <= 12 * hop_s + 1e-9
        confidence = [belief.confidence for belief in event.beliefs]
        assert confidence == sorted(confidence)
    for one in events:
        for other in events:
            if one is not other and one.beliefs and other.beliefs and one.shared_s(other):
                assert other.beliefs[0].sound not in LEXICON.names.ancestors(one.beliefs[0].sound)


def _noise(seconds: float) -> npt.NDArray[np.float32]:
    noise = np.random.default_rng(0).standard_normal(round(seconds * SAMPLE_RATE))
    return (0.2 * noise / np.abs(noise).max()).astype(np.float32)
