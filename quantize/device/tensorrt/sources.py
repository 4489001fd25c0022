"""The ONNX files that plans are built from: in which precisions a graph can be had here, each written and linted."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import onnx

from edge_aac.bundle.manifest import Graph, GraphRole
from edge_aac.engines.tensor_rt.engine import GpuIdentity
from edge_aac.errors import DeviceError
from quantize.device.cpu.forms import Check, described
from quantize.device.report import BuildReport
from quantize.device.tensorrt.fp8 import FP8_SINCE, has_fp8, to_fp8
from quantize.graphs.attention import attentions
from quantize.graphs.calibration import GraphCalibration
from quantize.graphs.half import around
from quantize.graphs.int8 import explicit_int8, half
from quantize.graphs.layers import quantisable_layers
from quantize.graphs.onnx_file import OnnxFile
from quantize.graphs.qdq_lint import int8_products, lint

SOURCE = "tensorrt-onnx"
HALF, INT8, FP8 = "fp16", "int8+fp16", "fp8+fp16"

PlanPrecision = Literal["auto", "fp16", "int8", "fp8"]
"""What a user asks for: the fastest faithful form of each graph, or one form wherever a graph can have it."""

_FORCED = {"fp16": HALF, "int8": INT8, "fp8": FP8}
_SHOWN_FINDINGS = 5


@dataclass(frozen=True)
class Choice:
    """The forms that are to be built of a graph.

    Attributes:
        known: calibration of the graph; None where there is none.
        precisions: precisions to try; FP16, where it is among them, is the first, for the others must be faster.
    """

    known: GraphCalibration | None
    precisions: tuple[str, ...]


def choice_of(parent: Path, known: GraphCalibration | None, gpu: GpuIdentity, wanted: PlanPrecision) -> Choice:
    """The forms of a graph that are worth building for a GPU.

    A graph without ranges in the calibration (decoder and text embedder: single rows gain nothing) is FP16 whatever is
    asked for. FP8 takes matrix products alone: TensorRT's FP8 convolutions are few, and none are grouped.

    Args:
        parent: the exported graph.
        known: its calibration.
        gpu: the GPU that runs the plan.
        wanted: the user's choice.
    """
    if known is None or not known.ranges:
        return Choice(known, (HALF,))
    possible = (HALF, INT8, *((FP8,) if has_fp8(gpu) and _products(parent, known) else ()))
    if wanted == "auto":
        return Choice(known, possible)
    return Choice(known, (_FORCED[wanted],) if _FORCED[wanted] in possible else (HALF,))


def most_forms(gpu: GpuIdentity, wanted: PlanPrecision) -> int:
    """The most forms that are built of one graph.

    Raises:
        DeviceError: FP8 is asked for on a GPU that has none.
    """
    if wanted == "fp8" and not has_fp8(gpu):
        raise DeviceError(
            f"{gpu.name} does not compute in FP8, which takes a GPU of compute capability "
            f"{'.'.join(map(str, FP8_SINCE))} or newer: build with --precision auto"
        )
    return 1 if wanted != "auto" else 2 + has_fp8(gpu)


def write_source(
    check: Check, role: GraphRole, known: GraphCalibration | None, precision: str, gpu: GpuIdentity, report: BuildReport
) -> Graph:
    """The ONNX file of one form: FP16 alone, or with Q/DQ pairs of INT8 or FP8 in front of its large products.

    What the linter finds goes into the report.

    Raises:
        DataError: the graph cannot be converted.
    """
    parent = check.parents[role]
    path = check.store.locate(parent)
    output = check.store.new_file(f"{role}.{precision}", ".onnx")
    check.log(f"{role}: writing the {precision} graph")
    kept: set[str] = set()
    if precision == HALF or known is None:
        # In files of earlier versions, what overflows stands in ``keep`` of graphs without ranges.
        overflowing = (*known.overflowing, *(() if known.ranges else known.keep)) if known else ()
        files = half(path, output, overflowing)
        _lint(role, output, (), precision, gpu, report)
    else:
        keep = {*known.keep, *(_convolutions(path) if precision == FP8 else ())}
        files = explicit_int8(path, output, known.ranges, keep, known.smoothing, known.overflowing)
        kept = {*keep, *around(OnnxFile(path), known.overflowing)}
        _lint(role, output, kept, precision, gpu, report)
        if precision == FP8:
            to_fp8(output)
    return described(files, parent, parent, SOURCE, precision, onnx=onnx.__version__)


def _products(parent: Path, known: GraphCalibration) -> list[str]:
    """Names of the matrix products that FP8 would take."""
    layers = quantisable_layers(OnnxFile(parent))
    return [
        layer.name
        for layer in layers
        if layer.kind != "Conv" and layer.activation in known.ranges and layer.name not in known.keep
    ]


def _convolutions(parent: Path) -> set[str]:
    return {layer.name for layer in quantisable_layers(OnnxFile(parent)) if layer.kind == "Conv"}


def _lint(
    role: GraphRole, path: Path, keep: Collection[str], precision: str, gpu: GpuIdentity, report: BuildReport
) -> None:
    findings = lint(path, gpu.tensorrt, keep)
    if precision == HALF:
        findings = [finding for finding in findings if finding.rule != "unquantized"]
    else:
        count = int8_products(path, keep)
        report.notes.append(f"{role}: {count.int8} of {count.expected} large products have Q/DQ in {precision}")
    # The same attentions in every form: told once.
    judged = attentions(path) if precision == HALF else []
    if judged:
        fitting = sum(attention.fuses for attention in judged)
        report.notes.append(f"{role}, {precision}: {fitting} of {len(judged)} attentions fit TensorRT's fusion")
        report.notes += [f"{role}, {precision}: attention {each.line}" for each in judged if not each.fuses]
    report.notes += [f"{role}, {precision}: {f.rule} at {f.node}: {f.message}" for f in findings[:_SHOWN_FINDINGS]]
    if len(findings) > _SHOWN_FINDINGS:
        report.notes.append(f"{role}, {precision}: {len(findings) - _SHOWN_FINDINGS} more findings of the linter")
