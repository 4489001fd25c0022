"""A bounded store of messages that a remote sink has not delivered yet: on disk, or in memory where the disk fails."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from edge_aac.errors import ConfigError
from edge_aac.sinks.message import Message
from edge_aac.sinks.spool_file import DamagedFile, DiskFault, SpoolFile, rescued, set_aside
from edge_aac.sinks.spool_memory import MemoryQueue
from edge_aac.sinks.spool_settings import SpoolLimits, since_boot_s, this_boot

FORGET_MESSAGES = 256
"""Delivered messages that may wait for their deletion on disk."""
_DROPS_BETWEEN_LINES = 1000

_log = logging.getLogger(__name__)


class Spool:
    """Messages that wait to be delivered, in order. Any thread may use it.

    A message is in the file when :meth:`put` returns, so that the end of the process loses nothing; within
    ``limits.sync_s`` it is safe from a power cut too, where :meth:`tick` is called. Where the disk is full, read-only
    or away, messages wait in memory, which is said once, and are written when there is room again. A damaged file is
    renamed and begun anew. Ages follow the time since boot, so that a clock that is set changes nothing.

    Args:
        path: of the file; None keeps all in memory.
        limits: how much may wait.
        clock: gives the seconds since boot.
        boot: name of this run of the machine.

    Raises:
        ConfigError: another process uses the file, or the path is that of something else.
    """

    def __init__(
        self,
        path: Path | None,
        limits: SpoolLimits,
        *,
        clock: Callable[[], float] = since_boot_s,
        boot: str | None = None,
    ) -> None:
        self.queued = 0
        """Number of messages that wait."""
        self.dropped = 0
        """Messages that were given up: too many, too old, or lost with a damaged file."""
        self.fault: str | None = None
        """What is wrong with the disk, as part of a sentence; None while it is used, or where there is none."""
        self._path = path
        self._limits = limits
        self._clock = clock
        self._boot = this_boot() if boot is None else boot
        self._lock = threading.RLock()
        self._file: SpoolFile | None = None
        self._offset_s = 0.0
        self._memory = MemoryQueue()
        self._disk = (0, 0)
        """Number and bytes of the messages in the file."""
        self._delivered: dict[int, int] = {}
        """Number → bytes of messages in the file that are to be deleted."""
        self._retry_at_s = float("-inf")
        self._unsynced_since_s: float | None = None
        self._logged_drops = 0
        if path is not None:
            with self._held():
                self._use_disk(path)

    @property
    def in_memory(self) -> int:
        """Number of messages that the end of the process would lose."""
        return len(self._memory)

    def put(self, messages: Iterable[Message]) -> None:
        """Store messages behind all others; never raises for the disk's sake."""
        with self._held():
            now_s = self._now_s
            for message in messages:
                self._memory.add(message, now_s)
            self._settle()

    def first(self, limit: int, limit_bytes: int = 1_000_000) -> list[Message]:
        """The oldest messages that wait: at most so many, and of so many bytes, but one at least where there is one."""
        with self._held():
            found: list[Message] = []
            if self._file is not None and self._disk[0] > len(self._delivered):
                file = self._file
                self._guarded(lambda: found.extend(file.read(self._delivered, limit, limit_bytes)))
            size = sum(message.size for message in found)
            for message, _ in self._memory.entries.values():
                size += message.size
                if len(found) >= limit or (found and size > limit_bytes):
                    break
                found.append(message)
            return found

    def done(self, messages: Iterable[Message]) -> None:
        """Delete messages that were delivered; a kill before the next :meth:`put` or :meth:`tick` brings them back.

        Args:
            messages: the very objects that :meth:`first` gave.
        """
        with self._held():
            for message in messages:
                number = self._memory.number_of(message)
                if not self._memory.discard(number):
                    self._forget_on_disk(number)
            if len(self._delivered) >= FORGET_MESSAGES:
                self._settle()

    def tick(self) -> None:
        """Do what is due: to be called every second or so."""
        with self._held():
            self._follow_the_name()
            self._settle()
            since_s, file = self._unsynced_since_s, self._file
            if since_s is None or file is None or self._clock() - since_s < self._limits.sync_s:
                return
            if self._count == 0:  # nothing is left that a power cut could take
                self._unsynced_since_s = None
                self._guarded(file.shrink)
                return
            self._unsynced_since_s = None
        # Without the lock: it may take seconds on a memory card.
        self._guarded(file.sync)

    def flush(self) -> None:
        """Have all that waits on the disk, where there is one."""
        with self._held():
            self._retry_at_s = float("-inf")
            self._settle()
            if self._file is not None and self._count:
                self._guarded(self._file.sync)
            self._unsynced_since_s = None

    def close(self) -> None:
        """Write what is in memory if that can be done, and let go. What is lost then is counted and logged."""
        with self._held():
            self.flush()
            if self._memory:
                self.dropped += len(self._memory)
                _log.warning("%d messages that were kept in memory are lost", len(self._memory))
                self._memory.clear()
            if self._file is not None:
                self._file.close()
                self._file = None
            self._path = None

    @contextmanager
    def _held(self) -> Iterator[None]:
        """The lock; what others may read without it is brought up to date at the end."""
        with self._lock:
            try:
                yield
            finally:
                self.queued = self._count

    @property
    def _count(self) -> int:
        return self._disk[0] - len(self._delivered) + len(self._memory)

    @property
    def _now_s(self) -> float:
        return self._clock() + self._offset_s

    def _forget_on_disk(self, number: int) -> None:
        """Note that a message in the file is to be deleted; it may have been dropped meanwhile."""
        file = self._file
        if file is None or number in self._delivered:
            return

        def note() -> None:
            if (size := file.size_of(number)) is not None:
                self._delivered[number] = size

        self._guarded(note)

    def _settle(self) -> None:
        """Bring the store within its bounds, and what is in memory into the file."""
        if self._file is None and self._path is not None and self._clock() >= self._retry_at_s:
            self._use_disk_again()
        self._trim()
        for _ in range(2):  # once more where the file turned out damaged and was begun anew
            due = bool(self._memory or self._delivered) or self.fault is not None
            if self._file is not None and due and self._clock() >= self._retry_at_s:
                self._guarded(partial(self._write, self._file))
        while self._memory.bytes > self._limits.memory_bytes:
            self._drop({next(iter(self._memory.entries)): 0})

    def _write(self, file: SpoolFile) -> None:
        if not self._memory and not self._delivered:  # whether the disk works again shows by a write alone
            file.set_clock(self._boot, self._offset_s)
        else:
            file.write(list(self._memory.entries.values()), self._delivered)
        count, size = self._disk
        self._disk = (
            count - len(self._delivered) + len(self._memory),
            size - sum(self._delivered.values()) + self._memory.bytes,
        )
        if self._memory and self._unsynced_since_s is None:
            self._unsynced_since_s = self._clock()
        self._memory.clear()
        self._delivered.clear()
        if self.fault is not None:
            _log.warning("messages are kept in '%s' again", self._path)
            self.fault = None

    def _trim(self) -> None:
        """Drop the oldest messages while there are too many, and those that are too old."""
        excess = self._count - self._limits.messages
        excess_bytes = self._disk[1] - sum(self._delivered.values()) + self._memory.bytes - self._limits.bytes
        before_s = self._now_s - self._limits.age_s if self._limits.age_s else float("-inf")
        if excess <= 0 and excess_bytes <= 0 and not self._limits.age_s:
            return
        victims: dict[int, int] = {}

        def look() -> None:
            nonlocal excess, excess_bytes
            with closing(self._in_order()) as waiting:
                for number, size, stored_s in waiting:
                    if excess <= 0 and excess_bytes <= 0 and stored_s >= before_s:
                        return
                    victims[number] = size
                    excess, excess_bytes = excess - 1, excess_bytes - size

        self._guarded(look)
        self._drop(victims)

    def _in_order(self) -> Generator[tuple[int, int, float], None, None]:
        """Number, bytes and time of all that wait."""
        if self._file is not None and self._disk[0] > len(self._delivered):
            with closing(self._file.oldest()) as kept:
                yield from (row for row in kept if row[0] not in self._delivered)
        yield from ((number, message.size, stored_s) for number, (message, stored_s) in self._memory.entries.items())

    def _drop(self, victims: Mapping[int, int]) -> None:
        """Give up messages by number, with their bytes."""
        for number, size in victims.items():
            if not self._memory.discard(number):
                self._delivered[number] = size
        self._note_dropped(len(victims))

    def _note_dropped(self, count: int) -> None:
        self.dropped += count
        if count and (self._logged_drops == 0 or self.dropped - self._logged_drops >= _DROPS_BETWEEN_LINES):
            self._logged_drops = self.dropped
            _log.warning("messages waited for too long, or were too many: %d were dropped so far", self.dropped)

    def _guarded(self, use: Callable[[], None]) -> None:
        """Use the file; a disk that fails leaves messages in memory, a damaged file is set aside."""
        try:
            use()
        except DiskFault as fault:
            with self._lock:
                self._note_fault(str(fault))
        except DamagedFile as damage:
            with self._lock:
                self._begin_anew(str(damage))

    def _note_fault(self, fault: str) -> None:
        self._retry_at_s = self._clock() + self._limits.retry_s
        if self.fault is None:
            _log.warning("%s: messages wait in memory until it can be", fault)
        self.fault = fault

    def _begin_anew(self, damage: str) -> None:
        """Set the file aside, begin another one, and take over what can still be read."""
        assert self._path is not None
        known = self._disk[0] - len(self._delivered)
        self._let_go()
        try:
            aside = set_aside(self._path)
        except DiskFault as fault:
            self.dropped += known
            self._delivered.clear()
            self._note_fault(str(fault))
            return
        saved = [message for message in rescued(aside) if message.number not in self._delivered]
        self.dropped += max(0, known - len(saved))
        _log.error(
            "'%s' cannot be used: %s; it is kept as '%s' and begun anew with the %d messages that could be read",
            *(self._path, damage, aside.name, len(saved)),
        )
        self._delivered.clear()
        self._memory.prepend(saved, self._now_s)
        self._use_disk_again()

    def _follow_the_name(self) -> None:
        """Open the path anew where it no longer leads to the open file, with what that holds."""
        file = self._file
        if file is None or not file.moved:
            return
        saved: list[Message] = []
        self._guarded(lambda: saved.extend(file.read(self._delivered, self._limits.messages, self._limits.bytes)))
        if self._file is file:
            _log.error("'%s' was moved or deleted: it is begun anew with what it held", self._path)
            self._let_go()
            self._delivered.clear()
            self._memory.prepend(saved, self._now_s)
            self._use_disk_again()

    def _let_go(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file, self._disk = None, (0, 0)

    def _use_disk_again(self) -> None:
        if self._path is None:
            return
        try:
            self._use_disk(self._path)
        except ConfigError as error:  # somebody else took the place of the file: that ends the start alone
            self._note_fault(str(error))

    def _use_disk(self, path: Path) -> None:
        try:
            self._open(path)
        except DiskFault as fault:
            self._note_fault(str(fault))
        except DamagedFile as damage:
            self._begin_anew(str(damage))

    def _open(self, path: Path) -> None:
        file = SpoolFile(path)
        try:
            count, size, greatest, latest_s = file.totals()
            kept = file.clock()
            offset_s = kept[1] if kept is not None and kept[0] == self._boot else latest_s - self._clock()
            if kept != (self._boot, offset_s):
                file.set_clock(self._boot, offset_s)
        except BaseException:
            file.close()
            raise
        self._memory.shift_above(greatest)
        self._memory.delay(offset_s - self._offset_s)
        self._file, self._offset_s, self._disk = file, offset_s, (count, size)
