"""What a language model answered, kept on the disk so that nothing is paid for twice."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_aac.errors import DataError, DeviceError


class AnswerCache:
    """Answers on the disk, in SQLite: threads and processes may share a file, and each answer is safe once it is in.

    Args:
        path: the file; made with its folder where there is none.

    Raises:
        DataError: the file is something else.
        DeviceError: it cannot be opened or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            # In autocommit every answer is a transaction of its own: a kill loses none that was put.
            self._base = sqlite3.connect(path, timeout=60.0, isolation_level=None, check_same_thread=False)
            self._base.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, model, prompt, answer)")

    def get(self, key: str) -> str | None:
        """The answer, where there is one."""
        with self._lock, self._explained():
            row = self._base.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def put(self, key: str, model: str, prompt: str, answer: str) -> str:
        """Keep an answer and return the one that is kept: the earlier one, where another process was sooner."""
        with self._lock, self._explained():
            self._base.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?)", (key, model, prompt, answer))
        return self.get(key) or answer

    def close(self) -> None:
        self._base.close()

    def __len__(self) -> int:
        with self._lock, self._explained():
            return int(self._base.execute("SELECT count(*) FROM answers").fetchone()[0])

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.OperationalError, OSError) as error:
            raise DeviceError(
                f"the cache of answers {self.path} cannot be used ({error}): make room or give another file"
            ) from error
        except sqlite3.DatabaseError as error:
            raise DataError(f"{self.path} is no cache of answers ({error}): give another file") from error


def answer_key(model: str, temperature: float, prompt: str) -> str:
    """What an answer is kept under: SHA-256 of all that it depends on."""
    return hashlib.sha256(json.dumps([model, float(temperature), prompt]).encode()).hexdigest()
