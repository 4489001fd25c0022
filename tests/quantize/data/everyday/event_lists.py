"""Lists of events as they may be heard, for the tests of everyday captions."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from quantize.data.everyday import drawn_events as drawn
from quantize.data.everyday.events import HeardEvent
from quantize.data.everyday.lexicon import english

LEXICON = english()
NAMES = sorted(LEXICON.sounds)

seeds = st.integers(0, 2**32 - 1)
"""Seeds of generators that lists are drawn with."""


def drawn_events(rng: np.random.Generator) -> list[HeardEvent]:
    """Events of the English lexicon."""
    return drawn.drawn_events(LEXICON, rng)


def drawn_event(name: str, rng: np.random.Generator) -> HeardEvent:
    """An event of one sound of it."""
    return drawn.drawn_event(LEXICON, name, rng)
