"""MPEG audio as decoded sound: by the index where it is right, else through a pipe, frame after frame."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import numpy as np

from edge_aac.audio.formats.byte_stream import ByteStream
from edge_aac.audio.formats.decoded import Frames, no_frames
from edge_aac.audio.formats.library import LibraryReader
from edge_aac.audio.formats.mpeg import FrameWalk, find_frames
from edge_aac.audio.formats.pump import Pumped
from edge_aac.audio.formats.sound_bytes import SoundBytes
from edge_aac.audio.formats.tail import JUDGED_BYTES, tail_of
from edge_aac.errors import DataError

_log = logging.getLogger(__name__)

_READ_BYTES = 64 * 1024
# A decoder of layer 3 gives each sample so much later (ISO 11172-3: 528 of the filter bank, and one).
_DECODER_DELAY = 529
# libsndfile opens a pipe by what is in it at once.
_FIRST_BYTES = 16 * 1024
# A piece of one may be cut off.
_LONGEST_FRAME_BYTES = 4_096
# Pictures in tags stand before the first frame.
_LONGEST_START_BYTES = 32 * 2**20


class DecodedMpeg:
    """MPEG audio as a :class:`~edge_aac.audio.formats.decoded.Decoded`.

    Args:
        stream: at the first byte.
        sound: bytes of the sound within another container; None for all of the stream's.

    Raises:
        DataError: no frames are there.
        soundfile.LibsndfileError: libsndfile cannot decode it.
    """

    def __init__(self, stream: ByteStream, sound: SoundBytes | None = None) -> None:
        self._name = stream.name
        self._sound = sound
        self._walk = FrameWalk()
        # The file, where libsndfile reads it by itself; else what stands behind the last frame.
        self._whole: ByteStream | None = None
        self._rest = b""
        own = self._by_index(stream) if sound is None and stream.regular and not stream.position else None
        read = stream.read_some if sound is None else sound.read_some
        self._reader = own or Pumped(self._parts(read), self._name, stream.cancel)
        self.rate = self._reader.rate
        self.channels = self._reader.channels
        self._skipped = self._padding = 0
        self._held = no_frames(self.channels)
        if isinstance(self._reader, Pumped) and self._walk.added is not None:
            before, behind = self._walk.added
            self._skipped = before + _DECODER_DELAY
            self._padding = max(0, behind - _DECODER_DELAY)
        self.is_float = False

    @property
    def followed_by_file(self) -> bool:
        """Whether another sound file follows; see :class:`~edge_aac.audio.formats.decoded.Decoded`."""
        return self._sound is not None and self._sound.followed_by_file

    def read(self) -> Frames:
        """Gives the next frames; see :class:`~edge_aac.audio.formats.decoded.Decoded`."""
        if isinstance(self._reader, LibraryReader):
            return self._reader.read()
        while len(frames := self._reader.read()):
            skipped = min(self._skipped, len(frames))
            self._skipped -= skipped
            held = np.concatenate((self._held, frames[skipped:]))
            # What the encoder added is known to be that at the end only.
            given = max(0, len(held) - self._padding)
            self._held = held[given:]
            if given:
                return held[:given]
        found = self._walk.frames
        rest, self._held = self._held, no_frames(self.channels)
        # Of joined files the index is the first one's.
        return rest if found is None or found.promised != found.count else no_frames(self.channels)

    def finish(self) -> None:
        """Compares what was decoded with the frames that are there, and those with the index.

        Raises:
            DataError: frames are missing or unreadable.
        """
        frames = self._walk.frames
        if frames is not None:
            frames.refuse_less_than_promised(self._name)
            frames.refuse_less_read(self._reader.frames_read, self.rate, self._name)
            self._judge_rest(self._rest if self._whole is None else self._whole.peek(JUDGED_BYTES, frames.end))

    def close(self) -> None:
        """Closes libsndfile's file and ends its thread."""
        self._reader.close()

    def _judge_rest(self, rest: bytes) -> None:
        """Judges what stands behind the last frame."""
        tail = tail_of(lambda offset, count: rest[offset : offset + count], None, None, b"", 0)
        if tail.kind == "file":
            raise DataError(
                f"'{self._name}' goes on with another sound file behind its MP3 frames, which is not heard: part them."
            )
        if tail.kind == "rubbish" and len(rest) > _LONGEST_FRAME_BYTES:
            _log.warning("the bytes behind the last MP3 frame of '%s' are no sound, and are left out", self._name)

    def _by_index(self, stream: ByteStream) -> LibraryReader | None:
        """libsndfile's own reader of a file, where it gives all frames; None where it would stop early.

        Only by the index it knows what the encoder added at either end.
        """
        with open(stream.duplicate(), "rb", buffering=0) as raw:
            self._walk = find_frames(raw)
        frames = self._walk.frames
        if frames is None:
            raise DataError(
                f"'{self._name}' is no sound file that can be read (it has no MP3 frames): convert it with "
                "`ffmpeg -i INPUT OUTPUT.flac`."
            )
        reader = LibraryReader(stream.duplicate(), self._name)
        if reader.promised_frames is not None and frames.all_within(reader.promised_frames, reader.rate):
            self._whole = stream
            return reader
        reader.close()
        frames.refuse_less_than_promised(self._name)
        self._walk = FrameWalk()
        return None

    def _parts(self, read: Callable[[int], bytes]) -> Iterator[bytes]:
        """Gives the bytes from the first frame behind the index to the end of the last whole one, and walks them.

        libsndfile takes a piece of a frame for damage.
        """
        held, held_from = bytearray(), 0
        began = ended = False
        while not ended:
            data = read(_READ_BYTES)
            ended = not data
            self._walk.feed(data, last=ended)
            held += data
            frames = self._walk.frames
            if frames is None:
                if len(held) > _LONGEST_START_BYTES:
                    break
                continue
            if held_from < frames.start:
                del held[: frames.start - held_from]
                held_from = frames.start
            whole = frames.end - held_from
            if whole > 0 and (began or ended or whole >= _FIRST_BYTES):
                began = True
                yield bytes(held[:whole])
                del held[:whole]
                held_from += whole
            elif whole <= 0 and len(held) > _LONGEST_START_BYTES:
                # No more frames: what lies there is no MPEG audio.
                held_from += len(held)
                held.clear()
        self._rest = bytes(held[:JUDGED_BYTES])
