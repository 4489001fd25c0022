"""FLAC: decoded to its end, whatever number of samples its header promises.

Source: RFC 9639.
"""

from __future__ import annotations

import logging
import re

from edge_aac.audio.formats.byte_stream import ByteStream
from edge_aac.audio.formats.decoded import Frames, no_frames
from edge_aac.audio.formats.library import ForwardView, LibraryReader
from edge_aac.audio.formats.promise import TOLERATED_S, judge_less, warn_of_more
from edge_aac.audio.formats.tail import FILE_START, LONGEST_MAGIC_BYTES, ends_here
from edge_aac.errors import DataError

MAGIC = b"fLaC"
_STREAM_INFO_BYTES = 42
# The last 36 bits before the checksum of the sound: how many samples there are; 0 where that is unknown.
_TOTAL = slice(21, 26)
_TOTAL_BITS = 36
_LAST_BLOCK, _BLOCK_TYPE, _BLOCK_HEADER_BYTES = 0x80, 4, 4
# A frame begins so, and no block does.
_SYNC = 0xFF
_UNKNOWN_SIZE = 2**62
_TAGS = re.compile(rb"TAG|APETAGEX|LYRICSBEGIN|ID3[\x02-\x04]")
_LONGEST_TAG_START = 11

_log = logging.getLogger(__name__)


class DecodedFlac:
    """A FLAC file as a :class:`~edge_aac.audio.formats.decoded.Decoded`; it ends where another one begins.

    Args:
        stream: at the file's first byte.

    Raises:
        soundfile.LibsndfileError: libsndfile cannot decode it.
    """

    def __init__(self, stream: ByteStream) -> None:
        head = bytearray(stream.read(_STREAM_INFO_BYTES))
        self._promised = int.from_bytes(head[_TOTAL], "big") & (1 << _TOTAL_BITS) - 1
        if len(head) == _STREAM_INFO_BYTES:
            head[_TOTAL] = (head[_TOTAL.start] & 0xF0, 0, 0, 0, 0)
            _skip_metadata(stream, head)
        self._stream = stream
        self._ended = False
        self._cleared = 0
        view = ForwardView(bytes(head), self._bytes, _UNKNOWN_SIZE, eager=not stream.regular)
        self._reader = LibraryReader(view, stream.name, live=not stream.regular)
        self.rate = self._reader.rate
        self.channels = self._reader.channels
        self.is_float = False

    @property
    def followed_by_file(self) -> bool:
        """Whether another sound file follows; see :class:`~edge_aac.audio.formats.decoded.Decoded`."""
        return self._ended and FILE_START.match(self._stream.peek(LONGEST_MAGIC_BYTES)) is not None

    def read(self) -> Frames:
        """Gives the next frames; see :class:`~edge_aac.audio.formats.decoded.Decoded`."""
        left = self._promised - self._reader.frames_read
        if left > 0 or not self._promised:
            return self._reader.read(left if self._promised else None)
        try:
            return self._reader.read()
        except DataError:
            # All that was promised has been given: what follows is no FLAC.
            _log.warning("what stands behind the sound of '%s' is no sound, and is left out", self._stream.name)
            return no_frames(self.channels)

    def finish(self) -> None:
        """Compares the samples with the header's number; see :class:`~edge_aac.audio.formats.decoded.Decoded`."""
        while not self._ended and self._bytes(2**20):
            pass
        name, held, promised = self._stream.name, self._reader.frames_read, self._promised
        if 0 < promised < held:
            warn_of_more(name, promised / self.rate)
        elif held < promised:
            whole = promised <= held + TOLERATED_S * self.rate
            judge_less(name, held / self.rate, promised / self.rate, whole=whole)

    def close(self) -> None:
        """Closes libsndfile's file."""
        self._reader.close()

    def _bytes(self, count: int) -> bytes:
        """Gives bytes of this file; none where another one begins, or where only tags are left."""
        if self._ended:
            return b""
        if self._cleared <= 0:
            self._clear()
        data = self._stream.read_some(min(count, self._cleared)) if self._cleared else b""
        self._cleared -= len(data)
        self._ended = not data
        return data

    def _clear(self) -> None:
        """Finds out how many of the next bytes are this file's."""
        self._stream.peek(1)
        ahead = self._stream.held()
        if 0 < len(ahead) < LONGEST_MAGIC_BYTES:
            self._stream.peek(LONGEST_MAGIC_BYTES)
            ahead = self._stream.held()
        found = FILE_START.search(ahead)
        end = found.start() if found else max(0, len(ahead) - LONGEST_MAGIC_BYTES + 1)
        tag = _TAGS.search(ahead, 0, end + _LONGEST_TAG_START)
        if tag is not None and tag.start() < end:
            end = max(1, tag.start())
            if tag.start() == 0 and ends_here(lambda offset, size: self._stream.peek(size, offset), None):
                end = 0
        elif found is None and end == 0:
            end = len(ahead)
        self._cleared = end


def _skip_metadata(stream: ByteStream, head: bytearray) -> None:
    """Leaves out what stands between the stream info and the sound, and marks the stream info as the last block.

    Pictures take megabytes, and a block of another program's may hold the header of the WAV that the file was made of,
    which begins as another sound file does.

    Args:
        stream: behind the stream info.
        head: the file's first bytes, to the end of the stream info.
    """
    last = head[_BLOCK_TYPE] & _LAST_BLOCK
    head[_BLOCK_TYPE] |= _LAST_BLOCK
    while not last and len(block := stream.peek(_BLOCK_HEADER_BYTES)) == _BLOCK_HEADER_BYTES and block[0] != _SYNC:
        last = block[0] & _LAST_BLOCK
        stream.skip(_BLOCK_HEADER_BYTES + int.from_bytes(block[1:], "big"))
