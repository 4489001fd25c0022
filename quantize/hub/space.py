"""Is there room for what is to come? Asked before the first byte, over all folders on the same file system."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_aac.errors import DeviceError
from quantize.hub.download import amount


@dataclass(frozen=True)
class Need:
    """Room for something.

    Attributes:
        folder: where it goes; need not be there yet.
        size: in bytes.
        option: by which another folder is given.
    """

    folder: Path
    size: int
    option: str


def check_room(needs: Sequence[Need]) -> None:
    """Refuse to begin what cannot end.

    Raises:
        DeviceError: a file system has less room than is needed of it, or a folder could not be made on it.
    """
    standing = [_standing(need.folder) for need in needs]
    for need, folder in zip(needs, standing, strict=True):
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            raise DeviceError(f"{folder} cannot be written: give another folder with {need.option}")
    systems: dict[int, list[tuple[Need, Path]]] = {}
    for need, folder in zip(needs, standing, strict=True):
        systems.setdefault(folder.stat().st_dev, []).append((need, folder))
    for together in systems.values():
        needed = sum(need.size for need, _ in together)
        free = shutil.disk_usage(together[0][1]).free
        if needed > free:
            places = " and ".join(str(need.folder) for need, _ in together)
            options = " or ".join(need.option for need, _ in together)
            raise DeviceError(
                f"{amount(needed)} are needed in {places}, but {amount(free)} are free there: make room, or give a "
                f"folder on a larger disk with {options}"
            )


def _standing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is already there."""
    folder = folder.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
