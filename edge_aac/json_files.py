"""Small tables that a process keeps in files: a reader sees all that was written last, or all that was before."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_table(path: Path, table: Mapping[str, Any], *, mode: int | None = 0o600, durable: bool = False) -> None:
    """Write a table as JSON beside its place, and move it there. One thread of a process at a time writes a file.

    Args:
        path: its folder exists.
        table: its content.
        mode: permissions of the file, whatever the process's umask keeps from others; None leaves them to the umask.
        durable: wait until it is on the disk, for what must outlive a loss of power.

    Raises:
        OSError: it cannot be written.
        ValueError: the path names no file, as ``/``.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666 if mode is None else 0o600)
    with open(descriptor, "w", encoding="ascii") as file:
        if mode is not None:
            os.fchmod(descriptor, mode)
        json.dump(table, file, ensure_ascii=True)
        file.write("\n")
        if durable:
            file.flush()
            os.fsync(descriptor)
    partial.replace(path)
