"""The gate: no graph enters a manifest before it has given its parent's numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch

from edge_aac.errors import DataError
from quantize.models.graph_modules import GraphSpec, Inputs

MAX_ABS_DIFFERENCE = 1e-3

Outputs = list[npt.NDArray[np.generic]]


@torch.no_grad()
def parent_outputs(spec: GraphSpec) -> list[Outputs]:
    """What torch gives for each of the checks."""
    results = []
    for inputs in spec.checks():
        outputs = spec.module(*inputs.values())
        results.append([tensor.numpy() for tensor in (outputs if isinstance(outputs, tuple) else (outputs,))])
    return results


def max_abs_difference(path: Path, checks: Callable[[], Iterator[Inputs]], expected: Sequence[Outputs]) -> float:
    """Greatest absolute difference between an ONNX file and what its torch parent gave, over all checks and outputs."""
    options = onnxruntime.SessionOptions()
    # Packed weights are a second copy in memory, for speed that a few checks do not need.
    options.add_session_config_entry("session.disable_prepacking", "1")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    worst = 0.0
    for inputs, wanted in zip(checks(), expected, strict=True):
        got = session.run(None, {name: value.numpy() for name, value in inputs.items()})
        for want, have in zip(wanted, got, strict=True):
            # Masks are compared as numbers: one that differs differs by 1.
            difference = np.abs(np.subtract(want, have, dtype=np.float32))
            # NaN compares as neither better nor worse than anything; it must fail the gate.
            worst = max(worst, float(np.where(np.isnan(difference), np.inf, difference).max()))
    return worst


def gate(role: str, difference: float) -> None:
    """Refuse a graph that differs from its parent.

    Raises:
        DataError: the difference is above 1e-3.
    """
    if not difference <= MAX_ABS_DIFFERENCE:
        raise DataError(
            f"the exported {role} differs from torch by {difference:.2e}, more than {MAX_ABS_DIFFERENCE:.0e}: "
            "nothing was written"
        )
