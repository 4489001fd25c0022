"""How a published audio-language system hears: settings of its clips, and the stages of its audio tower."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from edge_aac.errors import ConfigError
from quantize.models.audio_language.clips import ClipLength, Waveforms
from quantize.models.config import above_zero, at_least_one
from quantize.models.htsat.config import HtsatConfig
from quantize.models.htsat.front_end import LogMel

_BATCH = 8
"""Clips at once, so that a hundred of them need no more memory."""


@dataclass(frozen=True)
class AudioSettings:
    """What the published settings say of sound; those of the spectrogram never reach HTSAT.

    Attributes:
        audioenc_name: the audio encoder.
        sampling_rate: in Hz.
        duration: seconds of a clip.
    """

    audioenc_name: Literal["HTSAT"] = "HTSAT"
    sampling_rate: int = 44_100
    duration: float = 7

    def __post_init__(self) -> None:
        at_least_one(self, "sampling_rate")
        above_zero(self, "duration")

    def clip_length(self, htsat: HtsatConfig) -> ClipLength:
        """The clip that HTSAT hears.

        Raises:
            ConfigError: it has more frames than HTSAT's image, or fewer samples than half a frame.
        """
        samples = int(self.duration * self.sampling_rate)
        frames = htsat.frames_of(samples)
        if frames > htsat.frames:
            raise ConfigError(
                f"a clip of {self.duration:g} s at {self.sampling_rate} Hz has {frames} frames, HTSAT's image "
                f"{htsat.frames}: put the right htsat_config.json beside the weights"
            )
        if samples <= htsat.fft // 2:
            raise ConfigError(
                f"a clip of {samples} samples is too short for frames of {htsat.fft}: put the right htsat_config.json "
                "beside the weights"
            )
        return ClipLength(self.sampling_rate, samples)


class SoundTower(Protocol):
    """A network from waveforms (B, N) to embeddings (B, D), and its stages."""

    @property
    def front_end(self) -> LogMel:
        """What makes the log-mel."""

    def __call__(self, waveform: Tensor) -> Tensor: ...

    def stages(self, waveform: Tensor) -> dict[str, Tensor]:
        """Every stage by its name."""


class AudioStages:
    """The audio side of a system, without gradients.

    Args:
        tower: in evaluation mode.
        clip_length: what it hears of a sound.

    Attributes:
        clip_length: its ``clip`` makes a clip of a recording of any rate and any number of channels.
    """

    def __init__(self, tower: SoundTower, clip_length: ClipLength) -> None:
        self._tower = tower
        self.clip_length = clip_length

    @torch.no_grad()
    def log_mel(self, waveform: Waveforms, rng: random.Random | None = None) -> Tensor:
        """Log-mel of waveforms at the system's rate, (B, 1, T, mel bins) in dB.

        Args:
            waveform: see :meth:`quantize.models.audio_language.clips.ClipLength.batch`.
            rng: draws where longer ones are cut; None cuts at the beginning.
        """
        front_end = self._tower.front_end
        return front_end.log_mel(front_end.spectrogram(self.clip_length.batch(waveform, rng)))

    @torch.no_grad()
    def embed_audio(self, waveform: Waveforms, rng: random.Random | None = None) -> Tensor:
        """Projected embeddings (B, D), not normalised; arguments as for :meth:`log_mel`."""
        clips = self.clip_length.batch(waveform, rng)
        return torch.cat([self._tower(part) for part in clips.split(_BATCH)])

    @torch.no_grad()
    def audio_stages(self, waveform: Waveforms, rng: random.Random | None = None) -> dict[str, Tensor]:
        """``waveform`` (B, samples), the tower's stages and ``embedding`` (B, D), by the names of the reference."""
        clips = self.clip_length.batch(waveform, rng)
        return {"waveform": clips, **self._tower.stages(clips)}


def unit(rows: Tensor) -> Tensor:
    """Rows (…, D) divided by their L2 norm, without an epsilon, as published."""
    return rows / rows.norm(dim=-1, keepdim=True)
