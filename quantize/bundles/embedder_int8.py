"""The INT8 form, for processors, of a graph that embeds: made, held against the exported one, and left out or kept."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnxruntime

from edge_aac.bundle.manifest import Graph
from edge_aac.engines.processor import built_here
from quantize.device.cpu.forms import CPU, described
from quantize.device.gate import MIN_COSINE, lowest_cosine
from quantize.graphs.int8 import dynamic_int8
from quantize.progress import Log

Inputs: TypeAlias = Mapping[str, npt.NDArray[Any]]

_TIMED_RUNS = 3


def int8_form(folder: Path, role: str, parent: Graph, checks: Sequence[Inputs], log: Log) -> Graph | None:
    """Quantise the matrix products of a graph whose one output is an embedding.

    Args:
        folder: holds the exported graph, and gets the form.
        role: of the graph.
        parent: the exported graph.
        checks: inputs of single runs; the largest difference and the lowest cosine over all of them count.
        log: called with a line that says what came of it.

    Returns:
        The form; None, with its files removed, where embeddings turn by more than the gate of
        `edge-aac build-engine` lets pass.

    Raises:
        DataError: the graph cannot be converted.
    """
    path = folder / f"{role}.int8.onnx"
    files = dynamic_int8(folder / parent.file, path)
    sessions = [
        onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        for file in (folder / parent.file, path)
    ]
    wanted, found = ([session.run(None, dict(given))[0] for given in checks] for session in sessions)
    cosine = lowest_cosine(np.concatenate(wanted), np.concatenate(found))
    difference = max(float(np.abs(left - right).max()) for left, right in zip(wanted, found, strict=True))
    size = sum(file.stat().st_size for file in files)
    before, after = _taken_ms(sessions, checks[0])
    said = f"{role}, INT8: lowest cosine with fp32 {cosine:.4f}, {after / before:.2f} of its time, {size / 1e6:.2f} MB"
    if not cosine >= MIN_COSINE:
        for file in files:
            file.unlink()
        log(f"{said}: below {MIN_COSINE:g}, so it is left out")
        return None
    log(said)
    form = described(files, parent, parent, CPU, "int8", onnxruntime=onnxruntime.__version__, **built_here())
    return form.model_copy(update={"max_abs_difference": float(f"{difference:.3g}")})


def _taken_ms(sessions: Sequence[onnxruntime.InferenceSession], given: Inputs) -> list[float]:
    """The shortest of a few runs of each, in turn, so that both meet the same load."""
    taken: list[list[float]] = [[] for _ in sessions]
    for _ in range(_TIMED_RUNS):
        for session, times in zip(sessions, taken, strict=True):
            started = time.perf_counter()
            session.run(None, dict(given))
            times.append(1e3 * (time.perf_counter() - started))
    return [min(times) for times in taken]
