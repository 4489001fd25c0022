"""What people pipe into `stdin:`: containers are decoded, samples are heard, anything else is refused by what it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_aac.errors import DataError, EdgeAacError
from tests.edge_aac.audio.inputs.children import hear_each
from tests.edge_aac.audio.inputs.hearing import HEARD, REDIRECTED, REFUSED, WARNED, Outcome, is_sentence, verdict
from tests.edge_aac.audio.inputs.sounds import Layout, good_file, reference, sound

pytestmark = pytest.mark.one_python

_PIPES = ("stdin", REDIRECTED)
_every_pipe = pytest.mark.parametrize("way", _PIPES)
_FRAMES = 48_000
_TEXT = "The quick brown fox jumps over the lazy dog. Der schnelle braune Fuchs läuft.\n" * 400


def _hear(content: bytes, way: str, folder: Path, options: str = "") -> Outcome:
    return next(hear_each([content], way, folder, options))


def _raw(frames: int = _FRAMES, kind: str = "<i2") -> bytes:
    scale = {"i": 2.0 ** (8 * int(kind[-1]) - 1), "f": 1.0}[kind[1]]
    return (sound(frames) * scale).astype(kind).tobytes()


@_every_pipe
@pytest.mark.parametrize(
    "name", ["tone", "silence", "one frame", "noise", "a constant", "clicks", "a square wave", "loud bass"]
)
def test_samples_are_heard_as_they_are(tmp_path: Path, way: str, name: str) -> None:
    random = np.random.default_rng(3)
    time_s = np.arange(_FRAMES) / 16_000
    samples = {
        "tone": sound(_FRAMES) * 32_768,
        "silence": np.zeros(_FRAMES),
        "one frame": np.array([1_234.0]),
        "noise": random.integers(-16_384, 16_384, _FRAMES),
        "a constant": np.full(_FRAMES, 1_000.0),
        "clicks": np.where(np.arange(_FRAMES) % 4_000 == 0, 30_000, 0),
        "a square wave": np.where(np.sin(2 * np.pi * 440 * time_s) > 0, 32_767, -32_768),
        "loud bass": 32_000 * np.sin(2 * np.pi * 55 * time_s),
    }[name].astype("<i2")
    outcome = _hear(samples.tobytes(), way, tmp_path)
    assert outcome.error is None, outcome
    assert np.array_equal(outcome.samples, samples.astype(np.float32) / 32_768), outcome


def test_full_scale_noise_is_heard_or_refused(tmp_path: Path) -> None:
    """As `sox synth whitenoise` makes it: nothing tells it from compressed data."""
    samples = np.random.default_rng(3).integers(-32_768, 32_768, _FRAMES).astype("<i2")
    found = verdict(_hear(samples.tobytes(), "stdin", tmp_path), samples.astype(np.float32) / 32_768, exact=True)
    assert found in (HEARD, WARNED, REFUSED)


def test_quiet_samples_are_no_mp3(tmp_path: Path) -> None:
    """Samples from -1 to -1025 hold the bytes FF and FB, as the frames of an MP3 begin."""
    quiet = []
    for seed in range(60):
        random = np.random.default_rng(seed)
        low, high = ((-1, 2), (-5, 6), (-1_100, 1), (-1, 1))[seed % 4]
        quiet.append(random.integers(low, high, 8_000).astype("<i2"))
    starts = (b"\xff\xfb\x90\x64", b"\xff\xf3\x40\xc4", b"OggX", b"RIFY", b".snX", b"fLaX", b"BM", b"\xff\xfe")
    quiet += [np.frombuffer((start + _raw())[: 2 * _FRAMES], "<i2") for start in starts]
    outcomes = hear_each([samples.tobytes() for samples in quiet], "stdin", tmp_path)
    for samples, outcome in zip(quiet, outcomes, strict=True):
        assert outcome.error is None, (samples[:4], outcome)
        assert np.array_equal(outcome.samples, samples.astype(np.float32) / 32_768), (samples[:4], outcome)


@_every_pipe
@pytest.mark.parametrize("options", ["?rate=8000", "?rate=48000&channels=2", "?rate=16000"])
@pytest.mark.parametrize("layout", [Layout("WAV"), Layout("FLAC"), Layout("AU"), Layout("AIFF")], ids=str)
def test_options_for_samples_and_a_container(tmp_path: Path, way: str, options: str, layout: Layout) -> None:
    """The header knows better: the sound is heard as it says, or the contradiction is refused."""
    content = good_file(layout, _FRAMES)
    outcome = _hear(content, way, tmp_path, options)
    if isinstance(outcome.error, EdgeAacError):
        assert is_sentence(str(outcome.error)), outcome
    else:
        found = verdict(outcome, reference(content), exact=True)
        assert found == WARNED or (found == HEARD and options == "?rate=16000"), f"{found}: {outcome}"


@_every_pipe
@pytest.mark.parametrize("options", ["", "?rate=44100&channels=2"])
@pytest.mark.parametrize(
    "name",
    [
        "text",
        "latin-1",
        "UTF-16",
        "short text",
        "JSON",
        "CSV",
        "base64",
        "HTML",
        "PNG",
        "gzip",
        "ELF",
        "PDF",
        "M4A",
        "WebM",
        "AMR",
        "WMA",
    ],
)
def test_what_is_no_sound_is_refused(tmp_path: Path, way: str, options: str, name: str) -> None:
    content = {
        "text": _TEXT.encode(),
        "latin-1": _TEXT.encode("latin-1"),
        "UTF-16": _TEXT.encode("utf-16"),
        "short text": b"ffmpeg: command not found\n",
        "JSON": b'{"error": "the recorder has no card", "code": 19}\n' * 50,
        "CSV": b"time,value\n" + b"0.001,-0.25\n" * 4_000,
        "base64": b"UklGRiQAAABXQVZFZm10IBAAAAABAAEAgD4AAAB9AAACABAAZGF0YQAAAAA=\n" * 200,
        "HTML": b"<!DOCTYPE html><html><body><h1>404 Not Found</h1></body></html>\n" * 30,
        "PNG": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + np.random.default_rng(1).bytes(30_000),
        "gzip": b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + np.random.default_rng(1).bytes(30_000),
        "ELF": Path(sys.executable).resolve().read_bytes()[:200_000],
        "PDF": b"%PDF-1.7\n" + np.random.default_rng(1).bytes(30_000),
        "M4A": b"\0\0\0\x1cftypM4A \0\0\x02\0M4A isomiso2" + np.random.default_rng(1).bytes(30_000),
        "WebM": b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\xf7\x81\x01" + np.random.default_rng(1).bytes(30_000),
        "AMR": b"#!AMR\n" + np.random.default_rng(1).bytes(30_000),
        "WMA": bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + np.random.default_rng(1).bytes(30_000),
    }[name]
    outcome = _hear(content, way, tmp_path, options)
    assert verdict(outcome, np.ones(1), exact=True) == REFUSED, outcome


@_every_pipe
@pytest.mark.parametrize("kind", ["<f4", ">f4", "<f8"])
@pytest.mark.parametrize("options", ["", "?rate=48000"])
def test_float_samples_are_told(tmp_path: Path, way: str, kind: str, options: str) -> None:
    outcome = _hear(_raw(kind=kind), way, tmp_path, options)
    assert verdict(outcome, sound(_FRAMES), exact=True) == REFUSED, outcome
    assert "float" in str(outcome.error), outcome


@_every_pipe
@pytest.mark.parametrize("level", [1.0, 1e-3])
def test_float_samples_of_any_level_are_told(tmp_path: Path, way: str, level: float) -> None:
    for channels in (1, 2):
        samples = np.repeat(sound(_FRAMES)[:, None] * level, channels, axis=1).astype("<f4")
        outcome = _hear(samples.tobytes(), way, tmp_path, f"?channels={channels}")
        assert verdict(outcome, sound(_FRAMES), exact=True) == REFUSED, outcome


@_every_pipe
@pytest.mark.parametrize("size", [2 * _FRAMES + 1, 3, 5])
def test_an_odd_number_of_bytes_is_told(tmp_path: Path, way: str, size: int) -> None:
    outcome = _hear(_raw(_FRAMES + 1)[:size], way, tmp_path)
    assert outcome.warnings or isinstance(outcome.error, DataError), outcome
    if outcome.error is None:
        assert len(outcome.samples) == size // 2


@_every_pipe
@pytest.mark.parametrize("content", [b"", b"\0", b"R"])
@pytest.mark.parametrize("options", ["", "?channels=2", "?rate=44100"])
def test_nothing_is_refused(tmp_path: Path, way: str, content: bytes, options: str) -> None:
    outcome = _hear(content, way, tmp_path, options)
    assert verdict(outcome, np.ones(1), exact=True) == REFUSED, outcome


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 8, 11, 12, 20, 40, 43])
@pytest.mark.parametrize("layout", [Layout("WAV"), Layout("FLAC"), Layout("AIFF"), Layout("W64")], ids=str)
def test_the_first_bytes_of_a_container(tmp_path: Path, size: int, layout: Layout) -> None:
    """A header that ends early is refused once it can be told; before, it is a sample or two."""
    outcome = _hear(good_file(layout, _FRAMES)[:size], "stdin", tmp_path)
    if size >= 4 or size < 2:
        assert verdict(outcome, np.ones(1), exact=True) == REFUSED, outcome
    else:
        assert outcome.error is None or isinstance(outcome.error, DataError), outcome


@pytest.mark.parametrize("cut", [1, 2, 3, 5, 11, 43, 44, 45, 1_000])
def test_a_container_may_come_in_pieces(cut: int) -> None:
    """A slow writer: the first read gives less than a header."""
    content = good_file(Layout("WAV"), _FRAMES)
    script = (
        "from edge_aac.audio.sources.address import open_source\n"
        "source = open_source('stdin:')\n"
        "total = 0\n"
        "while (block := source.read()) is not None: total += len(block)\n"
        "print(total)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    assert process.stdin is not None and process.stdout is not None
    with process.stdin as pipe:
        pipe.write(content[:cut])
        # As long as the reader needs to have read that, with some margin; too short a pause tests less, and fails not.
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.3)
        rest = memoryview(content)[cut:]
        while rest:
            rest = rest[pipe.write(rest) :]
    assert process.stdout.read().split() == [str(_FRAMES).encode()]
    assert process.wait(timeout=60) == 0
    process.stdout.close()
