"""Messages in an SQLite file that survives kill -9 and power cuts."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import sqlite3
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from edge_aac.errors import ConfigError
from edge_aac.records import as_text
from edge_aac.sinks.message import Message

APPLICATION_ID = 0x45414143  # "EAAC"
VERSION = 1
PAGE_BYTES = 1024
"""A message fills about one page, and a write-ahead log is made of whole pages."""
CHECKPOINT_PAGES = 1024
_LOG_LIMIT_BYTES = 2 * CHECKPOINT_PAGES * PAGE_BYTES
_VACUUM_PAGES = 4096
_CACHE_KB = 512
_ALL = "SELECT topic, source, payload, properties, number, size FROM message ORDER BY number"
_NEXT = "SELECT topic, source, payload, properties, number, size FROM message WHERE number > ? ORDER BY number LIMIT 1"

_OF_DAMAGE = ("Could not decode to UTF-8", "no such table", "no such column", "malformed")
"""Beginnings of what Python's sqlite3 says of unusable content by an OperationalError, as it does of a full disk."""

_log = logging.getLogger(__name__)


class DiskFault(Exception):
    """The disk does not take or give messages now; it may later."""


class DamagedFile(Exception):
    """The file's content cannot be used."""


class ForeignFile(ConfigError):
    """The path is that of something else than a store of messages."""


class SpoolFile:
    """The messages on disk, in the order of their numbers.

    SQLite writes ahead (WAL) with ``synchronous=NORMAL``: what a transaction wrote is in the kernel's hands when it
    returns, so that the end of the process takes nothing away; :meth:`sync` has the disk take it, against power cuts.
    A file ``PATH.lock`` keeps a second process away.

    Args:
        path: of the file; its folder is made where it is not there.

    Raises:
        ConfigError: another process uses the file, or the path is that of something else.
        DiskFault: the file cannot be opened now.
        DamagedFile: its content cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = _lock(path)
        self._identity = (0, 0)
        try:
            with _faults(path):
                self._database = self._opened()
        except BaseException:
            os.close(self._lock)
            raise

    def _opened(self) -> sqlite3.Connection:
        present = self.path.exists()
        if present and not self.path.is_file():
            raise ForeignFile(f"'{self.path}' is no regular file: name another one")
        if not present:  # what was heard at home is not for every user of the machine
            os.close(os.open(self.path, os.O_CREAT | os.O_CLOEXEC | os.O_RDWR, 0o600))
        database = sqlite3.connect(str(self.path), timeout=0.0, isolation_level=None, check_same_thread=False)
        try:
            database.execute(f"PRAGMA cache_size = -{_CACHE_KB}")
            database.execute("PRAGMA locking_mode = EXCLUSIVE")  # the index of the log is in memory: no shared file
            if present and self.path.stat().st_size:
                self._check(database)
            database.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            database.execute("PRAGMA auto_vacuum = INCREMENTAL")
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
            database.execute(f"PRAGMA journal_size_limit = {_LOG_LIMIT_BYTES}")
            database.execute("BEGIN IMMEDIATE")
            database.execute(
                "CREATE TABLE IF NOT EXISTS message (number INTEGER PRIMARY KEY, stored_s REAL NOT NULL, "
                "size INTEGER NOT NULL, topic TEXT NOT NULL, source TEXT NOT NULL, payload BLOB NOT NULL, "
                "properties TEXT NOT NULL)"
            )
            database.execute("CREATE TABLE IF NOT EXISTS clock (boot TEXT NOT NULL, offset_s REAL NOT NULL)")
            database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            database.execute(f"PRAGMA user_version = {VERSION}")
            database.execute("COMMIT")
            _sync(self.path.parent)
            self._identity = _identity(self.path)
        except BaseException:
            database.close()
            raise
        return database

    def _check(self, database: sqlite3.Connection) -> None:
        """Raise where the file is not ours, or not whole."""
        whole = [row[0] for row in database.execute("PRAGMA quick_check(1)")]
        if whole != ["ok"]:
            raise DamagedFile(f"it is damaged: {whole[0] if whole else 'it is empty'}")
        ours = database.execute("PRAGMA application_id").fetchone()[0], self._version(database)
        tables = database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables and ours[0] != APPLICATION_ID:
            raise ForeignFile(f"'{self.path}' is a database of another program: name another file")
        if tables and ours[1] != VERSION:
            raise DamagedFile(f"it has version {ours[1]}, and this edge-aac reads version {VERSION}")
        if tables:
            try:
                database.execute("SELECT number, stored_s, size, topic, source, payload, properties FROM message")
                database.execute("SELECT boot, offset_s FROM clock")
            except sqlite3.OperationalError as error:
                raise DamagedFile(f"it lacks what it should hold: {error}") from error

    @staticmethod
    def _version(database: sqlite3.Connection) -> int:
        return int(database.execute("PRAGMA user_version").fetchone()[0])

    def totals(self) -> tuple[int, int, int, float]:
        """Number of messages, their bytes, the greatest number, and the latest time in seconds; 0 without messages."""
        with _faults(self.path):
            query = "SELECT count(*), total(size), coalesce(max(number), 0), coalesce(max(stored_s), 0.0) FROM message"
            count, size, greatest, latest_s = self._database.execute(query).fetchone()
            return int(count), int(size), int(greatest), float(latest_s)

    def clock(self) -> tuple[str, float] | None:
        """Boot and offset that :meth:`set_clock` kept; None before."""
        with _faults(self.path):
            row = self._database.execute("SELECT boot, offset_s FROM clock").fetchone()
            return None if row is None else (str(row[0]), float(row[1]))

    def set_clock(self, boot: str, offset_s: float) -> None:
        """Keep how the times of the messages follow from the time since boot."""
        with self._transaction():
            self._database.execute("DELETE FROM clock")
            self._database.execute("INSERT INTO clock VALUES (?, ?)", (boot, offset_s))

    def write(self, insert: Sequence[tuple[Message, float]], delete: Collection[int]) -> None:
        """Add messages with the seconds they were stored at, and delete others by number: all of it or nothing."""
        rows = [
            (
                *(message.number, stored_s, message.size, message.topic, message.source, message.payload),
                json.dumps(dict(message.properties)),
            )
            for message, stored_s in insert
        ]
        with self._transaction():
            self._database.executemany("DELETE FROM message WHERE number = ?", ((number,) for number in delete))
            self._database.executemany("INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def read(self, without: Collection[int], limit: int, limit_bytes: int) -> list[Message]:
        """The oldest messages, but for some: at most so many and of so many bytes, one at least if there is any."""
        messages: list[Message] = []
        with _faults(self.path), closing(self._database.execute(_ALL)) as rows:
            for topic, source, payload, properties, number, size in rows:
                if number in without:
                    continue
                limit_bytes -= size
                if messages and limit_bytes < 0:
                    break
                messages.append(Message(str(topic), str(source), bytes(payload), _texts(properties), number))
                if len(messages) >= limit:
                    break
        return messages

    def size_of(self, number: int) -> int | None:
        """Bytes of a message; None where it is not there."""
        with _faults(self.path):
            row = self._database.execute("SELECT size FROM message WHERE number = ?", (number,)).fetchone()
            return None if row is None else int(row[0])

    def oldest(self) -> Generator[tuple[int, int, float], None, None]:
        """Number, bytes and time in seconds of the messages, the oldest first."""
        with (
            _faults(self.path),
            closing(self._database.execute("SELECT number, size, stored_s FROM message ORDER BY number")) as rows,
        ):
            yield from rows

    def shrink(self) -> None:
        """Give back room that a long outage took, where that is worth a write."""
        with _faults(self.path):
            if self._database.execute("PRAGMA freelist_count").fetchone()[0] > _VACUUM_PAGES:
                # As a script: each step frees one page, and a cursor without columns takes one step.
                self._database.executescript("PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE)")

    def sync(self) -> None:
        """Return when all that was written is on the disk."""
        with _faults(self.path):
            # The log alone: the file itself is synchronised by SQLite before it takes anything out of the log.
            _sync(Path(f"{self.path}-wal"))

    @property
    def moved(self) -> bool:
        """Whether the path no longer leads to the open file."""
        try:
            return _identity(self.path) != self._identity
        except FileNotFoundError:
            return True
        except OSError:
            return False

    def close(self) -> None:
        """Let go; never raises."""
        with suppress(sqlite3.Error):
            self._database.close()
        os.close(self._lock)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _faults(self.path):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    if self._database.in_transaction:
                        self._database.execute("ROLLBACK")
                raise


def set_aside(path: Path) -> Path:
    """Rename a damaged file and its log; the last one that was set aside goes.

    Raises:
        DiskFault: it cannot be renamed.
    """
    aside = path.with_name(f"{path.name}.damaged")
    try:
        path.replace(aside)
        for suffix in ("-wal", "-shm", "-journal"):
            with suppress(FileNotFoundError):
                Path(f"{path}{suffix}").replace(f"{aside}{suffix}")
    except OSError as error:
        raise DiskFault(f"'{path}' is damaged and cannot be renamed ({error.strerror})") from error
    return aside


def rescued(path: Path) -> list[Message]:
    """The messages of a damaged file up to the first that cannot be read, the oldest first."""
    messages: list[Message] = []
    try:
        database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        with closing(database):
            # One by one: Python 3.10 reads a row ahead, and would lose the last whole one before the fault.
            last = -1
            while row := database.execute(_NEXT, (last,)).fetchone():
                topic, source, payload, properties, number, size = row
                message = Message(topic, source, payload, _texts(properties), number)
                if not isinstance(number, int) or number <= last:
                    break
                last = number
                if isinstance(payload, bytes) and message.size == size:
                    messages.append(message)
    except (sqlite3.Error, OSError, TypeError, ValueError, AttributeError) as error:
        _log.debug("'%s' cannot be read any further (%s)", path, error)
    return messages


@contextmanager
def _faults(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.OperationalError, OSError) as error:
        if str(error).startswith(_OF_DAMAGE):  # trying again would never help
            raise DamagedFile(f"it is damaged: {as_text(str(error))}") from error
        reason = error.strerror if isinstance(error, OSError) else error
        raise DiskFault(f"'{path}' cannot be used ({reason})") from error
    except (sqlite3.DatabaseError, UnicodeDecodeError, TypeError, ValueError) as error:
        raise DamagedFile(f"it is damaged: {error}") from error


def _texts(properties: str) -> dict[str, str]:
    table = json.loads(properties)
    return {str(key): str(value) for key, value in table.items()}


def _lock(path: Path) -> int:
    """Descriptor of the locked file PATH.lock."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DiskFault(f"'{path}' cannot be used ({reason})") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise ConfigError(
            f"another process, or another sink, uses '{path}': name another file for the messages of this one"
        ) from error
    except OSError as error:
        # Some network file systems have no locks; SQLite's own lock is left.
        _log.debug("'%s' cannot be locked (%s)", path, error.strerror)
    return descriptor


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino
