"""The last build of a bundle's engines, whatever became of it: `edge-aac doctor --gpu` tells it to whoever must help.

A build that fails writes nothing into the bundle, so its report is kept in the user's state folder. One that is killed,
as the kernel does where memory is short, reports nothing: that it has begun, and what it said last, is noted beside.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from edge_aac import __version__
from edge_aac.bundle.store import built_in_bundles, pulled_bundles
from edge_aac.json_files import write_table
from edge_aac.state_folder import user_state_folder

SCHEMA = "edge-aac/last-build/1"
UNFINISHED_SCHEMA = "edge-aac/unfinished-build/1"

_HASH_DIGITS = 8


def reports_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Folder of the reports: one file a bundle, and one beside it while its engines are built."""
    return user_state_folder(environment) / "builds"


def keep_report(bundle: str, report: Mapping[str, Any]) -> Path:
    """Keep what a build reported, in the place of the one before.

    Args:
        bundle: name or folder of the bundle, as the user gave it.
        report: what `edge-aac build-engine` prints, or of a build that broke off its ``failure`` alone.

    Returns:
        The file.

    Raises:
        OSError: it cannot be written.
        RuntimeError: this user has no home.
    """
    path = _file_of(bundle, ".json")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(path, {"schema": SCHEMA, "made": _now(), "edge_aac": __version__, "bundle": bundle, "report": report})
    return path


def last_report(bundle: str) -> dict[str, Any] | None:
    """What the last build of a bundle reported, with ``made`` and ``edge_aac``; None where none is kept here."""
    try:
        table = json.loads(_file_of(bundle, ".json").read_text(encoding="ascii"))
    except (OSError, ValueError, RuntimeError):
        return None
    known = isinstance(table, dict) and table.get("schema") == SCHEMA and isinstance(table.get("report"), dict)
    return table if known else None


@contextmanager
def noted_build(bundle: str) -> Iterator[Callable[[str], None]]:
    """Note that a build of a bundle has begun, until it ends by itself, well or not.

    The note is locked meanwhile, so that a build that is running is not taken for one that was killed. Where another
    build of the bundle is running, the note stays that one's.

    Args:
        bundle: name or folder of the bundle, as the user gave it.

    Yields:
        A function that notes what the build says: the last line tells how far it came.

    Raises:
        OSError: the note cannot be written.
        RuntimeError: this user has no home.
    """
    path = _file_of(bundle, ".begun")
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8", opener=_private) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield lambda _: None
            return
        file.truncate(0)
        begun = {"schema": UNFINISHED_SCHEMA, "begun": _now(), "edge_aac": __version__, "bundle": bundle}
        _add(file, begun)
        try:
            yield lambda line: _add(file, {"said": line})
        finally:
            path.unlink(missing_ok=True)


def unfinished_build(bundle: str) -> dict[str, Any] | None:
    """The build of a bundle that has begun and not ended; None where there is none.

    Returns:
        When it has ``begun`` and with which ``edge_aac``, what it ``said`` last (None: nothing), and whether it is
        ``running`` still.
    """
    try:
        with open(_file_of(bundle, ".begun"), encoding="utf-8") as file:
            tables = [json.loads(line) for line in file]
            running = False
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                running = True
    except (OSError, ValueError, RuntimeError):
        return None
    if not all(isinstance(table, dict) for table in tables) or not tables:
        return None
    begun, *lines = tables
    if begun.get("schema") != UNFINISHED_SCHEMA:
        return None
    return {**begun, "said": lines[-1].get("said") if lines else None, "running": running}


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _add(file: IO[str], table: Mapping[str, Any]) -> None:
    # Without room for it the build is none the worse; it must outlast a loss of power, as a board may have.
    with suppress(OSError):
        file.write(json.dumps(table) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _file_of(bundle: str, ending: str) -> Path:
    """Folders of one name in several places have a file each; a name has its own, wherever its bundle lies."""
    own, built_in = pulled_bundles(), built_in_bundles()
    identity, name = f"name {bundle}", bundle
    if bundle not in own and bundle not in built_in:
        real = os.path.realpath(bundle)
        by_folder = {os.path.realpath(folder): known for each in (own, built_in) for known, folder in each.items()}
        name = by_folder.get(real, os.path.basename(real))
        identity = f"name {name}" if real in by_folder else f"folder {real}"
    readable = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    digits = hashlib.sha256(os.fsencode(identity)).hexdigest()[:_HASH_DIGITS]
    return reports_folder() / f"{readable}-{digits}{ending}"
