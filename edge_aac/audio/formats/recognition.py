"""Containers and compressed formats, recognised by their first bytes, that ffmpeg decodes and libsndfile does not.

ffmpeg is never left to guess a format: its guesses include playlists, scripts and subtitles that make it open other
files and network addresses, and pictures. Each entry below names the one demuxer that it is held to.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

HEAD_BYTES = 32 * 1024
"""So many first bytes are enough to recognise any of the formats: three of the longest frames of AAC."""


ID3V2 = re.compile(rb"ID3[\x02-\x04].{2}[\x00-\x7f]{4}", re.DOTALL)
"""The start of an ID3v2 tag, which has :data:`ID3_HEADER_BYTES` before what is in it."""
ID3_HEADER_BYTES = 10


@dataclass(frozen=True)
class Container:
    """A format that ffmpeg decodes.

    Attributes:
        name: what a message calls it, such as "MP4".
        demuxer: ffmpeg's name of the reader for it.
        suffix: the usual end of a file's name, without its dot.
        libsndfile: libsndfile reads the container with some codecs, so ffmpeg is for what it refuses.
        announces: the container states how long its sound is; elsewhere ffmpeg's figure is an estimate.
        index_may_follow: its index may stand behind the sound, where a pipe cannot go back from.
    """

    name: str
    demuxer: str
    suffix: str
    libsndfile: bool = False
    announces: bool = True
    index_may_follow: bool = False


def recognise(head: bytes) -> Container | None:
    """Recognises a format by its first bytes.

    Args:
        head: the first bytes of a file or stream, best :data:`HEAD_BYTES` of them. An ID3v2 tag in front is skipped
            where it ends within them; :func:`id3_bytes` tells how long it is, for a caller who can read on.

    Returns:
        None where it is nothing that ffmpeg should be given: raw samples, a picture, a text, a playlist, or a format
        that libsndfile decodes whatever is in it (FLAC, MP3).
    """
    head = head[id3_bytes(head) :]
    for offset, magic, container in _MAGICS:
        if head[offset : offset + len(magic)] == magic and (offset != _FORM_OFFSET or head[:4] in _FORMS):
            return container
    for find in _FINDERS:
        found = find(head)
        if found is not None:
            return found
    return None


def id3_bytes(head: bytes) -> int:
    """Gives the size of an ID3v2 tag at the start in bytes, with its header; 0 where there is none (ID3v2.4 §3.1)."""
    if len(head) < ID3_HEADER_BYTES or not head.startswith(b"ID3") or max(head[6:10]) > 0x7F:  # noqa: PLR2004
        return 0
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte
    footer = ID3_HEADER_BYTES if head[5] & 0x10 else 0
    return ID3_HEADER_BYTES + size + footer


_FORM_OFFSET = 8
_FORMS = {b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM"}

_MATROSKA = Container("Matroska", "matroska", "mkv")
_WEBM = Container("WebM", "matroska", "webm")
_AC3 = Container("AC-3", "ac3", "ac3", announces=False)
_EAC3 = Container("E-AC-3", "eac3", "eac3", announces=False)
_ADTS = Container("AAC", "aac", "aac", announces=False)
_LOAS = Container("AAC in LATM", "loas", "aac", announces=False)
_MPEG_TS = Container("MPEG transport stream", "mpegts", "ts", announces=False)
_AMR = Container("AMR", "amr", "amr", announces=False)
_DTS = Container("DTS", "dts", "dts", announces=False)
_REAL = Container("RealAudio", "rm", "ra")
_AIFF = Container("AIFF", "aiff", "aiff", libsndfile=True)
_OMA = Container("ATRAC", "oma", "oma", announces=False)

_MAGICS: tuple[tuple[int, bytes, Container], ...] = (
    (0, bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), Container("WMA or WMV", "asf", "wma")),
    (8, b"AVI ", Container("AVI", "avi", "avi")),
    (8, b"AVIX", Container("AVI", "avi", "avi")),
    (0, b"FLV\x01", Container("FLV", "flv", "flv")),
    (0, b"\x00\x00\x01\xba", Container("MPEG programme stream", "mpeg", "mpg", announces=False)),
    (0, b"#!AMR\n", _AMR),
    (0, b"#!AMR-WB\n", _AMR),
    (0, b"#!iLBC", Container("iLBC", "ilbc", "lbc", announces=False)),
    (0, b"\x7f\xfe\x80\x01", _DTS),
    (0, b"\xfe\x7f\x01\x80", _DTS),
    (0, b"\x1f\xff\xe8\x00", _DTS),
    (0, b"\xff\x1f\x00\xe8", _DTS),
    (0, b"DTSHDHDR", Container("DTS-HD", "dtshd", "dtshd", announces=False)),
    (4, b"\xf8\x72\x6f\xba", Container("TrueHD", "truehd", "thd", announces=False)),
    (4, b"\xf8\x72\x6f\xbb", Container("MLP", "mlp", "mlp", announces=False)),
    (0, b"MAC ", Container("Monkey's Audio", "ape", "ape")),
    (0, b"wvpk", Container("WavPack", "wv", "wv")),
    (0, b"TTA1", Container("TTA", "tta", "tta")),
    (0, b"MP+\x07", Container("Musepack", "mpc", "mpc")),
    (0, b"MP+\x17", Container("Musepack", "mpc", "mpc")),
    (0, b"MPCK", Container("Musepack", "mpc8", "mpc")),
    (0, b"tBaK", Container("TAK", "tak", "tak")),
    (0, b"ajkg", Container("Shorten", "shn", "shn", announces=False)),
    (0, b"DSD ", Container("DSF", "dsf", "dsf")),
    (0, b"1bit", Container("WSD", "wsd", "wsd", announces=False)),
    (0, b".RMF", _REAL),
    (0, b".ra\xfd", _REAL),
    (8, b"QLCM", Container("QCP", "qcp", "qcp", announces=False)),
    (8, b"XWMA", Container("xWMA", "xwma", "xwma", announces=False)),
    (4, b"\x57\x90\x75\x36", Container("Audible", "aa", "aa")),
    (0, b"ea3\x03", _OMA),
    (0, b"EA3\x01", _OMA),
    (0, b"TWIN97012000", Container("TwinVQ", "vqf", "vqf", announces=False)),
    (0, bytes.fromhex("060e2b34020501010d0102"), Container("MXF", "mxf", "mxf")),
    (0, b"\x1f\x07\x00\x3f", Container("DV", "dv", "dv", announces=False)),
    (0, b"\x1f\x07\x00\xbf", Container("DV", "dv", "dv", announces=False)),
    (0, b"caff", Container("CAF", "caf", "caf", libsndfile=True, index_may_follow=True)),
    (0, b"OggS", Container("Ogg", "ogg", "ogg", libsndfile=True, announces=False)),
    (8, b"WAVE", Container("WAV", "wav", "wav", libsndfile=True)),
    (0, bytes.fromhex("726966662e91cf11a5d628db04c10000"), Container("Wave64", "w64", "w64", libsndfile=True)),
    (8, b"AIFF", _AIFF),
    (8, b"AIFC", _AIFF),
    (0, b".snd", Container("AU", "au", "au", libsndfile=True)),
    (0, b"Creative Voice File\x1a", Container("VOC", "voc", "voc", libsndfile=True, announces=False)),
    (0, b"NIST_1A\n", Container("NIST SPHERE", "nistsphere", "sph", libsndfile=True, announces=False)),
)

_IMAGE_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis", b"crx "}
_QUICKTIME_ATOMS = {b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"}
_SMALLEST_ATOM = 8


def _iso_media(head: bytes) -> Container | None:
    """ISO base media (ISO 14496-12 §4.3), and QuickTime from before it had a brand."""
    size, kind, brand = head[:4], head[4:8], head[8:12]
    if kind == b"ftyp" and brand not in _IMAGE_BRANDS:
        if brand.startswith((b"3g", b"3G")):
            return Container("3GP", "mov", "3gp", index_may_follow=True)
        name, suffix = {
            b"M4A ": ("M4A", "m4a"),
            b"M4B ": ("M4A", "m4b"),
            b"M4P ": ("M4A", "m4p"),
            b"qt  ": ("MOV", "mov"),
        }.get(brand, ("MP4", "mp4"))
        return Container(name, "mov", suffix, index_may_follow=True)
    if kind in _QUICKTIME_ATOMS:
        # A size of 1 is followed by one of 64 bits; 0, of the last atom, reaches to the end.
        number = int.from_bytes(size, "big")
        # The first byte of a text is none of an atom's size, but for sound of more than 16 MB.
        if (number <= 1 or number >= _SMALLEST_ATOM) and (size[0] == 0 or kind == b"mdat"):
            return Container("MOV", "mov", "mov", index_may_follow=True)
    return None


def _matroska(head: bytes) -> Container | None:
    if not head.startswith(b"\x1a\x45\xdf\xa3"):
        return None
    return _WEBM if b"webm" in head[:64] else _MATROSKA


def _dsdiff(head: bytes) -> Container | None:
    return Container("DSDIFF", "iff", "dff") if head.startswith(b"FRM8") and head[12:16] == b"DSD " else None


_TS_PACKETS = ((188, 0), (192, 4), (204, 0))
_CERTAIN_PACKETS = 5


def _transport_stream(head: bytes) -> Container | None:
    """Packets that begin with 0x47 at equal distances: plain, behind a time code (M2TS), or before a checksum."""
    for size, first in _TS_PACKETS:
        starts = range(first, len(head) - 3, size)
        # The error flag is clear, and what follows the header is named (ISO 13818-1 §2.4.3.2).
        good = [head[at] == 0x47 and head[at + 1] < 0x80 and head[at + 3] & 0x30 != 0 for at in starts]  # noqa: PLR2004
        if len(good) >= _CERTAIN_PACKETS and all(good[:_CERTAIN_PACKETS]) and len(set(head[: 2 * size])) > size // 32:
            return _MPEG_TS
    return None


def _in_a_row(head: bytes, frame_bytes: Callable[[bytes], int], count: int = 3) -> bool:
    """Whether frames follow each other, of which the last may be cut off.

    Args:
        head: bytes that begin with a frame.
        frame_bytes: function that gives the size of the frame at the start of the bytes it is given; 0 where there is
            none.
        count: so many frames are no accident.
    """
    position = 0
    for _ in range(count):
        size = frame_bytes(head[position : position + 16])
        if size == 0:
            return False
        position += size
    return True


_ADTS_HEADER_BYTES = 7
_ADTS_RATES = 13


def _adts_bytes(header: bytes) -> int:
    """ISO 14496-3 §1.A.2.2.1: 12 bits of sync, layer 0, one of 13 rates, a length of 13 bits."""
    if len(header) < _ADTS_HEADER_BYTES or header[0] != 0xFF or header[1] & 0xF6 != 0xF0:  # noqa: PLR2004
        return 0
    size = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return size if header[2] >> 2 & 0xF < _ADTS_RATES and size >= _ADTS_HEADER_BYTES else 0


def _loas_bytes(header: bytes) -> int:
    """ISO 14496-3 §1.7.2: 11 bits of sync, a length of 13 bits."""
    if len(header) < 3 or header[0] != 0x56 or header[1] & 0xE0 != 0xE0:  # noqa: PLR2004
        return 0
    size = (header[1] & 0x1F) << 8 | header[2]
    return size + 3 if size else 0


_AC3_BIT_RATES = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)
_AC3_RATES = (48_000, 44_100, 32_000)
_AC3_SAMPLES = 1_536
_AC3_HIGHEST_ID = 10
_EAC3_HIGHEST_ID = 16


def _ac3_bytes(header: bytes) -> int:
    """ATSC A/52 §5.4.1 (sync, rate, size in words of 16 bits) and §E.2.3.1 for E-AC-3."""
    if len(header) < 6 or header[:2] != b"\x0b\x77":  # noqa: PLR2004
        return 0
    stream_id = header[5] >> 3
    if stream_id > _AC3_HIGHEST_ID:
        return 2 * ((header[2] & 7) << 8 | header[3]) + 2 if stream_id <= _EAC3_HIGHEST_ID else 0
    rate, size = header[4] >> 6, header[4] & 0x3F
    if rate >= len(_AC3_RATES) or size // 2 >= len(_AC3_BIT_RATES):
        return 0
    words = _AC3_BIT_RATES[size // 2] * 1000 * _AC3_SAMPLES // (_AC3_RATES[rate] * 16)
    return 2 * (words + (size & 1 if _AC3_RATES[rate] == 44_100 else 0))  # noqa: PLR2004  the one rate with a rest


def _swapped(data: bytes) -> bytes:
    words = len(data) // 2
    return struct.pack(f">{words}H", *struct.unpack(f"<{words}H", data[: 2 * words]))


def _frames(head: bytes) -> Container | None:
    """Formats without a header, that consist of frames."""
    if _in_a_row(head, _adts_bytes):
        return _ADTS
    if _in_a_row(head, _loas_bytes):
        return _LOAS
    for data in (head, _swapped(head) if head.startswith(b"\x77\x0b") else b""):
        if _in_a_row(data, _ac3_bytes):
            return _AC3 if data[5] >> 3 <= _AC3_HIGHEST_ID else _EAC3
    return None


_FINDERS = (_iso_media, _matroska, _dsdiff, _transport_stream, _frames)
