"""Lists of events as they may be heard, drawn at random, for the tests of everyday captions."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from quantize.data.everyday.events import HeardEvent, believed
from quantize.data.everyday.lexicon import english

LEXICON = english()
NAMES = sorted(LEXICON.sounds)
SECONDS = 10.0


def drawn_events(rng: np.random.Generator) -> list[HeardEvent]:
    """No event to four of them, as they lie in a window of 10 s."""
    return [
        drawn_event(str(rng.choice(NAMES)), rng) for _ in range(int(rng.choice(5, p=[0.03, 0.42, 0.35, 0.15, 0.05])))
    ]


def drawn_event(name: str, rng: np.random.Generator) -> HeardEvent:
    """A sound at some time, now and then with its number, its distance, or how many sources it has."""
    sound = LEXICON[name]
    start = float(rng.uniform(0.0, 8.0))
    longest = SECONDS - start if sound.steady else 2.5
    end = min(SECONDS, start + float(rng.uniform(0.4, max(0.5, longest))))
    far = [None, None, True, False][int(rng.integers(4))]
    several = [None, None, None, True, False][int(rng.integers(5))]
    return HeardEvent(
        believed(LEXICON, name, float(rng.uniform(0.7, 1.0))) if rng.random() < 0.96 else (),
        start,
        end,
        float(rng.uniform(-55.0, -10.0)),
        int(rng.integers(1, 6)) if sound.burst_s and rng.random() < 0.6 else None,
        far,
        several,
    )


seeds = st.integers(0, 2**32 - 1)
"""Seeds of generators that lists are drawn with."""
