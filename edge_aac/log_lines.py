"""Lines on standard error: one a message, as a terminal shows them or as systemd's journal takes them.

The journal has times and the program's name of its own, and reads a level from the front of each line (sd-daemon(3)).
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

from edge_aac.terminal import escaped, escaped_lines

JOURNAL_VARIABLE = "JOURNAL_STREAM"
REPEAT_S = 3600.0
"""A message that repeats itself is shown once within this time."""

_MAX_REMEMBERED = 1024
_REPEATS = "repeats"
_NUMBERS = re.compile(r"\d+(?:\.\d+)?")


def leads_to_journal(stream: TextIO) -> bool:
    """Whether a stream leads to systemd's journal, as systemd.exec(5) says of JOURNAL_STREAM."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get(JOURNAL_VARIABLE) == f"{status.st_dev}:{status.st_ino}"


def priority(level: int) -> int:
    """The journal's priority (syslog(3)) of a level of logging: 2 critical, 3 error, 4 warning, 6 info, 7 debug."""
    for lowest, number in ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6)):
        if level >= lowest:
            return number
    return 7


def error_line(message: str, stream: TextIO) -> str:
    """A message that ends the program, as a line for a stream, without its line end."""
    return f"<3>{escaped(message)}" if leads_to_journal(stream) else escaped(f"edge-aac: {message}")


class LineFormatter(logging.Formatter):
    """Messages as one line each, whatever names stand in them; the lines of a traceback follow."""

    def __init__(self) -> None:
        super().__init__("edge-aac: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        return escaped(super().formatMessage(record))


class JournalFormatter(logging.Formatter):
    """Messages as the journal takes them: every line, also of a traceback, has its level."""

    def __init__(self) -> None:
        super().__init__("%(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        return escaped(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        level = f"<{priority(record.levelno)}>"
        lines = escaped_lines(super().format(record)).splitlines()
        return "\n".join(level + line for line in lines)


@dataclass
class _Shown:
    name: str
    levelno: int
    message: str
    at_s: float
    repeats: int = 0


class RepeatFilter(logging.Filter):
    """Shows a message that repeats itself once an hour; the others are for debugging, and are counted.

    Messages are the same where they differ in numbers alone, and concern the same source or sink: the first argument
    of each. Once an hour has passed, the number of those that were not shown is given.

    Args:
        repeat_s: seconds for which a message is not shown again.
        monotonic: clock in seconds.
    """

    def __init__(self, repeat_s: float = REPEAT_S, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._repeat_s = repeat_s
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._shown: dict[tuple[str, str, str, str], _Shown] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.INFO or hasattr(record, _REPEATS):
            return True
        message = record.getMessage()
        owner = str(record.args[0]) if isinstance(record.args, tuple) and record.args else ""
        key = (record.name, str(record.msg), owner, _NUMBERS.sub("#", message))
        with self._lock:
            now_s = self._monotonic()
            over = self._forget_old(now_s)
            if (before := self._shown.get(key)) is not None:
                before.repeats += 1
            else:
                if len(self._shown) >= _MAX_REMEMBERED:
                    self._shown.pop(next(iter(self._shown)))
                self._shown[key] = _Shown(record.name, record.levelno, message, now_s)
        for shown in over:
            extra = {_REPEATS: shown.repeats}
            logging.getLogger(shown.name).log(
                shown.levelno, "%d times more: %s", shown.repeats, shown.message, extra=extra
            )
        if before is None:
            return True
        record.levelno, record.levelname = logging.DEBUG, "DEBUG"
        return logging.getLogger(record.name).isEnabledFor(logging.DEBUG)

    def _forget_old(self, now_s: float) -> list[_Shown]:
        """Forget what was shown long ago; of these, gives those that repeated themselves since."""
        over = [key for key, shown in self._shown.items() if now_s - shown.at_s >= self._repeat_s]
        return [shown for key in over if (shown := self._shown.pop(key)).repeats]
