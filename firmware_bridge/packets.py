"""Frames as packets: with a CRC-32 (byte streams, plain datagrams) or with a tag (authenticated datagrams)."""

from __future__ import annotations

import hashlib
import hmac
import struct
import zlib
from dataclasses import dataclass
from enum import Enum

from firmware_bridge.cobs import CobsError, cobs_decode, cobs_encode
from firmware_bridge.frame import HEADER_BYTES, MAX_FRAME_BYTES, FrameError

CRC_BYTES = 4
MAX_COBS_BYTES = 1033  # 1028 bytes and 5 of overhead
KEY_BYTES = 32
TAG_BYTES = 16
_TRAILER = struct.Struct("<QI")
TRAILER_BYTES = _TRAILER.size + TAG_BYTES
MAX_DATAGRAM_BYTES = MAX_FRAME_BYTES + TRAILER_BYTES


class Direction(Enum):
    """Which way an authenticated datagram goes; its byte is part of what the tag covers."""

    UP = b"U"
    DOWN = b"D"


def with_crc(frame: bytes) -> bytes:
    """A plain datagram: the frame and its CRC-32."""
    return frame + zlib.crc32(frame).to_bytes(CRC_BYTES, "little")


def without_crc(packet: bytes) -> bytes:
    """The frame in a plain datagram.

    Raises:
        FrameError: the length or the CRC is wrong.
    """
    if not HEADER_BYTES + CRC_BYTES <= len(packet) <= MAX_FRAME_BYTES + CRC_BYTES:
        raise FrameError(f"{len(packet)} bytes are no packet")
    frame = packet[:-CRC_BYTES]
    if zlib.crc32(frame) != int.from_bytes(packet[-CRC_BYTES:], "little"):
        raise FrameError("the CRC is wrong")
    return frame


def stream_packet(frame: bytes) -> bytes:
    """What goes over a byte stream: frame and CRC in COBS, and the 0 that ends it."""
    return cobs_encode(with_crc(frame)) + b"\0"


class StreamReader:
    """Cuts a byte stream into frames. Keeps at most 1033 bytes, whatever comes."""

    def __init__(self) -> None:
        self._packet = bytearray()
        self._too_long = False
        self.refused = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Takes the next bytes; returns the frames whose packets ended in them; ``refused`` counts the others."""
        frames = []
        pieces = data.split(b"\0")
        for piece in pieces[:-1]:
            self._add(piece)
            frame = self._end()
            if frame is not None:
                frames.append(frame)
        self._add(pieces[-1])
        return frames

    def _add(self, piece: bytes) -> None:
        space = MAX_COBS_BYTES - len(self._packet)
        if len(piece) > space:
            self._too_long = True
        self._packet += piece[:space]

    def _end(self) -> bytes | None:
        packet, too_long = bytes(self._packet), self._too_long
        self._packet.clear()
        self._too_long = False
        if not packet:
            return None
        if not too_long:
            try:
                return without_crc(cobs_decode(packet))
            except (CobsError, FrameError):
                pass
        self.refused += 1
        return None


@dataclass(frozen=True)
class Sealed:
    """An authenticated datagram whose tag was right. Nothing is said yet about its session and counter."""

    frame: bytes
    session: int
    counter: int


def _tag(key: bytes, direction: Direction, covered: bytes) -> bytes:
    return hmac.digest(key, direction.value + covered, hashlib.sha256)[:TAG_BYTES]


def seal(frame: bytes, key: bytes, direction: Direction, session: int, counter: int) -> bytes:
    """An authenticated datagram."""
    covered = frame + _TRAILER.pack(session, counter)
    return covered + _tag(key, direction, covered)


def unseal(datagram: bytes, key: bytes, direction: Direction) -> Sealed:
    """Opens an authenticated datagram.

    Raises:
        FrameError: the length or the tag is wrong.
    """
    if not HEADER_BYTES + TRAILER_BYTES <= len(datagram) <= MAX_DATAGRAM_BYTES:
        raise FrameError(f"{len(datagram)} bytes are no authenticated datagram")
    covered, tag = datagram[:-TAG_BYTES], datagram[-TAG_BYTES:]
    if not hmac.compare_digest(tag, _tag(key, direction, covered)):
        raise FrameError("the tag is wrong")
    session, counter = _TRAILER.unpack(covered[-_TRAILER.size :])
    return Sealed(covered[: -_TRAILER.size], session, counter)


class ReplayWindow:
    """Which counters of a session were seen: the highest, and 63 below it."""

    SIZE = 64

    def __init__(self) -> None:
        self._highest = 0
        self._seen = 0  # bit n: the counter `highest - n`

    def take(self, counter: int) -> bool:
        """Whether ``counter`` is new; it is then remembered. 0, what was seen and what is too old are not."""
        if counter <= 0:
            return False
        ahead = counter - self._highest
        if ahead > 0:
            self._seen = (self._seen << ahead | 1) & ((1 << self.SIZE) - 1) if ahead < self.SIZE else 1
            self._highest = counter
            return True
        bit = 1 << -ahead
        if -ahead >= self.SIZE or self._seen & bit:
            return False
        self._seen |= bit
        return True
