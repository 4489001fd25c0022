"""Sound files for the tests of their readers, and what a user is told of a bad one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edge_aac.audio.sources.file import load_waveform
from edge_aac.errors import DataError, EdgeAacError

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def tone(rate: int, seconds: float, frequency: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


def noise(seconds: float, rate: int = 16_000) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, round(rate * seconds))


def refusal(path: Path, kind: type[EdgeAacError] = DataError) -> str:
    """The one sentence with which a file is refused."""
    with pytest.raises(kind) as caught:
        load_waveform(path)
    message = str(caught.value)
    assert str(path) in message
    assert message.endswith(".")
    assert "\n" not in message
    return message


def seconds_heard(path: Path) -> float:
    return len(load_waveform(path)) / 16_000


def encoded(path: Path, seconds: float, *options: str, rate: int = 44_100, piped: bool = False) -> Path:
    """What ffmpeg makes of quiet sound that becomes loud, so that a variable bit rate varies."""
    sound = f"aevalsrc=(random(0)-0.5)*if(gt(t\\,{seconds / 2})\\,1\\,0.001):s={rate}:d={seconds}"
    ending = ["-f", path.suffix[1:], "pipe:1"] if piped else [str(path)]
    command = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", sound, *options, *ending]
    result = subprocess.run(command, check=True, capture_output=True, timeout=60)
    if piped:
        path.write_bytes(result.stdout)
    return path
