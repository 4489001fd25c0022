"""Alerts that are open, kept in a file, so that each has its end even where the process that began it died.

A process that is killed, or loses its power, publishes no end. The next one does that in its place. The file is written
when an alert begins or ends, which is seldom, and replaced as a whole. One process at a time uses it.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from pathlib import Path

from edge_aac.errors import EdgeAacError
from edge_aac.json_files import write_table
from edge_aac.records import Alert, parse_record

FILE_NAME = "alerts.json"
_SCHEMA = "edge-aac/open-alerts/1"
_MAX_BYTES = 1_000_000

log = logging.getLogger(__name__)


class OpenAlerts:
    """The alerts of live sources that are open, by their ids. One thread at a time uses it.

    Args:
        path: file that keeps them; its folder is made if need be.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: int | None = None
        self._failed = False
        self._open: dict[str, Alert] = {}

    def take_over(self, node: str) -> list[Alert]:
        """Use the file from now on, unless another process does. Where there is none, an alert that begins makes it.

        Returns:
            The ends of the alerts of this node that an earlier run left open.
        """
        if not self._path.exists() or not self._is_ours():
            return []
        left = self._read()
        if left:
            self._save()
        return [_ended(alert) for alert in left if alert.node == node]

    def note(self, record: Alert) -> None:
        """Take note of the start or end of an alert. What cannot be written is named in the log, once."""
        if record.id is None:
            return
        if record.state == "start":
            if not self._is_ours():
                return
            self._open[record.id] = record
        elif self._open.pop(record.id, None) is None:
            return
        self._save()

    def _is_ours(self) -> bool:
        """Whether this process may use the file; the first that wants to may."""
        if self._lock is not None:
            return True
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # The file itself is replaced: a lock on it would be lost.
            lock = os.open(
                self._path.with_name(f".{self._path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            self._note_failure(error)
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            log.debug("another process keeps its open alerts in '%s'", self._path)
            return False
        self._lock = lock
        return True

    def close(self) -> None:
        """Leave the file to others."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _read(self) -> list[Alert]:
        try:
            with self._path.open("rb") as file:
                text = file.read(_MAX_BYTES + 1)
            if len(text) > _MAX_BYTES:
                raise ValueError("it is too long")
            table = json.loads(text)
            if table["schema"] != _SCHEMA:
                raise ValueError("it is of another program or version")
            records = [parse_record(json.dumps(each)) for each in table["open"]]
            return [record for record in records if isinstance(record, Alert)]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError, KeyError, RecursionError, EdgeAacError) as error:
            log.warning("alerts that an earlier run left open cannot be read from '%s': %s", self._path, error)
            return []

    def _save(self) -> None:
        table = {"schema": _SCHEMA, "open": [alert.to_table() for alert in self._open.values()]}
        try:
            write_table(self._path, table)
            self._failed = False
        except OSError as error:
            self._note_failure(error)

    def _note_failure(self, error: OSError) -> None:
        level = logging.DEBUG if self._failed else logging.WARNING
        self._failed = True
        log.log(
            level, "'%s' cannot be written (%s): after a crash, open alerts have no end", self._path, error.strerror
        )


def _ended(alert: Alert) -> Alert:
    """The end of an alert of which nothing is known but its start."""
    return alert.model_copy(update={"state": "end", "reason": "restart"})
