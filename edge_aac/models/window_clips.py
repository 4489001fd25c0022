"""Windows of a stream as clips of the rate and length that another model hears."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge_aac.audio.windowed_sinc import SincResampler
from edge_aac.audio.windows import Window
from edge_aac.errors import DataError
from edge_aac.models.prompted_manifest import SoundClip
from edge_aac.timebase import SAMPLE_RATE


def sound_at(window: Window, rate: int) -> npt.NDArray[np.float32]:
    """The sound of a window at another rate in Hz, (samples,).

    Raises:
        DataError: the window has none, or what is no number is in it.
    """
    if window.waveform is None:
        raise DataError("this window comes without its sound, which a bundle that hears clips needs")
    if not np.isfinite(window.waveform).all():
        raise DataError("the sound holds what is no number: check its source")
    resampler = SincResampler(SAMPLE_RATE, rate)
    return np.concatenate([resampler.accept(window.waveform[:, None]), resampler.flush()])[:, 0]


def newest_clip(window: Window, clip: SoundClip) -> npt.NDArray[np.float32]:
    """The newest clip of a window, (samples,); what is shorter is repeated, or padded.

    Args:
        window: with its sound.
        clip: rate, length, and what becomes of shorter sound.

    Raises:
        DataError: see :func:`sound_at`.
    """
    sound = sound_at(window, clip.sample_rate)
    if not clip.repeats and len(sound) < clip.samples:
        return np.pad(sound, (0, clip.samples - len(sound)))
    copies = -(-clip.samples // len(sound))
    return np.tile(sound, copies)[: clip.samples] if copies > 1 else np.ascontiguousarray(sound[-clip.samples :])
