"""The gate: no graph enters a manifest before it has given its parent's numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import torch

from edge_aac.errors import DataError
from quantize.deploy.graphs import GraphSpec

MAX_ABS_DIFFERENCE = 1e-3


@torch.no_grad()
def max_abs_difference(path: Path, spec: GraphSpec) -> float:
    """Greatest absolute difference between an ONNX file and its torch parent, over all checks and outputs."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for inputs in (spec.inputs, *spec.checks):
        expected = spec.module(*inputs.values())
        expected = expected if isinstance(expected, tuple) else (expected,)
        got = session.run(list(spec.outputs), {name: value.numpy() for name, value in inputs.items()})
        for want, have in zip(expected, got, strict=True):
            difference = np.abs(want.numpy() - have)
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
