"""Fitting a familiarity to an encoder that is trained: statistics of what it makes of training scenes, no gradient."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice, repeat

import numpy as np
import torch
from torch import Tensor

from edge_aac.audio.features import filter_bank
from edge_aac.errors import DataError
from quantize.data.scenes import MAX_EVENTS, Scene, SceneBuilder
from quantize.models.beats import Beats
from quantize.models.familiarity import Familiarity
from quantize.training.objective import activity_of_tokens
from quantize.training.settings import FamiliarityRecipe

_SEED = 2018
_BATCH = 32
_ACTIVE_TOKENS = 3
"""A class that is active at fewer of a stretch's tokens only touches it."""

_MIN_SCENES = 24
"""Stretches that a set of classes needs to have a centre of its own."""

_TENTH = 0.1


def known_scenes(builder: SceneBuilder, count: int) -> Iterator[Scene]:
    """Scenes of one or two sounds of known classes; the same for the same recordings."""
    rng = np.random.default_rng(_SEED)
    drawn = (builder.scene(rng) for _ in repeat(None))
    return islice((scene for scene in drawn if scene.events), count)


@torch.no_grad()
def fit_familiarity(encoder: Beats, scenes: Iterator[Scene], recipe: FamiliarityRecipe) -> Familiarity:
    """What the encoder makes of scenes whose truth is known.

    Distances are measured after whitening by the spread within the sets of classes, shrunk towards a multiple of the
    identity, along the ``rank`` directions in which everything heard differs most.

    Args:
        encoder: in evaluation mode, with a predictor.
        scenes: of the recordings that it was trained on.
        recipe: how many, and of what the statistics are.

    Raises:
        DataError: no set of classes is heard often enough.
    """
    hidden, logits, active = _heard(encoder, scenes)
    cut = Familiarity(hidden.shape[2], recipe.rank, 1, recipe.stretches)
    states = cut.states(hidden).flatten(0, 1)
    sets, places = _sets(cut, active)
    if not sets:
        raise DataError("no class is heard in enough scenes to say what is familiar: raise `scenes` in [familiarity]")
    centres = torch.stack([states[places == number].mean(dim=0) for number in range(len(sets))])
    within = states[places >= 0] - centres[places[places >= 0]]
    scale = states.std(dim=0).clamp(min=1e-6)
    whitening = _whitening(states / scale, within / scale, recipe)
    fitted = Familiarity(hidden.shape[2], whitening.shape[1], len(sets), recipe.stretches)
    fitted.whitening.copy_(whitening / scale[:, None])
    fitted.centres.copy_(centres @ fitted.whitening)
    parts = torch.stack(fitted.parts(hidden, logits), dim=1)
    fitted.middle.copy_(parts.median(dim=0)[0])
    fitted.spread.copy_((fitted.middle - parts.quantile(_TENTH, dim=0)).clamp(min=1e-6))
    return fitted.eval()


def _heard(encoder: Beats, scenes: Iterator[Scene]) -> tuple[Tensor, Tensor, Tensor]:
    """States (N, T, D), logits (N, T, C), and where each class is active (N, T, C)."""
    hidden, logits, active = [], [], []
    while batch := list(islice(scenes, _BATCH)):
        states, _ = encoder(torch.from_numpy(np.stack([filter_bank(scene.waveform) for scene in batch])))
        truth = torch.from_numpy(np.stack([scene.activity for scene in batch]))
        hidden.append(states)
        logits.append(encoder.predictor(states))
        active.append(activity_of_tokens(truth, states.shape[1]) > 0)
    return torch.cat(hidden), torch.cat(logits), torch.cat(active)


def _sets(cut: Familiarity, active: Tensor) -> tuple[list[tuple[int, ...]], Tensor]:
    """The sets of one or two classes that are heard often enough, and each stretch's, (N·S,): -1 = none of them."""
    pieces = torch.stack([piece.sum(dim=1) >= _ACTIVE_TOKENS for piece in cut.cut(active)], dim=1).flatten(0, 1)
    heard = [tuple(row.nonzero()[:, 0].tolist()) for row in pieces]
    counts = sorted(Counter(heard).items())
    sets = [key for key, count in counts if 1 <= len(key) <= MAX_EVENTS and count >= _MIN_SCENES]
    numbers = {key: number for number, key in enumerate(sets)}
    return sets, torch.tensor([numbers.get(key, -1) for key in heard])


def _whitening(states: Tensor, within: Tensor, recipe: FamiliarityRecipe) -> Tensor:
    """(D, R)."""
    spread = within.T @ within / len(within)
    spread += recipe.shrinkage * spread.diagonal().mean() * torch.eye(len(spread))
    whole = torch.linalg.cholesky(torch.linalg.inv(spread))
    directions = torch.linalg.eigh(torch.cov((states @ whole).T))[1]
    return whole @ directions[:, -min(recipe.rank, len(spread)) :]
