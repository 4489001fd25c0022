"""A sound, and good files of it: every container, sample format and byte order that the library can write."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
import soxr

RATE = 16_000
# Containers that hold one rate only.
_FIXED_RATES = {"WVE": 8_000, "XI": 44_100}
# RAW has no header, and that of SD2 is its resource fork, a file beside it.
HEADERLESS = ("RAW", "SD2")
LOSSLESS = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")


@dataclass(frozen=True)
class Layout:
    """What a good file is made of.

    Attributes:
        container: name of the library for it.
        subtype: name of the library for its sample format.
        endian: byte order that the library was given: FILE, LITTLE or BIG.
        channels: number of channels, which all hold the same.
    """

    container: str
    subtype: str = "PCM_16"
    endian: str = "FILE"
    channels: int = 1

    def __str__(self) -> str:
        order = "" if self.endian == "FILE" else f"-{self.endian.lower()}"
        return f"{self.container}-{self.subtype}{order}-{self.channels}"

    @property
    def rate(self) -> int:
        return _FIXED_RATES.get(self.container, RATE)


@cache
def sound(frames: int, seed: int = 0) -> np.ndarray:
    """Tones that come and go over noise, at about -18 dBFS; what 16 bits hold exactly. Float64, shape (frames,)."""
    time_s = np.arange(frames) / RATE
    random = np.random.default_rng(seed)
    tones = np.sin(2 * np.pi * (300 + 40 * seed) * time_s) * (1.2 + np.sin(2 * np.pi * 1.3 * time_s))
    samples = 0.1 * tones + 0.02 * random.standard_normal(frames)
    return np.round(np.clip(samples, -0.9, 0.9) * 32_768) / 32_768


@cache
def good_file(layout: Layout, frames: int, seed: int = 0) -> bytes:
    """The bytes of a file with :func:`sound`.

    Raises:
        soundfile.LibsndfileError: the library lists the layout, but cannot write it.
        ValueError: it does not list it.
    """
    content = io.BytesIO()
    samples = np.repeat(sound(frames, seed)[:, None], layout.channels, axis=1)
    soundfile.write(
        content, samples, layout.rate, format=layout.container, subtype=layout.subtype, endian=layout.endian
    )
    return content.getvalue()


class _ForwardSoundFile(soundfile.SoundFile):
    """Read without seeking, which DWVW does not support, and which disturbs MP3."""

    def seekable(self) -> bool:
        return False


@cache
def reference(content: bytes) -> np.ndarray:
    """What the library alone hears in a good file: mono at 16 kHz, float32, shape (n,)."""
    # MP3 and Ogg are not read from memory by every release of the library.
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        with _ForwardSoundFile(file.name) as opened:
            samples, rate = opened.read(opened.frames, dtype="float32", always_2d=True), opened.samplerate
    mono = samples[:, 0]
    return mono if rate == RATE else soxr.resample(mono, rate, RATE, quality="HQ").astype(np.float32)


def layouts() -> Iterator[Layout]:
    """Every layout that the library says it can write, with one channel and with three."""
    for container in soundfile.available_formats():
        if container in HEADERLESS:
            continue
        for subtype in soundfile.available_subtypes(container):
            for endian in ("FILE", "LITTLE", "BIG"):
                if soundfile.check_format(container, subtype, endian):
                    yield from (Layout(container, subtype, endian, channels) for channels in (1, 3))


def writable(layout: Layout, frames: int) -> bool:
    """Whether the library can write a layout that it lists, and read what it wrote."""
    try:
        reference(good_file(layout, frames))
    except soundfile.LibsndfileError:
        return False
    return True


def write(path: Path, content: bytes) -> Path:
    """Writes a file and gives its path."""
    path.write_bytes(content)
    return path
