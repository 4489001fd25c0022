"""The forms of a bundle's graphs that ONNX Runtime runs faster on this machine's processor, as far as they are."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnxruntime

from edge_aac import __version__
from edge_aac.bundle.hashes import file_sha256
from edge_aac.bundle.manifest import BundleFile, Graph, GraphRole
from edge_aac.engines.choice import load_engine
from edge_aac.engines.contract import Backend, Engine, EngineOptions
from edge_aac.engines.processor import INT8_BLOCKS, built_here, in_8_bit_blocks, kind_here
from edge_aac.errors import DataError
from quantize.device.checked_kind import CheckedKind, Sound
from quantize.device.cpu.int8_ways import has_products, int8_ways
from quantize.device.cpu.optimum_form import TEXT_TOWERS, optimum_int8, optimum_version
from quantize.device.gate import Agreement, CheckOutputs, agreement
from quantize.device.report import BuildReport, FormReport
from quantize.device.store import BuildStore
from quantize.device.timing import RunSamples, Timing, max_abs_difference, timing
from quantize.graphs.blocks import BLOCKS, block_layers, missing_quantiser, weights_in_blocks
from quantize.graphs.calibration import Calibration, GraphCalibration
from quantize.graphs.front_end import front_end
from quantize.graphs.int8 import dynamic_int8
from quantize.graphs.layer_range import layer_range, probes, runs_onnx
from quantize.graphs.onnx_file import OnnxFile
from quantize.progress import Log

FASTER = 0.95
"""A form that takes more of its parent's time than this is not worth other numbers."""

CPU: Backend = "onnxruntime"
_RANGE_RUNS = 2


@dataclass(frozen=True)
class Check:
    """The reference that forms are compared with.

    Attributes:
        store: folder that forms are made in.
        kind: how models of this kind are heard out.
        parents: the exported graph of each role.
        sounds: what they hear.
        reference: what the exported graphs give for the sounds.
        samples: inputs of single graphs.
        threads: CPU threads of a graph; 0 = as many as pay.
        log: function that is called with a line for each step.
        anywhere: whether forms are for other machines than this one: those that are faithful stay, however long they
            take here.
    """

    store: BuildStore
    kind: CheckedKind
    parents: Mapping[GraphRole, Graph]
    sounds: Sequence[Sound]
    reference: CheckOutputs
    samples: RunSamples
    threads: int
    log: Log
    anywhere: bool = False

    def pays(self, taken: Timing) -> bool:
        """Whether a form that takes so long is worth other numbers."""
        return self.anywhere or taken.ratio <= FASTER

    def engine(self, role: GraphRole, *forms: Graph) -> Engine:
        """The first of these forms that runs here."""
        bundle = self.store.bundle({role: [*forms]})
        return load_engine(bundle, role, EngineOptions("auto", self.threads))[0]

    def outputs(self, forms: Mapping[GraphRole, Sequence[Graph]]) -> CheckOutputs:
        """Hear the sounds, every graph that is not named as it was exported."""
        graphs = {**{role: [parent] for role, parent in self.parents.items()}, **forms}
        options = EngineOptions("auto", self.threads)
        return self.kind.outputs(self.store.bundle(graphs), self.sounds, options, self.reference)

    def inputs(self, role: GraphRole) -> list[Mapping[str, npt.NDArray[Any]]]:
        """Inputs of a few runs of a graph."""
        return list(self.samples.of(role))[:_RANGE_RUNS]

    def measure(self, form: FormReport, *needed: Graph) -> tuple[Agreement, Timing]:
        """Hold a form against its exported parent; what is found goes into the report.

        Args:
            form: form whose graph takes the parent's place, alone.
            needed: forms that must stand beside it.
        """
        forms = (form.graph, *needed)
        agreed = agreement(self.reference, self.outputs({form.role: forms}))
        engines = self.engine(form.role, self.parents[form.role]), self.engine(form.role, *forms)
        taken = timing(form.role, *engines, self.samples)
        difference = max_abs_difference(form.role, *engines, self.samples)
        form.agreement, form.timing = agreed, taken
        form.graph = form.graph.model_copy(update={"max_abs_difference": float(f"{difference:.3g}")})
        return agreed, taken


def described(files: Sequence[Path], parent: Graph, like: Graph, backend: str, precision: str, **made: str) -> Graph:
    """The manifest's entry of a form that was just written.

    Args:
        files: the form and what holds its weights.
        parent: graph that the form was made from.
        like: the exported graph, which has the same inputs and outputs.
        backend, precision: backend and precision of the form.
        made: versions of what the form was built with.
    """
    path, *weights = files
    return Graph(
        file=path.name,
        sha256=file_sha256(path),
        backend=backend,
        precision=precision,
        shapes=like.shapes,
        built_with={**made, "edge_aac": __version__},
        max_abs_difference=0.0,
        external_data=tuple(BundleFile(file=weight.name, sha256=file_sha256(weight)) for weight in weights),
        parent_sha256=parent.sha256,
    )


def make_cpu_forms(
    check: Check, roles: Collection[GraphRole], calibration: Calibration | None, report: BuildReport
) -> dict[GraphRole, Graph | None]:
    """Make, gate and time the INT8 forms of each graph, and gate those that are to stand together.

    A form that is not faithful is refused and its graph stays fp32; where that leaves none, the build has failed.

    Returns:
        The fastest faithful form of each graph; None where none is faster here, or it is not faithful by itself or
        beside the others.
    """
    found = {role: _fastest_form(check, role, calibration, report) for role in roles}
    standing = _fastest_together(check, [form for form in found.values() if form], report)
    last = {form.role: form for form in report.forms if form.graph.backend == CPU}
    refused = [form for form in last.values() if form.fault]
    if refused and not standing:
        report.failure = f"the INT8 form of the {refused[-1].role} is not faithful: {refused[-1].fault}"
    return {role: form.graph if form and form in standing else None for role, form in found.items()}


def _fastest_together(check: Check, forms: Sequence[FormReport], report: BuildReport) -> Sequence[FormReport]:
    """Of forms that each passed the gate by itself, those that save the most time and pass it together; where time does
    not count, as many as pass it."""
    subsets = [some for count in range(len(forms), 0, -1) for some in combinations(forms, count)]
    refused = ""
    for some in sorted(subsets, key=lambda some: (check.anywhere and -len(some), -sum(map(_saved_ms, some)))):
        report.together[CPU] = agreement(check.reference, check.outputs({form.role: [form.graph] for form in some}))
        if not (complaints := report.together[CPU].complaints()):
            for form in forms:
                if form not in some:
                    form.outcome = f"faithful alone, not beside the others ({refused}): fp32 stays"
            return some
        refused = ", ".join(complaints)
    return ()


def _saved_ms(form: FormReport) -> float:
    """By the ratio that let the form pass: where a load came and went, the medians may even say the opposite."""
    assert form.timing
    return form.timing.reference_ms * (1.0 - form.timing.ratio)


def _fastest_form(
    check: Check, role: GraphRole, calibration: Calibration | None, report: BuildReport
) -> FormReport | None:
    """The fastest of our forms and, of a text tower, optimum's, as far as they are faithful."""
    known = calibration.graphs.get(role) if calibration else None
    if not has_products(check.store.locate(check.parents[role]), known):
        report.notes.append(f"{role}: none of its products is large enough for INT8 on a processor: fp32 stays")
        return None
    # That with a range a tensor is made last: what the build says of a graph is what became of that one.
    kept = by_optimum(check, role, report) if role in TEXT_TOWERS else None
    kept = _faster(check, kept, in_blocks(check, role, known, report))
    otherwise = f"{_named(kept.graph)} stays" if kept else "fp32 stays"
    return _faster(check, kept, _faithful_form(check, role, known, report, otherwise))


def _faster(check: Check, one: FormReport | None, other: FormReport | None) -> FormReport | None:
    """The faster of two faithful forms of a graph, timed in turn; the other is discarded."""
    if one is None or other is None:
        return one or other
    engines = check.engine(one.role, one.graph), check.engine(one.role, other.graph)
    taken = timing(one.role, *engines, check.samples)
    other.beside = (_named(one.graph), taken)
    kept, left = (other, one) if taken.ratio < 1.0 else (one, other)
    left.outcome = f"faithful, but slower than {_named(kept.graph)}"
    check.store.discard(left.graph)
    return kept


def _named(graph: Graph) -> str:
    if in_8_bit_blocks(graph):
        return "the one in blocks"
    return "the one by optimum" if "optimum_onnx" in graph.built_with else "our int8"


def in_blocks(check: Check, role: GraphRole, known: GraphCalibration | None, report: BuildReport) -> FormReport | None:
    """The form whose products read their weights in 8-bit blocks, where it is faithful and faster here; in smaller
    blocks where that in larger ones is unfaithful."""
    if check.anywhere:
        return None  # who has an older ONNX Runtime would be left with fp32
    parent = check.parents[role]
    path = check.store.locate(parent)
    file = OnnxFile(path)
    keep = {*front_end(file), *(known.keep if known else ())}
    if not block_layers(file, keep):
        return None  # convolutions have no such operator
    if missing := missing_quantiser():
        report.notes.append(f"{role}: weights in 8-bit blocks were not tried: {missing}")
        return None
    made = {"onnxruntime": onnxruntime.__version__, **kind_here()}
    for block in BLOCKS:
        check.log(f"{role}: putting weights into 8-bit blocks of {block} for ONNX Runtime")
        files = weights_in_blocks(path, check.store.new_file(f"{role}.{INT8_BLOCKS}", ".onnx"), keep, block)
        graph = described(files, parent, parent, CPU, INT8_BLOCKS, block=str(block), **made)
        form = _measured(check, role, files, graph, f"blocks of {block}, ", report)
        if form or not (last := report.forms[-1]).fault or last.agreement is None:
            return form
    return None


def _measured(  # noqa: PLR0913, PLR0917 - what it works between
    check: Check, role: GraphRole, files: Sequence[Path], graph: Graph, by: str, report: BuildReport
) -> FormReport | None:
    """Gate and time a form that was made; None, and it is discarded, where it is not faithful or not faster.

    Args:
        by: begins what is said of it.
    """
    form = FormReport(role, graph, sum(file.stat().st_size for file in files))
    report.forms.append(form)
    try:
        agreed, taken = check.measure(form)
    except DataError as error:
        form.fault = form.outcome = f"{by}it cannot be run here: {error}"
    else:
        if complaints := agreed.complaints():
            form.fault = ", ".join(complaints)
            form.outcome = f"{by}unfaithful: {form.fault}"
        elif not check.pays(taken):
            form.outcome = f"{by}not faster here ({taken.ratio:.2f} of fp32's time)"
        else:
            form.outcome = by + _praise(taken)
            return form
    check.store.discard(form.graph)
    return None


def by_optimum(check: Check, role: GraphRole, report: BuildReport) -> FormReport | None:
    """The form that optimum's quantiser makes, where that is installed and it is faithful and faster here."""
    if (version := optimum_version()) is None:
        report.notes.append(f"{role}: optimum is not installed here, so its INT8 form was not tried")
        return None
    check.log(f"{role}: quantising to INT8 with optimum")
    parent, output = check.parents[role], check.store.new_file(f"{role}.optimum.int8", ".onnx")
    files = optimum_int8(check.store.locate(parent), output)
    versions = {"onnxruntime": onnxruntime.__version__, "optimum_onnx": version}
    graph = described(files, parent, parent, CPU, "int8", **versions, **built_here())
    return _measured(check, role, files, graph, "by optimum, ", report)


def _faithful_form(
    check: Check, role: GraphRole, known: GraphCalibration | None, report: BuildReport, otherwise: str
) -> FormReport | None:
    """With convolutions in INT8 where their ranges are known, as many of them as are faithful; at the least with matrix
    products alone. Where none is, or none is faster, the report has it that ``otherwise``."""
    # Without ranges it is the calibration of a graph that becomes FP16 alone, and says nothing of INT8.
    ways = int8_ways(check.store.locate(check.parents[role]), known)
    for number, (way, _) in enumerate(ways):
        form = _quantised(check, role, way)
        report.forms.append(form)
        agreed, taken = check.measure(form)
        if not check.pays(taken):
            form.outcome = f"not faster here ({taken.ratio:.2f} of fp32's time): {otherwise}"
            return None
        complaints = agreed.complaints()
        if not complaints:
            form.outcome = _praise(taken)
            return form
        form.fault = f"{', '.join(complaints)}; {_where(check, role, form.graph)}"
        check.store.discard(form.graph)
        last = number + 1 == len(ways)
        form.outcome = f"unfaithful: {form.fault}" + (
            f": {otherwise}" if last else f"; made again with {ways[number + 1][1]} in fp32"
        )
    return None


def _praise(taken: Timing) -> str:
    return "faithful and faster" if taken.ratio <= FASTER else f"faithful, {taken.ratio:.2f} of fp32's time here"


def _quantised(check: Check, role: GraphRole, known: GraphCalibration | None) -> FormReport:
    check.log(f"{role}: quantising to INT8 for ONNX Runtime")
    parent = check.parents[role]
    output = check.store.new_file(f"{role}.int8", ".onnx")
    path = check.store.locate(parent)
    keep = front_end(OnnxFile(path))
    files = (
        dynamic_int8(path, output, {*keep, *known.keep}, known.ranges) if known else dynamic_int8(path, output, keep)
    )
    graph = described(files, parent, parent, CPU, "int8", onnxruntime=onnxruntime.__version__, **built_here())
    return FormReport(role, graph, sum(file.stat().st_size for file in files))


def _where(check: Check, role: GraphRole, graph: Graph) -> str:
    parent, form = (check.store.locate(each) for each in (check.parents[role], graph))
    tensors = probes(parent, form)
    names = list(tensors)
    return "it parts " + layer_range(tensors, runs_onnx(parent, names), runs_onnx(form, names), check.inputs(role))
