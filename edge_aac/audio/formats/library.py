"""libsndfile as the decoder of what needs its container: through a view of the stream, forward only."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

import numpy as np
import soundfile

from edge_aac.audio.formats.decoded import Frames
from edge_aac.errors import DataError

# Of a block that ends in damage, libsndfile gives nothing; and a live block is waited for.
_BLOCK_S, _LIVE_BLOCK_S = 0.2, 0.1
# libsndfile gives more frames than these where it does not know.
_UNKNOWN_FRAMES = 2**40
_HEADER_BYTES = 2**20


class ForwardSoundFile(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A sound file that is read from its start to its end only.

    soundfile seeks to where it already is after every block of a seekable file, which restarts the MP3 decoder: its
    bit reservoir is lost, and the block begins with an error.
    """

    def seekable(self) -> bool:
        return False


class ForwardView:
    """A file object over bytes that come once, for libsndfile.

    While it opens a file, libsndfile goes back and forth in the header, and looks for what stands behind the sound,
    which this view does not show. From :meth:`start` on it only goes forward, and what is behind is forgotten.

    Args:
        head: bytes that stand before the others.
        read: gives up to so many bytes; none at the end.
        size: length of the whole that libsndfile is told.
        eager: whether :meth:`read` gives fewer bytes than it is asked for rather than wait; some decoders take that for
            the end.
    """

    def __init__(self, head: bytes, read: Callable[[int], bytes], size: int, *, eager: bool = False) -> None:
        self.error: BaseException | None = None
        """What reading raised: an exception does not pass through libsndfile."""
        self._held = bytearray(head)
        self._held_from = 0
        self._read = read
        self._size = size
        self._eager = eager
        self._position = 0
        self._started = False

    def start(self) -> None:
        """Ends the opening."""
        self._started = True

    def read(self, count: int = -1) -> bytes:
        """Gives the bytes at the position: so many, or fewer at the end."""
        if count < 0:
            raise ValueError("a view has no end that could be read up to")
        begin = self._position - self._held_from
        if begin < 0 or (not self._started and begin + count > _HEADER_BYTES):
            return b""
        try:
            while len(self._held) < begin + count and (data := self._read(begin + count - len(self._held))):
                self._held += data
                if self._eager and self._started and len(self._held) > begin:
                    break
        except BaseException as error:  # noqa: BLE001  raised again by whoever called libsndfile
            self.error = error
            return b""
        data = bytes(self._held[begin : begin + count])
        self._position += len(data)
        if self._started:
            del self._held[: begin + len(data)]
            self._held_from = self._position
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves the position; nothing is read before the next :meth:`read`."""
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position


class LibraryReader:
    """Frames from libsndfile, read forward.

    Args:
        source: a descriptor, which belongs to the reader from now on, or a view.
        name: the input's name in messages.
        live: whether the sound may come as slowly as it is heard: less of it is read at once.

    Raises:
        soundfile.LibsndfileError: libsndfile cannot open it.
        BaseException: what reading the view raised.
    """

    def __init__(self, source: int | ForwardView, name: str, *, live: bool = False) -> None:
        self._name = name
        self._view = source if isinstance(source, ForwardView) else None
        self._descriptor = source if isinstance(source, int) else -1
        try:
            # Where it cannot open a descriptor, libsndfile may close it or not: it is left to us.
            self._sound = ForwardSoundFile(_path_of(source) if isinstance(source, int) else source, closefd=False)
        except BaseException:
            self._close_descriptor()
            self._raise_error()
            raise
        if self._view is not None:
            self._view.start()
        self.rate: int = self._sound.samplerate
        self.channels: int = self._sound.channels
        self.subtype: str = self._sound.subtype
        self.frames_read = 0
        self._block_frames = max(1, round((_LIVE_BLOCK_S if live else _BLOCK_S) * self.rate))

    @property
    def promised_frames(self) -> int | None:
        """Number of frames that libsndfile expects; None where it does not know."""
        frames: int = self._sound.frames
        return frames if frames < _UNKNOWN_FRAMES else None

    def read(self, at_most: int | None = None) -> Frames:
        """Gives the next frames, and no more than so many; see :class:`~edge_aac.audio.formats.decoded.Decoded`."""
        count = self._block_frames if at_most is None else min(at_most, self._block_frames)
        try:
            frames = self._sound.read(count, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            self._raise_error()
            raise DataError(
                f"'{self._name}' is damaged after {self.frames_read / self.rate:.2f} s ({reason_of(error)}): "
                "copy it again from where it came from, or cut the damaged part off."
            ) from error
        self._raise_error()
        self.frames_read += len(frames)
        return np.asarray(frames, np.float32)

    def close(self) -> None:
        """Closes libsndfile's file, and the descriptor."""
        self._sound.close()
        self._close_descriptor()

    def __del__(self) -> None:
        self._close_descriptor()

    def _close_descriptor(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _raise_error(self) -> None:
        if self._view is not None and self._view.error is not None:
            raise self._view.error


def reason_of(error: soundfile.LibsndfileError) -> str:
    """libsndfile's own words, as part of a sentence."""
    return str(error.error_string).strip().rstrip(".")


def _path_of(descriptor: int) -> int | str:
    """A path that opens what a descriptor has open; the descriptor where there is none, or it stands within a file.

    Of a descriptor libsndfile looks for a resource fork called ``._`` in the working directory, and fails where that is
    another file.
    """
    path = f"/proc/self/fd/{descriptor}"
    within = stat.S_ISREG(os.fstat(descriptor).st_mode) and os.lseek(descriptor, 0, os.SEEK_CUR) > 0
    return descriptor if within or not os.path.exists(path) else path
