"""Signals and noises computed with drawn parameters, ready for the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from edge_aac.timebase import SAMPLE_RATE
from quantize.data.sounds.bells import Generator, Sound
from quantize.data.sounds.noises import NOISES
from quantize.data.sounds.signals import SIGNALS
from quantize.data.sounds.store import OURS, Samples, StoredSound, sixteen_bit

LONGEST_S = 10.0
_MAKERS: tuple[tuple[str, Callable[[Generator], Sound]], ...] = tuple(
    (label, make) for label, makers in (*SIGNALS.items(), *NOISES.items()) for make in makers
)


def synthesised_sounds(count: int, seed: int) -> Iterator[tuple[StoredSound, Samples]]:
    """So many computed sounds, each kind as often; the same for the same seed."""
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        label, make = _MAKERS[index % len(_MAKERS)]
        sound = make(rng)[: round(LONGEST_S * SAMPLE_RATE)]
        peak = float(np.abs(sound).max(initial=0.0))
        scaled = sound * (10.0 ** rng.uniform(-1.0, -0.05) / max(peak, 1e-9))
        row = StoredSound("", make.__name__, label, 1 + index // len(_MAKERS) % 4, "CC0-1.0", OURS, "")
        yield row, sixteen_bit(scaled)
