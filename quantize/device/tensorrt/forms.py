"""TensorRT plans of a bundle's graphs, built on the device that will run them. None of this ran on a GPU yet.

Of a graph that can be quantised, FP16 is built beside INT8 (and FP8, where the GPU has it): TensorRT may refuse a plan
with Q/DQ, the gate may, or it may be the slower one (reports from Orin: 7.5 ms with Q/DQ, 6 ms in FP16). The fastest
faithful form is kept, and the report says of every other why it lost.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from edge_aac.bundle.manifest import Graph, GraphRole
from edge_aac.engines.tensor_rt.engine import DeviceContext, GpuIdentity, TensorRtEngine
from edge_aac.errors import DataError, DeviceError, EdgeAacError
from quantize.device.cpu.forms import FASTER, Check, described
from quantize.device.profiles import told_profiles
from quantize.device.report import BuildReport, FormReport
from quantize.device.tensorrt.builder import BuildRequest, BuiltPlan, build_engine
from quantize.device.tensorrt.sources import PlanPrecision, choice_of, write_source
from quantize.device.timing import timing
from quantize.files import TIMING_PREFIX
from quantize.graphs.calibration import Calibration
from quantize.graphs.layer_range import Run, exposed, layer_range, probes, runs_onnx

PLAN = "tensorrt"


@dataclass(frozen=True)
class PlanOptions:
    """What plans are built for.

    Attributes:
        streams: windows that may be encoded and decoded at once.
        candidates: rows that are usually decoded at once; None = as many as the bundle says.
        precision: the fastest faithful form of each graph, or one that the user asked for.
    """

    streams: int = 1
    candidates: int | None = None
    precision: PlanPrecision = "auto"


@dataclass(frozen=True)
class Planned:
    """A plan and the ONNX file that it was built from.

    Attributes:
        form: the plan's part of the report.
        source: the ONNX file.
        spare: the faithful form in higher precision that this one was preferred to; None where there is none.
    """

    form: FormReport
    source: Graph
    spare: Planned | None = None

    @property
    def plan(self) -> Graph:
        """The plan's entry in the manifest."""
        return self.form.graph

    @property
    def precision(self) -> str:
        """Its precision, as the manifest names it."""
        return self.source.precision


def make_plans(
    check: Check,
    roles: Collection[GraphRole],
    calibration: Calibration,
    gpu: GpuIdentity,
    options: PlanOptions,
    report: BuildReport,
) -> dict[GraphRole, Planned]:
    """Make, lint, build, gate and time the plans of each graph, and keep the fastest faithful one.

    Everything is built before anything is loaded: an engine in memory would be in the way of a build.

    Raises:
        DeviceError, DataError: TensorRT builds no form of a graph.
    """
    report.notes.append(f"{PLAN} plans are tuned for {check.kind.tuned_for(options.candidates)}")
    built = {role: _built_forms(check, role, calibration, gpu, options, report) for role in roles}
    return {role: _fastest(check, role, forms, gpu, options, report) for role, forms in built.items()}


def _built_forms(  # noqa: PLR0913, PLR0917 - what it works between
    check: Check,
    role: GraphRole,
    calibration: Calibration,
    gpu: GpuIdentity,
    options: PlanOptions,
    report: BuildReport,
) -> list[Planned]:
    """The forms that TensorRT takes; a refusal ends the build only where it leaves none."""
    parent = check.store.locate(check.parents[role])
    choice = choice_of(parent, calibration.graphs.get(role), gpu, options.precision)
    built: list[Planned] = []
    refusals: list[tuple[str, EdgeAacError]] = []
    for precision in choice.precisions:
        source = write_source(check, role, choice.known, precision, gpu, report)
        form = FormReport(role, source.model_copy(update={"backend": PLAN}), 0)
        report.forms.append(form)
        try:
            form.graph, plan = _plan(check, role, source, gpu, options)
        except (DataError, DeviceError) as error:
            refusals.append((precision, error))
            how = "refused by TensorRT" if isinstance(error, DataError) else "not built"
            form.fault = form.outcome = f"{how}: {error}"
            check.log(f"{role}: no {precision} engine ({error})")
            check.store.discard(source)
            continue
        form.size_bytes = plan.path.stat().st_size
        form.built = _facts(plan)
        report.notes += _remarks(role, precision, plan, check)
        built.append(Planned(form, source))
    if not built:
        (_, first), *others = refusals
        also = "".join(f"; as {precision}: {error}" for precision, error in others)
        raise type(first)(f"{first}{also}") from first
    return built


def _facts(plan: BuiltPlan) -> dict[str, Any]:
    """What the report holds of a plan."""
    return {
        "seconds": round(plan.seconds, 1),
        "attempts": plan.attempts,
        "layers_by_precision": plan.precisions,
        "int8_matmuls": list(plan.int8_matmuls),
        "fp8_matmuls": list(plan.fp8_matmuls),
        "nodes": plan.node_range,
        "profiles": told_profiles(plan.profiles),
        "workspace_mib": plan.workspace_bytes >> 20,
        "optimization_level": plan.optimization_level,
        "shortages": list(plan.shortages),
    }


def _remarks(role: GraphRole, precision: str, plan: BuiltPlan, check: Check) -> list[str]:
    """What deserves a sentence: a build that memory was short for, and INT8 or FP8 that is in the graph and nowhere in
    the plan."""
    found = []
    if plan.shortages:
        batches = {name: shapes["largest"][0] for name, shapes in told_profiles(plan.profiles).items()}
        found.append(
            f"{role}, {precision}: memory was short ({plan.shortages[0]}); built at attempt {plan.attempts} with "
            f"{plan.workspace_bytes >> 20} MiB of workspace at optimisation level {plan.optimization_level}, for "
            f"batches up to {', '.join(f'{rows} ({name})' for name, rows in batches.items()) or 'the usual'}"
        )
    for narrow, (count, of) in (("int8", plan.int8_matmuls), ("fp8", plan.fp8_matmuls)):
        if narrow in precision.split("+") and not count:
            found.append(
                f"warning: {role}, {precision}: TensorRT runs 0 of {of} large products in {narrow.upper()}, as far as "
                "its inspector tells: this engine gains nothing by it"
            )
            check.log(found[-1])
    return found


def _fastest(  # noqa: PLR0913, PLR0917 - what it works between
    check: Check,
    role: GraphRole,
    forms: Sequence[Planned],
    gpu: GpuIdentity,
    options: PlanOptions,
    report: BuildReport,
) -> Planned:
    """Gate the forms of a graph and time the faithful ones beside each other; where none is, the build has failed."""
    faithful = [planned for planned in forms if _is_faithful(check, role, planned, gpu, options)]
    if not faithful:
        faults = [planned.form.fault for planned in forms]
        report.failure = report.failure or f"the TensorRT engine of the {role} is not faithful: {'; '.join(faults)}"
        return forms[0]
    best = faithful[0]
    for other in faithful[1:]:
        engines = check.engine(role, best.plan, best.source), check.engine(role, other.plan, other.source)
        taken = timing(role, *engines, check.samples)
        other.form.beside = (best.precision, taken)
        if taken.ratio <= FASTER:
            best = Planned(other.form, other.source, faithful[0])
    _say_outcomes(role, best, report)
    return best


def _is_faithful(check: Check, role: GraphRole, planned: Planned, gpu: GpuIdentity, options: PlanOptions) -> bool:
    form = planned.form
    try:
        agreed, _ = check.measure(form, planned.source)
    except (DataError, DeviceError) as error:
        # It was built, and does not load, or gives numbers that are none.
        form.fault = f"it cannot be run: {error}"
        form.outcome = f"unfaithful: {form.fault}"
        return False
    if complaints := agreed.complaints():
        form.fault = f"{', '.join(complaints)}; {_where(check, role, planned.source, gpu, options)}"
        form.outcome = f"unfaithful: {form.fault}"
    else:
        form.outcome = "faithful"
    return not complaints


def _say_outcomes(role: GraphRole, best: Planned, report: BuildReport) -> None:
    """What became of every form of a graph: what lost, and why."""
    tried = [form for form in report.forms if form.role == role and form.graph.backend == PLAN]
    for form in tried:
        if form is best.form:
            if form.beside:
                form.outcome = f"faithful and faster: {_beside(form)}"
        elif form.fault:
            form.outcome += f": {best.precision} is kept"
        elif form.beside and form.beside[1].ratio > FASTER:
            form.outcome = f"faithful, but not faster ({_beside(form)}): {best.precision} is kept"
        else:
            form.outcome = f"faithful, but slower: {best.precision} is kept"


def _beside(form: FormReport) -> str:
    assert form.beside
    return f"{form.beside[1].ratio:.2f} of the time of {form.beside[0]}"


def step_back(made: Mapping[GraphRole, Planned], why: str) -> dict[GraphRole, Planned]:
    """The forms in higher precision that were faithful by themselves, in the place of what is not beside the others.

    Args:
        made: the fastest form of each graph.
        why: complaints of the gate.
    """
    stepped = {}
    for role, planned in made.items():
        stepped[role] = planned.spare or planned
        if planned.spare:
            kept = planned.spare
            planned.form.fault = f"not faithful beside the other graphs ({why})"
            planned.form.outcome = f"{planned.form.outcome}, but {planned.form.fault}: {kept.precision} is kept"
            kept.form.outcome = "faithful"
    return stepped


def _plan(
    check: Check, role: GraphRole, source: Graph, gpu: GpuIdentity, options: PlanOptions
) -> tuple[Graph, BuiltPlan]:
    output = check.store.new_file(f"{role}.{source.precision}.{gpu.file_part}", ".engine")
    check.log(f"{role}: building the {source.precision} TensorRT engine; this takes minutes")
    built = build_engine(_request(check, role, check.store.locate(source), output, gpu, options), check.log)
    versions = {"tensorrt": built.tensorrt, "gpu": built.gpu}
    return described([output], source, source, PLAN, source.precision, **versions), built


def _request(
    check: Check, role: GraphRole, onnx_file: Path, output: Path, gpu: GpuIdentity, options: PlanOptions
) -> BuildRequest:
    return BuildRequest(
        onnx=onnx_file,
        output=output,
        timing_cache=check.store.folder / f"{TIMING_PREFIX}{gpu.file_part}-{gpu.tensorrt}.cache",
        profiles=check.kind.profiles(role, check.parents, check.samples, options.streams, options.candidates),
    )


def _where(check: Check, role: GraphRole, form: Graph, gpu: GpuIdentity, options: PlanOptions) -> str:
    """Which stretch of layers does it: of the ONNX file where that is unfaithful by itself, else of the plan."""
    parent, source = (check.store.locate(each) for each in (check.parents[role], form))
    tensors = probes(parent, source)
    names = list(tensors)
    try:
        in_onnx = layer_range(tensors, runs_onnx(parent, names), runs_onnx(source, names), check.inputs(role))
    except EdgeAacError as error:
        return f"ONNX Runtime cannot run its ONNX file ({error})"
    try:
        run = _runs_plan(check, role, source, names, gpu, options)
    except EdgeAacError as error:
        return f"its ONNX file parts {in_onnx}; a plan that shows its layers cannot be built ({error})"
    in_plan = layer_range(tensors, runs_onnx(parent, names), run, check.inputs(role))
    return f"it parts {in_plan}; in ONNX Runtime its ONNX file parts {in_onnx}"


def _runs_plan(  # noqa: PLR0913, PLR0917 - what it works between
    check: Check, role: GraphRole, source: Path, names: list[str], gpu: GpuIdentity, options: PlanOptions
) -> Run:
    """A plan of the same graph that gives these tensors as well."""
    shown = check.store.new_file(f"{role}.probes", ".onnx")
    onnx.save_model(exposed(source, names), str(shown))
    output = check.store.new_file(f"{role}.probes", ".engine")
    check.log(f"{role}: building it once more, to see where it parts from its parent")
    build_engine(_request(check, role, shown, output, gpu, options), check.log)
    engine = TensorRtEngine(output, DeviceContext.shared())

    def run(inputs: Mapping[str, npt.NDArray[Any]]) -> Mapping[str, npt.NDArray[Any]]:
        return engine.run({name: np.asarray(array) for name, array in inputs.items()})

    return run
