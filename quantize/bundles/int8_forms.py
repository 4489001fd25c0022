"""INT8 forms for processors of a bundle that was just exported, as `edge-aac build-engine` makes and gates them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_aac.bundle.json_text import read_json
from edge_aac.bundle.manifest import MANIFEST
from quantize.device.build import BuildOptions, build_engines
from quantize.device.cpu.forms import CPU
from quantize.progress import Log


def add_int8(folder: Path, log: Log) -> dict[str, Any]:
    """Give each graph of a bundle its INT8 form, where one is faithful by itself and beside the others.

    The machine that exports is seldom the one that runs the bundle, so that it does not count how long a form takes
    here.

    Args:
        folder: of the bundle, whole.
        log: called with a line for each form.

    Returns:
        The bundle's manifest as it is now, as a table.

    Raises:
        EdgeAacError: as :func:`quantize.device.build.build_engines`.
    """
    report = build_engines(BuildOptions(str(folder), folder, CPU, anywhere=True), lambda line: None)
    for form in report.forms:
        log(f"{form.role}, INT8: {form.outcome}")
    for note in report.notes:
        log(note)
    if report.failure:
        log(f"{report.failure}: no INT8 form is kept")
    table: dict[str, Any] = read_json(folder / MANIFEST)
    return table
