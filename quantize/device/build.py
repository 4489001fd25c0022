"""`edge-aac build-engine`: the fastest faithful forms of a bundle's graphs for the machine that it runs on."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from edge_aac.bundle.manifest import Graph, GraphRole
from edge_aac.bundle.store import Bundle
from edge_aac.engines.contract import Backend, EngineOptions
from edge_aac.engines.tensor_rt.engine import GpuIdentity, this_gpu
from edge_aac.errors import DeviceError, InputMissingError
from quantize.device.calibration import stage_calibration, stored_calibration
from quantize.device.checked_kind import CheckedKind, Sound
from quantize.device.cpu.forms import CPU, Check, make_cpu_forms
from quantize.device.gate import agreement
from quantize.device.kinds.choice import checked_kind
from quantize.device.places import open_for_build, output_folder, parent_of
from quantize.device.report import BuildReport
from quantize.device.sound_file import SoundFile
from quantize.device.store import BuildStore, build_store
from quantize.device.tensorrt.forms import Planned, PlanOptions, make_plans, step_back
from quantize.device.tensorrt.sources import PlanPrecision, most_forms
from quantize.device.timing import timing
from quantize.graphs.calibrating import calibrate_heard
from quantize.graphs.calibration import Calibration
from quantize.progress import Log

SAMPLED_SOUNDS = 8
CALIBRATION_RECORDINGS, CHECKED_RECORDINGS = 256, 100
"""The most windows or clips of a user's recordings that are calibrated with, and that every form hears."""

TENSORRT: Backend = "tensorrt"
MIXTURE: Backend = "auto"
_TIMING_CACHE_BYTES = 64_000_000


@dataclass(frozen=True)
class BuildOptions:
    """The user's options of a build.

    Attributes:
        bundle: name or folder.
        output: folder to write; None = the bundle's own, or among the user's.
        backend: "auto" builds for ONNX Runtime, and for TensorRT where it is.
        recordings: folder of own sound, to calibrate and check with as well.
        leave: graphs that stay as they were exported.
        threads: CPU threads of a graph; 0 = as many as pay.
        streams: windows that a plan may encode and decode at once.
        candidates: rows that a plan usually decodes at once, texts that one of a dual encoder embeds; None = as many as
            the bundle draws.
        precision: precision of plans: "auto" keeps the fastest faithful form of each graph.
        anywhere: whether processors' forms are for other machines than this one, see
            :class:`quantize.device.cpu.forms.Check`.
    """

    bundle: str
    output: Path | None = None
    backend: Backend = "auto"
    recordings: Path | None = None
    leave: tuple[GraphRole, ...] = ()
    threads: int = 0
    streams: int = 1
    candidates: int | None = None
    precision: PlanPrecision = "auto"
    anywhere: bool = False


def build_engines(options: BuildOptions, log: Log) -> BuildReport:
    """Make, gate, time and store the forms; what is not faithful is not stored.

    Args:
        options: the user's options.
        log: function that is called with a line for each step.

    Raises:
        DeviceError: TensorRT was asked for and is missing, or FP8 where the GPU has none, or the folder cannot be
            written, is held or too full.
        InputMissingError: there is no such bundle or folder, or TensorRT lacks a calibration.
        DataError: a file of the bundle is not what it should be, or a form cannot be made.
    """
    started = time.monotonic()
    source = open_for_build(options.bundle)
    kind = checked_kind(source)
    gpu, without = _gpu(options.backend)
    parents = {role: parent_of(source, role) for role in source.manifest.graphs}
    if gpu and source.manifest.calibration is None and options.recordings is None:
        raise InputMissingError(
            f"bundle {options.bundle!r} holds no calibration for TensorRT: name a folder of recordings with "
            "--recordings, or build for the processor alone with --backend onnxruntime"
        )
    folder = output_folder(source, options.output)
    report = BuildReport(options.bundle, str(folder), notes=[without] if without else [])
    forms = most_forms(gpu, options.precision) if gpu else 0
    with build_store(source, folder, _needed_bytes(source, parents, folder, forms)) as store:
        _build(options, kind, store, parents, gpu, report, log)
    report.seconds = time.monotonic() - started
    return report


def _gpu(backend: Backend) -> tuple[GpuIdentity | None, str]:
    """The GPU to build plans for; or why there are none, where that was not to be expected."""
    if backend == CPU:
        return None, ""
    try:
        return this_gpu(), ""
    except DeviceError as missing:
        if backend == "tensorrt":
            raise
        return None, f"no TensorRT engines: {missing}"


def _needed_bytes(source: Bundle, parents: dict[GraphRole, Graph], folder: Path, plans: int) -> int:
    """The most that a build writes: forms are hardly larger than their parents, plans need an ONNX file each, and two
    forms of one graph at a time are held against each other.

    Args:
        source: the bundle.
        parents: its exported graphs.
        folder: folder that is written.
        plans: the most plans that are built of a graph.
    """
    exported = sum(source.size(parent) for parent in parents.values())
    copied = sum(source.path(file).stat().st_size for file in source.manifest.files())
    compared = max(map(source.size, parents.values()))
    needed = exported + compared + (2 * plans * exported + _TIMING_CACHE_BYTES if plans else 0)
    return needed + (copied if folder != source.folder.resolve() else 0)


def _build(  # noqa: PLR0913, PLR0917 - what it works between
    options: BuildOptions,
    kind: CheckedKind,
    store: BuildStore,
    parents: dict[GraphRole, Graph],
    gpu: GpuIdentity | None,
    report: BuildReport,
    log: Log,
) -> None:
    roles = [role for role in parents if role not in options.leave]
    if not roles:
        _leave_all(store, parents, report, log)
        return
    checked, own = _sounds(kind, store, options.recordings)
    check = _check(kind, store, parents, checked, options, log)
    report.check_windows = len(check.sounds)
    if own:
        inputs = {role: check.inputs(role) for role in parents}
        files = {role: store.locate(parent) for role, parent in parents.items()}
        heard = kind.heard(files)
        calibration: Calibration | None = calibrate_heard(files, own, inputs, "recordings of the user", log, heard)
    else:
        calibration = stored_calibration(store, parents)
    forms = {role: _Forms.of(store, role, parents[role], role in options.leave) for role in parents}
    if options.backend != TENSORRT:
        for role, made in make_cpu_forms(check, roles, calibration, report).items():
            forms[role].cpu = [made] if made else []
    if gpu and calibration and not report.failure:
        _add_plans(check, roles, calibration, gpu, options, forms, report)
    graphs = {role: each.ordered() for role, each in forms.items()}
    if not report.failure:
        _commit(store, graphs, calibration if own else None, report, log)
    report.order = _order(store.source.manifest.graphs if report.failure else graphs)


def _sounds(kind: CheckedKind, store: BuildStore, recordings: Path | None) -> tuple[Sequence[Sound], Sequence[Sound]]:
    """The sounds that forms are compared on, and those of a user's recordings that are calibrated with."""
    made = kind.check_sounds()
    if recordings is None:
        return made, ()
    recorded = kind.recorded(recordings, CALIBRATION_RECORDINGS)
    sounds = SoundFile.written(store.scratch / "recordings.f32", chain(made, recorded))
    return sounds[: len(made) + CHECKED_RECORDINGS], sounds[len(made) :]


def _leave_all(store: BuildStore, parents: Mapping[GraphRole, Graph], report: BuildReport, log: Log) -> None:
    """Make nothing, and take away what earlier builds made: so much is meant by leaving every graph."""
    report.notes.append(f"all {len(parents)} graphs stay as they were exported: no engine was made")
    graphs = {role: _Forms.of(store, role, parents[role], bare=True).ordered() for role in parents}
    _commit(store, graphs, None, report, log)
    report.order = _order(graphs)


def _order(graphs: Mapping[GraphRole, Sequence[Graph]]) -> dict[str, list[str]]:
    return {role: [f"{form.backend} {form.precision}" for form in graphs[role]] for role in graphs}


@dataclass
class _Forms:
    """The forms of one graph on their way into the manifest.

    Attributes:
        exported: forms that export wrote.
        cpu: faster forms for ONNX Runtime.
        plans: plans for TensorRT.
        sources: ONNX files that plans are built from.
        plans_first: whether a plan is faster than the processor.
    """

    exported: list[Graph]
    cpu: list[Graph]
    plans: list[Graph]
    sources: list[Graph]
    plans_first: bool = True

    @classmethod
    def of(cls, store: BuildStore, role: GraphRole, parent: Graph, bare: bool) -> _Forms:
        """The forms of earlier builds; only the exported ones where ``bare``."""
        kept = [] if bare else store.kept(role)
        exported = [form for form in store.source.manifest.graphs[role] if not form.parent_sha256]
        return cls(
            exported=[parent, *(form for form in exported if form != parent)],
            cpu=[form for form in kept if form.backend == CPU],
            plans=[form for form in kept if form.backend == TENSORRT],
            sources=[form for form in kept if form.backend not in (CPU, TENSORRT)],
        )

    def ordered(self) -> list[Graph]:
        """The preferred one first."""
        processor = [*self.cpu, *self.exported]
        first = [*self.plans, *processor] if self.plans_first else [*processor, *self.plans]
        return [*first, *self.sources]


def _check(  # noqa: PLR0913, PLR0917 - what it works between
    kind: CheckedKind,
    store: BuildStore,
    parents: dict[GraphRole, Graph],
    sounds: Sequence[Sound],
    asked: BuildOptions,
    log: Log,
) -> Check:
    """Hear the check sounds with the exported graphs, the reference of every form."""
    log(f"hearing {len(sounds)} check sounds with the exported graphs")
    bundle = store.bundle({role: [parent] for role, parent in parents.items()})
    options = EngineOptions(CPU, asked.threads)
    reference = kind.outputs(bundle, sounds, options, None)
    samples = kind.samples(bundle, sounds[:SAMPLED_SOUNDS], options, reference)
    return Check(store, kind, parents, sounds, reference, samples, asked.threads, log, asked.anywhere)


def _add_plans(
    check: Check,
    roles: Sequence[GraphRole],
    calibration: Calibration,
    gpu: GpuIdentity,
    options: BuildOptions,
    forms: Mapping[GraphRole, _Forms],
    report: BuildReport,
) -> None:
    """Plans of the graphs, in the place of earlier ones of this GPU."""
    plan_options = PlanOptions(options.streams, options.candidates, options.precision)
    built = make_plans(check, roles, calibration, gpu, plan_options, report)
    made = _faithful_together(check, built, report)
    if report.failure:
        return
    for role, planned in made.items():
        here = forms[role]
        other_boards = [plan for plan in here.plans if plan.built_with.get("gpu") != gpu.name]
        needed = {plan.parent_sha256 for plan in other_boards} - {planned.source.sha256}
        here.sources = [planned.source, *(form for form in here.sources if form.sha256 in needed)]
        here.plans = [planned.plan, *other_boards]
        engines = (check.engine(role, *here.cpu, *here.exported), check.engine(role, planned.plan, planned.source))
        here.plans_first = timing(role, *engines, check.samples).ratio < 1.0
    _check_mixture(check, forms, report)


def _faithful_together(
    check: Check, made: Mapping[GraphRole, Planned], report: BuildReport
) -> Mapping[GraphRole, Planned]:
    """The plans that stand beside each other; by itself each has passed. Where the fastest do not, those in higher
    precision take their place."""
    if report.failure or not made:
        return made
    complaints = _complaints_together(check, made, report)
    if complaints and any(planned.spare for planned in made.values()):
        made = step_back(made, ", ".join(complaints))
        complaints = _complaints_together(check, made, report)
    if complaints:
        report.failure = (
            f"the {TENSORRT} forms together are not faithful, though each is by itself: {', '.join(complaints)}"
        )
    return made


def _complaints_together(check: Check, made: Mapping[GraphRole, Planned], report: BuildReport) -> list[str]:
    forms = {role: [planned.plan, planned.source] for role, planned in made.items()}
    report.together[TENSORRT] = agreement(check.reference, check.outputs(forms))
    return report.together[TENSORRT].complaints()


def _check_mixture(check: Check, forms: Mapping[GraphRole, _Forms], report: BuildReport) -> None:
    """Gate what "auto" will load where that is a plan of one graph and a processor's form of another: each kind has
    passed by itself only. Where the mixture fails, plans come first everywhere."""
    if len({each.plans_first for each in forms.values() if each.plans}) <= 1:
        return
    agreed = agreement(check.reference, check.outputs({role: each.ordered() for role, each in forms.items()}))
    if not (complaints := agreed.complaints()):
        report.together[MIXTURE] = agreed
        return
    report.notes.append(
        f"the fastest form of each graph is not faithful beside the others ({', '.join(complaints)}): "
        f"{TENSORRT} comes first everywhere"
    )
    for each in forms.values():
        each.plans_first = True


def _commit(
    store: BuildStore,
    graphs: dict[GraphRole, list[Graph]],
    calibration: Calibration | None,
    report: BuildReport,
    log: Log,
) -> None:
    """Write what is new."""
    changes: dict[str, object] = {"graphs": graphs}
    if calibration:
        changes["calibration"] = stage_calibration(store, calibration)
    manifest = store.source.manifest.model_copy(update=changes)
    # A refused form's name is given again.
    written = {(graph.file, graph.sha256) for forms in graphs.values() for graph in forms}
    for form in report.forms:
        form.written = (form.graph.file, form.graph.sha256) in written
    if store.holds(manifest):
        log(f"nothing to change in {store.folder}")
        return
    store.commit(manifest)
    report.written = True
