"""Windows of a stream as clips of the rate and length that another model hears."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge_aac.audio.windowed_sinc import SincResampler
from edge_aac.audio.windows import Window
from edge_aac.errors import DataError
from edge_aac.models.prompted_manifest import SoundClip
from edge_aac.timebase import SAMPLE_RATE


def newest_clip(window: Window, clip: SoundClip) -> npt.NDArray[np.float32] | DataError:
    """The newest clip of a window, (samples,), or why there is none; what is shorter is repeated, or padded.

    Args:
        window: with its sound.
        clip: rate, length, and what becomes of shorter sound.
    """
    if window.waveform is None:
        return DataError("this window comes without its sound, which a bundle of the kind prompted hears")
    if not np.isfinite(window.waveform).all():
        return DataError("the sound holds what is no number: check its source")
    resampler = SincResampler(SAMPLE_RATE, clip.sample_rate)
    sound = np.concatenate([resampler.accept(window.waveform[:, None]), resampler.flush()])[:, 0]
    if not clip.repeats and len(sound) < clip.samples:
        return np.pad(sound, (0, clip.samples - len(sound)))
    copies = -(-clip.samples // len(sound))
    return np.tile(sound, copies)[: clip.samples] if copies > 1 else np.ascontiguousarray(sound[-clip.samples :])
