"""FLAC files with what programs put between the header and the sound."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.edge_aac.audio.formats.piped import seconds_through_pipe
from tests.edge_aac.audio.sound_files import noise, seconds_heard

_STREAM_INFO_BYTES = 42
_PADDING, _APPLICATION, _PICTURE = 1, 2, 6


def _made(kind: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, noise(3.0), 16_000, format=kind)
    return file.getvalue()


def _with_block(number: int, content: bytes) -> bytes:
    flac = _made("FLAC")
    assert flac[:5] == b"fLaC\0"  # the stream info is not the last block
    block = bytes([number]) + len(content).to_bytes(3, "big") + content
    return flac[:_STREAM_INFO_BYTES] + block + flac[_STREAM_INFO_BYTES:]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(lambda: _with_block(_APPLICATION, b"riff" + _made("WAV")[:12]), id="header of the WAV it was"),
        pytest.param(lambda: _with_block(_APPLICATION, b"aiff" + _made("AIFF")[:12]), id="header of the AIFF it was"),
        pytest.param(lambda: _with_block(_APPLICATION, b"test" + _made("FLAC")), id="another FLAC"),
        pytest.param(
            lambda: _with_block(_PICTURE, np.random.default_rng(0).integers(0, 256, 2**21, np.uint8).tobytes()),
            id="large picture",
        ),
        pytest.param(lambda: _with_block(_PADDING, bytes(2**21)), id="much padding"),
    ],
)
def test_blocks_before_the_sound_are_passed_over(tmp_path: Path, content: Callable[[], bytes]) -> None:
    path = tmp_path / "sound.flac"
    path.write_bytes(content())
    assert seconds_heard(path) == pytest.approx(3.0)
    assert seconds_through_pipe(path.read_bytes()) == pytest.approx(3.0)
