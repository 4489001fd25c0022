"""Graphs of matrix products in a row, to build plans of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from quantize.device.tensorrt.plan_building import PlanMade, PlanRequest, build_plan

X = {"x": ((1, 64), (1, 64), (2, 64))}
"""Profile of their input."""


def write_products(path: Path, products: list[tuple[str, int, bool]]) -> None:
    """Write matrix products in a row, (name, width of the square weights, whether they have Q/DQ)."""
    random = np.random.default_rng(0)
    nodes, weights, tensor = [], [], "x"
    for name, width, quantised in products:
        weights.append(numpy_helper.from_array(random.standard_normal((width, width)).astype("f4"), f"{name}.w"))
        sides = [tensor, f"{name}.w"]
        if quantised:
            weights.append(numpy_helper.from_array(np.float32(0.1), f"{name}.s"))
            weights.append(numpy_helper.from_array(np.int8(0), f"{name}.z"))
            for index, side in enumerate(sides):
                fixed, (q, d) = [f"{name}.s", f"{name}.z"], (f"{name}.q{index}", f"{name}.d{index}")
                nodes.append(helper.make_node("QuantizeLinear", [side, *fixed], [q], f"{name}/Q{index}"))
                nodes.append(helper.make_node("DequantizeLinear", [q, *fixed], [d], f"{name}/D{index}"))
            sides = [f"{name}.d0", f"{name}.d1"]
        nodes.append(helper.make_node("MatMul", sides, [f"{name}.y"], name))
        nodes.append(helper.make_node("Slice", [f"{name}.y", "from", "to", "axis"], [f"{name}.cut"], f"{name}/cut"))
        tensor = f"{name}.cut" if width != products[-1][1] else f"{name}.y"
    weights += [
        numpy_helper.from_array(np.array([n]), k) for k, n in (("from", 0), ("to", products[-1][1]), ("axis", 1))
    ]
    graph = helper.make_graph(
        nodes,
        "products",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["windows", products[0][1]])],
        [helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None)],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9), path)


def request_of(onnx_path: Path, folder: Path, profiles: Any, **changes: Any) -> PlanRequest:
    """A request with 256 MiB of workspace."""
    fields: dict[str, Any] = dict(
        onnx=onnx_path,
        output=folder / "plan",
        timing_cache=folder / "timing.cache",
        profiles=profiles,
        workspace_bytes=1 << 28,
        tactic_dram_bytes=1 << 29,
        optimization_level=3,
    )
    return PlanRequest(**{**fields, **changes})


def build_here(request: PlanRequest) -> tuple[PlanMade, list[str]]:
    """A plan built in this process, and the lines that were told."""
    lines: list[str] = []
    return build_plan(request, lines.append, lambda: True), lines
