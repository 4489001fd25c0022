"""Resampling does not depend on how the sound is cut, and keeps its level and pitch."""

from __future__ import annotations

import numpy as np
import pytest

from edge_aac.audio.resample import MonoResampler


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000, 192_000])
@pytest.mark.parametrize("chunk", [1, 7, 441, 4099])
def test_chunks_make_no_difference(rate: int, chunk: int) -> None:
    frames = np.random.default_rng(0).uniform(-1, 1, (5_000, 2)).astype(np.float32)
    whole = MonoResampler(rate)
    expected = np.concatenate((whole.accept(frames), whole.flush()))
    cut = MonoResampler(rate)
    pieces = [cut.accept(frames[start : start + chunk]) for start in range(0, len(frames), chunk)]
    assert np.array_equal(np.concatenate([*pieces, cut.flush()]), expected)
    assert abs(len(expected) - 5_000 * 16_000 / rate) <= 1


def test_channels_are_averaged() -> None:
    frames = np.stack((np.full(100, 0.5), np.full(100, -0.25)), axis=1).astype(np.float32)
    assert np.array_equal(MonoResampler(16_000).accept(frames), np.full(100, 0.125, np.float32))


def test_reset_forgets() -> None:
    frames = np.random.default_rng(1).uniform(-1, 1, (4_410, 1)).astype(np.float32)
    resampler = MonoResampler(44_100)
    first = np.concatenate((resampler.accept(frames), resampler.flush()))
    resampler.reset()
    assert np.array_equal(np.concatenate((resampler.accept(frames), resampler.flush())), first)


@pytest.mark.parametrize("rate", [0, -1, 999, 1_000_001])
def test_absurd_rates(rate: int) -> None:
    with pytest.raises(ValueError, match="Hz"):
        MonoResampler(rate)


def test_nothing_in_nothing_out() -> None:
    assert len(MonoResampler(44_100).flush()) == 0
    assert len(MonoResampler(16_000).flush()) == 0
