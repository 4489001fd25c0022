"""How far a tagger's probability can be believed, by class.

A tagger gives each class a probability, which is no share of right answers: EfficientAT's ``mn04`` was right in 29 % of
the recordings whose most probable class had 0.1 to 0.2, in 92 % from 0.7 on, and classes differ: of 41 "speech
synthesizers" with 0.3 or more none was one, of 150 crying babies all.

**Rule.** :data:`REACHED` is the share of right answers against the probability, over all classes. A class whose answers
with 0.3 or more were right more or less often than all classes' together moves that curve up or down by the difference
of the two shares' log-odds. The class's own share is counted with :data:`PRIOR_ANSWERS` answers of the average, so that
few counts move little (a posterior mean under a beta prior). Upward, the curve moves in full from 0.3 on and not at
all below 0.1, for which nothing was counted. So "speech" (276 right of 483) is believed in 7 of 10
cases from 0.65 on, "baby cry" from 0.39, and "speech synthesizer" never.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from quantize.data.everyday.ontology import Node, audioset

Doubles = npt.NDArray[np.float64]

REACHED = ((0.0, 0.0), (0.05, 0.17), (0.15, 0.29), (0.25, 0.41), (0.4, 0.58), (0.6, 0.77), (0.85, 0.92), (1.0, 0.97))
"""Probability of the most probable class → share of recordings whose label accepts it: ``mn04`` on 3 513 recordings in
classes of probability, each at its middle; below and above it is a guess."""

PRIOR_ANSWERS = 10.0

_SMALLEST = 1e-3


def share_right(probabilities: Doubles) -> Doubles:
    """Share of right answers, over all classes, at a probability; any shape."""
    shares: Doubles = np.interp(probabilities, *np.array(REACHED).T)
    return shares


def at_average(probabilities: Doubles) -> Doubles:
    """What the average class has to say to be right as often as each class here is.

    Args:
        probabilities: a tagger's, shape (…, 527), in the order of :attr:`Ontology.classes`.

    Returns:
        Probabilities (…, 527), of which :func:`share_right` is how often the class is right.
    """
    levels, shares = np.array(REACHED).T
    averages: Doubles = np.interp(_moved(probabilities, _shifts()), shares, levels)
    # What a tagger does not hear is not there, however well it knows the class.
    return np.where(probabilities < _SMALLEST, 0.0, averages)


def threshold(node: Node, share: float) -> float | None:
    """Probability from which a class is right in at least a share of its answers; None where it never is."""
    probabilities = np.linspace(0.0, 1.0, 1001)
    reached = np.flatnonzero(_moved(probabilities, np.array(_shift(node))) >= share)
    return float(probabilities[reached[0]]) if reached.size else None


def _moved(probabilities: Doubles, shifts: Doubles) -> Doubles:
    """Shares of right answers of classes whose log-odds are off the average's by ``shifts``."""
    # Of answers below 0.3 nothing was counted by class: no class is believed more than the average for them.
    counted = np.clip((probabilities - 0.1) / 0.2, 0.0, 1.0)
    odds = _log_odds(share_right(probabilities)) + np.where(shifts > 0.0, shifts * counted, shifts)
    shares: Doubles = 1.0 / (1.0 + np.exp(-odds))
    return shares


def _shift(node: Node) -> float:
    """Log-odds of a class's share of right answers, less those of all classes."""
    average = _average()
    own = (node.right + PRIOR_ANSWERS * average) / (node.fired + PRIOR_ANSWERS)
    return float(_log_odds(np.array(own)) - _log_odds(np.array(average)))


@lru_cache(maxsize=1)
def _shifts() -> Doubles:
    return np.array([_shift(node) for node in audioset().classes])


@lru_cache(maxsize=1)
def _average() -> float:
    classes = audioset().classes
    return sum(node.right for node in classes) / sum(node.fired for node in classes)


def with_odds(shares: Doubles, odds: Doubles | float) -> Doubles:
    """Shares of right answers whose log-odds are moved; what is 0 stays so."""
    bounded = np.clip(shares, _SMALLEST**2, 1.0 - _SMALLEST**2)
    moved: Doubles = np.where(shares > 0.0, bounded / (bounded + (1.0 - bounded) * np.exp(-np.asarray(odds))), 0.0)
    return moved


def _log_odds(shares: Doubles) -> Doubles:
    bounded = np.clip(shares, _SMALLEST, 1.0 - _SMALLEST)
    odds: Doubles = np.log(bounded / (1.0 - bounded))
    return odds
