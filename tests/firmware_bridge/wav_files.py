"""Recordings that tests of devices make themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from edge_aac.audio.sources.demo import synthesise_demo


def write_scene(path: Path, seconds: float, seed: int = 3, subtype: str = "PCM_16") -> Path:
    """Writes rain with a clock over it, mono, 16 kHz; ``ULAW`` takes half the room (14 s in the Cortex-M3's flash)."""
    soundfile.write(path, synthesise_demo(seconds, seed), 16_000, subtype=subtype)
    return path


def samples_of(path: Path) -> np.ndarray:
    """The file's samples, int16, shape (n,)."""
    samples: np.ndarray = soundfile.read(path, dtype="int16")[0]
    return samples
