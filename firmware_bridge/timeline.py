"""From a device's frames to mono sound at 16 kHz, with each sample that is missing accounted for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_aac.audio.mixing import Mixing
from edge_aac.audio.resample import MonoResampler
from edge_aac.timebase import SAMPLE_RATE
from firmware_bridge.adpcm import decode_block
from firmware_bridge.fields import Codec
from firmware_bridge.frame import Audio, Hello
from firmware_bridge.inbox import Received

_FULL_SCALE = 32768.0
_DITHER = 1.0 / _FULL_SCALE
"""What a device leaves out is quiet, and not digital silence: one step of its own samples stands for it."""
_MAX_GATED_AT_ONCE = SAMPLE_RATE
_AHEAD_FACTOR, _AHEAD_S = 1.05, 5.0
"""A sample clock that is ahead of the time that passed by more than this is not believed."""


def decoded(audio: Audio) -> npt.NDArray[np.float32]:
    """The samples of a frame, float32 in [-1, 1), shape (samples, channels)."""
    if audio.codec is Codec.PCM:
        samples = np.frombuffer(audio.payload, "<i2").reshape(audio.samples, audio.channels)
    else:
        samples = np.array([decode_block(block, audio.samples) for block in audio.blocks()], np.int16).T
    return np.ascontiguousarray(samples, np.float32) / np.float32(_FULL_SCALE)


@dataclass(frozen=True)
class Placed:
    """Sound in its place.

    Attributes:
        samples: mono at 16 kHz, float32, shape (n,); n may be 0 while a resampler fills.
        lost_samples: samples at 16 kHz that are lost before it.
    """

    samples: npt.NDArray[np.float32]
    lost_samples: int


class Timeline:
    """Makes one row of samples at 16 kHz of a device's frames.

    Lost samples are carried over to 16 kHz without rounding them away: what is counted after a while is what the
    device's own count says. What the device's gate left out is no loss: faint noise stands for it.

    Args:
        mixing: how two channels become one.
    """

    def __init__(self, mixing: Mixing | None = None) -> None:
        self._mixing = mixing
        self._resampler: MonoResampler | None = None
        self._stream = (0, 0)
        self._rest = 0
        """Of lost samples at the device's rate, times 16000, less what was counted of them."""
        self._noise = np.random.Generator(np.random.SFC64(19))
        self._until_s: float | None = None
        """When the newest frame arrived, in monotonic seconds."""

    def place(self, received: Received, asleep_s: float = 0.0) -> list[Placed]:
        """Takes a frame; gives its sound, after the quiet sound that was left out before it.

        Args:
            received: the frame.
            asleep_s: seconds of the time since the frame before in which the machine slept: others account for them.
        """
        ordered, hello = received.ordered, received.hello
        audio = ordered.audio
        resampler = self._resampler_for(hello)
        lost, gated = self._missing(received, asleep_s)
        self._until_s = ordered.arrived_s
        whole, self._rest = divmod(self._rest + lost * SAMPLE_RATE, hello.rate_hz)
        placed = []
        while gated:
            part = min(gated, _MAX_GATED_AT_ONCE)
            gated -= part
            noise = self._noise.integers(-1, 2, (part, audio.channels)).astype(np.float32) * np.float32(_DITHER)
            placed.append(Placed(resampler.accept(noise), whole))
            whole = 0
        placed.append(Placed(resampler.accept(decoded(audio)), whole))
        return placed

    def _missing(self, received: Received, asleep_s: float) -> tuple[int, int]:
        """Samples at the device's rate that are lost, and those that were left out, before a frame."""
        ordered, rate_hz = received.ordered, received.hello.rate_hz
        if self._until_s is None:
            return 0, 0
        passed_s = max(0.0, ordered.arrived_s - self._until_s)
        believed = round((passed_s + asleep_s) * rate_hz * _AHEAD_FACTOR + _AHEAD_S * rate_hz)
        lost, gated = ordered.lost_samples, ordered.gated_samples
        if lost is None or lost + gated > believed:
            return max(0, round((passed_s - ordered.audio.samples / rate_hz) * rate_hz)), 0
        return max(0, lost - round(asleep_s * rate_hz)), gated

    def _resampler_for(self, hello: Hello) -> MonoResampler:
        stream = (hello.rate_hz, hello.channels)
        if self._resampler is None or stream != self._stream:
            self._resampler = MonoResampler(hello.rate_hz, self._mixing)
            self._stream, self._rest = stream, 0
        return self._resampler
