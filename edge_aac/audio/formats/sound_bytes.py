"""The bytes of a container's sound, to their true end: the header's length is a promise, not a fact."""

from __future__ import annotations

import logging

from edge_aac.audio.formats.byte_stream import READ_BYTES, ByteStream
from edge_aac.audio.formats.layout import Encoding, Layout
from edge_aac.audio.formats.promise import TOLERATED_S, judge_less, warn_of_more
from edge_aac.audio.formats.tail import FILE_START, JUDGED_BYTES, Tail, ends_here, tag_pattern, tail_of

# A header may be off by some bytes, or count itself.
_TOLERATED_BYTES = 64
_OUTER_TOLERANCE_BYTES = 8

_BEFORE_BYTES = 64 * 1024
_LONGEST_TAG_START = 32
_JUDGEMENT_PATIENCE_S = 1.0
_HELD_BYTES = 4 * 2**20

_log = logging.getLogger(__name__)


class SoundBytes:
    """A forward reader of a container's sound.

    Where the header promises less than there is, what follows is looked at: tags, chunks, padding and rubbish are left
    out, more sound is read to the end of the input. Where the header's writer did not know the length, the sound ends
    with the input, or before tags and chunks that fill it to its end.

    Args:
        stream: at the container's first byte.
        layout: of the container.
        encoding: the layout's, where it has one.
    """

    def __init__(self, stream: ByteStream, layout: Layout, encoding: Encoding) -> None:
        self.name = stream.name
        self.given = 0
        """Number of bytes given so far."""
        self.followed_by_file = False
        """Whether another sound file follows: the stream stands at its first byte."""
        self._stream = stream
        self._layout = layout
        self._encoding = encoding
        self._base = stream.position
        self._left = layout.promised
        self._before = b""
        self.ended = False
        """Whether the end was reached."""
        self._pattern = tag_pattern(layout.grammar)
        self._searched = 0
        stream.skip(layout.start)

    def read(self, count: int) -> bytes:
        """Takes bytes: so many, or fewer before the sound's end; none there. Errors as of :class:`ByteStream`."""
        parts = []
        while count > 0 and (data := self.read_some(count)):
            parts.append(data)
            count -= len(data)
        return b"".join(parts)

    def read_some(self, count: int) -> bytes:
        """Takes at least one byte and at most so many, as they arrive; none at the end."""
        if self._left == 0:
            self._look_behind()
        if self.ended:
            return b""
        data = self._open_ended(count) if self._left is None else self._stream.read_some(min(count, self._left))
        if not data:
            self.ended = True
            return b""
        self.given += len(data)
        if self._left is not None:
            self._left -= len(data)
            if self._left < _BEFORE_BYTES:
                self._before = (self._before + data)[-_BEFORE_BYTES:]
        return data

    def finish(self) -> None:
        """Compares what was given with what was promised, once the sound has ended.

        Raises:
            DataError: the input is cut: a part of the sound is missing.
        """
        missing = (self._layout.promised or 0) - self.given
        if missing <= 0:
            return
        rate = self._encoding.bytes_per_s
        tolerated = max(_TOLERATED_BYTES, TOLERATED_S * rate, self._encoding.block_bytes)
        held_s, promised_s = self.given / rate, (self._layout.promised or 0) / rate
        judge_less(self.name, held_s, promised_s, whole=missing <= tolerated or self._is_whole())

    def _is_whole(self) -> bool:
        """Whether the outermost length says that the container ends where the input does."""
        end = self._layout.outer_end
        return end is not None and abs(self._stream.position - self._base - end) <= _OUTER_TOLERANCE_BYTES

    def _look_behind(self) -> None:
        """Decides what follows, where the header says that the sound ends."""
        self._left = None
        encoding = self._layout.encoding
        tail = (
            Tail("sound")
            if self._goes_on_live()
            else tail_of(self._look, self._layout.grammar, encoding, self._before, self.given)
        )
        if tail.kind == "sound":
            warn_of_more(self.name, self.given / self._encoding.bytes_per_s)
            return
        self.ended = True
        if tail.kind == "file":
            self._stream.skip(tail.skip_bytes)
            self.followed_by_file = True
            return
        rest = 0
        while data := self._stream.read_some(READ_BYTES):
            rest += len(data)
        if tail.kind == "rubbish":
            _log.warning("the last %d bytes of '%s' are no sound, and are left out", rest, self.name)

    def _goes_on_live(self) -> bool:
        """Whether bytes that are no tag and no file come so slowly that judging them would hold a live sound back.

        Programs that cannot go back in a pipe leave a length of 0 in the header.
        """
        if self._stream.regular:
            return False
        ahead = self._stream.gather(JUDGED_BYTES, _JUDGEMENT_PATIENCE_S)
        slow = 0 < len(ahead) < JUDGED_BYTES and not self._stream.ended
        # Before a tag there may be padding.
        return slow and not self._pattern.search(ahead[:_LONGEST_TAG_START]) and not FILE_START.match(ahead)

    def _look(self, offset: int, count: int) -> bytes:
        return self._stream.peek(count, offset)

    def _open_ended(self, count: int) -> bytes:
        """Takes bytes that may be sound or, at the end, tags."""
        if self._searched <= 0:
            self._stream.peek(1)
            ahead = self._stream.held()
            place = self._pattern.search(ahead)
            # A pattern may begin in these bytes and end in the next.
            self._searched = place.start() if place else max(1, len(ahead) - _LONGEST_TAG_START)
            if place and place.start() == 0:
                if self._ends_here():
                    return b""
                self._searched = 1
        data = self._stream.read_some(min(count, self._searched)) if self._searched else b""
        self._searched -= len(data)
        return data

    def _ends_here(self) -> bool:
        """Whether tags and chunks fill the input from here to its end."""
        try:
            return ends_here(self._look if self._stream.regular else self._look_near, self._layout.grammar)
        except _TooFarError:
            return False

    def _look_near(self, offset: int, count: int) -> bytes:
        # In a pipe, sound that looks like the start of a tag must not be held back for long.
        if offset + count > _HELD_BYTES:
            raise _TooFarError
        return self._look(offset, count)


class _TooFarError(Exception):
    """A tag would be longer than what is held back for it."""
