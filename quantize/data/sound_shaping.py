"""Waveforms brought into shape: speed, loops, fades, levels, where they are heard, noise."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge_aac.timebase import SAMPLE_RATE
from quantize.data.clips import ENVELOPE_SAMPLES, Waveform, envelope_db


def at_speed(waveform: Waveform, speed: float) -> Waveform:
    """Played so many times as fast, its pitch with it."""
    grid = np.arange(0.0, len(waveform) - 1, speed)
    played: Waveform = np.interp(grid, np.arange(len(waveform)), waveform).astype(np.float32)
    return played


def looped(waveform: Waveform, length: int, rng: np.random.Generator) -> Waveform:
    """Repeat a steady sound with cross-fades until it is long enough, then cut it."""
    fade = min(round(0.15 * SAMPLE_RATE), len(waveform) // 4)
    ramp = np.sqrt(np.linspace(0.0, 1.0, fade, dtype=np.float32))
    whole = waveform[int(rng.integers(len(waveform) // 3 + 1)) :].copy()
    while len(whole) < length:
        joined = np.concatenate([whole, waveform[fade:]])
        joined[len(whole) - fade : len(whole)] *= ramp[::-1]
        joined[len(whole) - fade : len(whole)] += waveform[:fade] * ramp
        whole = joined
    return whole[:length]


def faded(waveform: Waveform, seconds: float = 0.01) -> Waveform:
    """With so many seconds of rise at its start and of fall at its end."""
    fade = min(round(seconds * SAMPLE_RATE), len(waveform) // 2)
    ramp = np.linspace(0.0, 1.0, fade, dtype=np.float32)
    shaped = waveform.copy()
    shaped[:fade] *= ramp
    shaped[len(shaped) - fade :] *= ramp[::-1]
    return shaped


def normalised(waveform: Waveform) -> Waveform:
    """Unit RMS over the parts that are heard, so that a short bark and steady rain are comparable."""
    heard = np.repeat(where_heard(waveform), ENVELOPE_SAMPLES)[: len(waveform)]
    rms = float(np.sqrt(np.square(waveform[heard], dtype=np.float64).mean())) if heard.any() else 0.0
    return waveform / np.float32(max(rms, 1e-6))


def where_heard(waveform: Waveform) -> npt.NDArray[np.bool_]:
    """Where a sound is within 25 dB of its peak, per 10 ms."""
    return envelope_db(waveform) > -25.0


def longest_gap_s(heard: npt.NDArray[np.bool_]) -> float:
    """Seconds of the longest stretch that is not heard."""
    edges = np.flatnonzero(np.diff(np.concatenate([[True], heard, [True]]).astype(np.int8)))
    gaps = edges.reshape(-1, 2) @ np.array([-1, 1])
    return float(gaps.max(initial=0)) * ENVELOPE_SAMPLES / SAMPLE_RATE


def coloured_noise(samples: int, rng: np.random.Generator) -> Waveform:
    """Noise of unit RMS whose power falls as 1/f^c, c uniform in 0 (white) to 2 (brown)."""
    size = fast_length(samples)
    parts = rng.standard_normal((2, size // 2 + 1), dtype=np.float32)
    spectrum = parts[0] + np.complex64(1j) * parts[1]
    hertz = np.maximum(np.fft.rfftfreq(size, 1.0 / SAMPLE_RATE), 30.0).astype(np.float32)
    spectrum *= np.exp(np.float32(-0.5 * rng.uniform(0.0, 2.0)) * np.log(hertz))
    noise: Waveform = np.fft.irfft(spectrum, size)[:samples].astype(np.float32)
    noise /= np.sqrt(np.square(noise).mean())
    return noise


def fast_length(samples: int) -> int:
    """The next even length whose transform is fast: a multiple of 4000 factors into 2, 5 and little else."""
    return -(-samples // 4000) * 4000
