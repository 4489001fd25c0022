"""The C and the Python library agree on random frames, and on what is none.

``EDGE_AAC_BRIDGE_FRAMES=1000000`` has these tests try a million frames (ten minutes) in place of some thousands.
"""

from __future__ import annotations

import dataclasses
import os
import random
import struct
from collections.abc import Iterator

from firmware_bridge.adpcm import block_bytes, decode_block
from firmware_bridge.cobs import cobs_encode
from firmware_bridge.fields import Codec
from firmware_bridge.frame import Audio, Frame, FrameError, UnknownTypeError, decode, encode
from firmware_bridge.packets import Direction, ReplayWindow, StreamReader, seal, stream_packet, unseal, with_crc
from tests.firmware_bridge.c_library import CodecPipe, ReadFrame
from tests.firmware_bridge.random_frames import damaged, random_frame

_FRAMES = int(os.environ.get("EDGE_AAC_BRIDGE_FRAMES", "6000"))
_BATCH = 20_000


def _batches() -> Iterator[tuple[random.Random, int]]:
    for number, start in enumerate(range(0, _FRAMES, _BATCH)):
        yield random.Random(number), min(_BATCH, _FRAMES - start)


def _words(frame: Frame) -> str:
    words = [f"type={frame.TYPE}"]
    for field in dataclasses.fields(frame):
        value = getattr(frame, field.name)
        if isinstance(value, str):
            value = value.encode()
        words.append(f"{field.name}={value.hex() if isinstance(value, bytes) else int(value)}")
    return " ".join(words)


def _samples(frame: Frame) -> bytes:
    if not isinstance(frame, Audio):
        return b""
    if frame.codec is Codec.PCM:
        return frame.payload
    size = block_bytes(frame.samples)
    channels = [decode_block(frame.payload[at : at + size], frame.samples) for at in range(0, len(frame.payload), size)]
    interleaved = [sample for together in zip(*channels, strict=True) for sample in together]
    return struct.pack(f"<{len(interleaved)}h", *interleaved)


def _agree(data: bytes, answer: bytes) -> str:
    """Asserts that C made of ``data`` what Python makes of it; returns the verdict."""
    read = ReadFrame(answer)
    try:
        frame = decode(data)
    except UnknownTypeError:
        assert read.verdict == "u", data.hex()
    except FrameError:
        assert read.verdict == "x", data.hex()
    else:
        assert read.verdict == "r", data.hex()
        assert read.fields == _words(frame), data.hex()
        assert read.again == data
        assert read.samples == _samples(frame), data.hex()
    return read.verdict


def test_good_frames(codec_pipe: CodecPipe) -> None:
    for generator, count in _batches():
        frames = [encode(random_frame(generator)) for _ in range(count)]
        answers = codec_pipe.ask([("F", data) for data in frames])
        assert {_agree(data, answer) for data, answer in zip(frames, answers, strict=True)} == {"r"}
        packets = codec_pipe.ask([("E", data) for data in frames])
        assert packets == [stream_packet(data) for data in frames]


def test_damaged_frames(codec_pipe: CodecPipe) -> None:
    verdicts: dict[str, int] = {"r": 0, "u": 0, "x": 0}
    for generator, count in _batches():
        frames = [damaged(generator, encode(random_frame(generator))) for _ in range(count)]
        for data, answer in zip(frames, codec_pipe.ask([("F", data) for data in frames]), strict=True):
            verdicts[_agree(data, answer)] += 1
    # The damage leaves enough whole, and breaks enough, for both to be tried.
    assert min(verdicts["r"], verdicts["x"]) > _FRAMES / 5, verdicts
    assert verdicts["u"] > _FRAMES / 500, verdicts


def test_damaged_streams(codec_pipe: CodecPipe) -> None:
    """Rows of ten packets with damaged bytes among them give the same frames, and as many packets refused."""
    kept = sent = 0
    for generator, count in _batches():
        streams = []
        for _ in range(max(count // 10, 1)):
            stream = bytearray(b"".join(stream_packet(encode(random_frame(generator))) for _ in range(10)))
            for _ in range(generator.randrange(6)):
                stream[generator.randrange(len(stream))] = generator.choice((0, generator.randrange(256)))
            streams.append(bytes(stream))
            sent += 10
        for stream, answer in zip(streams, codec_pipe.ask([("S", stream) for stream in streams]), strict=True):
            reader = StreamReader()
            frames = reader.feed(stream)
            assert _frames_and_refused(answer) == (frames, reader.refused), stream.hex()
            kept += len(frames)
    # Two and a half damaged bytes in ten packets on average: each costs its packet, and a damaged zero two.
    assert sent * 0.5 < kept < sent * 0.9


def _frames_and_refused(answer: bytes) -> tuple[list[bytes], int]:
    (refused,) = struct.unpack_from("<I", answer)
    frames, at = [], 4
    while at < len(answer):
        (size,) = struct.unpack_from("<H", answer, at)
        frames.append(answer[at + 2 : at + 2 + size])
        at += 2 + size
    return frames, refused


def test_noise_is_no_stream(codec_pipe: CodecPipe) -> None:
    generator = random.Random(1)
    for zeros in (0.0, 0.0005, 0.01, 0.3):
        stream = bytes(0 if generator.random() < zeros else generator.randint(1, 255) for _ in range(40_000)) + b"\0"
        reader = StreamReader()
        assert _frames_and_refused(codec_pipe.ask_one("S", stream)) == (reader.feed(stream), reader.refused)
        assert reader.refused > 0


def test_packets_of_the_wrong_length(codec_pipe: CodecPipe) -> None:
    """A right CRC is not enough: what is cut from a longer packet, or is shorter than any frame, is none."""
    longest = with_crc(bytes(1020) + b"abcd")
    packets = [longest + b"x", longest + bytes(5), *(with_crc(bytes(range(1, count + 1))) for count in range(10))]
    stream = b"".join(cobs_encode(packet) + b"\0" for packet in packets)
    reader = StreamReader()
    assert reader.feed(stream) == []
    assert _frames_and_refused(codec_pipe.ask_one("S", stream)) == ([], reader.refused)
    assert reader.refused == len(packets)
    assert codec_pipe.ask([("P", packet) for packet in packets]) == [b""] * len(packets)
    assert codec_pipe.ask_one("P", longest) == longest[:-4]


def test_sealed_datagrams(codec_pipe: CodecPipe) -> None:
    for generator, count in _batches():
        requests, expected = [], []
        for _ in range(count // 10):
            frame, key = encode(random_frame(generator)), generator.randbytes(32)
            direction = generator.choice((Direction.UP, Direction.DOWN))
            session, counter = generator.getrandbits(64), generator.getrandbits(32)
            packet = seal(frame, key, direction, session, counter)
            trailer = struct.pack("<QI", session, counter)
            requests.append(("A", direction.value + trailer + key + frame))
            expected.append(packet)
            received = packet if generator.randrange(2) else damaged(generator, packet)
            requests.append(("U", direction.value + key + received))
            try:
                opened = unseal(received, key, direction)
                expected.append(b"r" + struct.pack("<QI", opened.session, opened.counter) + opened.frame)
            except FrameError:
                expected.append(b"x")
        assert codec_pipe.ask(requests) == expected
        assert 0 < expected.count(b"x") < len(expected) / 3


def test_replay_windows(codec_pipe: CodecPipe) -> None:
    generator = random.Random(2)
    for _ in range(50):
        # Forwards on the whole, with steps back, repetitions and leaps.
        counters, at = [], generator.choice((1, 2**32 - 3000))
        for _ in range(500):
            at = max(min(at + generator.choice((1, 1, 1, 2, 63, 64, 65, -1, -62, -63, -64)), 2**32 - 1), 0)
            counters.append(at)
        window = ReplayWindow()
        expected = [int(window.take(counter)) for counter in counters]
        assert list(codec_pipe.ask_one("W", struct.pack(f"<{len(counters)}I", *counters))) == expected
        assert {0, 1} == set(expected)
