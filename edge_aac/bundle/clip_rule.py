"""How a model that hears clips, not the windows of a stream, cuts sound and what it makes of a clip."""

from __future__ import annotations

from pydantic import Field, model_validator

from edge_aac.bundle import limits
from edge_aac.bundle.manifest import BundleFile
from edge_aac.bundle.section import Count, Section


class MelRule(Section):
    """Log-mel of a clip: power of a Hann-windowed Fourier transform, centred and reflected at the ends, times a bank.

    Attributes:
        fft: samples of a frame, and of its transform.
        hop: samples from frame to frame.
        bins: mel bins, M.
        filters: the bank, (fft // 2 + 1, M) float32, as an array file of numpy.
    """

    fft: Count = Field(ge=4, le=limits.MAX_FFT)
    hop: Count = Field(ge=1, le=limits.MAX_FFT)
    bins: Count = Field(ge=1, le=limits.MAX_MEL_BINS)
    filters: BundleFile


class ClipRule(Section):
    """One clip, at the manifest's ``sample_rate``.

    Attributes:
        samples: length of a clip; the manifest's ``window_s`` is the same in seconds.
        mixes: whether channels are averaged; else they are heard one after the other, as they were in training.
        pads: whether sound that is shorter is repeated as a whole only, and silence fills the rest; else its last copy
            is cut.
        mel: what the encoder is given of a clip.
    """

    samples: Count = Field(ge=8, le=limits.MAX_CLIP_SAMPLES)
    mixes: bool
    pads: bool
    mel: MelRule

    @property
    def frames(self) -> int:
        """Frames of a clip: the first and the last are centred on its ends."""
        return self.samples // self.mel.hop + 1

    @model_validator(mode="after")
    def _can_be_reflected(self) -> ClipRule:
        if self.samples <= self.mel.fft // 2:
            raise ValueError(f"a clip of {self.samples} samples is too short for frames of {self.mel.fft}")
        return self
