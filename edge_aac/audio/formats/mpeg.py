"""MPEG audio (MP3): all of its frames found, since libsndfile stops where the index, or its own guess, says.

The length of a file without an index is guessed from its size and its first frames, and what lies behind the guess
is never given, which is most of an MP3 of variable bit rate. Through a pipe libsndfile knows no size, and reads on.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from dataclasses import dataclass
from functools import cache
from typing import BinaryIO, NamedTuple

from edge_aac.errors import DataError

_SYNC = re.compile(rb"\xff(?=[\xe0-\xff])")
_INDEX = re.compile(rb"Xing|Info")
# The index stands behind the side information of the first frame, which is at most so long, header and checksum too.
_LATEST_INDEX = 38
_HAS_COUNT = 0x01
# So many frames in a row are no accident in other bytes.
_CERTAIN_FRAMES = 3
_HEADER_BYTES = 4
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


def find_frames(raw: BinaryIO) -> Frames | None:
    """Walks the frames of a file; tags and other bytes between them are passed over.

    Args:
        raw: a regular file; its position is left as it is.

    Returns:
        None where no three frames follow each other, as in a very short file or one of free bit rate.
    """
    size = os.fstat(raw.fileno()).st_size
    with open(raw.fileno(), "rb", buffering=_BLOCK_BYTES, closefd=False) as source:
        before = source.tell()
        position = _next_run(source, 0)
        if position is None:
            return None
        start, promised = _behind_index(source, position)
        run: int | None = start
        count, sound_s, end = 0, 0.0, start
        while run is not None:
            source.seek(run)
            first = frame = _frame(source.read(_HEADER_BYTES))
            end = run
            while frame is not None and first is not None and frame.kind == first.kind and end + frame.size <= size:
                count += 1
                sound_s += frame.seconds
                end += frame.size
                source.seek(end)
                frame = _frame(source.read(_HEADER_BYTES))
            run = _next_run(source, end)
        source.seek(before)
    return Frames(start, end, count, sound_s, promised)


def piped(raw: BinaryIO, start: int, end: int) -> int:
    """Gives a pipe that a thread fills with a part of a file.

    Returns:
        The descriptor of the end to read from; closing it ends the thread.
    """
    reader, writer = os.pipe()
    source = os.dup(raw.fileno())
    threading.Thread(target=_pump, args=(source, start, end, writer), name="edge-aac-mp3", daemon=True).start()
    return reader


def _pump(source: int, position: int, end: int, writer: int) -> None:
    # A reader that has enough closes its end; what a broken disk does not give, is missed where the frames are counted.
    with contextlib.suppress(OSError), open(source, "rb", closefd=True), open(writer, "wb") as pipe:
        while block := os.pread(source, min(_BLOCK_BYTES, end - position), position):
            pipe.write(block)
            position += len(block)


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


def _next_run(source: BinaryIO, position: int) -> int | None:
    """Finds the first place at or behind a position where frames of one kind follow each other."""
    while True:
        source.seek(position)
        block = source.read(_BLOCK_BYTES)
        for found in _SYNC.finditer(block):
            if _is_run(source, position + found.start()):
                return position + found.start()
        if len(block) < _BLOCK_BYTES:
            return None
        position += len(block) - 1


def _is_run(source: BinaryIO, position: int) -> bool:
    kind: tuple[int, int] | None = None
    for _ in range(_CERTAIN_FRAMES):
        source.seek(position)
        frame = _frame(source.read(_HEADER_BYTES))
        if frame is None or frame.kind != (kind or frame.kind):
            return False
        kind = frame.kind
        position += frame.size
    return True


def _behind_index(source: BinaryIO, position: int) -> tuple[int, int | None]:
    """Where the first frame with sound stands, and how many there are by the index."""
    source.seek(position)
    head = source.read(_LATEST_INDEX + 12)
    frame, index = _frame(head[:_HEADER_BYTES]), _INDEX.search(head, 0, _LATEST_INDEX + 4)
    if frame is None or index is None:
        return position, None
    flags, count = head[index.end() : index.end() + 4], head[index.end() + 4 : index.end() + 8]
    promised = int.from_bytes(count, "big") if flags[-1] & _HAS_COUNT else 0
    return position + frame.size, promised or None
