"""The INT8 form, for processors, of a graph that embeds: made, held against the exported one, and timed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnxruntime

from edge_aac.bundle.manifest import Graph
from edge_aac.engines.processor import built_here
from quantize.device.cpu.forms import CPU, described
from quantize.device.gate import MIN_COSINE, lowest_cosine
from quantize.device.timing import Timing
from quantize.graphs.int8 import dynamic_int8

Inputs: TypeAlias = Mapping[str, npt.NDArray[Any]]

_PAIRS = 5


@dataclass(frozen=True)
class EmbedderForm:
    """A form that was made.

    Attributes:
        graph: its entry in the manifest.
        files: the form, and what holds its weights.
        cosine: the lowest between embeddings of it and of the exported graph.
        timing: of the first check.
    """

    graph: Graph
    files: Sequence[Path]
    cosine: float
    timing: Timing

    @property
    def size_bytes(self) -> int:
        """Bytes of its files."""
        return sum(file.stat().st_size for file in self.files)

    @property
    def fault(self) -> str:
        """Why the gate refuses it; empty where it does not. A cosine that is no number is refused."""
        return "" if self.cosine >= MIN_COSINE else f"embeddings differ (cosine {self.cosine:.4f})"

    def sentence(self) -> str:
        """What was measured, in words."""
        return (
            f"lowest cosine with fp32 {self.cosine:.4f}, {self.timing.ratio:.2f} of its time, "
            f"{self.size_bytes / 1e6:.2f} MB"
        )

    def remove(self) -> None:
        """Remove its files."""
        for file in self.files:
            file.unlink()


def embedder_int8(parent: Graph, path: Path, output: Path, checks: Sequence[Inputs]) -> EmbedderForm:
    """Quantise the matrix products of a graph whose one output is an embedding.

    Args:
        parent: the exported graph.
        path: its file.
        output: the file to write.
        checks: inputs of single runs.

    Raises:
        DataError: the graph cannot be converted.
    """
    files = dynamic_int8(path, output)
    sessions = [onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"]) for file in (path, output)]
    wanted, found = ([session.run(None, dict(given))[0] for given in checks] for session in sessions)
    difference = max(float(np.abs(left - right).max()) for left, right in zip(wanted, found, strict=True))
    form = described(files, parent, parent, CPU, "int8", onnxruntime=onnxruntime.__version__, **built_here())
    return EmbedderForm(
        form.model_copy(update={"max_abs_difference": float(f"{difference:.3g}")}),
        files,
        lowest_cosine(np.concatenate(wanted), np.concatenate(found)),
        _timing(sessions, checks[0]),
    )


def _timing(sessions: Sequence[onnxruntime.InferenceSession], given: Inputs) -> Timing:
    """Runs of both in turn, so that a load that comes and goes meets both."""
    taken: list[list[float]] = [[], []]
    for _ in range(_PAIRS):
        for session, times in zip(sessions, taken, strict=True):
            started = time.perf_counter()
            session.run(None, dict(given))
            times.append(1e3 * (time.perf_counter() - started))
    ratio = float(np.median(np.divide(taken[1], taken[0])))
    return Timing(float(np.median(taken[0])), float(np.median(taken[1])), ratio, _PAIRS)
