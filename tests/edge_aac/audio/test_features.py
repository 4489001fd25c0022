"""The filter bank: equal to the reference, and equal to itself however the stream is cut."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest

from edge_aac.audio.features import FilterBank, filter_bank

_FIXTURE = Path(__file__).parents[4] / "shared/reference/captioner_tiny/expected.npz"


@pytest.fixture(scope="module")
def waveform() -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, 20_011).astype(np.float32)


def _streamed(bank: FilterBank, waveform: np.ndarray, chunk: int) -> np.ndarray:
    return np.concatenate([bank.accept(waveform[start : start + chunk]) for start in range(0, len(waveform), chunk)])


@pytest.mark.skipif(not _FIXTURE.exists(), reason="the reference fixtures (../shared) are not beside this checkout")
@pytest.mark.parametrize("case", ["full", "padded"])
def test_equals_the_reference(case: str) -> None:
    with np.load(_FIXTURE) as expected:
        frames = filter_bank(expected[f"{case}.waveform"][0])
        assert frames.shape == (998, 128)
        assert np.abs(frames - expected[f"{case}.fbank"][0]).max() < 5e-3


@pytest.mark.parametrize("chunk", [1, 7, 160, 1600, 4099])
def test_chunks_make_no_difference(waveform: np.ndarray, chunk: int) -> None:
    expected = filter_bank(waveform)
    assert expected.shape == (1 + (len(waveform) - 400) // 160, 128)
    assert expected.dtype == np.float32
    assert np.array_equal(_streamed(FilterBank(), waveform, chunk), expected)


@pytest.mark.parametrize("chunk", [1, 7, 160, 401, 4099])
@pytest.mark.parametrize("restart_frames", [1, 3, 50])
def test_restarts_make_no_difference(waveform: np.ndarray, chunk: int, restart_frames: int) -> None:
    streamed = _streamed(FilterBank(restart_frames=restart_frames), waveform, chunk)
    assert np.array_equal(streamed, filter_bank(waveform))


def test_frames_depend_on_their_own_25_ms_only(waveform: np.ndarray) -> None:
    assert np.array_equal(filter_bank(waveform[160 * 5 :]), filter_bank(waveform)[5:])


@pytest.mark.parametrize("samples", [0, 1, 399])
def test_too_short_for_a_frame(samples: int) -> None:
    assert filter_bank(np.zeros(samples, np.float32)).shape == (0, 128)


def test_silence_is_finite_and_floored() -> None:
    frames = filter_bank(np.zeros(800, np.float32))
    # Kaldi's floor under a mel energy is the smallest step of float32; energy_floor is for the energy column alone.
    assert np.allclose(frames, (np.log(np.finfo(np.float32).eps) - 15.41663) / (2 * 6.55582))


def test_reset_starts_anew(waveform: np.ndarray) -> None:
    bank = FilterBank()
    bank.accept(waveform[:777])
    bank.reset()
    assert np.array_equal(bank.accept(waveform), filter_bank(waveform))


def test_input_is_left_as_it_is(waveform: np.ndarray) -> None:
    before = waveform.copy()
    filter_bank(waveform)
    assert np.array_equal(waveform, before)


def test_memory_stays_flat() -> None:
    bank = FilterBank(restart_frames=2_000)
    second = np.random.default_rng(1).uniform(-0.5, 0.5, 16_000).astype(np.float32)
    for _ in range(30):
        bank.accept(second)
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(300):
        bank.accept(second)
    # Kept samples or frames of these five minutes would be 19 MiB and 15 MiB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 8 * 1024
