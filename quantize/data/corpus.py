"""A corpus as training sees it: 10 s windows of its clips, a held-out part, its captions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from edge_aac.errors import ConfigError, DataError
from quantize.data.clips import Waveform
from quantize.data.manifests import CaptionedClip
from quantize.data.scenes import SCENE_SAMPLES, padded_clip


def window(waveform: Waveform, rng: np.random.Generator) -> Waveform:
    """10 s out of a recording, the same for the same state of ``rng``.

    Args:
        waveform: (samples,) float32 at 16 kHz.
        rng: decides where a longer recording is cut, uniformly; a shorter one is put at the start, silence after it.

    Returns:
        (160000,) float32.
    """
    return padded_clip(at_most_a_window(waveform, rng))


def at_most_a_window(waveform: Waveform, rng: np.random.Generator) -> Waveform:
    """The same without the silence: a recording of up to 10 s is left as it is."""
    spare = len(waveform) - SCENE_SAMPLES
    if spare <= 0:
        return waveform
    start = int(rng.integers(spare + 1))
    return waveform[start : start + SCENE_SAMPLES]


def split_by_recording(
    clips: Sequence[CaptionedClip], share: float, seed: int
) -> tuple[list[CaptionedClip], list[CaptionedClip]]:
    """Hold out a part that shares no recording with the rest.

    Args:
        clips: of one manifest or more; recordings of the same name count as the same.
        share: of the recordings, between 0 and 1; rounded to whole recordings, at least one on either side.
        seed: decides which; the order of the clips does not.

    Returns:
        The rest and the held-out clips, both in the order given.

    Raises:
        ConfigError: the share is not between 0 and 1.
        DataError: there are fewer than two recordings.
    """
    if not 0.0 < share < 1.0:
        raise ConfigError(f"the share to hold out is {share}: give a number between 0 and 1")
    recordings = sorted({clip.origin for clip in clips})
    if len(recordings) < 2:
        raise DataError(f"the clips come from {len(recordings)} recording: to hold a part out, two are needed")
    count = min(max(round(share * len(recordings)), 1), len(recordings) - 1)
    chosen = np.random.default_rng(seed).permutation(len(recordings))[:count]
    held_out = {recordings[index] for index in chosen}
    return (
        [clip for clip in clips if clip.origin not in held_out],
        [clip for clip in clips if clip.origin in held_out],
    )


def corpus_captions(clips: Sequence[CaptionedClip]) -> Iterator[str]:
    """All captions, clip by clip: what tokenizers and vocabularies are made from."""
    for clip in clips:
        yield from clip.captions
