"""Bundles of the published sizes with random weights, fp32 and INT8, as the runtime loads them."""

from __future__ import annotations

from pathlib import Path

from benchmarks.full_size import convert, make
from benchmarks.report.int8_copies import quantise
from benchmarks.report.plan import Log
from edge_aac.bundle.manifest import MANIFEST
from edge_aac.bundle.store import open_bundle

FORMS = {"fp32": "bundle", "int8": "bundle-int8"}
"""Form → folder of its bundle."""


def prepare(folder: Path, embedder: str, log: Log) -> None:
    """Make what is not there yet; a folder from an earlier run is taken as it is.

    Args:
        folder: of all of them; 5 GB.
        embedder: size of the text embedder, of :data:`benchmarks.full_size.INSTRUCTORS`.
        log: is told each step.

    Raises:
        DeviceError: the folder cannot be written, or has too little room.
    """
    if not (folder / FORMS["fp32"] / MANIFEST).is_file():
        log("making the published sizes with random weights")
        make(folder, embedder)
        log("converting them")
        convert(folder)
    if not (folder / FORMS["int8"] / MANIFEST).is_file():
        log("quantising them")
        quantise(open_bundle(str(folder / FORMS["fp32"])), folder / FORMS["int8"])
