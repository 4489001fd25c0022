"""The calibration that a bundle holds, and one that is put into it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edge_aac.bundle.hashes import file_sha256
from edge_aac.bundle.manifest import BundleFile, Graph, GraphRole
from edge_aac.errors import DataError
from quantize.device.store import BuildStore
from quantize.graphs.calibration import (
    CALIBRATION,
    Calibration,
    read_calibration,
    write_calibration,
)


def stored_calibration(store: BuildStore, parents: Mapping[GraphRole, Graph]) -> Calibration | None:
    """The bundle's own; None where it has none.

    Raises:
        DataError: it is damaged, or of other graphs than the bundle holds.
    """
    entry = store.source.manifest.calibration
    if entry is None:
        return None
    calibration = read_calibration(store.locate(entry))
    for role, parent in parents.items():
        known = calibration.graphs.get(role)
        if known and known.parent_sha256 != parent.sha256:
            raise DataError(
                f"{store.locate(entry)} is the calibration of another {role} than the bundle holds: "
                "name a folder of recordings with --recordings"
            )
    return calibration


def stage_calibration(store: BuildStore, calibration: Calibration) -> BundleFile:
    """Write it to the scratch folder, under a name that the bundle can keep."""
    path = store.new_file(Path(CALIBRATION).stem, Path(CALIBRATION).suffix)
    write_calibration(path, calibration)
    return BundleFile(file=path.name, sha256=file_sha256(path))
