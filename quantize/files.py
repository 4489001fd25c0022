"""The files that lie in a bundle beside its graphs, and what may be replaced where one is written."""

from __future__ import annotations

from pathlib import Path

from edge_aac.bundle.manifest import MANIFEST
from edge_aac.errors import DataError

CARD = "README.md"
ATTRIBUTIONS = "ATTRIBUTIONS.csv"

SCRATCH_PREFIX = ".build-"
TIMING_PREFIX = ".timing-"
"""How names begin, in a bundle's folder, of what no manifest vouches for and anyone may remove."""


def bundle_at(output: Path) -> set[str]:
    """Names of the files of the bundle that lies where one is to be written; none where nothing lies there.

    Raises:
        DataError: something else than a bundle stands there.
    """
    if not output.exists():
        return set()
    if not output.is_dir():
        raise DataError(f"{output} is a file: give a folder with --output")
    names = {path.name for path in output.iterdir() if not path.name.startswith((SCRATCH_PREFIX, TIMING_PREFIX))}
    if names and MANIFEST not in names:
        raise DataError(f"{output} exists and holds no bundle: give another folder with --output")
    return names
