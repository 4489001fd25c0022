"""The filter bank: equal to the reference, and equal to itself however the stream is cut."""

from __future__ import annotations

import resource
from pathlib import Path

import kaldi_native_fbank
import numpy as np
import pytest

from edge_aac.audio.features import FilterBank, filter_bank
from edge_aac.timebase import SAMPLE_RATE

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


def _kaldi(waveform: np.ndarray) -> np.ndarray:
    """The filter bank of Kaldi itself, normalised as BEATs has it."""
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.samp_freq = SAMPLE_RATE
    options.frame_opts.dither = 0.0
    options.frame_opts.window_type = "povey"
    options.mel_opts.num_bins = 128
    bank = kaldi_native_fbank.OnlineFbank(options)
    bank.accept_waveform(SAMPLE_RATE, waveform * np.float32(2**15))
    bank.input_finished()
    frames = np.stack([bank.get_frame(index) for index in range(bank.num_frames_ready)])
    return (frames - np.float32(15.41663)) / np.float32(2 * 6.55582)


@pytest.mark.parametrize("level", [0.9, 1e-2, 1e-4])
def test_equals_kaldi(waveform: np.ndarray, level: float) -> None:
    tone = np.sin(np.arange(len(waveform)) * 0.3).astype(np.float32)
    steps = np.round(waveform * level * 2**15) / 2**15
    for sound in (waveform * level, steps, (tone + waveform / 100) * level):
        given = sound.astype(np.float32)
        assert np.abs(filter_bank(given) - _kaldi(given)).max() < 1e-3


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
    bank = FilterBank()
    second = np.random.default_rng(1).uniform(-0.5, 0.5, 16_000).astype(np.float32)
    for _ in range(30):
        bank.accept(second)
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(300):
        bank.accept(second)
    # Kept samples or frames of these five minutes would be 19 MiB and 15 MiB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 8 * 1024
