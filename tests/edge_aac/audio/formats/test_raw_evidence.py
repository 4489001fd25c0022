"""Raw bytes that are not the 16-bit samples they are taken for; and 16-bit samples, never taken for others."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest

from edge_aac.audio.formats.layout import SampleFormat
from edge_aac.audio.formats.likeness import ENCODINGS
from edge_aac.audio.formats.raw_evidence import BLOCK_BYTES, Finding, RawEvidence
from edge_aac.audio.formats.sample_formats import MIN_BYTES, float_like, wide_like
from tests.edge_aac.audio.formats.encodings import Samples, encode, interleaved, sounds

pytestmark = pytest.mark.one_python

_SOUNDS = sounds()
_FLOATS = [name for name in ENCODINGS if name.startswith("f")]
# What each shows in; the rest says nothing for certain, and nothing false.
_SHOWS: dict[SampleFormat, tuple[str, ...]] = {
    "s16be": ("rain", "loud hiss", "quiet hiss", "voice"),
    "s24le": ("rain", "loud hiss", "voice", "quiet hiss"),
    "s24be": ("rain", "loud hiss", "voice", "quiet hiss"),
    "s32le": ("rain", "quiet hiss"),
    "u8": ("rain", "voice"),
    "ulaw": ("quiet hiss",),
    "alaw": ("quiet hiss",),
}


def _found(data: bytes, step: int = 10_000) -> Finding | None:
    evidence = RawEvidence()
    findings = [evidence.feed(data[at : at + step]) for at in range(0, len(data), step)]
    findings.append(evidence.finish())
    given = [finding for finding in findings if finding is not None]
    assert len(given) <= 1 and evidence.decided
    return given[0] if given else None


def _recordings() -> dict[str, Samples]:
    """A sound in several states of a 16-bit stream."""
    made: dict[str, Samples] = {}
    for name, sound in _SOUNDS.items():
        quiet = (0.01 * sound).astype(np.float32)
        made[name] = sound
        made[f"{name}, quiet"] = quiet
        made[f"{name}, stereo"] = interleaved(sound, quiet)
        made[f"{name}, one channel silent"] = interleaved(np.zeros_like(sound), sound)
        made[f"{name}, three channels"] = interleaved(sound, quiet, -sound)
        made[f"{name}, four channels"] = interleaved(sound, np.zeros_like(sound), quiet, sound[::-1])
        made[f"{name}, 12 bits"] = np.round(sound * 2047) / np.float32(2048)
        made[f"{name}, after silence"] = np.concatenate([np.zeros(50_000, np.float32), sound])
    return made


_STREAMS = _recordings()


@pytest.mark.parametrize("name", _STREAMS)
def test_16_bit_samples_are_nothing_else(name: str) -> None:
    data = encode(_STREAMS[name], "s16le")
    assert _found(data) is None
    for start in range(0, len(data) - BLOCK_BYTES, BLOCK_BYTES):
        block = data[start : start + BLOCK_BYTES]
        assert (float_like(block), wide_like(block)) == (None, None)
    for size in range(0, 9_000, 450):
        assert _found(data[:size]) is None


@pytest.mark.parametrize("encoding", _FLOATS)
@pytest.mark.parametrize("name", sorted(set(_SOUNDS) - {"square wave", "noisy square wave", "offset", "coarse"}))
def test_floats(name: str, encoding: SampleFormat) -> None:
    for scale in (1.0, 32_768.0):
        data = (_SOUNDS[name].astype(np.float64) * scale).astype(np.float64)
        order = ">" if encoding.endswith("be") else "<"
        found = _found(data.astype(f"{order}f{ENCODINGS[encoding].sample_bytes}").tobytes())
        assert found is not None and (found.kind, found.encoding) == ("float", encoding)
        assert encoding in found.looks_like


@pytest.mark.parametrize("encoding", [name for name in ENCODINGS if name not in ("s16le", *_FLOATS)])
@pytest.mark.parametrize("name", sorted(set(_SOUNDS) - {"noisy square wave"}))
def test_other_integers(name: str, encoding: SampleFormat) -> None:
    found = _found(encode(_SOUNDS[name], encoding))
    if name in _SHOWS.get(encoding, ()):
        assert found is not None
    if found is not None:
        assert found.encoding == encoding, found


def test_stereo_of_24_bits() -> None:
    data = encode(interleaved(_SOUNDS["rain"], 0.1 * _SOUNDS["voice"]), "s24le")
    found = _found(data)
    assert found is not None and found.encoding == "s24le"


def test_text_is_told_at_once() -> None:
    text = b"start,end,caption\n" + b"0.0,10.0,a dog barks twice while rain falls\n" * 2_000
    found = _found(text)
    assert found is not None and (found.kind, found.encoding, found.looks_like) == ("text", None, "text")
    short = _found(text[:600])
    assert short is not None and short.kind == "text"
    assert _found(Path(__file__).read_bytes()) is not None
    assert _found(text[:100]) is not None, "all there is of it is a line"
    assert _found(b"\1" + text[:100]) is None, "too short to be judged"


def test_compressed_data() -> None:
    data = zlib.compress(np.random.default_rng(0).integers(0, 200, 400_000).astype(np.uint8).tobytes())
    found = _found(data)
    assert found is not None and (found.kind, found.encoding) == ("random", None)
    short = _found(data[:8_000])
    assert short is not None and short.kind == "random"


def test_noise_that_becomes_a_sound_is_no_compressed_data() -> None:
    noise = np.random.default_rng(0).bytes(2 * BLOCK_BYTES)
    assert _found(noise + encode(_SOUNDS["voice"], "s16le")) is None


@pytest.mark.parametrize("step", [1, 7, 4_096, 1 << 20])
def test_the_cut_of_the_stream_does_not_matter(step: int) -> None:
    data = bytes(8_000) + encode(_SOUNDS["rain"], "f32le")[: 2 * BLOCK_BYTES]
    found = _found(data, step)
    assert found is not None and found.encoding == "f32le"


def test_silence_keeps_it_waiting_but_not_for_ever() -> None:
    evidence = RawEvidence()
    dither = np.random.default_rng(0).integers(-2, 3, 1 << 20).astype("<i2").tobytes()
    for _ in range(20):
        assert evidence.feed(dither) is None and not evidence.decided
    found = evidence.feed(encode(_SOUNDS["rain"], "f32le"))
    assert found is not None and found.encoding == "f32le"
    evidence = RawEvidence()
    for _ in range(32):
        evidence.feed(dither)
    assert evidence.decided
    assert evidence.feed(encode(_SOUNDS["rain"], "f32le")) is None


def test_it_looks_at_the_beginning_only() -> None:
    evidence = RawEvidence()
    sound = encode(_SOUNDS["rain"], "s16le")
    while not evidence.decided:
        assert evidence.feed(sound) is None
    assert evidence.feed(encode(_SOUNDS["rain"], "f32le")) is None
    assert evidence.finish() is None


def test_little_is_not_judged() -> None:
    assert float_like(encode(_SOUNDS["rain"], "f32le")[: MIN_BYTES - 4]) is None
    assert wide_like(encode(_SOUNDS["rain"], "s16be")[: MIN_BYTES - 2]) is None
    assert _found(b"") is None
    assert _found(b"\x01") is None
