"""Bytes that anybody may have sent are refused or understood; what is understood is written the same again."""

from __future__ import annotations

import os
import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.adpcm import AdpcmEncoder, block_bytes, decode_block
from firmware_bridge.cobs import CobsError, cobs_decode, cobs_encode
from firmware_bridge.fields import Codec
from firmware_bridge.frame import Audio, FrameError, decode, encode
from firmware_bridge.packets import (
    MAX_COBS_BYTES,
    Direction,
    ReplayWindow,
    StreamReader,
    seal,
    stream_packet,
    unseal,
    without_crc,
)
from firmware_bridge.timeline import decoded
from tests.firmware_bridge.vector_files import vectors

EXAMPLES = int(os.environ.get("EDGE_AAC_BRIDGE_EXAMPLES", "100"))
KEY = bytes(32)
_SEEDS = [bytes.fromhex(vector["hex"]) for file in ("frames.txt", "bad_frames.txt") for vector in vectors(file)]
fuzz = settings(max_examples=EXAMPLES, deadline=None)


@st.composite
def near_frames(draw: st.DrawFn) -> bytes:
    """A vector with some bytes changed, cut or added."""
    data = bytearray(draw(st.sampled_from(_SEEDS)))
    for _ in range(draw(st.integers(0, 4))):
        if data:
            data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    data = data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data
    return bytes(data) + draw(st.binary(max_size=8))


@fuzz
@given(st.one_of(st.binary(max_size=1200), near_frames()))
def test_frames(data: bytes) -> None:
    try:
        frame = decode(data)
    except FrameError:
        return
    assert encode(frame) == data
    if isinstance(frame, Audio):
        assert decoded(frame).shape == (frame.samples, frame.channels)


@fuzz
@given(st.binary(max_size=1200))
def test_cobs(data: bytes) -> None:
    packet = cobs_encode(data)
    assert 0 not in packet and len(packet) <= len(data) + 1 + len(data) // 254
    assert cobs_decode(packet) == data
    try:
        again = cobs_decode(data)
    except CobsError:
        return
    assert cobs_decode(cobs_encode(again)) == again


@fuzz
@given(st.lists(st.one_of(st.binary(max_size=3000), near_frames().map(stream_packet)), max_size=12), st.randoms())
def test_streams(parts: list[bytes], chance: random.Random) -> None:
    """What is cut into any pieces gives the same frames, keeps few bytes, and ends with the next 0."""
    data = b"".join(parts)
    whole, pieces = StreamReader(), StreamReader()
    expected = whole.feed(data)
    given_, place = [], 0
    while place < len(data):
        size = chance.randint(1, 700)
        given_ += pieces.feed(data[place : place + size])
        place += size
        assert len(pieces._packet) <= MAX_COBS_BYTES  # noqa: SLF001
    assert (given_, pieces.refused) == (expected, whole.refused)
    good = _SEEDS[0]
    assert whole.feed(b"\0" + stream_packet(good))[-1] == good


@fuzz
@given(st.binary(max_size=1100), st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(0, 1151))
def test_sealed(data: bytes, session: int, counter: int, place: int) -> None:
    packet = seal(data, KEY, Direction.UP, session, counter)
    if 10 <= len(data) <= 1024:
        assert unseal(packet, KEY, Direction.UP).frame == data
    broken = bytearray(packet)
    broken[place % len(broken)] ^= 1
    for hostile in (bytes(broken), packet[:-1], data):
        with pytest.raises(FrameError):
            unseal(hostile, KEY, Direction.UP)
    with pytest.raises(FrameError):
        unseal(packet, KEY, Direction.DOWN)


@fuzz
@given(st.binary(max_size=1100))
def test_plain(data: bytes) -> None:
    with pytest.raises(FrameError):
        without_crc(data + b"\1\2\3\4")


@fuzz
@given(st.lists(st.integers(-32768, 32767), min_size=1, max_size=1000))
def test_adpcm(samples: list[int]) -> None:
    encoder = AdpcmEncoder()
    block = encoder.encode(samples)
    assert len(block) == block_bytes(len(samples))
    back = decode_block(block, len(samples))
    assert back[-1] == encoder.predictor, "the encoder knows what the decoder has"
    assert all(-32768 <= value <= 32767 for value in back)
    audio = Audio(1, 0, 0, 0, Codec.ADPCM, 1, len(samples), block)
    assert decode(encode(audio)) == audio


@fuzz
@given(st.lists(st.integers(0, 200), max_size=60))
def test_window(counters: list[int]) -> None:
    """Against the plainest window there is: a set of what was taken."""
    window, seen = ReplayWindow(), set[int]()
    for counter in counters:
        new = counter > 0 and counter not in seen and counter > max(seen, default=0) - ReplayWindow.SIZE
        assert window.take(counter) is new
        if new:
            seen.add(counter)


def test_random_pcm_is_decoded_to_the_bit() -> None:
    values = struct.pack("<4h", 0, 32767, -32768, 1)
    samples = decoded(Audio(1, 0, 0, 0, Codec.PCM, 2, 2, values))
    assert samples.tolist() == [[0.0, 32767 / 32768], [-1.0, 1 / 32768]]
