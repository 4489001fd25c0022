"""Headers of samplers and of early sound cards: Akai MPC 2000, Creative VOC and the A-law files of Psion."""

from __future__ import annotations

import struct

from edge_aac.audio.formats.layout import Encoding, HeaderError, Layout, Look, samples

_MPC_BYTES = 42
XI = b"Extended Instrument: "
# Of one sample: its length, and where it begins.
_XI_SIZE, _XI_BYTES = 298, 338
_VOC = b"Creative Voice File\x1a"
_VOC_HEADER_BYTES = 4
_VOC_SOUND, _VOC_TEXT, _VOC_EXTENDED, _VOC_NEW_SOUND = 1, 5, 8, 9
_VOC_SOUND_BYTES, _VOC_NEW_SOUND_BYTES = 2, 12
_VOC_CODES = {(0, 8): "PCM_U8", (4, 16): "PCM_16", (6, 8): "ALAW", (7, 8): "ULAW"}
_MAX_BLOCKS = 256
_WVE, _WVE_BYTES, _WVE_RATE = b"ALawSoundFile**\0", 32, 8_000


def mpc_layout(look: Look) -> Layout | None:
    """Reads the header of an Akai MPC 2000 sample; None where it is none.

    Raises:
        HeaderError: it says what cannot be.
    """
    head = look(0, _MPC_BYTES)
    if not head.startswith(b"\x01\x04") or len(head) < _MPC_BYTES:
        return None
    stereo, frames, beats, rate = head[21], *struct.unpack("<I4xxBH", head[30:42])
    # The magic number is short: a sample's name is text, and it has one channel or two.
    if stereo > 1 or not head[2:18].isascii() or not beats or not rate:
        return None
    encoding = samples("MPC2K", "PCM_16", "LITTLE", rate, 1 + stereo)
    return Layout("MPC2K", encoding, _MPC_BYTES, frames * encoding.block_bytes)


def xi_layout(look: Look) -> Layout | None:
    """Reads the header of a FastTracker 2 instrument, whose samples are left to libsndfile; None where it is none."""
    if look(0, len(XI)) != XI:
        return None
    size = look(_XI_SIZE, 4)
    if len(size) < 4:  # noqa: PLR2004
        raise HeaderError("has an XI header that breaks off: it is damaged")
    # libsndfile writes 0.
    return Layout("XI", None, _XI_BYTES, int.from_bytes(size, "little") or None)


def voc_layout(look: Look) -> Layout | None:
    """Reads the header of a VOC file; None where it is none.

    Several blocks of sound, as in files over 16 MB, are left to libsndfile.

    Raises:
        HeaderError: it says what cannot be.
    """
    head = look(0, 26)
    if not head.startswith(_VOC) or len(head) < 26:  # noqa: PLR2004
        return None
    position = int.from_bytes(head[20:22], "little")
    extended: tuple[float, int] | None = None
    for _ in range(_MAX_BLOCKS):
        block = look(position, _VOC_HEADER_BYTES)
        if len(block) < _VOC_HEADER_BYTES:
            return None
        kind, size = block[0], int.from_bytes(block[1:], "little")
        position += _VOC_HEADER_BYTES
        if kind in {_VOC_SOUND, _VOC_NEW_SOUND}:
            encoding, facts = _voc_encoding(look, kind, position, extended)
            if _are_blocks(look, position + size):
                return Layout("VOC", None, position + facts, None)
            return Layout("VOC", encoding, position + facts, max(0, size - facts), grammar="voc")
        if kind == _VOC_EXTENDED:
            constant, _, stereo = struct.unpack("<HBB", look(position, 4).ljust(4, b"\0"))
            channels = 2 if stereo else 1
            extended = 256_000_000 / (65_536 - constant) / channels, channels
        elif kind != _VOC_TEXT:
            return Layout("VOC", None, position, None)
        position += size
    return None


def _are_blocks(look: Look, position: int) -> bool:
    """Whether more blocks stand at a place, and not the terminator, the end, or bytes that are none."""
    if look(position, 1) in {b"", b"\0"}:
        return False
    for _ in range(_MAX_BLOCKS):
        block = look(position, _VOC_HEADER_BYTES)
        if block[:1] in {b"", b"\0"}:
            return True
        if len(block) < _VOC_HEADER_BYTES or block[0] > _VOC_NEW_SOUND:
            return False
        position += _VOC_HEADER_BYTES + int.from_bytes(block[1:], "little")
    return True


def wve_layout(look: Look) -> Layout | None:
    """Reads the header of a Psion A-law file (8 kHz, one channel); None where it is none."""
    head = look(0, _WVE_BYTES)
    if not head.startswith(_WVE) or len(head) < _WVE_BYTES:
        return None
    size = int.from_bytes(head[18:22], "big")
    return Layout("WVE", samples("WVE", "ALAW", "BIG", _WVE_RATE, 1), _WVE_BYTES, size)


def _voc_encoding(
    look: Look, kind: int, position: int, extended: tuple[float, int] | None
) -> tuple[Encoding | None, int]:
    """The encoding of a block of sound, and the bytes that its facts take."""
    if kind == _VOC_SOUND:
        constant, code = look(position, 2).ljust(2, b"\0")
        rate, channels = extended or (1_000_000 / (256 - constant), 1)
        return (samples("VOC", "PCM_U8", "LITTLE", rate, channels) if code == 0 else None), _VOC_SOUND_BYTES
    facts = look(position, _VOC_NEW_SOUND_BYTES)
    if len(facts) < _VOC_NEW_SOUND_BYTES:
        raise HeaderError("has a VOC header that breaks off: it is damaged")
    number, bits, channels, code = struct.unpack("<IBBH", facts[:8])
    subtype = _VOC_CODES.get((code, bits))
    if subtype is None:
        return None, _VOC_NEW_SOUND_BYTES
    return samples("VOC", subtype, "LITTLE", number, channels), _VOC_NEW_SOUND_BYTES
