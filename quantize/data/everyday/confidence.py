"""How sure a tagger is of each sound of the lexicon, from its probabilities of AudioSet's classes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge_aac.errors import DataError
from quantize.data.everyday.lexicon import Lexicon
from quantize.data.everyday.trust import Doubles, at_average, share_right, with_odds

_BESIDE_ODDS = -0.6
"""Log-odds of a sound beside an unrelated one that a tagger hears more of. With ``mn04`` on 477 labelled recordings
(folds 1 to 3, windows of 2 s), what came second at 0.3 to 0.7 agreed with the label in 36 %, what came first in 51 %.
A label tells of one sound alone, so that some of what came second was there all the same."""

_SMALL = 0.05
"""Probabilities of examples that add nothing to the sound above them: hundreds of such make a large sum."""


def confidences(
    lexicon: Lexicon, probabilities: npt.NDArray[np.floating], smoothed_steps: int = 1
) -> dict[str, Doubles]:
    """How sure a tagger is of each sound.

    Args:
        lexicon: the sounds.
        probabilities: of AudioSet's 527 classes, shape (T, 527).
        smoothed_steps: steps that each is averaged over.

    Returns:
        Sound → confidence (T,), 0..1; that of a sound is never above that of a coarser one.

    Raises:
        DataError: they have another shape, or are no probabilities.
    """
    given = np.asarray(probabilities, np.float64)
    if given.ndim != 2 or given.shape[1] != len(lexicon.ontology.classes):
        raise DataError(f"a tagger's probabilities have shape (T, 527), these have {given.shape}: use one of AudioSet")
    if given.size and not (np.isfinite(given).all() and given.min() >= 0.0 and given.max() <= 1.0):
        raise DataError("a tagger's probabilities lie between 0 and 1: give them after the sigmoid, not as logits")
    heard = _evidence(lexicon, _smoothed(at_average(given), smoothed_steps))
    names = list(lexicon.sounds)
    table = np.array([heard[name] for name in names])
    sure: dict[str, Doubles] = {}
    for number, name in enumerate(names):
        beside = table[lexicon.unrelated[name]].max(axis=0, initial=0.0) > table[number]
        sure[name] = with_odds(share_right(table[number]), np.where(beside, _BESIDE_ODDS, 0.0))
    for name in lexicon.order:
        for parent in lexicon[name].above:
            sure[parent] = np.maximum(sure[parent], sure[name])
    return sure


def _evidence(lexicon: Lexicon, averages: Doubles) -> dict[str, Doubles]:
    """What a tagger hears of each sound, of its classes and its examples: sound → (T,), 0..1."""
    own = {name: np.zeros(len(averages)) for name in lexicon.sounds}
    for number, node in enumerate(lexicon.ontology.classes):
        sound = lexicon.class_sounds[node.name]
        if sound is not None:
            own[sound] = np.maximum(own[sound], averages[:, number])
    together = {name: np.zeros(len(averages)) for name in lexicon.sounds}
    for name in lexicon.order:
        own[name] = np.maximum(own[name], np.minimum(together[name], 1.0))
        counted = np.where(own[name] >= _SMALL, own[name], 0.0)
        for parent in lexicon[name].above:
            together[parent] += counted
            own[parent] = np.maximum(own[parent], own[name])
    return own


def _smoothed(values: Doubles, steps: int) -> Doubles:
    """Mean of each step and its neighbours, ``steps`` in all; at the ends of those that there are; (T, N)."""
    before, after = (steps - 1) // 2, steps // 2
    sums = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    places = np.arange(len(values))
    starts, ends = np.maximum(places - before, 0), np.minimum(places + after + 1, len(values))
    means: Doubles = (sums[ends] - sums[starts]) / (ends - starts)[:, None]
    return np.clip(means, 0.0, 1.0)
