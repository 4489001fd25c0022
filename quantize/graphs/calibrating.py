"""A bundle's calibration: what activations are in the graphs that hear windows, and what all graphs must keep."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console

from edge_aac.bundle.hashes import file_sha256
from edge_aac.bundle.manifest import GraphRole
from edge_aac.bundle.patches import PatchRule
from quantize.graphs.calibration import (
    DEFAULT_METHOD,
    SCHEMA,
    Calibration,
    GraphCalibration,
    observe,
    overflowing_nodes,
)
from quantize.graphs.sensitivity import ALPHA, measure
from quantize.graphs.sound_inputs import ENCODER, SoundInputs
from quantize.progress import Log

Array = npt.NDArray[np.float32]
Inputs = Mapping[str, npt.NDArray[Any]]

COMPARED_WINDOWS = 8
_TABLE_WIDTH = 120


def calibrate_graphs(  # noqa: PLR0913, PLR0917 - what it works between
    parents: Mapping[GraphRole, Path],
    windows: Sequence[Array],
    runs: Mapping[GraphRole, Iterable[Inputs]],
    source: str,
    log: Log,
    patches: PatchRule | None = None,
) -> Calibration:
    """Ranges of the graphs that hear sound, which of their layers INT8 would hurt, and which nodes overflow FP16.

    Args:
        parents: the exported graph of each role.
        windows: filter banks (998, 128).
        runs: inputs of a few runs of each other graph, to find what overflows in them; the encoder, and the stem before
            it, run all windows, for the loudest decide.
        source: origin of the windows, in words.
        log: called with a line for each step, and with a table of the layers.
        patches: how a window is cut for the stem; None where there is none.

    Raises:
        DataError: a graph gives numbers that are none.
    """
    sound = SoundInputs.of_files(parents, patches)
    graphs: dict[str, GraphCalibration] = {}
    for role, parent in parents.items():
        quantised = _quantised(role, parent, windows, sound, log) if role in sound.roles else {}
        log(f"{role}: looking for what overflows FP16")
        of_role = sound.of(role, windows) if role in sound.roles else runs[role]
        overflowing = tuple(overflowing_nodes(parent, of_role))
        known = GraphCalibration(parent_sha256=file_sha256(parent), ranges={}, overflowing=overflowing)
        graphs[role] = known.model_copy(update=quantised)
    return Calibration(
        schema=SCHEMA,
        method=DEFAULT_METHOD,
        windows=len(windows),
        source=source,
        smooth_alpha=ALPHA if any(graph.smoothing for graph in graphs.values()) else None,
        graphs=graphs,
    )


def _quantised(role: GraphRole, parent: Path, windows: Sequence[Array], sound: SoundInputs, log: Log) -> dict[str, Any]:
    """What a graph that hears sound must have for INT8, by the names of a calibration's parts."""
    what = "windows" if role == ENCODER else "windows' patches"
    log(f"{role}: ranges of its activations over {len(windows)} {what}")
    observed = observe(parent, sound.of(role, windows))
    log(f"{role}: quantising each of its layers alone")
    sensitivity = measure(parent, observed, list(sound.of(role, windows[:COMPARED_WINDOWS])))
    page = io.StringIO()
    Console(file=page, width=_TABLE_WIDTH).print(sensitivity.table())
    log(page.getvalue().rstrip())
    return {"ranges": sensitivity.ranges, "keep": sensitivity.keep, "smoothing": sensitivity.smoothing}
