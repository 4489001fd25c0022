"""The bytes of a file or a pipe, read once from the first to the last, with a look ahead."""

from __future__ import annotations

import os
import select
import stat
import threading
import time
from collections.abc import Callable

from edge_aac.errors import DataError

READ_BYTES = 256 * 1024
LOOK_AHEAD_BYTES = 16 * 2**20
"""Largest look ahead on a pipe: headers with pictures in them are shorter. A file can be looked at anywhere."""


class StreamClosedError(Exception):
    """The stream was closed from another thread while it was read."""


class ByteStream:
    """A forward reader of a descriptor.

    Args:
        descriptor: open for reading, at the first byte to be read; it belongs to the stream where ``owned``.
        name: the input's name in messages.
        owned: whether :meth:`close` closes the descriptor.
    """

    def __init__(self, descriptor: int, name: str, *, owned: bool = True) -> None:
        self.name = name
        self.position = 0
        """Number of bytes given so far."""
        self._wake_reader = self._wake_writer = -1
        self.descriptor = descriptor
        self._owned = owned
        self._on_cancel: list[Callable[[], None]] = []
        status = os.fstat(descriptor)
        self.regular = stat.S_ISREG(status.st_mode)
        self._origin = os.lseek(descriptor, 0, os.SEEK_CUR) if self.regular else 0
        self._ahead = bytearray()
        self._given = 0
        self._ended = False
        self._poll = select.poll()
        self._closed = threading.Event()
        self._released = False
        self._reading = threading.Lock()
        # Of a stream that is closed meanwhile the number of the pipe may be another file's.
        self._cancelling = threading.RLock()
        if not self.regular:
            # A file never keeps anybody waiting.
            self._wake_reader, self._wake_writer = os.pipe()
            self._poll.register(descriptor, select.POLLIN)
            self._poll.register(self._wake_reader, select.POLLIN)

    @property
    def size(self) -> int | None:
        """Number of bytes of a file, as long as it is now; None of a pipe."""
        return os.fstat(self.descriptor).st_size - self._origin if self.regular else None

    @property
    def ended(self) -> bool:
        """Whether the end has been read; bytes before it may be left to be taken."""
        return self._ended

    def peek(self, count: int, offset: int = 0) -> bytes:
        """Gives bytes without taking them.

        Args:
            count: number of bytes.
            offset: where they begin, counted from the next byte to be read.

        Returns:
            The bytes; fewer at the end, and where they lie more than :data:`LOOK_AHEAD_BYTES` ahead in a pipe.

        Raises:
            DataError: reading failed.
            StreamClosedError: the stream was closed meanwhile.
        """
        if self.regular and offset + count > READ_BYTES:
            return self._at(self.position + offset, count)
        end = min(offset + count, LOOK_AHEAD_BYTES)
        while self._held < end and self._fill():
            pass
        return bytes(self._ahead[self._given + offset : self._given + end])

    def gather(self, count: int, patience_s: float) -> bytes:
        """Gives bytes without taking them: so many, or those that came within a time after the first; see :meth:`peek`.

        Args:
            count: number of bytes.
            patience_s: seconds to wait for the others, once the first has come.
        """
        self.peek(1)
        until_s = time.monotonic() + patience_s
        while 0 < self._held < count and not self._ended:
            left_ms = 1_000 * (until_s - time.monotonic())
            if left_ms <= 0 or not (self.regular or self._poll.poll(left_ms)):
                break
            self._fill()
        return self.peek(min(count, self._held))

    def is_ready(self, within_s: float = 0.0) -> bool:
        """Whether reading on gives something, or ends, at once or within a time."""
        return self.regular or bool(self._held) or bool(self._poll.poll(1_000 * within_s))

    def held(self) -> bytes:
        """Gives the bytes that have been read already, without taking them."""
        return bytes(self._ahead[self._given :])

    def read(self, count: int) -> bytes:
        """Takes bytes: so many, or all that are left before the end; errors as of :meth:`peek`."""
        while self._held < count and self._fill():
            pass
        return self._taken(count)

    def read_some(self, count: int) -> bytes:
        """Takes at least one byte and at most so many, as they arrive; none at the end. Errors as of :meth:`peek`."""
        if not self._held:
            self._fill()
        return self._taken(count)

    def skip(self, count: int) -> None:
        """Leaves bytes out; errors as of :meth:`peek`."""
        held = min(count, self._held)
        self._taken(held)
        count -= held
        if self.regular:
            self.position += count
            return
        while count > 0 and (data := self.read_some(count)):
            count -= len(data)

    def duplicate(self) -> int:
        """Gives a descriptor of a file, at the stream's position, for a library; the stream is not read any more."""
        os.lseek(self.descriptor, self._origin + self.position, os.SEEK_SET)
        return os.dup(self.descriptor)

    def again(self, position: int) -> ByteStream:
        """Gives another reader of a file.

        Args:
            position: of its first byte, in bytes from this one's first.
        """
        # A library may be reading a duplicate, which shares its place with the descriptor: opened anew, the file has a
        # place of its own.
        descriptor = os.open(f"/proc/self/fd/{self.descriptor}", os.O_RDONLY | os.O_CLOEXEC)
        os.lseek(descriptor, self._origin + position, os.SEEK_SET)
        return ByteStream(descriptor, self.name)

    def on_cancel(self, action: Callable[[], None]) -> None:
        """Has :meth:`cancel` call a function too, which ends what reads the descriptor beside the stream.

        Of a stream that is cancelled already it is called at once.
        """
        with self._cancelling:
            self._on_cancel.append(action)
            cancelled = self._closed.is_set()
        if cancelled:
            action()

    def refuse_closed(self) -> None:
        """Raises :class:`StreamClosedError` where the stream was closed."""
        if self._closed.is_set():
            raise StreamClosedError

    def cancel(self) -> None:
        """Ends a read that waits in another thread, and all later ones, with :class:`StreamClosedError`."""
        with self._cancelling:
            if self._closed.is_set():
                return
            self._closed.set()
            if self._wake_writer >= 0:
                os.write(self._wake_writer, b"x")
            actions = list(self._on_cancel)
        for action in actions:
            action()

    def close(self) -> None:
        """Ends the stream; a read that waits in another thread ends first. May be called again."""
        self.cancel()
        with self._reading, self._cancelling:
            if self._released:
                return
            self._released = True
            for descriptor in (self._wake_reader, self._wake_writer, self.descriptor if self._owned else -1):
                if descriptor >= 0:
                    os.close(descriptor)
            self._wake_reader = self._wake_writer = -1

    def __del__(self) -> None:
        # Of a generator that was dropped before its first block, nobody else closes what it was made of.
        if hasattr(self, "_released"):
            self.close()

    @property
    def _held(self) -> int:
        return len(self._ahead) - self._given

    def _taken(self, count: int) -> bytes:
        data = bytes(self._ahead[self._given : self._given + count])
        self._given += len(data)
        self.position += len(data)
        if self._given == len(self._ahead):
            self._ahead.clear()
            self._given = 0
        return data

    def _fill(self) -> bool:
        """Reads on; False at the end."""
        if self._ended:
            return False
        if self._given > READ_BYTES:
            del self._ahead[: self._given]
            self._given = 0
        data = self._received()
        self._ended = not data
        self._ahead += data
        return bool(data)

    def _received(self) -> bytes:
        if self.regular:
            # By its place: a library may have moved the descriptor's own.
            return self._at(self.position + self._held, READ_BYTES)
        with self._reading:
            while not self._closed.is_set():
                try:
                    if self._wake_reader in dict(self._poll.poll()):
                        break
                    return os.read(self.descriptor, READ_BYTES)
                except BlockingIOError:
                    continue
                except OSError as error:
                    raise _unreadable(self.name, error) from error
        raise StreamClosedError

    def _at(self, position: int, count: int) -> bytes:
        with self._reading:
            if self._closed.is_set():
                raise StreamClosedError
            try:
                return os.pread(self.descriptor, count, self._origin + position)
            except OSError as error:
                raise _unreadable(self.name, error) from error


def _unreadable(name: str, error: OSError) -> DataError:
    return DataError(f"reading '{name}' failed ({error.strerror}): check the disk, or start the pipe again")
