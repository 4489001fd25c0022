"""A package that is installed beside edge-aac, for the tests of what such packages may add."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path

NAME = "acme_edge"


class OutsidePackage:
    """Writes a module and the metadata of its distribution into a folder on the import path.

    Args:
        folder: on ``sys.path``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, code: str, entry_points: Mapping[str, Mapping[str, str]]) -> None:
        """Install the module ``acme_edge`` with this code.

        Args:
            code: of the module.
            entry_points: group → name → "module:attribute".
        """
        (self.folder / f"{NAME}.py").write_text(code)
        metadata = self.folder / f"{NAME}-1.dist-info"
        metadata.mkdir(exist_ok=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 1\n")
        lines: list[str] = []
        for group, entries in entry_points.items():
            lines += [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
        (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
        importlib.invalidate_caches()
        sys.modules.pop(NAME, None)
