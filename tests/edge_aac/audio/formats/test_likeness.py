"""What is sound and what is not, in any encoding: recordings are never taken for something else."""

from __future__ import annotations

import base64
import itertools
import json
import lzma
import zlib
from pathlib import Path

import numpy as np
import pytest

from edge_aac.audio.formats.layout import SampleFormat
from edge_aac.audio.formats.likeness import ENCODINGS, Judgement, continues_sound, is_constant, is_text
from tests.edge_aac.audio.formats.encodings import encode, sounds

pytestmark = pytest.mark.one_python

_ROOT = Path(__file__).parents[4]
_SIZES = (16, 64, 128, 256, 512, 1_000, 4_096, 65_536, 1 << 20)
_SOUNDS = sounds()
_NOT_LOST = (Judgement.SOUND, Judgement.UNCLEAR)


def _source() -> bytes:
    return b"".join(path.read_bytes() for path in sorted((_ROOT / "edge_aac").rglob("*.py"))[:60])


def _prose() -> bytes:
    """Words, the same whatever the project holds: one stretch in a hundred of compressed text passes for sound."""
    random = np.random.default_rng(4)
    ends = np.cumsum(random.integers(2, 9, 30_000))
    letters = random.integers(97, 123, ends[-1]).astype(np.uint8)
    return np.insert(letters, ends[:-1], ord(" ")).tobytes()


def _table() -> bytes:
    random = np.random.default_rng(3)
    return "\n".join(",".join(f"{value:.4f}" for value in random.standard_normal(9)) for _ in range(900)).encode()


_PROGRAM, _PROSE = _source(), _prose()
_TEXTS = {
    "program": _PROGRAM,
    "indented": json.dumps(
        [{"start": 0.1 * k, "caption": "a dog barks", "deep": [[[k]]]} for k in range(999)], indent=8
    ).encode(),
    "table": _table(),
    "base64": base64.b64encode(np.random.default_rng(1).bytes(50_000)),
    "wide": b"\xff\xfe" + _PROGRAM.decode().encode("utf-16-le"),
    "wide, the other order": _PROGRAM.decode().encode("utf-16-be"),
    "markup": b"<html><body>" + b"<p class='x'>Rain falls on a roof.</p>\r\n" * 300,
    "Latin-1": ("Wären die Vögel über dem Fluß, hörte man sie. " * 300).encode("latin-1"),
    "Russian": ("Дождь идёт, и собака лает во дворе. " * 300).encode(),
    "Chinese": ("雨下着，狗在院子里叫，有人在远处说话。" * 300).encode(),
}
_RANDOM = {
    "encrypted": np.random.default_rng(2).bytes(1 << 20),
    "deflated": zlib.compress(_PROSE),
    "xz": lzma.compress(_PROSE + _table()),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", _SOUNDS)
def test_sound_is_not_lost(name: str, encoding: SampleFormat) -> None:
    data = encode(_SOUNDS[name], encoding)
    size = ENCODINGS[encoding].sample_bytes
    for stretch in _SIZES:
        for tenth in range(10):
            start = tenth * max(0, len(data) - stretch) // 10 // size * size
            after = data[start : start + stretch]
            judgement = continues_sound(data[max(0, start - 8_192) : start], after, encoding)
            # A square wave is its own repetition, and what is left of a coarse sound may be silence.
            if judgement is not Judgement.CONSTANT or not is_constant(after):
                assert judgement in _NOT_LOST, (stretch, start)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", _TEXTS)
def test_text_is_no_sound(name: str, encoding: SampleFormat) -> None:
    before = encode(_SOUNDS["rain"], encoding)[-8_192:]
    for stretch in (2_000, 10_000, len(_TEXTS[name])):
        assert continues_sound(before, _TEXTS[name][:stretch], encoding) is Judgement.TEXT, stretch


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", _RANDOM)
def test_compressed_data_is_no_sound(name: str, encoding: SampleFormat) -> None:
    size = ENCODINGS[encoding].sample_bytes
    before = encode(_SOUNDS["voice"], encoding)[-8_192:]
    for stretch in (2_048 * size, len(_RANDOM[name])):
        after = _RANDOM[name][: stretch // size * size]
        if len(after) >= 1_024 * size:
            assert continues_sound(before, after, encoding) is Judgement.RANDOM, stretch


def test_random_data_behind_random_data_is_more_of_it() -> None:
    noise = _RANDOM["encrypted"]
    assert continues_sound(noise[:8_192], noise[8_192:], "s16le") is Judgement.SOUND
    assert continues_sound(b"", noise[8_192:], "s16le") is Judgement.RANDOM


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("size", [16, 100, 4_096, 1 << 20])
def test_fill_is_no_sound(size: int, encoding: SampleFormat) -> None:
    for value in (0, 0xFF, 0x80, 0x55, 0xE5):
        assert continues_sound(b"", bytes([value]) * size, encoding) is Judgement.CONSTANT
    if size >= 48:
        assert continues_sound(b"", (b"\xde\xad\xbe\xef" * size)[: size - 1], encoding) is Judgement.CONSTANT


def test_what_is_too_short_is_unclear() -> None:
    text = b"Recorded in the garden, 5 May"
    assert continues_sound(b"", text, "s16le") is Judgement.UNCLEAR
    assert continues_sound(b"", b"", "s16le") is Judgement.UNCLEAR
    assert continues_sound(b"", bytes(range(200)), "u8") is Judgement.UNCLEAR
    assert continues_sound(b"", np.random.default_rng(0).bytes(400), "s16le") is Judgement.UNCLEAR


def test_a_nearly_constant_stretch_is_sound() -> None:
    data = bytearray(8_192)
    data[4_000] = 1
    assert not is_constant(bytes(data))
    assert continues_sound(b"", bytes(data), "s16le") is Judgement.SOUND


def test_text_may_be_cut_anywhere() -> None:
    for name, start in itertools.product(("Russian", "Chinese", "wide"), range(8)):
        if name != "wide" or start % 2 == 0:
            assert is_text(_TEXTS[name][start : start + 3_001]), (name, start)


def test_what_compressed_sound_looks_like(tmp_path: Path) -> None:
    import soundfile

    path = tmp_path / "x.mp3"
    soundfile.write(path, np.tile(_SOUNDS["rain"], 5), 16_000)
    data = path.read_bytes()[4_096:]
    assert continues_sound(encode(_SOUNDS["rain"], "s16le"), data[: len(data) // 2 * 2], "s16le") is Judgement.RANDOM
