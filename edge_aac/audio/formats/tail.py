"""What stands behind the sound: tags and chunks, padding, rubbish, another file, or more of the sound."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from edge_aac.audio.formats.layout import Encoding, Grammar
from edge_aac.audio.formats.likeness import Judgement, continues_sound, is_constant, is_text
from edge_aac.audio.formats.not_sound import what_else
from edge_aac.audio.formats.recognition import ID3_HEADER_BYTES, ID3V2, id3_bytes

Kind = Literal["nothing", "harmless", "rubbish", "file", "sound"]

JUDGED_BYTES = 64 * 1024
"""Looked at to tell sound from what is none."""

_LONGEST_FILL_BYTES = 2**20
_MAX_PARTS = 4_096
_MOST_PADDING_BYTES = 8
_CHUNK_HEADER_BYTES = 8
_LONG_CHUNK_HEADER_BYTES = 12
_W64_CHUNK_HEADER_BYTES = 24
_LONGEST_CHUNK_BYTES = 2**62
_W64_NAME = re.compile(rb"[a-z0-9 ]{4}\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a")
_CERTAIN_CHUNK = re.compile(rb"LIST....(?:INFO|adtl)|(?:id3|ID3) ....ID3", re.DOTALL)
_CERTAIN_CHUNK_BYTES = 12
_PRINTABLE = re.compile(rb"[\x20-\x7e\xa9]{4}")


def _names(text: bytes) -> frozenset[bytes]:
    return frozenset(text[start : start + 4] for start in range(0, len(text), 5))


# Chunks that programs write behind the sound. Of others the whole chain, to the end of the input, has to fit.
_RIFF_NAMES = _names(
    b"LIST INFO id3  ID3  bext cue  iXML _PMX fact PEAK smpl inst LGWV AFAn PAD  JUNK FLLR aXML axml chna plst note "
    b"labl acid strc cart levl link minf elm1 regn umid DGDA DISP ltxt SNDM tlst slnt wavl"
)
_NAMES: dict[Grammar, frozenset[bytes]] = {
    "riff": _RIFF_NAMES,
    "rifx": _RIFF_NAMES,
    "iff": _names(b"NAME AUTH (c)  ANNO MARK INST COMT MIDI APPL ID3  CHAN PEAK basc trns cate SAXL FLLR"),
    "caf": _names(b"info strg mark regn uuid peak midi umid ovvw kuki chan free pakt inst edct"),
    "w64": frozenset(),
    "voc": frozenset(),
}

_ID3V1_BYTES = 128
# Name of the first frame, or padding.
_ID3V2_BODY = re.compile(rb"[A-Z][A-Z0-9]{2}|\0\0\0")
_APE, _APE_HEADER_BYTES = b"APETAGEX", 32
_LYRICS = b"LYRICSBEGIN"
_LONGEST_LYRICS_BYTES = 2**17

FILE_START = re.compile(
    rb"(?:RIFF|RIFX|RF64|BW64)....WAVE|FORM....AIF[FC]|riff\x2e\x91\xcf\x11\xa5\xd6|caff\0\x01\0\0|fLaC[\0\x80]\0\0\x22"
    rb"|\.snd\0\0.{6}\0\0\0[\x01-\x1b]|dns\..{2}\0\0.{4}[\x01-\x1b]\0\0\0|OggS\0\x02",
    re.DOTALL,
)
"""How another sound file begins, by enough bytes to be no accident in a sound."""

LONGEST_MAGIC_BYTES = 24

LookBehind = Callable[[int, int], bytes]
"""Looks at bytes by their place behind the sound: offset and count; fewer at the end of what can be seen."""


@dataclass(frozen=True)
class Tail:
    """What stands behind the sound.

    Attributes:
        kind: "nothing"; "harmless" for chunks, tags and padding; "rubbish" for bytes that no sound is; "file" for
            another sound file; "sound" for more of the same.
        skip_bytes: bytes in front of the next file; 0 for the other kinds.
    """

    kind: Kind
    skip_bytes: int = 0


def tail_of(look: LookBehind, grammar: Grammar | None, encoding: Encoding | None, before: bytes, promised: int) -> Tail:
    """Tells what stands behind the sound that a header promises.

    Args:
        look: looks at the bytes behind it.
        grammar: how the container writes chunks; None where it has none.
        encoding: of the sound; None where it cannot be told from other bytes.
        before: last bytes of the sound.
        promised: number of bytes of sound, by which chunks behind it are aligned.
    """
    if not look(0, 1):
        return Tail("nothing")
    position = _padding_bytes(look, grammar, promised)
    for _ in range(_MAX_PARTS):
        found = look(position, LONGEST_MAGIC_BYTES)
        if not found:
            return Tail("harmless")
        if FILE_START.match(found):
            return Tail("file", position)
        length = _tag_bytes(look, position, found) or _chunk_bytes(look, position, grammar)
        length = length or _fill_bytes(look, position)
        if not length:
            break
        # Digital silence may be a part of the sound: what follows it decides.
        position += length
    rest = look(position, JUDGED_BYTES)
    if encoding is not None:
        # More of the sound goes on within a frame where the header's length is none of whole frames.
        rest = rest[-(promised + position) % encoding.block_bytes :]
    is_sound = encoding is not None and _is_sound(before, rest, encoding)
    return Tail("sound" if is_sound else "rubbish")


def _padding_bytes(look: LookBehind, grammar: Grammar | None, promised: int) -> int:
    """Number of zeros that end the sound or align what follows; some programs align where they need not."""
    zeros = len(head := look(0, _MOST_PADDING_BYTES)) - len(head.lstrip(b"\0"))
    for padding in range(1, zeros + 1):
        if _tag_bytes(look, padding, look(padding, LONGEST_MAGIC_BYTES)) or _chunk_bytes(look, padding, grammar):
            return padding
    if grammar == "voc":
        # The terminator.
        return min(1, zeros)
    due = -promised % 8 if grammar == "w64" else promised % 2 if grammar in {"riff", "rifx", "iff"} else 0
    return due if due <= zeros else 0


def _is_sound(before: bytes, rest: bytes, encoding: Encoding) -> bool:
    """Whether bytes are more of the sound."""
    if what_else(rest) is not None:
        return False
    if len(rest) > JUDGED_BYTES - encoding.block_bytes and len(set(rest)) == 1:
        # So much of one value is silence rather than a disk's padding, and does no harm as sound.
        return True
    name = encoding.sample_format
    if name is None:
        # A codec's blocks look like any compressed data.
        return len(rest) >= encoding.block_bytes and not is_constant(rest) and not is_text(rest)
    return continues_sound(before, rest, name) is Judgement.SOUND


def ends_here(look: LookBehind, grammar: Grammar | None) -> bool:
    """Whether tags and chunks, and nothing else, stand at a place and fill the input to its end."""
    position = 0
    for _ in range(_MAX_PARTS):
        found = look(position, LONGEST_MAGIC_BYTES)
        if not found:
            return True
        length = _tag_bytes(look, position, found) or _chunk_bytes(look, position, grammar)
        if not length:
            return len(found) < _CHUNK_HEADER_BYTES and not found.strip(b"\0") and position > 0
        position += length
    return False


def tag_pattern(grammar: Grammar | None) -> re.Pattern[bytes]:
    """A pattern that finds where a tag or chunk may begin."""
    names = [re.escape(name) for name in sorted(_NAMES[grammar])] if grammar else []
    if grammar == "w64":
        names = [_W64_NAME.pattern]
    return re.compile(b"|".join([*names, ID3V2.pattern, _APE, _LYRICS, b"TAG"]), re.DOTALL)


def _tag_bytes(look: LookBehind, position: int, found: bytes) -> int:
    """Length of an ID3, APE or Lyrics3 tag; 0 where none begins."""
    if found.startswith(b"TAG") and len(look(position, _ID3V1_BYTES + 1)) == _ID3V1_BYTES:
        return _ID3V1_BYTES
    if ID3V2.match(found):
        length = id3_bytes(found)
        # Of a tag that is cut off the first frame's name tells that it is none of the sound.
        return length if _ID3V2_BODY.match(found, ID3_HEADER_BYTES) or look(position + length - 1, 1) else 0
    if found.startswith(_APE):
        # The header's length leaves the header out; behind the tag, it may be a footer that stands alone.
        size, is_header = int.from_bytes(found[12:16], "little"), found[23:24] >= b"\x20"
        return _APE_HEADER_BYTES + (size if is_header else 0)
    if found.startswith(_LYRICS):
        for end in (b"LYRICS200", b"LYRICSEND"):
            place = look(position, _LONGEST_LYRICS_BYTES).find(end)
            if place >= 0:
                return place + len(end)
    return 0


def _chunk_bytes(look: LookBehind, position: int, grammar: Grammar | None) -> int:
    """Length of a chunk with its header and padding; 0 where none begins."""
    if grammar is None or grammar == "voc":
        return 0
    if grammar == "w64":
        return _w64_chunk_bytes(look, position)
    if grammar == "caf":
        return _caf_chunk_bytes(look, position)
    header = look(position, _CHUNK_HEADER_BYTES)
    if len(header) < _CHUNK_HEADER_BYTES or not _PRINTABLE.match(header):
        return 0
    size = int.from_bytes(header[4:], "little" if grammar == "riff" else "big")
    length = _CHUNK_HEADER_BYTES + size + size % 2
    if not look(position + length - size % 2 - 1, 1):
        # Its end is cut off, or four samples look like a name.
        return length if _CERTAIN_CHUNK.match(look(position, _CERTAIN_CHUNK_BYTES)) else 0
    if header[:4] in _NAMES[grammar]:
        return length
    # An unknown name may be four samples too: the next chunk has to begin behind it, or the input to end.
    behind = look(position + length, _CHUNK_HEADER_BYTES)
    return length if not behind or _PRINTABLE.match(behind) else 0


def _w64_chunk_bytes(look: LookBehind, position: int) -> int:
    header = look(position, _W64_CHUNK_HEADER_BYTES)
    if len(header) < _W64_CHUNK_HEADER_BYTES or not _W64_NAME.match(header):
        return 0
    size = int(struct.unpack("<Q", header[16:])[0])
    fits = _W64_CHUNK_HEADER_BYTES <= size < _LONGEST_CHUNK_BYTES and look(position + size - 1, 1)
    return size + -size % 8 if fits else 0


def _caf_chunk_bytes(look: LookBehind, position: int) -> int:
    header = look(position, _LONG_CHUNK_HEADER_BYTES)
    if len(header) < _LONG_CHUNK_HEADER_BYTES or header[:4] not in _NAMES["caf"]:
        return 0
    length = _LONG_CHUNK_HEADER_BYTES + int(struct.unpack(">q", header[4:])[0])
    fits = _LONG_CHUNK_HEADER_BYTES <= length < _LONGEST_CHUNK_BYTES and look(position + length - 1, 1)
    return length if fits else 0


def _fill_bytes(look: LookBehind, position: int) -> int:
    """Length of a run of one byte, of at least as many as a header has, or to the end; 0 where there is none.

    More than a disk's block may be digital silence, which does no harm as sound.
    """
    first = look(position, 1)
    length = 0
    while length <= _LONGEST_FILL_BYTES:
        data = look(position + length, JUDGED_BYTES)
        run = len(data) - len(data.lstrip(first))
        length += run
        if run < len(data) or not data:
            return length if length >= _CHUNK_HEADER_BYTES or not data else 0
    return 0
