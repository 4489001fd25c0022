"""The C library, compiled here, does what the vector files say."""

from __future__ import annotations

import hashlib
import hmac
import random
import struct
import zlib

import pytest

from tests.firmware_bridge.c_library import CodecPipe, ReadFrame
from tests.firmware_bridge.vector_files import vectors

_NOT_FIELDS = {"vector", "hex", "stream", "datagram"}


def test_frames(codec_pipe: CodecPipe) -> None:
    rows = vectors("frames.txt")
    assert len(rows) >= 25
    for vector in rows:
        data = bytes.fromhex(vector["hex"])
        read, stream, plain = codec_pipe.ask([("F", data), ("E", data), ("P", bytes.fromhex(vector["datagram"]))])
        frame = ReadFrame(read)
        assert (frame.verdict, frame.again) == ("r", data), vector["vector"]
        assert frame.fields == " ".join(f"{name}={value}" for name, value in vector.items() if name not in _NOT_FIELDS)
        assert stream == bytes.fromhex(vector["stream"])
        assert plain == data


def test_bad_frames(codec_pipe: CodecPipe) -> None:
    rows = vectors("bad_frames.txt")
    answers = codec_pipe.ask([("F", bytes.fromhex(vector["hex"])) for vector in rows])
    verdicts = {vector["vector"]: ReadFrame(answer).verdict for vector, answer in zip(rows, answers, strict=True)}
    assert verdicts == {vector["vector"]: "u" if vector["unknown"] == "1" else "x" for vector in rows}


def test_cobs(codec_pipe: CodecPipe) -> None:
    for vector in vectors("cobs.txt"):
        packet = bytes.fromhex(vector["packet"])
        if vector["good"] == "0":
            assert codec_pipe.ask_one("D", packet) == b"x", vector["vector"]
            continue
        data = bytes.fromhex(vector["data"])
        assert codec_pipe.ask_one("D", packet) == b"r" + data, vector["vector"]
        assert (codec_pipe.ask_one("B", data) == packet + b"\0") == (vector["good"] == "1"), vector["vector"]


def test_adpcm(codec_pipe: CodecPipe) -> None:
    for vector in vectors("adpcm.txt"):
        block, data = bytes.fromhex(vector["packet"]), bytes.fromhex(vector["data"])
        assert codec_pipe.ask_one("M", block[:4] + data) == block, vector["vector"]
        audio = struct.pack("<BBQIQIBBH", 1, 2, 1, 0, 0, 0, 1, 1, int(vector["samples"])) + block
        assert ReadFrame(codec_pipe.ask_one("F", audio)).samples == bytes.fromhex(vector["decoded"])


def test_sealed(codec_pipe: CodecPipe) -> None:
    for vector in vectors("sealed.txt"):
        key, packet = bytes.fromhex(vector["key"]), bytes.fromhex(vector["packet"])
        direction = bytes.fromhex(vector["direction"])
        answer = codec_pipe.ask_one("U", direction + key + packet)
        if vector["good"] == "0":
            assert answer == b"x", vector["vector"]
            continue
        frame = bytes.fromhex(vector["hex"])
        trailer = struct.pack("<QI", int(vector["session"]), int(vector["counter"]))
        assert answer == b"r" + trailer + frame, vector["vector"]
        assert codec_pipe.ask_one("A", direction + trailer + key + frame) == packet


def test_window(codec_pipe: CodecPipe) -> None:
    rows = vectors("window.txt")
    counters = struct.pack(f"<{len(rows)}I", *(int(vector["counter"]) for vector in rows))
    assert list(codec_pipe.ask_one("W", counters)) == [int(vector["taken"]) for vector in rows]


def test_hashes_are_the_standards(codec_pipe: CodecPipe) -> None:
    generator = random.Random(0)
    # Around the lengths at which the padding of SHA-256 takes another block, and keys around HMAC's block.
    for length in (0, 1, 54, 55, 56, 57, 63, 64, 65, 119, 120, 127, 128, 1000):
        for key_length in (1, 32, 63, 64, 65, 255):
            key, message = generator.randbytes(key_length), generator.randbytes(length)
            answer = codec_pipe.ask_one("H", bytes([key_length]) + key + message)
            expected = hashlib.sha256(message).digest() + hmac.digest(key, message, hashlib.sha256)
            assert answer == expected + struct.pack("<I", zlib.crc32(message)), (length, key_length)


@pytest.mark.parametrize(
    ("text", "limit", "kept"),
    [
        ("a dog barks", 240, 11),
        ("a dog barks", 5, 5),
        ("é" * 20, 13, 12),
        ("日本語", 8, 6),
        ("a🔔", 4, 1),
        ("a🔔", 5, 5),
        ("", 9, 0),
    ],
)
def test_a_text_is_cut_at_a_character(codec_pipe: CodecPipe, text: str, limit: int, kept: int) -> None:
    assert codec_pipe.ask_one("T", bytes([limit]) + text.encode()) == bytes([kept])


def test_utf8_is_pythons(codec_pipe: CodecPipe) -> None:
    """Every pair of first and second byte, in texts of one to four bytes, is taken as Python takes it."""
    texts = [bytes([first]) + rest for first in range(256) for rest in (b"", b"\x80", b"\x80\x80", b"\x80\x80\x80")]
    texts += [bytes([first, second]) + b"\x80\x80"[: size - 2] for first in range(0xC0, 256) for second in range(256)
              for size in (2, 3, 4)]  # fmt: skip
    for text, answer in zip(texts, codec_pipe.ask([("T", b"\xff" + text) for text in texts]), strict=True):
        try:
            good = len(text.decode("utf-8")) >= 0
        except UnicodeDecodeError as error:
            good = False
            assert answer[0] <= len(text)
            assert answer[0] == error.start, text
        if good:
            assert answer[0] == len(text), text
