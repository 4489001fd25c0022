"""A bundle takes its place whole: written beside it, moved there when all is well. Nothing here needs torch."""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from edge_aac.bundle.manifest import MANIFEST, read_manifest
from edge_aac.errors import DataError, DeviceError
from quantize.files import ATTRIBUTIONS, CARD, bundle_at

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_OLD, _LOCK = ".old", ".lock"
"""How names end, in a scratch folder, of what lies there beside the new bundle."""


@contextmanager
def staged_bundle(output: Path) -> Iterator[Path]:
    """An empty folder that becomes ``output`` at the end of the block; if the block fails, nothing changes.

    Raises:
        DataError: something else than a bundle stands there.
        DeviceError: it cannot be written (a full disk, permissions).
    """
    output = output.resolve()  # a link stays one, and "." has a name
    with ExitStack() as stack:
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            _sweep(output)
            check_output(output)
            temporary = tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.")
            scratch = Path(stack.enter_context(temporary))
            stack.enter_context(_held(scratch / f"{output.name}{_LOCK}"))
        except OSError as error:
            raise DeviceError(f"cannot write in {output.parent} ({error.strerror}): give another --output") from error
        folder = scratch / output.name
        folder.mkdir()
        try:
            yield folder
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise DeviceError(f"no room for the bundle in {output.parent}: give another --output") from error
        _replace(output, folder, scratch / f"{output.name}{_OLD}")


def _replace(output: Path, folder: Path, old: Path) -> None:
    """Move a bundle to its place; what lies there is moved to ``old``, and back where that ends half way.

    Raises:
        DeviceError: what lies there cannot be moved (it is a mount point).
    """
    try:
        if output.exists():
            output.rename(old)
        folder.rename(output)
    except BaseException as error:
        _move_back(output, old)
        if isinstance(error, OSError):
            raise DeviceError(f"{output} cannot be replaced ({error.strerror}): give another --output") from error
        raise


def _move_back(output: Path, old: Path) -> None:
    if old.is_dir() and not output.exists():
        old.rename(output)


@contextmanager
def _held(lock: Path) -> Iterator[None]:
    """A lock that goes with the process that holds it; the file has its name once it is held."""
    with lock.with_name(f"{lock.name}.new").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        os.rename(file.name, lock)
        yield


def _sweep(output: Path) -> None:
    """Remove the scratch folders that killed processes left; a bundle that was about to be replaced goes back."""
    for lock in output.parent.glob(f".{glob.escape(output.name)}.*/{glob.escape(output.name)}{_LOCK}"):
        try:
            file = lock.open()
        except OSError:
            continue  # another user's
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            _move_back(output, lock.with_name(f"{output.name}{_OLD}"))
            shutil.rmtree(lock.parent, ignore_errors=True)


def check_output(output: Path) -> None:
    """Refuse to replace anything but a bundle.

    Raises:
        DataError: something else stands there, or files that neither export nor build-engine writes lie in the bundle.
    """
    names = bundle_at(output)
    if not names:
        return
    written = {MANIFEST, CARD, ATTRIBUTIONS, *(file.file for file in read_manifest(output / MANIFEST).files())}
    if other_files := sorted(names - written):
        raise DataError(f"{output} holds {other_files[0]}, which is no part of its bundle: move it away first")
