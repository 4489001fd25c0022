"""An hour of sound, made cheaply: quiet noise with a click at a few known times."""

from __future__ import annotations

import os
import struct
from functools import cache
from pathlib import Path

import numpy as np
import soundfile

RATE = 8_000
HOUR_S = 3_600
# Encoding an hour of these takes a quarter of a minute.
SLOW_FORMS = ("OGG", "MP3")
FORMS = {
    "WAV": ("WAV", "ULAW"),
    "WAVEX": ("WAVEX", "ULAW"),
    "RF64": ("RF64", "ULAW"),
    "W64": ("W64", "ULAW"),
    "AIFF": ("AIFF", "PCM_S8"),
    "AU": ("AU", "ULAW"),
    "CAF": ("CAF", "ULAW"),
    "FLAC": ("FLAC", "PCM_16"),
    "OGG": ("OGG", "VORBIS"),
    "MP3": ("MP3", "MPEG_LAYER_III"),
}


@cache
def _minute() -> np.ndarray:
    return (0.02 * np.random.default_rng(0).standard_normal(60 * RATE)).astype(np.float32)


def clicks_s(length_s: int) -> tuple[float, ...]:
    """Where the clicks are; the last is a tenth of a second before the end."""
    return 1.0, length_s / 2, length_s - 0.1


def long_file(path: Path, form: str, length_s: int) -> Path:
    """Writes a file at 8 kHz of so many seconds, a multiple of 60."""
    container, subtype = FORMS[form]
    with soundfile.SoundFile(path, "w", RATE, 1, format=container, subtype=subtype) as file:
        for minute in range(length_s // 60):
            samples = _minute().copy()
            for click_s in clicks_s(length_s):
                if minute * 60 <= click_s < minute * 60 + 60:
                    start = round((click_s - minute * 60) * RATE)
                    samples[start : start + 400] = 0.9 * np.sign(np.sin(np.arange(400) * 0.8))
            file.write(samples)
    return path


def sparse_wav(path: Path, size: int, claimed: int) -> int:
    """Writes a WAV of 64-bit floats at 16 kHz: a click at its start and its end, and a hole between them.

    Args:
        path: where; the file system must know holes.
        size: bytes of sound, a multiple of 8.
        claimed: what its header says, modulo 2^32.

    Returns:
        Frame of the second click.
    """
    click = np.full(80, 0.9, "<f8").tobytes()
    facts = struct.pack("<HHIIHH", 3, 1, 16_000, 128_000, 8, 64)
    head = b"RIFF" + struct.pack("<I", (claimed + 36) % 2**32) + b"WAVEfmt " + struct.pack("<I", 16) + facts
    head += b"data" + struct.pack("<I", claimed % 2**32)
    with path.open("wb") as file:
        file.write(head + click)
        file.seek(len(head) + size - len(click))
        file.write(click)
    assert os.stat(path).st_blocks * 512 < 1 << 20, "the file system knows no holes"
    return (size - len(click)) // 8
