"""Events end where their sound does, however long the tagger's windows are."""

from __future__ import annotations

import numpy as np
import pytest

from edge_aac.timebase import SAMPLE_RATE
from quantize.data.everyday.events import Belief, HeardEvent
from quantize.data.everyday.sharpening import sharpened

WINDOW_S = 2.0


def burst(seconds: float, start_s: float, end_s: float, amplitude: float = 0.1) -> np.ndarray:
    """Noise of -20 dBFS and 0.1 in amplitude, silence before and behind it."""
    sound = np.zeros(round(seconds * SAMPLE_RATE), np.float32)
    begin, end = round(start_s * SAMPLE_RATE), round(end_s * SAMPLE_RATE)
    sound[begin:end] = amplitude * np.random.default_rng(1).standard_normal(end - begin)
    return sound


def event(sound: str, start_s: float, end_s: float) -> HeardEvent:
    return HeardEvent((Belief(sound, 0.95),), start_s, end_s, -64.0)


@pytest.mark.parametrize("end_s", [2.5, 5.0], ids=["a window behind it", "told of the whole by a label"])
def test_a_short_sound_is_not_as_long_as_the_windows_that_hold_it(end_s: float) -> None:
    (heard,) = sharpened([event("sneeze", 0.0, end_s)], burst(5.0, 0.5, 1.0), WINDOW_S)
    assert (heard.start_s, heard.end_s) == (pytest.approx(0.5), pytest.approx(1.0))
    assert heard.level_db == pytest.approx(-20.0, abs=0.5)


def test_what_sounds_on_stays_as_it_was_in_time() -> None:
    (heard,) = sharpened([event("rain", 0.5, 4.0)], burst(5.0, 0.0, 5.0), WINDOW_S)
    assert (heard.start_s, heard.end_s) == (0.5, 4.0)


def test_a_level_is_not_that_of_the_silence_behind_another_event() -> None:
    """A tagger that hears an instrument in the first second of a sneeze leaves the sneeze the silence after it."""
    heard = sharpened([event("instrument", 0.0, 1.0), event("sneeze", 0.0, 2.5)], burst(5.0, 0.2, 0.8), WINDOW_S)
    assert [one.level_db for one in heard] == [pytest.approx(-23.0, abs=0.5)] * 2


def test_a_level_is_taken_where_the_event_sounds_alone() -> None:
    sound = burst(4.0, 0.0, 4.0, 0.01) + burst(4.0, 1.0, 2.0)
    rain, bark = sharpened([event("rain", 0.0, 4.0), event("dog_bark", 1.0, 2.0)], sound, WINDOW_S)
    assert rain.level_db == pytest.approx(-20.0 - 20.0, abs=0.5)
    assert bark.level_db == pytest.approx(-20.0 - 3.0, abs=0.5)


@pytest.mark.parametrize("knocked", [True, False], ids=["the louder is heard", "nobody hears what it is"])
def test_a_faint_sound_goes_on_beneath_a_louder_one(knocked: bool) -> None:
    """It was heard in windows that do not hold the louder one: so it is there."""
    sound = burst(10.0, 0.0, 10.0, 0.003) + burst(10.0, 1.0, 2.0)
    given = [event("rain", 0.0, 10.0), *([event("knock", 0.5, 2.5)] if knocked else [])]
    rain, *knocks = sharpened(given, sound, WINDOW_S)
    assert (rain.start_s, rain.end_s) == (0.0, 10.0)
    assert rain.level_db == pytest.approx(-50.5, abs=0.5)
    spans = [(pytest.approx(1.0), pytest.approx(2.0))] if knocked else []
    assert [(one.start_s, one.end_s) for one in knocks] == spans


def test_the_level_of_a_faint_sound_whose_event_begins_within_a_frame_is_a_number() -> None:
    sound = burst(6.0, 0.0, 6.0, 0.003) + burst(6.0, 0.0, 1.0)
    (heard,) = sharpened([event("rain", 0.02, 6.0)], sound, WINDOW_S)
    assert (heard.start_s, heard.end_s) == (0.02, 6.0)
    assert heard.level_db == pytest.approx(-50.5, abs=0.5)


def test_a_smear_that_is_a_window_long_is_cut() -> None:
    sound = burst(6.0, 0.0, 6.0, 0.0003) + burst(6.0, 3.0, 3.5)
    (heard,) = sharpened([event("sneeze", 1.0, 5.5)], sound, WINDOW_S)
    assert (heard.start_s, heard.end_s) == (pytest.approx(3.0), pytest.approx(3.5))


def test_an_event_of_silence_is_as_it_was() -> None:
    silent = event("rain", 0.0, 1.0)
    assert sharpened([silent], np.zeros(SAMPLE_RATE, np.float32), WINDOW_S) == (silent,)
    assert sharpened([], np.zeros(SAMPLE_RATE, np.float32), WINDOW_S) == ()
