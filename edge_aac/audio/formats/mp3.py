"""MPEG audio as decoded sound: by the index where it is right, else through a pipe, frame after frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from edge_aac.audio.formats.byte_stream import ByteStream
from edge_aac.audio.formats.decoded import Frames
from edge_aac.audio.formats.library import LibraryReader
from edge_aac.audio.formats.mpeg import FrameWalk, find_frames
from edge_aac.audio.formats.pump import Pumped
from edge_aac.errors import DataError

_READ_BYTES = 64 * 1024
# Pictures in tags stand before the first frame.
_LONGEST_START_BYTES = 32 * 2**20


class DecodedMpeg:
    """MPEG audio as a :class:`~edge_aac.audio.formats.decoded.Decoded`.

    Args:
        stream: at the first byte.
        read: gives up to so many bytes of the sound, none at its end; None for those of the stream.

    Raises:
        DataError: no frames are there.
        soundfile.LibsndfileError: libsndfile cannot decode it.
    """

    def __init__(self, stream: ByteStream, read: Callable[[int], bytes] | None = None) -> None:
        self._name = stream.name
        self._walk = FrameWalk()
        self._reader: LibraryReader | Pumped | None = None
        if read is None and stream.regular and not stream.position:
            self._reader = self._by_index(stream)
        if self._reader is None:
            self._reader = Pumped(self._parts(read or stream.read_some), self._name, stream.cancel)
        self.rate = self._reader.rate
        self.channels = self._reader.channels

    def read(self) -> Frames:
        """Gives the next frames; see :class:`~edge_aac.audio.formats.decoded.Decoded`."""
        return self._opened.read()

    def finish(self) -> None:
        """Compares what was decoded with the frames that are there, and those with the index.

        Raises:
            DataError: frames are missing or unreadable.
        """
        frames = self._walk.frames
        if frames is not None:
            frames.refuse_less_than_promised(self._name)
            frames.refuse_less_read(self._opened.frames_read, self.rate, self._name)

    def close(self) -> None:
        """Closes libsndfile's file and ends its thread."""
        self._opened.close()

    @property
    def _opened(self) -> LibraryReader | Pumped:
        assert self._reader is not None  # since __init__
        return self._reader

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
                "`ffmpeg -i INPUT OUTPUT.flac`"
            )
        reader = LibraryReader(stream.duplicate(), self._name)
        if reader.promised_frames is not None and frames.all_within(reader.promised_frames, reader.rate):
            return reader
        reader.close()
        frames.refuse_less_than_promised(self._name)
        self._walk = FrameWalk()
        return None

    def _parts(self, read: Callable[[int], bytes]) -> Iterator[bytes]:
        """Gives the bytes from the first frame behind the index on, and walks them."""
        before = bytearray()
        began = False
        while data := read(_READ_BYTES):
            self._walk.feed(data)
            if not began:
                before += data
                began = self._walk.began
                data = bytes(before[self._walk.start :]) if began else b""
                if not began and len(before) > _LONGEST_START_BYTES:
                    break
            if data:
                yield data
        self._walk.feed(b"", last=True)
        if not began and self._walk.began:
            yield bytes(before[self._walk.start :])
