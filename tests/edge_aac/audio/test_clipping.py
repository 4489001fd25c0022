"""Clipping: what sticks to the extreme is counted, what only turns there is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_aac.audio.clipping import ClippingMeter

_TIMES = np.arange(48_000) / 16_000


def _share(*channels: np.ndarray) -> tuple[float, int]:
    meter = ClippingMeter()
    meter.accept(np.stack(channels, axis=1).astype(np.float32))
    return meter.share()


def _quantised(samples: np.ndarray) -> np.ndarray:
    return np.round(samples * 32_767) / 32_768


def _loud(gain: float, seed: int = 0) -> np.ndarray:
    smooth = np.convolve(np.random.default_rng(seed).standard_normal(48_000), np.ones(8) / 8, "same")
    return gain * smooth / np.abs(smooth).max()


@pytest.mark.parametrize("limits", [(-1.0, 1.0), (-1.0, 9.0), (-9.0, 1.0)])
@pytest.mark.parametrize("gain", [2.0, 5.0])
@pytest.mark.parametrize("after", [1.0, 0.5])
def test_clipped(limits: tuple[float, float], gain: float, after: float) -> None:
    clipped = np.clip(_loud(gain), *limits)
    stuck = np.mean((clipped == limits[0]) | (clipped == limits[1]))
    share, channel = _share(np.zeros(48_000), _quantised(after * clipped))
    assert channel == 2
    assert 0.4 * stuck < share <= stuck


@pytest.mark.parametrize("dither", [0, 3])
def test_dither_after_the_clipping_does_not_hide_it(dither: int) -> None:
    clipped = np.round(np.clip(_loud(8.0), -1, 1) * 32_700)
    clipped += np.random.default_rng(1).integers(-dither, dither + 1, len(clipped))
    assert _share(clipped / 32_768)[0] > 0.05


@pytest.mark.parametrize("frequency", [1.0, 20.0, 50.0, 440.0, 7_000.0])
@pytest.mark.parametrize("gain", [0.3, 0.9, 1.0])
def test_waves_that_turn_at_their_top(frequency: float, gain: float) -> None:
    assert _share(_quantised(gain * np.sin(2 * np.pi * frequency * _TIMES)))[0] == 0.0


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(1_000),
        np.full(1_000, 0.5),
        np.sign(np.sin(2 * np.pi * 440 * _TIMES)),
        _quantised(_loud(0.99)),
        # The lowest bits of a quiet recording.
        np.random.default_rng(0).integers(-1, 2, 48_000) / 32_768,
    ],
)
def test_what_is_not_clipped(samples: np.ndarray) -> None:
    assert _share(samples)[0] < 1e-4


@given(cuts=st.lists(st.integers(0, 3_000), max_size=10), seed=st.integers(0, 20), gain=st.floats(0.5, 10.0))
@settings(max_examples=50, deadline=None)
def test_cuts_make_no_difference(cuts: list[int], seed: int, gain: float) -> None:
    # What grows raises the extreme again and again.
    samples = np.round(np.clip(_loud(gain, seed)[:3_000], -1, 1) * np.linspace(0.6, 1, 3_000) * 200) / 200
    frames = np.stack((samples, -samples), axis=1).astype(np.float32)
    whole, cut = ClippingMeter(), ClippingMeter()
    whole.accept(frames)
    edges = [0, *sorted(cuts), 3_000]
    for start, end in zip(edges, edges[1:], strict=False):
        cut.accept(frames[start:end])
    assert cut.share() == whole.share()


def test_nothing_was_heard() -> None:
    meter = ClippingMeter()
    meter.accept(np.zeros((0, 2), np.float32))
    assert meter.share() == (0.0, 1)
