"""Formats by their first bytes: only what is sound for ffmpeg, and never what makes it open something else."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest

from edge_aac.audio.formats.recognition import HEAD_BYTES, id3_bytes, recognise

_AMR = b"#!AMR\n" + 50 * (b"\x3c" + bytes(31))


def _adts(frames: int, size: int = 200) -> bytes:
    header = bytes([0xFF, 0xF1, 0x50, 0x80 | size >> 11, size >> 3 & 0xFF, (size & 7) << 5 | 0x1F, 0xFC])
    return frames * (header + bytes(size - 7))


def _id3(size: int) -> bytes:
    return b"ID3\x04\x00\x00" + bytes([size >> 21, size >> 14 & 0x7F, size >> 7 & 0x7F, size & 0x7F]) + bytes(size)


@pytest.mark.parametrize(
    "content",
    [
        b"#EXTM3U\n#EXTINF:10,\nhttp://example.org/a.ts\n",
        b"ffconcat version 1.0\nfile 'a.wav'\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\n",
        b"1\n00:00:00,000 --> 00:00:01,000\nHello\n",
        b"[Script Info]\nTitle: x\n",
        b"WEBVTT\n\n",
        b"<?xml version='1.0'?><MPD></MPD>",
        b"The free software ",
        b"Use free, skip wide",
        b"abcdmoov for you",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(100),
        b"GIF89a" + bytes(100),
        b"PK\x03\x04" + bytes(100),
        b"\x7fELF\x02\x01\x01" + bytes(100),
        b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic",
        b"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00avifmif1",
        b"%PDF-1.7\n",
        b"RIFF\x00\x01\x00\x00WEBPVP8 ",
        b"xxxxxxxxWAVE is no form",
        b"FORM\x00\x00\x00\x10ILBM",
        b"fLaC\x00\x00\x00\x22",
        b"",
        b"I",
        bytes(HEAD_BYTES),
        b"\xff" * HEAD_BYTES,
        b"\x47" * HEAD_BYTES,
        b"G\x00\x10\x10" * 5000,
        zlib.compress(bytes(range(256)) * 500),
    ],
    ids=lambda content: repr(content[:12]),
)
def test_nothing_of_ours(content: bytes) -> None:
    assert recognise(content) is None


def test_raw_samples_are_no_container() -> None:
    random = np.random.default_rng(0)
    for trial in range(300):
        sound = random.standard_normal(HEAD_BYTES // 2) * 10 ** random.uniform(0, 4.5)
        if trial % 2:
            sound = np.cumsum(sound) / 100
        assert recognise(np.clip(sound, -32768, 32767).astype("<i2").tobytes()) is None


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[4] / "edge_aac").rglob("*.py"))[::20], ids=lambda path: path.name
)
def test_programs_are_no_container(path: Path) -> None:
    assert recognise(path.read_bytes()[:HEAD_BYTES]) is None


def test_frames_must_follow_each_other() -> None:
    assert recognise(_adts(3)) is not None
    assert recognise(_adts(2)) is None
    assert recognise(_adts(1) + bytes(400)) is None
    found = recognise(_adts(3)[:-150])
    assert found is not None and found.demuxer == "aac"


@pytest.mark.parametrize("size", [0, 300, 20_000])
def test_behind_a_tag(size: int) -> None:
    assert id3_bytes(_id3(size)) == size + 10
    found = recognise(_id3(size) + _adts(10))
    assert found is not None and found.demuxer == "aac"
    assert id3_bytes(_adts(3)) == 0


def test_any_beginning_is_answered() -> None:
    heads = [_AMR, _adts(5), b"\x0b\x77" + bytes(50), b"\x56\xe0\x10" * 9, b"\x00\x00\x00\x18ftypM4A ", _id3(50)]
    for head in heads:
        for size in range(min(len(head), 700)):
            recognise(head[:size])
    found = recognise(_AMR[:6])
    assert found is not None and found.name == "AMR"


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\x00\x00\x00\x18ftypM4A \x00\x00\x02\x00", "M4A"),
        (b"\x00\x00\x00\x18ftyp3gp4\x00\x00\x02\x00", "3GP"),
        (b"\x00\x00\x00\x14ftypqt  \x00\x00\x02\x00", "MOV"),
        (b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00", "MP4"),
        (b"\x00\x00\x00\x08wide\x00\x10\x00\x00mdat", "MOV"),
        (b"\x00\x00\x10\x00moov\x00\x00\x00\x6cmvhd", "MOV"),
        (b"\x00\x00\x00\x01mdat\x00\x00\x00\x01\x00\x00\x00\x00", "MOV"),
        (b"MAC \x96\x0f", "Monkey's Audio"),
        (b"MPCKSH", "Musepack"),
        (b"MP+\x07", "Musepack"),
        (b".RMF\x00\x00\x00\x12", "RealAudio"),
        (b".ra\xfd\x00\x04", "RealAudio"),
        (b"DSD \x1c\x00\x00\x00", "DSF"),
        (b"FRM8\x00\x00\x00\x00\x00\x00\x10\x00DSD FVER", "DSDIFF"),
        (b"tBaK", "TAK"),
    ],
)
def test_what_this_machine_cannot_make(head: bytes, name: str) -> None:
    found = recognise(head + bytes(64))
    assert found is not None and found.name == name
