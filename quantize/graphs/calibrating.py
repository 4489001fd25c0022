"""A bundle's calibration: what activations are in the graphs that hear windows, and what all graphs must keep."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
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
from quantize.graphs.front_end import front_end
from quantize.graphs.layers import quantisable_layers
from quantize.graphs.onnx_file import OnnxFile
from quantize.graphs.sensitivity import ALPHA, measure
from quantize.graphs.sound_inputs import ENCODER, HeardInputs, SoundInputs
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
    """As :func:`calibrate_heard`, of a model that hears windows.

    Args:
        parents, runs, source, log: as there.
        windows: filter banks (998, 128).
        patches: how a window is cut for the stem; None where there is none.

    Raises:
        DataError: a graph gives numbers that are none.
    """
    return calibrate_heard(parents, windows, runs, source, log, SoundInputs.of_files(parents, patches))


def calibrate_heard(  # noqa: PLR0913, PLR0917 - what it works between
    parents: Mapping[GraphRole, Path],
    sounds: Sequence[Array],
    runs: Mapping[GraphRole, Iterable[Inputs]],
    source: str,
    log: Log,
    heard: HeardInputs,
) -> Calibration:
    """Ranges of the graphs that hear sound, which of their layers INT8 would hurt, and which nodes overflow FP16.

    What makes a spectrogram of a waveform inside a graph has no ranges and stays fp32
    (:func:`quantize.graphs.front_end.front_end`).

    Args:
        parents: the exported graph of each role.
        sounds: what the model hears at once: filter banks (998, 128) of windows, waveforms (samples,) of clips.
        runs: inputs of a few runs of each other graph, to find what overflows in them; the encoder, and the stem before
            it, run all sounds, for the loudest decide.
        source: origin of the sounds, in words.
        log: called with a line for each step, and with a table of the layers.
        heard: makes the inputs of the graphs that hear.

    Raises:
        DataError: a graph gives numbers that are none.
    """
    graphs: dict[str, GraphCalibration] = {}
    for role, parent in parents.items():
        quantised = _quantised(role, parent, sounds, heard, log) if role in heard.roles else {}
        log(f"{role}: looking for what overflows FP16")
        of_role = heard.of(role, sounds) if role in heard.roles else runs[role]
        front = front_end(OnnxFile(parent))
        found = overflowing_nodes(parent, of_role)
        overflowing = (*found, *sorted(front - set(found)))
        known = GraphCalibration(parent_sha256=file_sha256(parent), ranges={}, overflowing=overflowing)
        graphs[role] = known.model_copy(update=quantised)
    return Calibration(
        schema=SCHEMA,
        method=DEFAULT_METHOD,
        windows=len(sounds),
        source=source,
        smooth_alpha=ALPHA if any(graph.smoothing for graph in graphs.values()) else None,
        graphs=graphs,
    )


def _quantised(role: GraphRole, parent: Path, sounds: Sequence[Array], heard: HeardInputs, log: Log) -> dict[str, Any]:
    """What a graph that hears sound must have for INT8, by the names of a calibration's parts."""
    what = "windows" if role == ENCODER else "windows' patches"
    log(f"{role}: ranges of its activations over {len(sounds)} {what}")
    file = OnnxFile(parent)
    observed = observe(parent, heard.of(role, sounds))
    front = front_end(file)
    within = {layer.activation for layer in quantisable_layers(file, wide_groups=True) if layer.name in front}
    observed = replace(observed, ranges={name: at for name, at in observed.ranges.items() if name not in within})
    log(f"{role}: quantising each of its layers alone")
    sensitivity = measure(parent, observed, list(heard.of(role, sounds[:COMPARED_WINDOWS])))
    page = io.StringIO()
    Console(file=page, width=_TABLE_WIDTH).print(sensitivity.table())
    log(page.getvalue().rstrip())
    return {"ranges": sensitivity.ranges, "keep": sensitivity.keep, "smoothing": sensitivity.smoothing}
