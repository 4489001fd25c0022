"""The level of what can be heard: the curve of the standard, without DC, the same however the sound is cut."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_aac.audio.audible_level import AudibleEnergy, a_weighting_db

# IEC 61672-1:2013, table 3: A-weighting in dB, to one decimal.
_TABLE = {10: -70.4, 20: -50.5, 31.5: -39.4, 63: -26.2, 125: -16.1, 250: -8.6, 500: -3.2, 1_000: 0.0, 2_000: 1.2}
_TABLE |= {4_000: 1.0, 6_300: -0.1, 8_000: -1.1}


def _blocks(samples: np.ndarray) -> np.ndarray:
    return samples.astype(np.float32).reshape(-1, 160)


def _level(samples: np.ndarray) -> float:
    """Level of the second half in dB."""
    energies = AudibleEnergy().accept(_blocks(samples))
    half = len(energies) // 2
    return 10 * math.log10(energies[half:].mean() / 160)


@pytest.mark.parametrize(("nominal", "weight"), _TABLE.items())
def test_the_formula_is_the_standards_table(nominal: float, weight: float) -> None:
    exact = 1_000 * 10 ** (round(10 * math.log10(nominal / 1_000)) / 10)
    assert a_weighting_db(exact) == pytest.approx(weight, abs=0.1)


@pytest.mark.parametrize("frequency", [10, 16, 25, 50, 100, 200, 440, 1_000, 2_500, 4_000, 5_500, 7_000])
def test_the_filter_is_the_formula(frequency: float) -> None:
    tone = np.sin(2 * np.pi * frequency * np.arange(64_000) / 16_000)
    assert _level(tone) - 10 * math.log10(0.5) == pytest.approx(a_weighting_db(frequency), abs=0.2)


@pytest.mark.parametrize("dc", [1.0, -0.003])
def test_dc_is_nothing(dc: float) -> None:
    assert not AudibleEnergy().accept(np.full((20, 160), dc, np.float32)).any()
    noise = 1e-4 * np.random.default_rng(0).standard_normal(16_000)
    assert _level(noise + dc) == pytest.approx(_level(noise), abs=0.1)
    # From its first block on.
    assert AudibleEnergy().accept(_blocks(noise + dc)).max() < 160 * 1e-7


@given(cuts=st.lists(st.integers(0, 60), max_size=8), dc=st.floats(-1, 1))
@settings(max_examples=40, deadline=None)
def test_cuts_make_no_difference(cuts: list[int], dc: float) -> None:
    blocks = _blocks(0.1 * np.random.default_rng(1).standard_normal(9_600) + dc)
    whole, cut = AudibleEnergy(), AudibleEnergy()
    edges = [0, *sorted(cuts), 60]
    pieces = [cut.accept(blocks[start:end]) for start, end in zip(edges, edges[1:], strict=False) if end > start]
    assert np.array_equal(np.concatenate(pieces), whole.accept(blocks))


def test_silence_after_a_sound_is_silent_at_once() -> None:
    samples = np.concatenate((np.random.default_rng(2).standard_normal(1_600), np.zeros(320), np.full(320, 0.5)))
    energies = AudibleEnergy().accept(_blocks(samples))
    assert energies[:10].all()
    assert not energies[10:12].any()
    assert energies[12] > 0, "a step is a click"
    assert energies[13] == 0


def test_a_slow_square_wave_is_heard() -> None:
    square = np.where(np.arange(16_000) // 160 % 2, 0.5, -0.5)
    assert _level(square) > -30


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_spoils_its_block(value: float) -> None:
    samples = 0.1 * np.random.default_rng(3).standard_normal(16_000)
    broken = samples.copy()
    broken[5_000] = value
    energies = AudibleEnergy().accept(_blocks(broken))
    assert np.flatnonzero(np.isnan(energies)).tolist() == [31]
    assert np.allclose(energies[60:], AudibleEnergy().accept(_blocks(samples))[60:])


def test_the_end_of_a_stream() -> None:
    energy = AudibleEnergy()
    assert energy.last(np.zeros(0, np.float32)) == 0.0
    assert energy.last(np.full(100, 0.7, np.float32)) == 0.0, "DC that ends is no click"
    energy.reset()
    samples = (0.1 * np.random.default_rng(4).standard_normal(320)).astype(np.float32)
    energy.accept(samples[:160].reshape(1, -1))
    last = energy.last(samples[160:260])
    whole = AudibleEnergy()
    full = whole.accept(samples.reshape(2, -1))[1]
    assert 0.3 * full < last < full
    assert math.isnan(AudibleEnergy().last(np.array([0.1, np.nan], np.float32)))
