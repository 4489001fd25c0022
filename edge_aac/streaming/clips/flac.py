"""FLAC files that are written piece by piece and explain themselves at the end.

A clip's caption may change until its event ends, and FLAC has its tags before the sound. So room for them is reserved
when the file is begun, and filled in place at the end: blocks and Vorbis comments as RFC 9639 has them (sections 8 and
8.6).
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from edge_aac.timebase import SAMPLE_RATE

RESERVED_BYTES = 8192
"""Room for tags."""

MAX_TAG_BYTES = 1000
"""A longer value is cut: with all of them, the tags have room."""

_MARK = b"fLaC"
_PADDING, _COMMENTS = 1, 4
_LAST = 0x80
_HEAD_BYTES = 2 * RESERVED_BYTES
_VENDOR = b"edge-aac"


class FlacFile:
    """Mono 16-bit FLAC at 16 kHz in an open file.

    Args:
        descriptor: of a file that is empty, open for reading and writing; the caller closes it.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, descriptor: int) -> None:
        import soundfile

        self._file = _Descriptor(descriptor)
        self._sound = soundfile.SoundFile(self._file, "w", SAMPLE_RATE, 1, "PCM_16", format="FLAC")
        self._sound.comment = "-" * RESERVED_BYTES

    def write(self, samples: npt.NDArray[np.int16]) -> None:
        """Append samples, shape (n,).

        Raises:
            OSError: the disk is full, or the file cannot be written for another reason.
        """
        try:
            self._sound.write(samples)
        except Exception as error:  # soundfile asserts that all was written
            self._file.raise_error(error)
            raise
        self._file.raise_error()

    def finish(self, tags: Mapping[str, str]) -> None:
        """End the sound, and write the tags.

        Args:
            tags: upper-case names of ASCII letters and underscores → values; of a value the first 1000 bytes are kept.

        Raises:
            OSError: the file cannot be written.
        """
        self._sound.close()
        self._file.raise_error()
        _write_tags(self._file.number, tags)

    def abandon(self) -> None:
        """Let go of the file, which is of no use."""
        self._file.refuse()
        self._sound.close()


class _Descriptor:
    """A file for libsndfile, which tells nobody why a write failed: the first error is kept here."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._error: OSError | None = None
        self._refuses = False

    def write(self, data: bytes) -> int:
        """Write all of it, or nothing once something failed; libsndfile takes a short count for an error."""
        if self._error is not None or self._refuses:
            return 0
        left = memoryview(bytes(data))
        try:
            while left:
                left = left[os.write(self.number, left) :]
        except OSError as error:
            self._error = error
            return 0
        return len(data)

    def read(self, size: int = -1) -> bytes:
        """Read at the file's position."""
        return os.read(self.number, max(0, size))

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the file's position."""
        return os.lseek(self.number, offset, whence)

    def tell(self) -> int:
        """The file's position."""
        return os.lseek(self.number, 0, os.SEEK_CUR)

    def refuse(self) -> None:
        """Write nothing more."""
        self._refuses = True

    def raise_error(self, cause: BaseException | None = None) -> None:
        """Raise the first error of a write, if there was one."""
        if self._error is not None:
            raise self._error from cause


def read_tags(path: str | os.PathLike[str]) -> dict[str, str]:
    """The tags of a FLAC file that :class:`FlacFile` wrote.

    Raises:
        ValueError: the file is no FLAC, or has none.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        head = file.read(_HEAD_BYTES)
    first, _ = _room(head)
    comments = head[first + 4 :]
    at = 4 + int.from_bytes(comments[:4], "little")
    count = int.from_bytes(comments[at : at + 4], "little")
    at += 4
    tags = {}
    for _ in range(count):
        length = int.from_bytes(comments[at : at + 4], "little")
        name, _, value = comments[at + 4 : at + 4 + length].decode("utf-8").partition("=")
        tags[name] = value
        at += 4 + length
    return tags


def _write_tags(descriptor: int, tags: Mapping[str, str]) -> None:
    first, end = _room(os.pread(descriptor, _HEAD_BYTES, 0))
    comments = _comments(tags)
    padding = end - first - 8 - len(comments)
    if padding < 0:
        raise ValueError(f"the tags need {len(comments)} bytes, more than {end - first - 8}")
    blocks = _header(_COMMENTS, len(comments)) + comments + _header(_PADDING | _LAST, padding) + bytes(padding)
    written = 0
    while written < len(blocks):
        written += os.pwrite(descriptor, blocks[written:], first + written)


def _room(head: bytes) -> tuple[int, int]:
    """From where to where the last metadata blocks are comments and padding: what tags may stand in."""
    if not head.startswith(_MARK):
        raise ValueError("no FLAC file")
    at, first = len(_MARK), None
    while at + 4 <= len(head):
        kind, length = head[at], int.from_bytes(head[at + 1 : at + 4], "big")
        if kind & ~_LAST not in {_PADDING, _COMMENTS}:
            first = None
        elif first is None:
            first = at
        at += 4 + length
        if kind & _LAST:
            break
    if first is None:
        raise ValueError("a FLAC file without room for tags")
    return first, at


def _comments(tags: Mapping[str, str]) -> bytes:
    entries = [name.encode("ascii") + b"=" + _cut(value) for name, value in tags.items()]
    parts = [_VENDOR, *entries]
    counted = [len(part).to_bytes(4, "little") + part for part in parts]
    return counted[0] + len(entries).to_bytes(4, "little") + b"".join(counted[1:])


def _cut(value: str) -> bytes:
    """A value as UTF-8 of at most 1000 bytes, whole characters only."""
    return value.encode("utf-8", "replace")[:MAX_TAG_BYTES].decode("utf-8", "ignore").encode("utf-8")


def _header(kind: int, length: int) -> bytes:
    return bytes([kind]) + length.to_bytes(3, "big")
