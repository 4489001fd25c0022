"""Ogg: its pages are walked, since libsndfile says nothing of what is missing between or behind them.

Source: RFC 3533.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from edge_aac.audio.formats.byte_stream import ByteStream
from edge_aac.audio.formats.decoded import Frames
from edge_aac.audio.formats.pump import Pumped
from edge_aac.audio.formats.tail import FILE_START
from edge_aac.errors import DataError

MAGIC = b"OggS"

_HEADER_BYTES = 27
_FLAGS, _SERIAL, _NUMBER, _CHECKSUM, _SEGMENTS = 5, slice(14, 18), slice(18, 22), slice(22, 26), 26
_CODECS = (b"\x01vorbis", b"OpusHead")
_FIRST_PAGE, _LAST_PAGE = 0x02, 0x04
_SEARCH_BYTES = 65_536
# libsndfile may leave out an end that holds no sound.
_UNREAD_BYTES = 4_096

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))

_log = logging.getLogger(__name__)


@dataclass
class Pages:
    """The pages of one Ogg stream (or of several that sound together), as they pass.

    Attributes:
        name: the input's name in messages.
        followed_by_file: whether another stream begins behind the last page.
    """

    name: str
    followed_by_file: bool = False
    _next_numbers: dict[bytes, int] = field(default_factory=dict)
    _unended: set[bytes] = field(default_factory=set)
    _sound_began: bool = False
    _lost: int = 0
    _foreign_bytes: int = 0
    _cut: bool = False

    def of(self, stream: ByteStream) -> Iterator[bytes]:
        """Takes the pages off a stream, from its next byte to the end of the last page before another stream begins."""
        while head := stream.peek(_HEADER_BYTES + 255):
            if head[: len(MAGIC)] != MAGIC:
                if self._sound_began and not self._unended and FILE_START.match(head):
                    self.followed_by_file = True
                    return
                self._foreign_bytes += self._skip_to_page(stream)
                continue
            size = _page_bytes(head)
            if self._sound_began and size and head[_FLAGS] & _FIRST_PAGE:
                # All streams that sound at the same time begin before any of them goes on.
                self.followed_by_file = True
                return
            page = stream.read(size or len(head))
            if not size or len(page) < size:
                self._cut = True
            else:
                self._note(page)
            yield page

    def finish(self) -> None:
        """Judges, behind the last page, whether all were there.

        Raises:
            DataError: a page is cut off, damaged or missing, or bytes that are no pages stand in place of the end.
        """
        if self._cut:
            raise DataError(
                f"'{self.name}' is truncated: its last page is cut off; copy it again from where it came from, or keep "
                "what there is of it with `ffmpeg -i INPUT OUTPUT.flac`."
            )
        if self._lost:
            raise DataError(
                f"'{self.name}' is damaged: {self._lost} of its pages are missing or unreadable; copy it again from "
                "where it came from."
            )
        if self._unended and self._foreign_bytes:
            raise DataError(
                f"'{self.name}' is damaged: {self._foreign_bytes} of its bytes are no Ogg pages; copy it again from "
                "where it came from."
            )
        if self._unended:
            # No proof that anything is missing: MuseScore and recorders of live streams never mark the last page.
            _log.warning("'%s' has no mark at its end: it may be truncated, and is read as far as it goes", self.name)

    def _note(self, page: bytes) -> None:
        flags, serial, number = page[_FLAGS], page[_SERIAL], int.from_bytes(page[_NUMBER], "little")
        if flags & _FIRST_PAGE:
            self._unended.add(serial)
        else:
            self._sound_began = True
        if flags & _LAST_PAGE:
            self._unended.discard(serial)
        if not _is_sound(page):
            self._lost += 1
        elif serial in self._next_numbers and number != self._next_numbers[serial]:
            self._lost += max(1, number - self._next_numbers[serial])
        self._next_numbers[serial] = number + 1

    @staticmethod
    def _skip_to_page(stream: ByteStream) -> int:
        skipped = 0
        while True:
            ahead = stream.peek(_SEARCH_BYTES) if stream.regular else stream.peek(len(MAGIC)) and stream.held()
            place = ahead.find(MAGIC, 0 if skipped else 1)
            at_end = len(ahead) < len(MAGIC)
            step = place if place >= 0 else len(ahead) if at_end else len(ahead) - len(MAGIC) + 1
            stream.skip(step)
            skipped += step
            if place >= 0 or at_end:
                return skipped


class DecodedOgg:
    """An Ogg file as a :class:`~edge_aac.audio.formats.decoded.Decoded`; it ends where another stream begins.

    Args:
        stream: at the file's first byte.

    Raises:
        soundfile.LibsndfileError: libsndfile cannot decode it.
    """

    def __init__(self, stream: ByteStream) -> None:
        self.pages = Pages(stream.name)
        self._pumped = Pumped(self.pages.of(stream), stream.name, stream.cancel)
        self.rate = self._pumped.rate
        self.channels = self._pumped.channels
        self.is_float = False

    @property
    def followed_by_file(self) -> bool:
        """Whether another sound file follows; see :class:`~edge_aac.audio.formats.decoded.Decoded`."""
        return self.pages.followed_by_file

    def read(self) -> Frames:
        """Gives the next frames; see :class:`~edge_aac.audio.formats.decoded.Decoded`."""
        return self._pumped.read()

    def finish(self) -> None:
        """Judges the pages; see :meth:`Pages.finish`."""
        self.pages.finish()
        if self._pumped.unread_bytes > _UNREAD_BYTES:
            raise DataError(
                f"only {self._pumped.frames_read / self.rate:.2f} s of '{self.pages.name}' can be read: it holds "
                f"{self._pumped.unread_bytes} bytes more; convert it with `ffmpeg -i INPUT OUTPUT.flac`."
            )

    def close(self) -> None:
        """Closes libsndfile's file and ends its thread."""
        self._pumped.close()


def is_libsndfiles(head: bytes) -> bool:
    """Whether a file that begins so holds Vorbis or Opus alone; of FLAC and Speex libsndfile reads some files only.

    Args:
        head: the first page's header, and the first bytes of its packet.
    """
    return len(head) < _HEADER_BYTES or head[_HEADER_BYTES + head[_SEGMENTS] :].startswith(_CODECS)


def _page_bytes(head: bytes) -> int:
    """Length of a page by its header; 0 where the header is cut off."""
    if len(head) < _HEADER_BYTES or len(head) < _HEADER_BYTES + head[_SEGMENTS]:
        return 0
    lengths = head[_HEADER_BYTES : _HEADER_BYTES + head[_SEGMENTS]]
    return _HEADER_BYTES + len(lengths) + sum(lengths)


def _is_sound(page: bytes) -> bool:
    """Whether a page's checksum is right.

    It is a CRC of the usual polynomial, but neither reflected nor inverted: zlib gives it for the bits of each byte in
    reverse.
    """
    content = page[: _CHECKSUM.start] + bytes(4) + page[_CHECKSUM.stop :]
    reflected = zlib.crc32(content.translate(_REVERSED), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return int(f"{reflected:032b}"[::-1], 2) == int.from_bytes(page[_CHECKSUM], "little")
