"""Clips of a fixed length, as CLAP and Pengi hear them: what is shorter is repeated, what is longer is cut."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edge_aac.audio.resample import HIGHEST_RATE, LOWEST_RATE
from edge_aac.errors import DataError
from quantize.models.audio_language.resampling import resample

Waveform = Tensor | npt.NDArray[np.floating]
"""Samples in ±1."""
Waveforms = Waveform | Sequence[Waveform]
"""(samples,), or (B, samples), or waveforms (samples,) of lengths of their own."""


@dataclass(frozen=True)
class ClipLength:
    """What a system takes for one clip.

    Attributes:
        sample_rate: in Hz.
        samples: of a clip.
        mixes: whether the channels of a recording are averaged. Else they are **laid end to end**: Microsoft's code
            flattens them, and stereo is heard as left, then right.
        pads: whether a shorter waveform is repeated as a whole only, and silence fills the rest, as LAION's is. Else
            its last copy is cut.
    """

    sample_rate: int
    samples: int
    mixes: bool = False
    pads: bool = False

    def clip(self, sound: Waveform, rate: int, rng: random.Random | None = None) -> Tensor:
        """One clip of a recording, as the published wrappers prepare it: resampled, made one channel, and cut.

        Args:
            sound: (samples,) or (channels, samples).
            rate: its sample rate in Hz.
            rng: see :meth:`batch`.

        Returns:
            (samples,) float32.

        Raises:
            DataError: it holds no samples, or what is no number, or has another number of axes or an absurd rate.
        """
        if not LOWEST_RATE <= rate <= HIGHEST_RATE:
            raise DataError(f"a sample rate of {rate} Hz is not between {LOWEST_RATE} and {HIGHEST_RATE}: correct it")
        channels = torch.atleast_2d(torch.as_tensor(sound).float())
        if channels.ndim != 2:  # noqa: PLR2004 - channels and samples
            raise DataError(f"sound must be (samples,) or (channels, samples), not {tuple(channels.shape)}: reshape it")
        resampled = resample(channels, rate, self.sample_rate)
        return self.batch(resampled.mean(dim=0) if self.mixes else resampled.flatten(), rng)[0]

    def batch(self, waveforms: Waveforms, rng: random.Random | None = None) -> Tensor:
        """Clips of waveforms at :attr:`sample_rate`.

        Args:
            waveforms: mono; a shorter one is repeated from its beginning, a longer one is cut.
            rng: draws where each longer one is cut, in order, by ``randrange(length - samples)`` as the published code
                does with Python's global generator; None cuts at the beginning.

        Returns:
            (B, samples) float32.

        Raises:
            DataError: there are none; or one holds no samples, or what is no number, or has another number of axes.
        """
        if isinstance(waveforms, Tensor | np.ndarray):
            rows = torch.atleast_2d(torch.as_tensor(waveforms).float())
            if rows.ndim != 2:  # noqa: PLR2004 - batch and samples
                raise DataError(f"waveforms must be (batch, samples), not {tuple(rows.shape)}: reshape them")
        else:
            rows = [torch.as_tensor(one).float() for one in waveforms]
        if len(rows) == 0:
            raise DataError("there are no waveforms: give at least one")
        return torch.stack([self._fitted(row, rng) for row in rows])

    def _fitted(self, waveform: Tensor, rng: random.Random | None) -> Tensor:
        if waveform.ndim != 1 or not len(waveform):
            raise DataError(f"a waveform must be (samples,) with at least one, not {tuple(waveform.shape)}: give sound")
        if not torch.isfinite(waveform).all():
            raise DataError("a waveform holds what is no number: decode it again")
        spare = len(waveform) - self.samples
        if spare <= 0 and self.pads:
            copies = waveform.repeat(self.samples // len(waveform))
            return torch.nn.functional.pad(copies, (0, self.samples - len(copies)))
        if spare <= 0:
            return waveform.repeat(-(-self.samples // len(waveform)))[: self.samples]
        start = rng.randrange(spare) if rng is not None else 0
        return waveform[start : start + self.samples]
