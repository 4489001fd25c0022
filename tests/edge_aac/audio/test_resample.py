"""Resampling does not depend on how the sound is cut, and keeps its level and pitch."""

from __future__ import annotations

import numpy as np
import pytest

from edge_aac.audio.mixing import Mixing
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


def test_channels_are_averaged_where_that_is_wanted() -> None:
    frames = np.stack((np.full(100, 0.5), np.full(100, -0.25)), axis=1).astype(np.float32)
    assert np.array_equal(MonoResampler(16_000, Mixing("mean")).accept(frames), np.full(100, 0.125, np.float32))


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_one_channel_is_that_channel_alone(rate: int) -> None:
    frames = np.random.default_rng(0).uniform(-1, 1, (5_000, 3)).astype(np.float32)
    alone, chosen = MonoResampler(rate), MonoResampler(rate, Mixing(channel=2))
    expected = np.concatenate((alone.accept(frames[:, 1:2]), alone.flush()))
    assert np.array_equal(np.concatenate((chosen.accept(frames), chosen.flush())), expected)


def test_the_number_of_channels_stays() -> None:
    resampler = MonoResampler(16_000)
    resampler.accept(np.zeros((10, 2), np.float32))
    with pytest.raises(ValueError, match="3 channels after 2"):
        resampler.accept(np.zeros((10, 3), np.float32))
    with pytest.raises(ValueError, match="no channel 3 among 2"):
        MonoResampler(16_000, Mixing(channel=3)).accept(np.zeros((10, 2), np.float32))


@pytest.mark.parametrize("channels", [1, 2])
def test_reset_forgets(channels: int) -> None:
    frames = np.random.default_rng(1).uniform(-1, 1, (4_410, channels)).astype(np.float32)
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
