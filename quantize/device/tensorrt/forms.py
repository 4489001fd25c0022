"""TensorRT plans of a bundle's graphs, built on the device that will run them. None of this ran on a GPU yet."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from edge_aac.bundle.manifest import Graph, GraphRole, Seq2SeqManifest
from edge_aac.engines.tensor_rt.engine import DeviceContext, GpuIdentity, TensorRtEngine
from edge_aac.errors import EdgeAacError
from edge_aac.models.tokens import load_tokenizer
from quantize.device.cpu.forms import Check, described
from quantize.device.report import BuildReport, FormReport
from quantize.device.tensorrt.builder import BuildRequest, build_engine, profiles_for
from quantize.files import TIMING_PREFIX
from quantize.graphs.attention import attentions
from quantize.graphs.calibration import Calibration
from quantize.graphs.half import around
from quantize.graphs.int8 import explicit_int8, half
from quantize.graphs.layer_range import Run, exposed, layer_range, probes, runs_onnx
from quantize.graphs.onnx_file import OnnxFile
from quantize.graphs.qdq_lint import int8_products, lint

SOURCE = "tensorrt-onnx"
PLAN = "tensorrt"
INT8, HALF = "int8+fp16", "fp16"
_SHOWN_FINDINGS = 5


@dataclass(frozen=True)
class Sizes:
    """What plans are built for.

    Attributes:
        streams: windows that may be encoded and decoded at once.
        candidates: rows that are usually decoded at once; None = as many as the bundle draws.
    """

    streams: int = 1
    candidates: int | None = None


@dataclass(frozen=True)
class Planned:
    """A plan and the ONNX file that it was built from."""

    plan: Graph
    source: Graph


def make_plans(
    check: Check,
    roles: Collection[GraphRole],
    calibration: Calibration,
    gpu: GpuIdentity,
    sizes: Sizes,
    report: BuildReport,
) -> dict[GraphRole, Planned]:
    """Make, lint, build, gate and time the plan of each graph.

    Raises:
        DeviceError, DataError: TensorRT cannot build one.
    """
    made: dict[GraphRole, Planned] = {}
    forms: dict[GraphRole, FormReport] = {}
    for role in roles:
        source = _source(check, role, calibration, gpu, report)
        plan, built = _plan(check, role, source, gpu, sizes)
        path = check.store.locate(plan)
        forms[role] = FormReport(role, plan, path.stat().st_size, built=built)
        report.forms.append(forms[role])
        made[role] = Planned(plan, source)
    for role, planned in made.items():
        form = forms[role]
        agreed, _ = check.measure(form, planned.source)
        made[role] = Planned(form.graph, planned.source)
        if complaints := agreed.complaints():
            fault = f"{', '.join(complaints)}; {_where(check, role, planned, gpu, sizes)}"
            form.outcome = f"unfaithful: {fault}"
            report.failure = report.failure or f"the TensorRT engine of the {role} is not faithful: {fault}"
        else:
            form.outcome = "faithful"
    return made


def _source(check: Check, role: GraphRole, calibration: Calibration, gpu: GpuIdentity, report: BuildReport) -> Graph:
    """The ONNX file with explicit Q/DQ and FP16; with FP16 alone where the calibration has no ranges of the graph."""
    parent = check.parents[role]
    path = check.store.locate(parent)
    known = calibration.graphs.get(role)
    precision = INT8 if known and known.ranges else HALF
    output = check.store.new_file(f"{role}.{precision}", ".onnx")
    check.log(f"{role}: writing the {precision} graph")
    kept: set[str] = set()
    if known and known.ranges:
        files = explicit_int8(path, output, known.ranges, known.keep, known.smoothing, known.overflowing)
        kept = {*known.keep, *around(OnnxFile(path), known.overflowing)}
    else:
        files = half(path, output, {*known.keep, *known.overflowing} if known else ())
    _lint(role, output, kept, precision, gpu, report)
    return described(files, parent, parent, SOURCE, precision, onnx=onnx.__version__)


def _lint(
    role: GraphRole, path: Path, keep: Collection[str], precision: str, gpu: GpuIdentity, report: BuildReport
) -> None:
    findings = lint(path, gpu.tensorrt, keep)
    if precision == HALF:
        findings = [finding for finding in findings if finding.rule != "unquantized"]
    else:
        count = int8_products(path, keep)
        report.notes.append(f"{role}: {count.int8} of {count.expected} large products have Q/DQ")
    judged = attentions(path)
    if judged:
        report.notes.append(f"{role}: {sum(a.fuses for a in judged)} of {len(judged)} attentions fit TensorRT's fusion")
        report.notes += [f"{role}: attention {attention.line}" for attention in judged if not attention.fuses]
    report.notes += [f"{role}: {f.rule} at {f.node}: {f.message}" for f in findings[:_SHOWN_FINDINGS]]
    if len(findings) > _SHOWN_FINDINGS:
        report.notes.append(f"{role}: {len(findings) - _SHOWN_FINDINGS} more findings of the linter")


def _plan(check: Check, role: GraphRole, source: Graph, gpu: GpuIdentity, sizes: Sizes) -> tuple[Graph, dict[str, Any]]:
    output = check.store.new_file(f"{role}.{source.precision}.{gpu.file_part}", ".engine")
    check.log(f"{role}: building the TensorRT engine; this takes minutes")
    built = build_engine(_request(check, role, check.store.locate(source), output, gpu, sizes), check.log)
    graph = described([output], source, source, PLAN, source.precision, tensorrt=built.tensorrt, gpu=built.gpu)
    return graph, {
        "seconds": round(built.seconds, 1),
        "attempts": built.attempts,
        "layers_by_precision": built.precisions,
        "int8_matmuls": list(built.int8_matmuls),
        "nodes": built.node_range,
    }


def _request(
    check: Check, role: GraphRole, onnx_file: Path, output: Path, gpu: GpuIdentity, sizes: Sizes
) -> BuildRequest:
    manifest = check.store.source.manifest_of(Seq2SeqManifest)
    rules = manifest.decoding
    capacity = check.parents["decoder"].shapes["self_keys_0"][2]
    tokenizer = load_tokenizer(check.store.locate(manifest.tokenizers.text))
    return BuildRequest(
        onnx=onnx_file,
        output=output,
        timing_cache=check.store.folder / f"{TIMING_PREFIX}{gpu.file_part}-{gpu.tensorrt}.cache",
        profiles=profiles_for(
            role,
            check.parents[role].shapes,
            streams=sizes.streams,
            candidates=sizes.candidates or rules.candidates,
            capacity=capacity if isinstance(capacity, int) else rules.max_positions - 1,
            memory_steps=check.samples.memories[0].padding.shape[1],
            # Another tokenizer may cut the words of a caption into more pieces than the decoder's.
            text_tokens=len(tokenizer.encode(manifest.instruction).ids) + 2 * rules.max_positions,
            patches=manifest.patches.count if manifest.patches else 1,
        ),
    )


def _where(check: Check, role: GraphRole, planned: Planned, gpu: GpuIdentity, sizes: Sizes) -> str:
    """Which stretch of layers does it: of the ONNX file where that is unfaithful by itself, else of the plan."""
    parent, source = (check.store.locate(each) for each in (check.parents[role], planned.source))
    tensors = probes(parent, source)
    names = list(tensors)
    in_onnx = layer_range(tensors, runs_onnx(parent, names), runs_onnx(source, names), check.inputs(role))
    try:
        run = _runs_plan(check, role, source, names, gpu, sizes)
    except EdgeAacError as error:
        return f"its ONNX file parts {in_onnx}; a plan that shows its layers cannot be built ({error})"
    in_plan = layer_range(tensors, runs_onnx(parent, names), run, check.inputs(role))
    return f"it parts {in_plan}; in ONNX Runtime its ONNX file parts {in_onnx}"


def _runs_plan(check: Check, role: GraphRole, source: Path, names: list[str], gpu: GpuIdentity, sizes: Sizes) -> Run:
    """A plan of the same graph that gives these tensors as well."""
    shown = check.store.new_file(f"{role}.probes", ".onnx")
    onnx.save_model(exposed(source, names), str(shown))
    output = check.store.new_file(f"{role}.probes", ".engine")
    check.log(f"{role}: building it once more, to see where it parts from its parent")
    build_engine(_request(check, role, shown, output, gpu, sizes), check.log)
    engine = TensorRtEngine(output, DeviceContext.shared())

    def run(inputs: Mapping[str, npt.NDArray[Any]]) -> Mapping[str, npt.NDArray[Any]]:
        return engine.run({name: np.asarray(array) for name, array in inputs.items()})

    return run
