"""MPEG audio (MP3): all of its frames found, since libsndfile stops where the index, or its own guess, says.

The length of a file without an index is guessed from its size and its first frames, and what lies behind the guess
is never given, which is most of an MP3 of variable bit rate. Through a pipe libsndfile knows no size, and reads on.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cache
from typing import BinaryIO, NamedTuple

from edge_aac.errors import DataError

_SYNC = re.compile(rb"\xff(?=[\xe0-\xff])")
_INDEX = re.compile(rb"Xing|Info")
# The index stands behind the side information of the first frame, which is at most so long, header and checksum too.
_LATEST_INDEX = 38
_HAS_COUNT = 0x01
# Optional fields of the index; behind them the encoder's name, and 21 bytes on, twice 12 bits: what it added.
_INDEX_FIELDS = ((_HAS_COUNT, 4), (0x02, 4), (0x04, 100), (0x08, 4))
_ADDED = slice(21, 24)
_LONGEST_INDEX = _LATEST_INDEX + 4 + 4 + 112 + 24
# So many frames in a row are no accident in other bytes.
_CERTAIN_FRAMES = 3
_HEADER_BYTES = 4
# Three headers, and two of the longest frames between them (layer 2 or 1, 448 kbit/s at 32 kHz).
_LONGEST_RUN_BYTES = 8_192
_BLOCK_BYTES = 65_536

# kbit/s by layer (ISO 11172-3, table B.2.1 and ISO 13818-3): MPEG-1, then MPEG-2 and 2.5.
_LAYER_3, _LAYER_2, _LAYER_1 = 1, 2, 3
_LOW = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_BIT_RATES = {
    (True, _LAYER_1): tuple(range(32, 449, 32)),
    (True, _LAYER_2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, _LAYER_3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, _LAYER_1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, _LAYER_2): _LOW,
    (False, _LAYER_3): _LOW,
}
_SAMPLE_RATES = (44_100, 48_000, 32_000)
_MPEG_1, _MPEG_2, _MPEG_2_5 = 3, 2, 0
_RATE_DIVISORS = {_MPEG_1: 1, _MPEG_2: 2, _MPEG_2_5: 4}

# A decoder may give so much less than the frames hold: the index tells what the encoder added at either end, each up
# to 4095 samples, and a few frames lean on ones before them that are not there.
_MAX_TRIMMED_SAMPLES = 2 * 4_095 + 4 * 1_152
# Some encoders count the index, which is a frame too, and the last frame may be cut.
_UNSURE_FRAMES = 2


@dataclass(frozen=True)
class Frames:
    """Frames of an MPEG audio file.

    Attributes:
        start: first byte of the first frame that holds sound: the one behind the index, if there is one.
        end: first byte behind the last whole frame.
        count: number of frames that hold sound.
        sound_s: duration of these frames in seconds.
        promised: frames that the index counts; None where there is none, or it does not count them.
    """

    start: int
    end: int
    count: int
    sound_s: float
    promised: int | None

    def refuse_less_than_promised(self, path: str) -> None:
        """Compares the frames with the index's.

        Raises:
            DataError: the index counts more.
        """
        if self.promised is not None and self.promised > self.count + _UNSURE_FRAMES:
            raise DataError(
                f"'{path}' is truncated or damaged: it holds {self.count} of the {self.promised} MP3 frames that its "
                "header promises; copy it again from where it came from, or keep what there is of it with "
                "`ffmpeg -i INPUT OUTPUT.flac`."
            )

    def all_within(self, samples: int, rate: int) -> bool:
        """Whether a decoder that ends after so many samples, because the index says so, has then given all frames."""
        right = self.promised is not None and abs(self.promised - self.count) <= _UNSURE_FRAMES
        return right and abs(samples - self.sound_s * rate) <= _MAX_TRIMMED_SAMPLES

    def refuse_less_read(self, samples: int, rate: int, path: str) -> None:
        """Compares the frames with what a decoder gave.

        Raises:
            DataError: it gave less.
        """
        if samples < self.sound_s * rate - _MAX_TRIMMED_SAMPLES:
            raise DataError(
                f"'{path}' is damaged: of the {self.sound_s:.2f} s that it holds only {samples / rate:.2f} s can be "
                "read; copy it again from where it came from, or convert it with `ffmpeg -i INPUT OUTPUT.flac`."
            )


class FrameWalk:
    """Finds the frames in bytes as they come; tags and other bytes between them are passed over."""

    def __init__(self) -> None:
        self.start = 0
        """First byte of the first frame with sound, once :attr:`began`."""
        self.first = 0
        """First byte of the first frame, which may be the index."""
        self.began = False
        """Whether frames were found."""
        self.added: tuple[int, int] | None = None
        """Samples that the encoder added before and behind the sound, where the index tells."""
        self._held = bytearray()
        self._held_from = 0
        self._position = 0
        self._end = 0
        self._kind: tuple[int, int] | None = None
        self._count = 0
        self._sound_s = 0.0
        self._promised: int | None = None

    def feed(self, data: bytes, *, last: bool = False) -> None:
        """Takes the next bytes.

        Args:
            data: bytes that follow those before.
            last: whether no more will come.
        """
        self._held += data
        while self._step(last=last):
            pass
        gone = max(0, min(self._position - self._held_from, len(self._held)))
        del self._held[:gone]
        self._held_from += gone

    @property
    def frames(self) -> Frames | None:
        """What was found up to now; None where no three frames followed each other, as in a file of free bit rate."""
        if not self.began:
            return None
        return Frames(self.start, self._end, self._count, self._sound_s, self._promised)

    def _step(self, *, last: bool) -> bool:
        """Goes on by a frame or to the next run of frames; False where more bytes are needed."""
        place = self._position - self._held_from
        if self._kind is None:
            return self._find_run(place, last=last)
        header = bytes(self._held[place : place + _HEADER_BYTES])
        if len(header) < _HEADER_BYTES and not last:
            return False
        frame = _frame(header)
        if frame is None or frame.kind != self._kind:
            self._kind = None
            return True
        if place + frame.size > len(self._held):
            if last:
                # The last frame is cut off.
                self._kind = None
                self._position += 1
            return last
        self._count += 1
        self._sound_s += frame.seconds
        self._position += frame.size
        self._end = self._position
        return True

    def _find_run(self, place: int, *, last: bool) -> bool:
        for found in _SYNC.finditer(self._held, max(0, place)):
            if len(self._held) - found.start() < _LONGEST_RUN_BYTES and not last:
                self._position = self._held_from + found.start()
                return False
            if (kind := _kind_of_run(self._held, found.start())) is not None:
                self._position = self._held_from + found.start()
                self._kind = kind
                if not self.began:
                    self._begin(found.start())
                return True
        # The last byte may be the first of a header.
        self._position = max(self._position, self._held_from + len(self._held) - (0 if last else 1))
        return False

    def _begin(self, place: int) -> None:
        """Leaves out the index, which is a frame too, where the first frame is one."""
        self.first = self._position
        size, self._promised, self.added = _index_of(bytes(self._held[place : place + _LONGEST_INDEX]))
        self._position += size
        self.start = self._end = self._position
        self.began = True


def find_frames(raw: BinaryIO) -> FrameWalk:
    """Walks the frames of a whole file.

    Args:
        raw: a regular file; its position is left as it is.
    """
    walk = FrameWalk()
    position = 0
    while block := os.pread(raw.fileno(), _BLOCK_BYTES, position):
        walk.feed(block)
        position += len(block)
    walk.feed(b"", last=True)
    return walk


class _Frame(NamedTuple):
    size: int
    seconds: float
    kind: tuple[int, int]


def _frame(header: bytes) -> _Frame | None:
    if len(header) < _HEADER_BYTES or not _SYNC.match(header):
        return None
    return _frame_of(header[1], header[2])


@cache
def _frame_of(second: int, third: int) -> _Frame | None:
    """The facts in the second and third byte of a header; None where they are no header, or of free bit rate."""
    version, layer = second >> 3 & 3, second >> 1 & 3
    bit_rate_index, rate_index, padding = third >> 4, third >> 2 & 3, third >> 1 & 1
    if version not in _RATE_DIVISORS or not layer or rate_index >= len(_SAMPLE_RATES):
        return None
    bit_rates = _BIT_RATES[version == _MPEG_1, layer]
    if not 1 <= bit_rate_index <= len(bit_rates):
        return None
    rate = _SAMPLE_RATES[rate_index] // _RATE_DIVISORS[version]
    samples = 384 if layer == _LAYER_1 else 576 if layer == _LAYER_3 and version != _MPEG_1 else 1_152
    slot_bytes = 4 if layer == _LAYER_1 else 1
    slots = samples // 8 * 1_000 * bit_rates[bit_rate_index - 1] // (slot_bytes * rate) + padding
    return _Frame(slots * slot_bytes, samples / rate, (second & 0x1E, rate_index))


def _kind_of_run(data: bytearray, position: int) -> tuple[int, int] | None:
    """Kind of the frames, where several of one kind follow each other; None where they do not."""
    kind: tuple[int, int] | None = None
    for _ in range(_CERTAIN_FRAMES):
        frame = _frame(bytes(data[position : position + _HEADER_BYTES]))
        if frame is None or frame.kind != (kind or frame.kind):
            return None
        kind = frame.kind
        position += frame.size
    return kind


class _Index(NamedTuple):
    """What an index says: its own length, the number of frames, and what the encoder added at either end."""

    size: int = 0
    promised: int | None = None
    added: tuple[int, int] | None = None


def _index_of(head: bytes) -> _Index:
    """Reads the index (Xing, Info), with what LAME and others write behind it, where the first frame is one."""
    frame, index = _frame(head[:_HEADER_BYTES]), _INDEX.search(head, 0, _LATEST_INDEX + 4)
    if frame is None or index is None or len(head) < index.end() + 8:
        return _Index()
    flags = head[index.end() + 3]
    promised = int.from_bytes(head[index.end() + 4 : index.end() + 8], "big") if flags & _HAS_COUNT else 0
    encoder = index.end() + 4 + sum(size for flag, size in _INDEX_FIELDS if flags & flag)
    added = head[encoder + _ADDED.start : encoder + _ADDED.stop]
    if len(added) < _ADDED.stop - _ADDED.start or not head[encoder : encoder + 4].isalpha():
        return _Index(frame.size, promised or None)
    both = int.from_bytes(added, "big")
    return _Index(frame.size, promised or None, (both >> 12, both & 0xFFF))
