"""Any rate and any number of channels to mono at 16 kHz, as a stream."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import soxr

from edge_aac.audio.channel_watch import ChannelWatch
from edge_aac.audio.mixing import EqualizedMixer, Mixing
from edge_aac.timebase import SAMPLE_RATE

LOWEST_RATE = 1_000
HIGHEST_RATE = 1_000_000


class MonoResampler:
    """Resamples to 16 kHz with soxr's high-quality filter, and makes one channel of several.

    The output does not depend on how the input is cut. At 16 kHz mono the samples pass untouched. Channels are
    resampled before they are mixed, so that the mix looks at what is heard, in the same time and bands at any rate.

    Args:
        rate: rate of the input in Hz, from 1 kHz to 1 MHz.
        mixing: how several channels become one.
        watch: is told of the channels and logs what is wrong with them; None for nobody.

    Raises:
        ValueError: the rate is out of these bounds.
    """

    def __init__(self, rate: int, mixing: Mixing | None = None, watch: ChannelWatch | None = None) -> None:
        if not LOWEST_RATE <= rate <= HIGHEST_RATE:
            raise ValueError(f"a rate of {rate} Hz is not between {LOWEST_RATE} and {HIGHEST_RATE}")
        self.rate = rate
        self._mixing = mixing or Mixing()
        self._watch = watch
        self._channels = 0
        self._stream: soxr.ResampleStream | None = None
        self._mixer: EqualizedMixer | None = None

    def accept(self, frames: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Takes sound and gives what is ready of it.

        Args:
            frames: float32, shape (n, channels) at the input's rate; as many channels in every call.

        Returns:
            Mono samples at 16 kHz, float32, shape (m,); m may be 0 while the filter, or 0.1 s of channels, fills.

        Raises:
            ValueError: the number of channels has changed, or the one to be heard is not among them.
        """
        if not self._channels:
            self._start(frames.shape[1])
        elif frames.shape[1] != self._channels:
            raise ValueError(f"{frames.shape[1]} channels after {self._channels}")
        if self._watch is not None:
            self._watch.hear(frames, self.rate)
        return self._mixed(self._resampled(self._chosen(frames), last=False))

    def flush(self) -> npt.NDArray[np.float32]:
        """Gives the rest, float32, shape (m,), and takes no more sound until :meth:`reset`."""
        if not self._channels:
            return np.zeros(0, np.float32)
        rest = self._mixed(self._resampled(np.zeros((0, self._kept_channels), np.float32), last=True))
        if self._mixer is not None:
            rest = np.concatenate((rest, self._mixer.flush()))
        if self._watch is not None:
            self._watch.end()
        return rest

    def reset(self) -> None:
        """Forgets the past, as after a gap in the sound."""
        if self._stream is not None:
            self._stream.clear()
        if self._mixer is not None:
            self._mixer.reset()

    @property
    def _kept_channels(self) -> int:
        return 1 if self._mixer is None else self._channels

    def _start(self, channels: int) -> None:
        chosen = self._mixing.channel
        if chosen is not None and not 1 <= chosen <= channels:
            raise ValueError(f"no channel {chosen} among {channels}")
        self._channels = channels
        if channels > 1 and chosen is None and self._mixing.rule == "equalized":
            self._mixer = EqualizedMixer(channels, self._watch.observe if self._watch is not None else None)
        if self.rate != SAMPLE_RATE:
            self._stream = soxr.ResampleStream(self.rate, SAMPLE_RATE, self._kept_channels, dtype="float32")

    def _chosen(self, frames: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Gives the channels that are to be resampled, shape (n, kept channels)."""
        if self._mixer is not None or self._channels == 1:
            return frames
        if self._mixing.channel is not None:
            return frames[:, self._mixing.channel - 1 : self._mixing.channel]
        mean: npt.NDArray[np.float32] = frames.mean(axis=1, dtype=np.float32, keepdims=True)
        return mean

    def _resampled(self, frames: npt.NDArray[np.float32], *, last: bool) -> npt.NDArray[np.float32]:
        if self._stream is None:
            return frames
        if self._kept_channels > 1:
            return np.asarray(self._stream.resample_chunk(np.ascontiguousarray(frames), last=last), dtype=np.float32)
        mono = np.ascontiguousarray(frames[:, 0])
        return np.asarray(self._stream.resample_chunk(mono, last=last), dtype=np.float32)[:, None]

    def _mixed(self, frames: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.ascontiguousarray(frames[:, 0]) if self._mixer is None else self._mixer.accept(frames)
