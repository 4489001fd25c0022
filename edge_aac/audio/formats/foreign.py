"""What libsndfile does not read, decoded by ffmpeg."""

from __future__ import annotations

import numpy as np

from edge_aac.audio.formats.byte_stream import ByteStream
from edge_aac.audio.formats.decoded import Frames, no_frames
from edge_aac.audio.formats.ffmpeg import Transcoded
from edge_aac.audio.formats.recognition import Container
from edge_aac.errors import DataError

_SAMPLE_BYTES = 4
_READ_BYTES = 64 * 1024


class DecodedByFfmpeg:
    """ffmpeg's output as a :class:`~edge_aac.audio.formats.decoded.Decoded`.

    Args:
        stream: at its first byte; it is not read any more.
        container: what is in it.

    Raises:
        DataError: ffmpeg is not installed, or finds no sound that it can decode.
        StreamClosedError: the stream was closed meanwhile.
    """

    followed_by_file = False
    # A codec's scale is no writer's choice.
    is_float = False

    def __init__(self, stream: ByteStream, container: Container) -> None:
        self._stream = stream
        head = b"" if stream.regular else stream.held()
        try:
            self._sound = Transcoded(
                stream.descriptor,
                stream.name,
                container,
                regular=stream.regular,
                head=head,
                on_cancel=stream.on_cancel,
            )
        except (DataError, ValueError):
            # Closed from another thread, it is read no more.
            stream.refuse_closed()
            raise
        self.rate = self._sound.rate
        self.channels = self._sound.channels
        self._partial = b""
        self._header_left = self._sound.header_bytes

    def read(self) -> Frames:
        """Gives the next frames; see :class:`~edge_aac.audio.formats.decoded.Decoded`."""
        frame_bytes = _SAMPLE_BYTES * self.channels
        while data := self._read():
            skipped = min(self._header_left, len(data))
            self._header_left -= skipped
            data = self._partial + data[skipped:]
            whole = len(data) // frame_bytes * frame_bytes
            self._partial = data[whole:]
            if whole:
                return np.frombuffer(data[:whole], "<f4").astype(np.float32).reshape(-1, self.channels)
        return no_frames(self.channels)

    def finish(self) -> None:
        """Looks whether all of the sound was in the output; see :meth:`Transcoded.finish`."""
        self._stream.refuse_closed()
        self._sound.finish()

    def close(self) -> None:
        """Ends ffmpeg."""
        self._sound.close()

    def _read(self) -> bytes:
        self._stream.refuse_closed()
        try:
            data = self._sound.read(_READ_BYTES)
        except ValueError:
            # Closed from another thread between two reads.
            data = b""
        self._stream.refuse_closed()
        return data or b""
