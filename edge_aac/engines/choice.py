"""The only place where the backend of a graph is chosen."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from weakref import WeakSet

from edge_aac.bundle.manifest import Graph, GraphRole
from edge_aac.bundle.store import Bundle
from edge_aac.engines.contract import ONNX_RUNTIME, TENSORRT, Backend, EngineOptions, GraphLoadError, LoadedEngine
from edge_aac.engines.form_check import check_form
from edge_aac.engines.processor import in_8_bit_blocks, unfit
from edge_aac.errors import DataError, DeviceError

_log = logging.getLogger(__name__)

_warned_unfit: WeakSet[Bundle] = WeakSet()
"""Bundles with a logged warning that their INT8 forms are left aside: one warning a bundle is enough."""


def load_engine(bundle: Bundle, role: GraphRole, options: EngineOptions) -> tuple[LoadedEngine, Graph]:
    """Load one graph of a bundle, in the first of its forms that can be run.

    With "auto", a TensorRT plan on a machine without TensorRT is passed over with a warning, one a bundle. A plan that
    another TensorRT or GPU made, or that was made from another graph, is refused: what runs slower than it was built to
    run should not do so unnoticed. An INT8 form for ONNX Runtime that another kind of processor made
    (:func:`edge_aac.engines.processor.unfit`) is passed over for what was exported, with a warning, one a bundle; so is
    one with weights in 8-bit blocks where this ONNX Runtime has no operator for them.

    Raises:
        DataError: the bundle has no such graph, its plan is stale or broken, or the graph is another than the manifest
            says (:func:`edge_aac.engines.form_check.check_form`).
        DeviceError: the bundle holds it in no form that the chosen backend runs here.
    """
    engine, graph = _load(bundle, role, options)
    check_form(bundle, role, graph, engine.description)
    return engine, graph


def _load(bundle: Bundle, role: GraphRole, options: EngineOptions) -> tuple[LoadedEngine, Graph]:
    """As :func:`load_engine`, before the graph is compared with the manifest."""
    forms = bundle.manifest.graphs.get(role, [])
    if not forms:
        raise DataError(f"bundle {bundle.manifest.name!r} has no {role} graph: build it again")
    for backend in _order(forms, options.backend):
        if backend == ONNX_RUNTIME:
            return _open_graph(bundle, [form for form in forms if form.backend == ONNX_RUNTIME], options.threads)
        missing = _missing_tensorrt()
        if missing is None:
            return _open_plan(bundle, [form for form in forms if form.backend == TENSORRT], options.cuda_graphs)
        if options.backend == TENSORRT or ONNX_RUNTIME not in _order(forms, "auto"):
            raise missing
        if role == _first_with_plan(bundle):
            _log.warning("%s; its TensorRT engines are left aside for ONNX Runtime", missing)
    raise _nothing_to_run(bundle, role, options.backend)


def _order(forms: list[Graph], backend: Backend) -> list[str]:
    """The backends to try, as the forms prefer them."""
    wanted = (ONNX_RUNTIME, TENSORRT) if backend == "auto" else (backend,)
    return list(dict.fromkeys(form.backend for form in forms if form.backend in wanted))


def _open_graph(bundle: Bundle, graphs: Sequence[Graph], threads: int) -> tuple[LoadedEngine, Graph]:
    """The first ONNX file that computes on this processor as it did where it was made.

    Raises:
        DataError: none does, or its file is broken.
    """
    from edge_aac.engines.onnx_runtime import OnnxRuntimeEngine

    complaint = ""
    for graph in graphs:
        why = unfit(graph)
        if why is None:
            path = bundle.checked(graph)
            try:
                engine = OnnxRuntimeEngine(path, threads, bundle.size(graph))
            except GraphLoadError as error:
                # The file is what it should be: it is this ONNX Runtime that lacks the operator, or its 8 bits.
                if not in_8_bit_blocks(graph):
                    raise
                why = f"has weights in 8-bit blocks, which cannot be run here ({error.why})"
            else:
                if complaint and bundle not in _warned_unfit:
                    _warned_unfit.add(bundle)
                    _log.warning("%s; until then the bundle's %s graphs run in its place", complaint, graph.precision)
                return engine, graph
        complaint = complaint or f"{bundle.path(graph)} {why}: run `{bundle.build_command}`"
    raise DataError(complaint)


def _missing_tensorrt() -> DeviceError | None:
    """Why no plan can run on this machine, in a sentence."""
    from edge_aac.engines.tensor_rt.engine import this_gpu

    try:
        this_gpu()
    except DeviceError as missing:
        return missing
    return None


def _open_plan(bundle: Bundle, plans: list[Graph], cuda_graphs: bool) -> tuple[LoadedEngine, Graph]:
    """The plan that was built for this machine: a bundle may serve boards of several kinds.

    Raises:
        DataError: none was, or its file is broken.
        DeviceError: it does not start.
    """
    from edge_aac.engines.tensor_rt.engine import DeviceContext, TensorRtEngine, check_plan

    stale: DataError | None = None
    for plan in plans:
        try:
            check_plan(plan, bundle)
        except DataError as error:
            stale = stale or error
        else:
            device = DeviceContext.shared()
            return TensorRtEngine(bundle.checked(plan), device, bundle.build_command, cuda_graphs), plan
    assert stale is not None
    raise stale


def _first_with_plan(bundle: Bundle) -> GraphRole | None:
    return next(
        (role for role, forms in bundle.manifest.graphs.items() if any(form.backend == TENSORRT for form in forms)),
        None,
    )


def _nothing_to_run(bundle: Bundle, role: GraphRole, backend: Backend) -> DeviceError:
    forms = bundle.manifest.graphs[role]
    if backend == TENSORRT:
        return DeviceError(
            f"bundle {bundle.manifest.name!r} holds no TensorRT engine of its {role}: "
            f"run `{bundle.build_command}` on this device"
        )
    return DeviceError(
        f"bundle {bundle.manifest.name!r} holds its {role} for {', '.join(form.backend for form in forms)} only, "
        f"which --backend {backend} cannot run here"
    )
