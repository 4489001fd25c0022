"""Sounds of several kinds, and their samples in each raw encoding."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import soundfile

from edge_aac.audio.formats.layout import SampleFormat
from edge_aac.audio.formats.likeness import ENCODINGS

Samples = npt.NDArray[np.float32]
RATE = 16_000


def sounds(seconds: float = 3.0) -> dict[str, Samples]:
    """Sounds as recorders give them, float32 within ±1, shape (samples,)."""
    random = np.random.default_rng(7)
    count = round(RATE * seconds)
    time_s = np.arange(count) / RATE
    white = random.standard_normal(count)
    rumble = np.cumsum(white)
    rumble -= np.linspace(rumble[0], rumble[-1], count)
    syllables = np.abs(np.sin(2 * np.pi * 2.5 * time_s)) ** 3
    voice = sum(np.sin(2 * np.pi * 120 * k * time_s + k) / k for k in range(1, 20)) * syllables
    clock = np.where(np.arange(count) % (RATE // 2) < 300, white, 0.01 * white)
    made = {
        "rain": 0.1 * white,
        "quiet hiss": 0.0005 * white,
        "loud hiss": 0.3 * white,
        "clipped hiss": 1.2 * white,
        "rumble": 0.5 * rumble / np.abs(rumble).max(),
        "voice": 0.3 * voice / np.abs(voice).max() + 0.001 * white,
        "clock": 0.2 * clock,
        "tone": 0.5 * np.sin(2 * np.pi * 440 * time_s),
        "chord": 0.2 * sum(np.sin(2 * np.pi * pitch * time_s) for pitch in (262, 330, 392)),
        "square wave": 0.5 * np.sign(np.sin(2 * np.pi * 440 * time_s)),
        "noisy square wave": 0.5 * np.sign(np.sin(2 * np.pi * 440 * time_s)) + 0.005 * white,
        "offset": 0.4 + 0.02 * white,
        "fade": 0.5 * white * np.linspace(1, 0, count) ** 3,
        "coarse": np.round(0.2 * white * 127) / 128,
    }
    return {name: np.clip(sound, -1, 1 - 2**-15).astype(np.float32) for name, sound in made.items()}


def encode(sound: Samples, encoding: SampleFormat) -> bytes:
    """Samples as raw bytes."""
    order = ">" if encoding.endswith("be") else "<"
    wide = sound.astype(np.float64)
    size = ENCODINGS[encoding].sample_bytes
    if encoding in ("ulaw", "alaw"):
        file = io.BytesIO()
        soundfile.write(file, sound, 8_000, format="RAW", subtype=encoding.upper())
        return file.getvalue()
    if encoding.startswith("f"):
        return wide.astype(f"{order}f{size}").tobytes()
    integers = np.clip(np.round(wide * 2.0 ** (8 * size - 1)), -(2 ** (8 * size - 1)), 2 ** (8 * size - 1) - 1)
    if encoding == "u8":
        return (integers + 128).astype(np.uint8).tobytes()
    if encoding.startswith("s24"):
        words = integers.astype(f"{order}i4").view(np.uint8).reshape(-1, 4)
        return (words[:, 1:] if order == ">" else words[:, :3]).tobytes()
    return integers.astype(f"{order}i{size}").tobytes()


def interleaved(*channels: Samples) -> Samples:
    return np.stack(channels, axis=1).ravel()
