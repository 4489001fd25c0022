"""Mix-up as published: two clips are added at a random energy ratio, the shorter somewhere in the longer.

Source: Wu et al., "Improving Audio Captioning Models with Fine-grained Audio Features, Text Embedding Supervision, and
LLM Mix-up Augmentation" (arXiv 2309.17352). What is said of the mix is the matter of :mod:`quantize.data.merging`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from edge_aac.errors import ConfigError, DataError
from quantize.data.clips import Waveform
from quantize.data.manifests import CaptionedClip

SILENT_POWER = 1e-10
"""Mean power (full scale is 1) up to which a clip is silent: -100 dBFS, less than the last bit of 16."""


@dataclass(frozen=True)
class Mix:
    """Two clips in one.

    Attributes:
        waveform: (samples of the longer clip,) float32 in ±1.
        ratio_db: mean power of the first clip over that of the second as both are in the mix, each over its own length.
        gains: what the first and the second clip were multiplied by.
        starts: where the first and the second clip begin in the mix, in samples; one of them at 0.
    """

    waveform: Waveform
    ratio_db: float
    gains: tuple[float, float]
    starts: tuple[int, int]


def mix(first: Waveform, second: Waveform, rng: np.random.Generator, ratio_db: float = 5.0) -> Mix:
    """Add two clips: the second is scaled, the shorter one lies somewhere in the longer.

    The published system compares mean powers over the whole of each clip, its pauses included, and so does this: of a
    short clip and a long one that are equally loud, the ratio is 0 dB. The level is that of the first clip, unless the
    sum would leave ±1: then both are turned down alike, which leaves the ratio as it was drawn.

    Args:
        first, second: (samples,) float in ±1, at the same rate, each of any length.
        rng: draws the ratio, then the offset.
        ratio_db: the ratio is uniform in ± this many dB.

    Raises:
        DataError: a clip is empty, not of one channel, not finite, or silent, so that no ratio can be set.
        ConfigError: ``ratio_db`` is negative or not finite.
    """
    if not (math.isfinite(ratio_db) and ratio_db >= 0.0):
        raise ConfigError(f"a mix at ±{ratio_db} dB makes no sense: give a ratio of 0 dB or more")
    powers = _mean_power(first, "first"), _mean_power(second, "second")
    drawn_db = float(rng.uniform(-ratio_db, ratio_db))
    spare = len(first) - len(second)
    offset = int(rng.integers(abs(spare) + 1))
    starts = (0, offset) if spare >= 0 else (offset, 0)
    scale = math.sqrt(powers[0] / powers[1] / 10.0 ** (drawn_db / 10.0))
    total = np.zeros(max(len(first), len(second)))
    total[starts[0] : starts[0] + len(first)] += first
    total[starts[1] : starts[1] + len(second)] += scale * second.astype(np.float64)
    down = 1.0 / max(1.0, float(np.abs(total).max()))
    return Mix((down * total).astype(np.float32), drawn_db, (down, down * scale), starts)


def silent(waveform: Waveform) -> bool:
    """Whether a clip (samples,) is too quiet for any energy ratio, so that :func:`mix` refuses it."""
    return _power(waveform) <= SILENT_POWER


def draw_pairs(
    clips: Sequence[CaptionedClip], count: int, rng: np.random.Generator
) -> list[tuple[CaptionedClip, CaptionedClip]]:
    """Pairs of clips to be mixed: never of the same recording, and no pair twice in either order.

    A clip that is listed more than once (the same stretch of the same file) counts as one, its first.

    Args:
        clips: the result depends on their order, and for a state of ``rng`` on nothing else.
        count: how many.
        rng: draws the pairs and which one of each is the first.

    Raises:
        DataError: there are fewer such pairs.
        ConfigError: ``count`` is negative.
    """
    if count < 0:
        raise ConfigError(f"{count} pairs cannot be drawn: give 0 or more")
    stretches: dict[tuple[Path, float, float | None], CaptionedClip] = {}
    for clip in clips:
        stretches.setdefault((clip.path, clip.start_s, clip.duration_s), clip)
    distinct = list(stretches.values())
    recordings = [clip.origin for clip in distinct]
    possible = _possible(recordings)
    if count > possible:
        raise DataError(
            f"{len(clips)} clips give {possible} pairs of different recordings, fewer than the {count} asked for: "
            "ask for fewer or give more recordings"
        )
    found = _few(recordings, count, rng) if count <= possible // 2 else _many(recordings, count, rng)
    return [(distinct[one], distinct[other]) for one, other in found]


def _mean_power(waveform: Waveform, name: str) -> float:
    if waveform.ndim != 1 or not waveform.size:
        raise DataError(f"the {name} clip of a mix has the shape {waveform.shape}: give one channel with sound in it")
    power = _power(waveform)
    if not math.isfinite(power):
        raise DataError(f"the {name} clip of a mix holds values that are not finite: leave it out")
    if power <= SILENT_POWER:
        raise DataError(f"the {name} clip of a mix is silent, so that no energy ratio can be set: leave it out")
    return power


def _power(waveform: Waveform) -> float:
    return float(np.square(waveform, dtype=np.float64).mean())


def _possible(recordings: Sequence[str]) -> int:
    sizes = np.unique(np.asarray(recordings, dtype=object).astype(str), return_counts=True)[1].tolist()
    return math.comb(len(recordings), 2) - sum(math.comb(size, 2) for size in sizes)


def _few(recordings: Sequence[str], count: int, rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """Pairs drawn until enough are new; at most half of what there is, so that this ends soon."""
    seen: set[tuple[int, int]] = set()
    while len(seen) < count:
        one, other = rng.integers(len(recordings), size=2).tolist()
        pair = (min(one, other), max(one, other))
        if recordings[one] != recordings[other] and pair not in seen:
            seen.add(pair)
            yield one, other


def _many(recordings: Sequence[str], count: int, rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """All pairs in a random order, cut off; ``count`` is more than half of them, so that they fit in memory."""
    every = [pair for pair in combinations(range(len(recordings)), 2) if recordings[pair[0]] != recordings[pair[1]]]
    for index in rng.permutation(len(every))[:count].tolist():
        one, other = every[index]
        yield (one, other) if rng.random() < 0.5 else (other, one)
