"""The Python library does what the vector files say, which the C library is tested with too."""

from __future__ import annotations

import importlib.util
import struct
from types import ModuleType

import pytest

from firmware_bridge.adpcm import AdpcmEncoder, decode_block
from firmware_bridge.cobs import CobsError, cobs_decode, cobs_encode
from firmware_bridge.frame import FrameError, UnknownTypeError, decode, encode
from firmware_bridge.packets import Direction, ReplayWindow, StreamReader, seal, unseal, without_crc
from tests.firmware_bridge.vector_files import VECTORS, vectors


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", VECTORS / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_files_are_what_their_generator_writes() -> None:
    generator = _generator()
    assert set(generator.FILES) == {path.name for path in VECTORS.glob("*.txt")}
    for file, lines in generator.FILES.items():
        assert (VECTORS / file).read_text(encoding="ascii").splitlines() == list(lines())


def test_frames() -> None:
    by_name = dict(_generator().frames())
    for vector in vectors("frames.txt"):
        data = bytes.fromhex(vector["hex"])
        frame = decode(data)
        assert frame == by_name[vector["vector"]]
        assert (encode(frame), frame.TYPE) == (data, int(vector["type"]))
        assert without_crc(bytes.fromhex(vector["datagram"])) == data
        assert StreamReader().feed(bytes.fromhex(vector["stream"])) == [data]


@pytest.mark.parametrize("vector", vectors("bad_frames.txt"), ids=lambda vector: vector["vector"])
def test_bad_frames(vector: dict[str, str]) -> None:
    with pytest.raises(FrameError) as refused:
        decode(bytes.fromhex(vector["hex"]))
    assert isinstance(refused.value, UnknownTypeError) == (vector["unknown"] == "1")


def test_cobs() -> None:
    for vector in vectors("cobs.txt"):
        packet = bytes.fromhex(vector["packet"])
        if vector["good"] == "0":
            with pytest.raises(CobsError):
                cobs_decode(packet)
            continue
        data = bytes.fromhex(vector["data"])
        assert cobs_decode(packet) == data
        assert (cobs_encode(data) == packet) == (vector["good"] == "1")


def test_adpcm() -> None:
    encoder = AdpcmEncoder()
    for vector in vectors("adpcm.txt"):
        encoder = AdpcmEncoder() if vector["block"] == "0" else encoder
        count = int(vector["samples"])
        samples = list(struct.unpack(f"<{count}h", bytes.fromhex(vector["data"])))
        block = bytes.fromhex(vector["packet"])
        assert encoder.encode(samples) == block
        assert struct.pack(f"<{count}h", *decode_block(block, count)) == bytes.fromhex(vector["decoded"])


def test_sealed() -> None:
    for vector in vectors("sealed.txt"):
        key, packet = bytes.fromhex(vector["key"]), bytes.fromhex(vector["packet"])
        direction = Direction(bytes.fromhex(vector["direction"]))
        if vector["good"] == "0":
            with pytest.raises(FrameError):
                unseal(packet, key, direction)
            continue
        sealed = unseal(packet, key, direction)
        assert sealed.frame == bytes.fromhex(vector["hex"])
        assert (sealed.session, sealed.counter) == (int(vector["session"]), int(vector["counter"]))
        assert seal(sealed.frame, key, direction, sealed.session, sealed.counter) == packet


def test_window() -> None:
    window = ReplayWindow()
    for vector in vectors("window.txt"):
        assert window.take(int(vector["counter"])) == (vector["taken"] == "1"), vector
