"""Distinct captions in numbers: of event lists that are drawn without mixing any sound."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from edge_aac.errors import ConfigError
from quantize.data.captions import caption
from quantize.data.lexicon import LABELS, LEXICON
from quantize.data.scenes import SCENE_SAMPLES, Event, Relation, Scene, SceneRecipe

_MAX_COUNTED = 6
_UNCOUNTED_PROBABILITY = 0.4
_DRAWS_PER_CAPTION = 50
"""So many draws for each caption that is asked for; then the grammar is taken to have no more."""


def distinct_captions(
    count: int, rng: np.random.Generator, labels: Sequence[str] = LABELS, recipe: SceneRecipe | None = None
) -> list[str]:
    """``count`` different captions in the order in which they were drawn.

    What the grammar can say of scenes made of recordings it can say here, but in other proportions: that suits the
    training of a text embedder or a tokenizer, not of a captioner.

    Args:
        count: how many.
        rng: all randomness comes from it.
        labels: classes of sound that captions speak of.
        recipe: gives the share of scenes with no, one and two sounds, and in what relation.

    Raises:
        ConfigError: the grammar does not have so many.
    """
    found: dict[str, None] = {}
    for drawn, text in enumerate(_captions(labels, recipe or SceneRecipe(), rng)):
        if len(found) == count:
            break
        if drawn == count * _DRAWS_PER_CAPTION:
            raise ConfigError(f"{drawn} draws gave {len(found)} different captions of {count} asked for: ask for fewer")
        found[text] = None
    return list(found)


def _captions(labels: Sequence[str], recipe: SceneRecipe, rng: np.random.Generator) -> Iterator[str]:
    while True:
        yield caption(_silent_scene(labels, recipe, rng), rng)


def _silent_scene(labels: Sequence[str], recipe: SceneRecipe, rng: np.random.Generator) -> Scene:
    """A scene that has events and no sound; see :meth:`quantize.data.scenes.SceneBuilder.scene`."""
    unknown = bool(recipe.unknown_probability) and rng.random() < recipe.unknown_probability
    count = 0 if unknown else int(rng.choice(3, p=recipe.event_counts))
    chosen = [str(label) for label in rng.choice(list(labels), size=count, replace=False)]
    relation: Relation = "unknown" if unknown else ("none", "single", "overlap")[count]
    if relation == "overlap" and rng.random() < recipe.sequence_probability:
        relation = "sequence"
    events = [_event(label, recipe, rng) for label in chosen]
    if relation == "sequence":
        events = [_within(event, half) for half, event in enumerate(events)]
    nothing = np.zeros(0, np.float32), np.zeros((0, len(LABELS)), dtype=bool)
    return Scene(nothing[0], tuple(sorted(events, key=lambda event: event.start)), relation, nothing[1])


def _event(label: str, recipe: SceneRecipe, rng: np.random.Generator) -> Event:
    counted = LEXICON[label].countable and rng.random() >= _UNCOUNTED_PROBABILITY
    start, end = sorted(int(sample) for sample in rng.integers(SCENE_SAMPLES + 1, size=2))
    if rng.random() < 0.25:  # otherwise few would last throughout
        start, end = 0, SCENE_SAMPLES
    return Event(
        label,
        start,
        end,
        int(rng.integers(1, _MAX_COUNTED + 1)) if counted else None,
        bool(rng.random() < recipe.far_probability),
        float(rng.uniform(-recipe.gain_db, recipe.gain_db)),
    )


def _within(event: Event, half: int) -> Event:
    """The event, squeezed into the first or the second half of the scene."""
    offset = half * SCENE_SAMPLES // 2
    return Event(event.label, offset + event.start // 2, offset + event.end // 2, event.count, event.far, event.gain_db)
