"""Disks: whether there is room where something is written, and whether it may be written."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from pydantic import BaseModel

from edge_aac.doctor.contract import Context, Finding, Part
from edge_aac.settings.faults import Chosen

ENOUGH_MB = 100.0
ENOUGH_SHARE = 0.03

_WRITTEN = re.compile(r"(?:^|_)(?:path|folder|directory|dir|spool|state|clips)(?:$|_)")
"""Names of settings that name a place where something is written; certificates and passwords are read."""


def check(context: Context) -> Sequence[Part]:
    """See :data:`edge_aac.doctor.contract.Check`."""
    return [Part(partial(_place, place, use), str(place)) for place, use in places(context).items()]


def places(context: Context) -> dict[Path, str]:
    """Folders that are written to → what for; those of the settings, the service's state and temporary files."""
    found: dict[Path, str] = {}
    if context.loaded is not None:
        for section, table in context.loaded.every_table():
            model = table.settings if isinstance(table, Chosen) else table
            name = f"{section} {table.kind}" if isinstance(table, Chosen) else section
            for path in _paths(model):
                found.setdefault(path, f"written by [{name}]")
    for state in context.environment.get("STATE_DIRECTORY", "/var/lib/edge-aac").split(":"):
        if Path(state).is_dir():
            found.setdefault(Path(state), "the service's state")
    found.setdefault(Path(tempfile.gettempdir()), "temporary files")
    return found


def _paths(model: BaseModel) -> Iterator[Path]:
    """Folders of the paths in a table that something is written to."""
    for name, value in dict(model).items():
        if not _WRITTEN.search(name):
            continue
        for each in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(each, Path):
                path = each.expanduser()
                yield path if path.is_dir() else path.parent


def _place(place: Path, use: str) -> Iterator[Finding]:
    if not place.is_dir():
        yield Finding("failed", f"there is no such folder ({use})", f"make it: `mkdir -p {place}`")
        return
    status = os.statvfs(place)
    free_mb = status.f_bavail * status.f_frsize / 1e6
    share = status.f_bavail / status.f_blocks if status.f_blocks else 1.0
    text = f"{free_mb:.0f} MB free, {100 * share:.0f} % ({use})"
    if status.f_flag & os.ST_RDONLY:
        yield Finding(
            "failed", f"it is read-only ({use})", "mount it for writing; a damaged card becomes read-only too"
        )
    elif not os.access(place, os.W_OK | os.X_OK):
        yield Finding("failed", f"this user may not write there ({use})", f"correct its owner: `ls -ld {place}`")
    elif status.f_files and status.f_favail == 0:
        yield Finding("failed", f"no file can be made any more: no inodes are left ({use})", "delete small files")
    elif free_mb < 1:
        yield Finding("failed", f"it is full ({use})", "make room")
    elif free_mb < ENOUGH_MB or share < ENOUGH_SHARE:
        yield Finding("warning", text, "make room")
    else:
        yield Finding("ok", text)
