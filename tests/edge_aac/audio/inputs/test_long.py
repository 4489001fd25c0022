"""Half an hour in every form (the sweep: an hour), and files beyond 4 GiB: memory stays flat, positions are right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.edge_aac.audio.inputs.long_files import FORMS, HOUR_S, SLOW_FORMS, clicks_s, long_file, sparse_wav

pytestmark = pytest.mark.one_python

# Forms that a pipe may refuse by name, since the library must seek in them.
_MAY_BE_REFUSED = ("RF64", "CAF", "OGG")
_TIMEOUT_S = 600
_MAX_GROWTH_KB = 12_000
# Encoders shift by some milliseconds; without a reader of its own a form may be padded to a frame.
_SHIFT = 1_600
# In a pipe, an MP3 keeps what the encoder added at either end.
_MP3_SHIFT = 4_000
_sweeping = "EDGE_AAC_INPUT_EXAMPLES" in os.environ


def _read(way: str, path: Path, stdin: int | None = None) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.edge_aac.audio.inputs.long_reading", way, str(path)]
    done = subprocess.run(command, stdin=stdin, capture_output=True, check=True, timeout=_TIMEOUT_S)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _pumped(content: bytes, opened: Callable[[], int]) -> None:
    def write() -> None:
        try:
            with open(opened(), "wb", buffering=0) as pipe:
                rest = memoryview(content)
                while rest:
                    rest = rest[pipe.write(rest) :]
        except BrokenPipeError:
            return

    threading.Thread(target=write, daemon=True).start()


def _through(way: str, path: Path, folder: Path) -> dict[str, Any]:
    if way == "file":
        return _read("file", path)
    if way == "fifo":
        pipe = folder / "pipe"
        os.mkfifo(pipe)
        _pumped(path.read_bytes(), lambda: os.open(pipe, os.O_WRONLY))
        return _read("file", pipe)
    reader, writer = os.pipe()
    try:
        _pumped(path.read_bytes(), lambda: writer)
        return _read("stdin", Path("-"), reader)
    finally:
        os.close(reader)


def _length_s(form: str) -> int:
    if _sweeping:
        return HOUR_S
    # Even as it lies in the file, half an hour is more than memory may grow by.
    return 600 if form in SLOW_FORMS else HOUR_S // 2


@pytest.fixture(scope="module")
def hours(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("hours")

    def made(form: str) -> Path:
        path = folder / form
        return path if path.exists() else long_file(path, form, _length_s(form))

    return made


@pytest.mark.parametrize("way", ["file", "fifo", "stdin"])
@pytest.mark.parametrize("form", FORMS)
def test_long_sound(tmp_path: Path, hours: Callable[[str], Path], form: str, way: str) -> None:
    if not _sweeping and way == ("file" if len(form) % 2 else "stdin"):
        pytest.skip("one way of each form is left to the sweep (EDGE_AAC_INPUT_EXAMPLES)")
    found = _through(way, hours(form), tmp_path)
    if way != "file" and form in _MAY_BE_REFUSED and found["error"]:
        assert form.lower() in found["error"].lower(), found
        return
    assert not found["error"], found
    assert abs(found["samples"] - _length_s(form) * 16_000) <= (_MP3_SHIFT if form == "MP3" else _SHIFT), found
    assert len(found["loud"]) == 3, found
    for position, click_s in zip(found["loud"], clicks_s(_length_s(form)), strict=True):
        assert abs(position - click_s * 16_000) <= (_MP3_SHIFT if form == "MP3" else _SHIFT), found
    assert found["grown_kb"] < _MAX_GROWTH_KB, found


@pytest.mark.skipif(not _sweeping, reason="half a minute each, the sweep's: set EDGE_AAC_INPUT_EXAMPLES")
@pytest.mark.parametrize(
    "size, claimed",
    [
        (2**32 + 8_000, 8_000),
        (2**32 + 8_000, 0xFFFF_FFFF),
        (2**32 + 8_000, 0),
        (2**32 + 8_000, 2**31 + 8),
        (2**31 + 8_000, 2**31 + 8_000),
        (2**31 + 8_000, 8_000),
        (2**31 + 8_000, 0x7FFF_FFFF),
    ],
)
def test_a_wav_beyond_its_length(tmp_path: Path, size: int, claimed: int) -> None:
    path = tmp_path / "big.wav"
    last = sparse_wav(path, size, claimed)
    found = _read("file", path)
    assert not found["error"], found
    assert found["samples"] == size // 8, found
    assert found["loud"] == [0, last], found
    assert found["grown_kb"] < _MAX_GROWTH_KB, found
