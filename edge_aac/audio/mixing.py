"""Several channels to one, so that no sound in any of them is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from edge_aac.errors import UsageError
from edge_aac.timebase import SAMPLE_RATE

Rule = Literal["equalized", "mean"]

BLOCK_SAMPLES = SAMPLE_RATE // 10
"""What one decision of the equalized mix stands for: 0.1 s."""

COMPARABLE_POWER = 1e-2
"""A channel with less than this share of the strongest one's power adds little, whatever its phase."""

_HOP_SAMPLES = 200
_FRAME_SAMPLES = 2 * _HOP_SAMPLES
_BLOCK_FRAMES = BLOCK_SAMPLES // _HOP_SAMPLES
_BIN_HZ = SAMPLE_RATE / _FRAME_SAMPLES

# Edges in Hz of Zwicker's critical bands (J. Acoust. Soc. Am. 33, 1961, p. 248); those below 1 kHz are joined in pairs:
# fewer bins than five say little about a correlation in 0.1 s. The lowest holds what is left of DC.
_BAND_EDGES_HZ = (0, 100, 300, 510, 770, 1080, 1270, 1480, 1720, 2000, 2320, 2700, 3150, 3700, 4400, 5300, 6400)
_BAND_STARTS = np.array([round(edge / _BIN_HZ) for edge in _BAND_EDGES_HZ])
_BAND_OF_BIN = np.searchsorted(_BAND_STARTS, np.arange(_FRAME_SAMPLES // 2 + 1), side="right") - 1

# Chance alone gives two independent channels a correlation of -0.5 in one narrow band about once in a minute. Above it
# the sum of two equal channels is no weaker than either.
_FLIP_CORRELATION = -0.5
_SERVING_POWER = 0.5
_HIGHEST_GAIN = 4.0

# Square root of Hann, at analysis and synthesis: overlapping frames add up to one.
_WINDOW = np.sin(np.pi * np.arange(_FRAME_SAMPLES) / _FRAME_SAMPLES).astype(np.float32)

# Share of a block's mean in the new estimate of DC: a time constant of 0.3 s, a corner of about 0.5 Hz.
_DC_SHARE = np.float32(0.3)
_RAMP = (np.arange(1, BLOCK_SAMPLES + 1) / BLOCK_SAMPLES).astype(np.float32)


@dataclass(frozen=True)
class Mixing:
    """How the channels of a source become one.

    Attributes:
        rule: "equalized" for :class:`EqualizedMixer`; "mean" for the plain average, in which opposite phases cancel.
        channel: the one channel that is heard, counted from 1, whatever the rule; None for all.
    """

    rule: Rule = "equalized"
    channel: int | None = None


def refuse_absent_channel(mixing: Mixing, channels: int, label: str) -> None:
    """Refuses a channel that a source does not have.

    Args:
        mixing: what was asked for.
        channels: number of channels that the source has.
        label: the source's name in messages.

    Raises:
        UsageError: the channel is beyond the source's last.
    """
    if mixing.channel is not None and mixing.channel > channels:
        has = "only one channel" if channels == 1 else f"{channels} channels"
        raise UsageError(f"'{label}' has no channel {mixing.channel}: it has {has}.")


@dataclass(frozen=True)
class ChannelFacts:
    """What a mixer saw of its channels in one block.

    Attributes:
        powers: mean square of each channel without DC, float32, shape (channels,).
        correlations: correlation of each channel with the first one that is within 20 dB of the strongest, from -1 to 1
            (0 for a silent one), float32, shape (channels,).
    """

    powers: npt.NDArray[np.float32]
    correlations: npt.NDArray[np.float32]


class EqualizedMixer:
    """Mixes channels at 16 kHz so that each critical band is as loud as it is in the channel where it is loudest.

    This is the equalized mixing of binaural cue coding: in bands of the short-time spectrum the channels are added, and
    the sum is scaled to the power that it should have (F. Baumgarte, C. Faller, P. Kroon: *Audio Coder Enhancement
    using Scalable Binaural Cue Coding with Equalized Mixing*, AES Convention 116, 2004; C. Faller, F. Baumgarte:
    *Binaural Cue Coding, Part II*, IEEE Trans. Speech Audio Proc. 11(6), 2003). Two things differ. The power is that of
    the loudest channel, not the sum of all powers: equal channels give the channel itself. And since no gain brings
    back what has cancelled, a channel is turned over where it would: in each band the channels are added from the
    loudest to the quietest, and the sign of one whose correlation with the sum so far is below -0.5 changes.

    Decisions are made in blocks of 0.1 s of 8 frames of 25 ms, counted from the start of the stream, from the block
    alone (but for the signs, which last until they must change): what begins in a silent channel is heard from its
    first frame. Blocks cross-fade over half a frame. The output does not depend on how the input is cut, bit for bit.
    DC (below about 0.5 Hz) is averaged apart and decides nothing. A sample that is no number spoils the blocks that it
    reaches into, no later one.

    Args:
        channels: number of channels, 2 or more.
        observe: is given what was seen of the channels in each block.
    """

    def __init__(self, channels: int, observe: Callable[[ChannelFacts], None] | None = None) -> None:
        self._channels = channels
        self._observe = observe
        self.reset()

    def reset(self) -> None:
        """Starts a new stream."""
        self._signs = np.ones((len(_BAND_STARTS), self._channels), np.float32)
        self._pending = np.zeros((self._channels, 0), np.float32)
        # The stream's first sample is the first of the second half of the first frame.
        self._last_half = np.zeros((self._channels, _HOP_SAMPLES), np.float32)
        self._last_dc_half = np.zeros(_HOP_SAMPLES, np.float32)
        self._dc: npt.NDArray[np.float32] | None = None
        self._overlap = np.zeros(_HOP_SAMPLES, np.float32)
        self._received = 0
        self._given = -_HOP_SAMPLES

    def accept(self, frames: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Takes sound and gives what is ready of its mix, up to 0.1125 s late.

        Args:
            frames: float32, shape (n, channels), at 16 kHz.

        Returns:
            Float32, shape (m,).
        """
        self._received += len(frames)
        pending = np.concatenate((self._pending, frames.T), axis=1)
        whole = pending.shape[1] // BLOCK_SAMPLES * BLOCK_SAMPLES
        blocks = [self._block(pending[:, start : start + BLOCK_SAMPLES]) for start in range(0, whole, BLOCK_SAMPLES)]
        self._pending = pending[:, whole:].copy()
        return np.concatenate([np.zeros(0, np.float32), *blocks])

    def flush(self) -> npt.NDArray[np.float32]:
        """Gives the rest, float32, shape (m,): in all as many samples as were taken. :meth:`reset` starts anew."""
        rest = [np.zeros(0, np.float32)]
        while self._given < self._received:
            mixed = self._block(self._pending)
            self._pending = self._pending[:, :0]
            rest.append(mixed[: len(mixed) - max(0, self._given - self._received)])
        return np.concatenate(rest)

    def _block(self, samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Mixes one block, shape (channels, 1600) or shorter at the end: gives shape (1600,), shorter at the start."""
        # Samples that are no numbers, or huge, give a block that is none: the model says so.
        with np.errstate(invalid="ignore", over="ignore"):
            # One layout in memory, however the input was cut: sums depend on it.
            halves, dc_halves = self._without_dc(np.ascontiguousarray(samples))
            frames = np.concatenate((halves[:, :-1], halves[:, 1:]), axis=2) * _WINDOW
            spectra = np.fft.rfft(frames, axis=2).astype(np.complex64, copy=False)
            products = _products(spectra)
            if samples.shape[1] and self._observe is not None:
                self._observe(_facts(products))
            mixed = (spectra * self._weights(products)[:, None, :]).sum(axis=0)
            parts = np.fft.irfft(mixed, _FRAME_SAMPLES, axis=1).astype(np.float32, copy=False) * _WINDOW
            output = dc_halves[:-1] + parts[:, :_HOP_SAMPLES]
            output[1:] += parts[:-1, _HOP_SAMPLES:]
            output[0] += self._overlap
        self._overlap = parts[-1, _HOP_SAMPLES:].copy()
        before_start = max(0, -self._given)
        self._given += BLOCK_SAMPLES
        return output.reshape(-1)[before_start:]

    def _without_dc(self, samples: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Takes each channel's DC off: weights that change would make it audible.

        Returns:
            Half frames of the channels, from the last one before this block on, shape (channels, 9, 200), and the mean
            DC of the channels, which is added to the mix, shape (9, 200).
        """
        count = samples.shape[1]
        means = samples.mean(axis=1) if count else np.zeros(self._channels, np.float32)
        before = self._dc
        if before is None or not np.isfinite(before).all():
            before = means
        self._dc = before + (means - before) * _DC_SHARE if count else before
        slope = (self._dc - before)[:, None]
        lines = before[:, None] + slope * _RAMP
        kept = np.zeros((self._channels, BLOCK_SAMPLES), np.float32)
        kept[:, :count] = samples - lines[:, :count]
        joined = np.concatenate((self._last_half, kept), axis=1)
        dc = np.concatenate((self._last_dc_half, lines.mean(axis=0)))
        self._last_half, self._last_dc_half = joined[:, BLOCK_SAMPLES:], dc[BLOCK_SAMPLES:]
        shape = (_BLOCK_FRAMES + 1, _HOP_SAMPLES)
        return joined.reshape(self._channels, *shape), dc.reshape(shape)

    def _weights(self, products: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Gives the weight of each channel and bin, shape (channels, bins), and keeps the signs.

        Args:
            products: as :func:`_products` gives them.
        """
        bands = np.arange(len(products))
        powers = np.diagonal(products, axis1=1, axis2=2)
        order = np.argsort(-powers, axis=1, kind="stable")
        highest = powers[bands, order[:, 0]]
        # What has been added so far: the signs of its channels, and its power.
        added, total_power = np.zeros_like(self._signs), np.zeros_like(highest)
        for channels in order.T:
            power = powers[bands, channels]
            before = self._signs[bands, channels]
            product = before * (added * products[bands, :, channels]).sum(axis=1)
            sign = np.where(product < _FLIP_CORRELATION * np.sqrt(total_power * power), -before, before)
            total_power = total_power + power + 2 * product * before * sign
            added[bands, channels] = sign
        # What lies on the edge of two bands must not be turned over in one of them only: the signs of the band below
        # are taken where they serve.
        below = np.concatenate((added[:1], added[:-1]))
        power_of_below = (below * (products @ below[:, :, None])[:, :, 0]).sum(axis=1)
        serves = power_of_below >= _SERVING_POWER * total_power
        self._signs = np.where(serves[:, None], below, added)
        total_power = np.where(serves, power_of_below, total_power)
        ratio = np.divide(highest, total_power, out=np.ones_like(highest), where=total_power > 0)
        gains = np.minimum(np.sqrt(ratio), np.float32(_HIGHEST_GAIN))
        weights: npt.NDArray[np.float32] = (self._signs * gains[:, None]).T
        return weights[:, _BAND_OF_BIN]


def _products(spectra: npt.NDArray[np.complex64]) -> npt.NDArray[np.float32]:
    """Gives the products of each two channels, summed over frames and the bins of a band: (bands, channels, channels).

    Args:
        spectra: shape (channels, frames, bins).
    """
    channels, frames, bins = spectra.shape
    # Real and imaginary parts side by side: the real part of one spectrum with the other's conjugate is their product.
    flat = np.ascontiguousarray(spectra.transpose(0, 2, 1)).view(np.float32).reshape(channels, -1)
    edges = 2 * frames * np.append(_BAND_STARTS, bins)
    bands = [flat[:, start:end] for start, end in pairwise(edges.tolist())]
    return np.stack([band @ band.T for band in bands])


def _facts(products: npt.NDArray[np.float32]) -> ChannelFacts:
    sums = products.sum(axis=0)
    totals = np.diagonal(sums)
    # Not the strongest one, which two equal channels would be in turn.
    reference = int(np.argmax(totals >= COMPARABLE_POWER * totals.max()))
    scale = np.sqrt(totals * totals[reference])
    correlations = np.divide(sums[reference], scale, out=np.zeros_like(scale), where=scale > 0)
    # Parseval: half of the bins, a window with a mean square of one half, and numpy's sums over a frame.
    per_sample = 2.0 / (_BLOCK_FRAMES * _FRAME_SAMPLES * float(np.square(_WINDOW, dtype=np.float64).sum()))
    return ChannelFacts((totals * np.float32(per_sample)).astype(np.float32), correlations.astype(np.float32))
