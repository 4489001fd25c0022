"""SHA-256 of files, remembered from run to run.

A bundle of the published size holds 5.8 GB, and to hash that takes 12 s. So only what is loaded is hashed, and the
result is kept in ``hashes.json`` in the user's cache folder for as long as the file stays what it was.

A file counts as the same while its path, device, inode, size, time of modification (mtime) and time of status change
(ctime) are the same, to the nanosecond. Whoever writes to a file or replaces it changes one of them: mtime can be set
back, ctime cannot, short of setting the machine's clock. Three things go unseen, which
:func:`edge_aac.bundle.store.check_all` finds: bits that rot below the file system, a disk that is written to as a
whole, and an attacker who may write the bundle and set the clock, or who may write this user's cache.

The cache is read only where this user owns it and nobody else may write it. It holds what a file hashed to, not that
a file was accepted: that is decided against the manifest each time.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path

SETTLED_NS = 5_000_000_000
"""A file changed less than this ago is not remembered: file systems round times (FAT to 2 s, others to a tick of the
kernel), so a second change soon after the first can leave them as they are."""
MAX_REMEMBERED = 256
_FORMAT = 1

Identity = tuple[int, ...]
"""Device, inode, size in bytes, mtime and ctime in ns."""


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal, computed from its bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def remembered_sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal, from the cache where the file is still the one that was hashed.

    Raises:
        OSError: the file cannot be read. What is wrong with the cache only makes it useless.
    """
    key = str(path.resolve())
    now_ns = time.time_ns()
    before = _identity(path)
    cache = cache_file()
    known = _read(cache) if cache else {}
    if key in known and known[key][0] == before:
        return known[key][1]
    digest = file_sha256(path)
    settled = max(before[-2:]) <= now_ns - SETTLED_NS
    if cache and settled and _identity(path) == before:
        # Read again: another process may have added to it while this one hashed gigabytes.
        known = {**_read(cache), key: (before, digest)}
        while len(known) > MAX_REMEMBERED:
            known.pop(next(name for name in known))
        _write(cache, known)
    return digest


def cache_file() -> Path | None:
    """``hashes.json`` under ``$XDG_CACHE_HOME/edge-aac`` or ``~/.cache/edge-aac``; None for a user without a home."""
    try:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return None
    return root / "edge-aac" / "hashes.json" if root.is_absolute() else None


def _identity(path: Path) -> Identity:
    status = path.stat()
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _read(cache: Path) -> dict[str, tuple[Identity, str]]:
    """What is remembered, oldest first; nothing where the cache is missing, damaged, or may be another user's work."""
    try:
        descriptor = os.open(cache, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(descriptor, encoding="utf-8") as stream:
            status = os.fstat(descriptor)
            if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return {}
            table = json.load(stream)
        if table["format"] != _FORMAT:
            return {}
        return {
            str(path): (tuple(int(number) for number in identity), str(digest))
            for path, (identity, digest) in table["files"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _write(cache: Path, known: dict[str, tuple[Identity, str]]) -> None:
    """Replace the cache in one step; a cache folder that cannot be written only means that nothing is remembered."""
    with suppress(OSError):
        cache.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, name = tempfile.mkstemp(dir=cache.parent, prefix=".hashes.")  # mode 0600
        try:
            with open(descriptor, "w", encoding="utf-8") as stream:
                json.dump({"format": _FORMAT, "files": known}, stream)
            os.replace(name, cache)
        except BaseException:
            os.unlink(name)
            raise
