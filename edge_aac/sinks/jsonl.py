"""Records as lines of JSON in a file that is rotated: a log of what was heard, for programs that read it later."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import tempfile
from pathlib import Path

from pydantic import Field

from edge_aac.errors import ConfigError, DeviceError, InputMissingError
from edge_aac.records import Record
from edge_aac.sinks.contract import SinkSettings, TransientSinkError

_MAY_PASS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EAGAIN, errno.EINTR, errno.ESTALE, errno.EROFS),
    *(errno.ENOENT, errno.ENODEV, errno.ENXIO),
}
"""A full disk is made room on, and a memory card or network share that is away comes back."""

_log = logging.getLogger(__name__)


class JsonlSettings(SinkSettings):
    """``[[sinks]]`` of kind ``jsonl``.

    Attributes:
        path: of the file; its folder exists. Rotated files are PATH.1 (the newest) to PATH.N.
        max_mb: size in megabytes (10^6 bytes) from which the file is rotated; 0 never rotates.
        keep: how many rotated files are kept.
        fsync: whether each record is on the disk before the next one: safe against a power cut, and hard on a memory
            card.
    """

    records: tuple[str, ...] = Field(
        default=("caption", "event", "alert", "gap", "health", "clip"),
        description="Kinds of record that the sink takes.",
    )
    path: Path = Field(
        description="File to append to; rotated files are PATH.1, PATH.2 …", examples=["/var/log/edge-aac/heard.jsonl"]
    )
    max_mb: float = Field(
        default=10.0,
        ge=0.0,
        allow_inf_nan=False,
        description="Size to rotate at; 0: never.",
        json_schema_extra={"unit": "MB"},
    )
    keep: int = Field(default=5, ge=0, le=1000, description="Rotated files that are kept.")
    fsync: bool = Field(default=False, description="Wait after each record until it is on the disk.")

    def leaves(self) -> str:
        """Where records go, see :class:`edge_aac.sinks.contract.SinkSettings`."""
        older = f", with {self.keep} older files at most" if self.max_mb else ""
        return f'{self.records_in_words} are kept in the file "{self.path}"{older}.'

    @classmethod
    def parse(cls, rest: str) -> JsonlSettings:
        """Settings from ``PATH`` of ``jsonl:PATH``."""
        if not rest:
            raise ValueError("a path must follow: jsonl:PATH")
        return cls(path=Path(rest))


class JsonlSink:
    """Appends each record as a line.

    A line that could not be written whole is taken back and written again later. A file that somebody moved or deleted
    is made anew. Two processes cannot write one file.

    Args:
        settings: see :class:`JsonlSettings`.

    Raises:
        InputMissingError: the folder is not there.
        ConfigError: the path is no regular file, or another process writes to it.
        DeviceError: the file cannot be opened.
    """

    Settings = JsonlSettings

    def __init__(self, settings: JsonlSettings) -> None:
        self._settings = settings
        self._path = settings.path.expanduser()
        self._max_bytes = round(settings.max_mb * 1e6)
        self._descriptor = self._opened()
        self._torn = False
        """Whether the file ends within a line that could not be taken back."""

    @classmethod
    def open(cls, settings: JsonlSettings) -> JsonlSink:
        """See :class:`edge_aac.sinks.contract.SinkKind`."""
        return cls(settings)

    @classmethod
    def check(cls, settings: JsonlSettings) -> str:
        """See :class:`edge_aac.sinks.contract.SinkKind`: a line is written to a file beside that of the records."""
        path = settings.path.expanduser()
        line = b'{"schema": "edge-aac/doctor/1"}\n'
        try:
            if path.exists():
                if not path.is_file():
                    raise ConfigError(f"'{path}' is no regular file: name another one")
                os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK))
            descriptor, trial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".doctor")
            try:
                os.pwrite(descriptor, line, 0)
                os.fsync(descriptor)
                if os.pread(descriptor, len(line), 0) != line:
                    raise DeviceError(f"'{trial}' does not hold what was written to it: replace the disk")
            finally:
                os.close(descriptor)
                os.unlink(trial)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise InputMissingError(f"there is no folder for '{path}': make it") from error
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise DeviceError(f"'{path}' cannot be written ({reason}): correct its permissions or make room") from error
        return f"a line was written beside '{path}', read back and deleted"

    def publish(self, record: Record) -> None:
        """See :class:`edge_aac.sinks.contract.Sink`.

        Raises:
            TransientSinkError: the disk is full, read-only or away.
            DeviceError: the file cannot be written for another reason.
        """
        line = (record.to_json() + "\n").encode("utf-8", "replace")
        try:
            self._follow_the_name()
            size = os.fstat(self._descriptor).st_size
            if self._max_bytes and size and size + len(line) > self._max_bytes:
                self._rotate()
                size = 0
            self._append(line, size)
        except OSError as error:
            if error.errno in _MAY_PASS:
                raise TransientSinkError(f"'{self._path}' cannot be written ({error.strerror})") from error
            raise DeviceError(
                f"'{self._path}' cannot be written ({error.strerror}): correct its permissions or its folder"
            ) from error

    def close(self) -> None:
        """See :class:`edge_aac.sinks.contract.Sink`; what was written is on the disk when this returns."""
        if self._descriptor < 0:
            return
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            _log.warning("'%s' may lack its last lines (%s)", self._path, error.strerror)
        finally:
            os.close(self._descriptor)
            self._descriptor = -1

    def _append(self, line: bytes, size: int) -> None:
        written = 0
        if self._torn:
            line = b"\n" + line
        try:
            while written < len(line):
                written += os.write(self._descriptor, line[written:])
            if self._settings.fsync:
                os.fsync(self._descriptor)
        except OSError:
            # A part of a line would spoil the next one, and a line that is not safe yet is written again.
            try:
                os.ftruncate(self._descriptor, size)
            except OSError:
                self._torn = written > 0
            raise
        self._torn = False

    def _follow_the_name(self) -> None:
        """Open the path anew where it no longer leads to the open file."""
        ours = os.fstat(self._descriptor)
        try:
            named = os.stat(self._path)
        except FileNotFoundError:
            named = None
        if named is None or (named.st_ino, named.st_dev) != (ours.st_ino, ours.st_dev):
            _log.info("'%s' was moved or deleted: it is begun anew", self._path)
            self._reopen()

    def _rotate(self) -> None:
        """Move PATH to PATH.1, PATH.1 to PATH.2 and so on; the last one goes."""
        if self._settings.keep == 0:
            os.ftruncate(self._descriptor, 0)
            return
        for number in range(self._settings.keep - 1, 0, -1):
            if (older := self._numbered(number)).exists():
                older.replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))
        self._reopen()

    def _reopen(self) -> None:
        try:
            descriptor = self._opened()
        except (InputMissingError, DeviceError) as error:
            if isinstance(error.__cause__, OSError):
                raise error.__cause__ from error
            raise
        os.close(self._descriptor)
        self._descriptor = descriptor

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _opened(self) -> int:
        try:
            # O_NONBLOCK: a named pipe without a reader is refused below, not waited for.
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
            descriptor = os.open(self._path, flags, 0o640)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise InputMissingError(f"there is no folder for '{self._path}': make it") from error
        except IsADirectoryError as error:
            raise ConfigError(f"'{self._path}' is a folder: name a file in it") from error
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise DeviceError(f"'{self._path}' cannot be opened for writing ({reason}): correct its path") from error
        try:
            self._claim(descriptor)
            self._end_torn_line(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _claim(self, descriptor: int) -> None:
        try:
            if not os.path.isfile(f"/proc/self/fd/{descriptor}"):
                raise ConfigError(f"'{self._path}' is no regular file: name another one")
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"another process writes to '{self._path}': name another file") from error
        except OSError as error:
            # Some network file systems have no locks; the file is as good as without.
            _log.debug("'%s' cannot be locked (%s)", self._path, error.strerror)

    def _end_torn_line(self, descriptor: int) -> None:
        """End a line that a power cut left unfinished, so that the next record has a line of its own."""
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            _log.warning("'%s' ends within a line: an earlier run was cut off", self._path)
            os.write(descriptor, b"\n")
