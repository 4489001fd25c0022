"""Event lists without sound: all that captions can say, for a tokenizer and a text embedder to learn."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edge_aac.errors import ConfigError
from quantize.data.everyday.events import HeardEvent, believed
from quantize.data.everyday.lexicon import Lexicon
from quantize.data.everyday.wording import caption

SECONDS = 10.0
_DRAWS_PER_CAPTION = 50


def drawn_events(lexicon: Lexicon, rng: np.random.Generator) -> list[HeardEvent]:
    """No event to four of them as they lie in a window of 10 s, each sound as likely as any other.

    Args:
        lexicon: the sounds.
        rng: all randomness comes from it.
    """
    names = lexicon.alphabetical
    count = int(rng.choice(5, p=[0.03, 0.42, 0.35, 0.15, 0.05]))
    return [drawn_event(lexicon, names[rng.integers(len(names))], rng) for _ in range(count)]


def drawn_event(lexicon: Lexicon, name: str, rng: np.random.Generator) -> HeardEvent:
    """A sound at some time, now and then with its number, its distance, or how many sources it has."""
    sound = lexicon[name]
    start = float(rng.uniform(0.0, 8.0))
    longest = SECONDS - start if sound.steady else 2.5
    end = min(SECONDS, start + float(rng.uniform(0.4, max(0.5, longest))))
    far = [None, None, True, False][int(rng.integers(4))]
    several = [None, None, None, True, False][int(rng.integers(5))]
    return HeardEvent(
        believed(lexicon, name, float(rng.uniform(0.7, 1.0))) if rng.random() < 0.96 else (),
        start,
        end,
        float(rng.uniform(-55.0, -10.0)),
        int(rng.integers(1, 6)) if sound.burst_s and rng.random() < 0.6 else None,
        far,
        several,
    )


def drawn_captions(lexicon: Lexicon, rng: np.random.Generator) -> Iterator[str]:
    """Captions of event lists, one after another, without end."""
    while True:
        yield caption(lexicon, drawn_events(lexicon, rng), rng)


def distinct_captions(lexicon: Lexicon, count: int, rng: np.random.Generator) -> list[str]:
    """So many different captions, in the order in which they were drawn.

    Raises:
        ConfigError: there are not so many.
    """
    found: dict[str, None] = {}
    for drawn, text in enumerate(drawn_captions(lexicon, rng)):
        if len(found) == count:
            break
        if drawn == count * _DRAWS_PER_CAPTION:
            raise ConfigError(f"{drawn} draws gave {len(found)} different captions of {count} asked for: ask for fewer")
        found[text] = None
    return list(found)
