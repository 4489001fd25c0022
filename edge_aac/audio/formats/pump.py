"""A thread that hands a stream to libsndfile through a pipe: what it would search to its end, it then reads on."""

from __future__ import annotations

import array
import fcntl
import os
import termios
import threading
from collections.abc import Callable, Iterator
from io import RawIOBase

from edge_aac.audio.formats.byte_stream import StreamClosedError
from edge_aac.audio.formats.decoded import Frames, no_frames
from edge_aac.audio.formats.library import LibraryReader


class Pumped:
    """Frames from libsndfile, which is fed through a pipe.

    Args:
        parts: the bytes; a thread draws them, and nobody else may read their stream meanwhile.
        name: the input's name in messages.
        cancel: ends a drawing that waits.

    Raises:
        soundfile.LibsndfileError: libsndfile cannot decode it.
        BaseException: what drawing the first bytes raised.
    """

    def __init__(self, parts: Iterator[bytes], name: str, cancel: Callable[[], None]) -> None:
        self.unread_bytes = 0
        """Number of bytes, once the frames have ended, that libsndfile did not want."""
        reader, self._writer = os.pipe()
        self._descriptor = reader
        self._parts = parts
        self._cancel = cancel
        self._error: BaseException | None = None
        self._left = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._pump, name="edge-aac-pump", daemon=True)
        self._thread.start()
        try:
            self._reader = LibraryReader(reader, name, live=True)
        except BaseException:
            self._end()
            if self._error is not None:
                raise self._error from None
            raise
        self.rate = self._reader.rate
        self.channels = self._reader.channels

    @property
    def frames_read(self) -> int:
        """Number of frames given so far."""
        return self._reader.frames_read

    def read(self) -> Frames:
        """Gives the next frames; see :class:`~edge_aac.audio.formats.decoded.Decoded`."""
        frames = no_frames(self.channels) if self._ended else self._reader.read()
        if not len(frames) and not self._ended:
            self._ended = True
            waiting = array.array("i", [0])
            fcntl.ioctl(self._descriptor, termios.FIONREAD, waiting)
            self.unread_bytes += waiting[0]
            # A pump that waits to write goes on without libsndfile.
            self._reader.close()
            self._thread.join()
            if self._error is not None:
                raise self._error
        return frames

    def close(self) -> None:
        """Closes libsndfile's file and ends the thread."""
        self._reader.close()
        self._end()

    def _end(self) -> None:
        self._left.set()
        if self._thread.is_alive():
            self._cancel()
            self._thread.join()
            # A stream that was cancelled here was not closed by its reader.
            if isinstance(self._error, StreamClosedError):
                self._error = None

    def _pump(self) -> None:
        try:
            with open(self._writer, "wb", buffering=0) as pipe:
                wanted = True
                for part in self._parts:
                    if self._left.is_set():
                        return
                    wanted = wanted and self._handed_over(pipe, part)
                    if not wanted:
                        self.unread_bytes += len(part)
        except BaseException as error:  # noqa: BLE001  raised again where the frames are read
            self._error = error

    @staticmethod
    def _handed_over(pipe: RawIOBase, part: bytes) -> bool:
        """Whether libsndfile took the bytes; not where it has enough."""
        view = memoryview(part)
        try:
            while view:
                view = view[pipe.write(view) or 0 :]
        except BrokenPipeError:
            return False
        return True
