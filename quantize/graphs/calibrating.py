"""A bundle's calibration: what its encoder's activations are on given windows, and what its graphs must keep."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console

from edge_aac.bundle.hashes import file_sha256
from edge_aac.bundle.manifest import GraphRole
from quantize.graphs.calibration import (
    DEFAULT_METHOD,
    SCHEMA,
    Calibration,
    GraphCalibration,
    observe,
    overflowing_nodes,
)
from quantize.graphs.calibration_windows import encoder_inputs
from quantize.graphs.onnx_file import OnnxFile
from quantize.graphs.sensitivity import ALPHA, measure
from quantize.progress import Log

Array = npt.NDArray[np.float32]
Inputs = Mapping[str, npt.NDArray[Any]]

COMPARED_WINDOWS = 8
_TABLE_WIDTH = 120


def calibrate_graphs(
    parents: Mapping[GraphRole, Path],
    windows: Sequence[Array],
    runs: Mapping[GraphRole, Iterable[Inputs]],
    source: str,
    log: Log,
) -> Calibration:
    """Ranges of the encoder on windows of sound, which of its layers INT8 would hurt, and which nodes overflow FP16.

    Args:
        parents: the exported graph of each role.
        windows: filter banks (998, 128).
        runs: inputs of a few runs of each graph but the encoder, to find what overflows in them; the encoder runs all
            windows, for the loudest decide.
        source: origin of the windows, in words.
        log: called with a line for each step, and at the end with a table of the layers.

    Raises:
        DataError: a graph gives numbers that are none.
    """
    encoder = parents["encoder"]
    pads = "frame_padding" in {entry.name for entry in OnnxFile(encoder).graph.input}

    def inputs(some: Sequence[Array]) -> list[Inputs]:
        return list(encoder_inputs(iter(some), pads))

    log(f"encoder: ranges of its activations over {len(windows)} windows")
    observed = observe(encoder, chain.from_iterable(inputs([window]) for window in windows))
    log("encoder: quantising each of its layers alone")
    sensitivity = measure(encoder, observed, inputs(windows[:COMPARED_WINDOWS]))
    page = io.StringIO()
    Console(file=page, width=_TABLE_WIDTH).print(sensitivity.table())
    log(page.getvalue().rstrip())
    graphs: dict[str, GraphCalibration] = {}
    for role, parent in parents.items():
        log(f"{role}: looking for what overflows FP16")
        of_role = chain.from_iterable(inputs([window]) for window in windows) if role == "encoder" else runs[role]
        overflowing = tuple(overflowing_nodes(parent, of_role))
        graphs[role] = GraphCalibration(parent_sha256=file_sha256(parent), ranges={}, overflowing=overflowing)
    quantised = {"ranges": sensitivity.ranges, "keep": sensitivity.keep, "smoothing": sensitivity.smoothing}
    graphs["encoder"] = graphs["encoder"].model_copy(update=quantised)
    return Calibration(
        schema=SCHEMA,
        method=DEFAULT_METHOD,
        windows=observed.windows,
        source=source,
        smooth_alpha=ALPHA if sensitivity.smoothing else None,
        graphs=graphs,
    )
