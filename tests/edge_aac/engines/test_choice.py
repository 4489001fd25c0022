"""Which form of a graph is run: preference, backend, what the machine has, and what a plan was built for."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_aac.bundle.manifest import Graph, GraphRole
from edge_aac.bundle.store import DEFAULT_BUNDLE, Bundle, open_bundle
from edge_aac.engines.choice import load_engine
from edge_aac.engines.contract import Backend, EngineOptions
from edge_aac.engines.onnx_runtime import OnnxRuntimeEngine
from edge_aac.engines.tensor_rt import engine as tensor_rt
from edge_aac.errors import DataError, DeviceError
from edge_aac.models.seq2seq import Captioner
from tests.edge_aac.bundle.bundle_folder import UncheckedBundle
from tests.edge_aac.fakes import described

ROLES: tuple[GraphRole, ...] = tuple(open_bundle(DEFAULT_BUNDLE).manifest.graphs)
HERE = tensor_rt.GpuIdentity("sm_87", "Orin", 8, 16, "10.3.0", True)
MISSING = DeviceError("TensorRT is not installed: install JetPack")


class FakePlan:
    """Runs the fp32 graph that a plan stands for."""

    def __init__(self, path: Path, device: object, build_command: str, cuda_graphs: bool) -> None:
        assert device is not None and build_command.startswith("edge-aac build-engine --bundle ")
        self.path, self.cuda_graphs = path, cuda_graphs
        self._engine = OnnxRuntimeEngine(path.with_name(f"{path.name.partition('.')[0]}.fp32.onnx"), 1)
        self.input_shapes, self.description = self._engine.input_shapes, self._engine.description

    def run(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return self._engine.run(inputs)


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with TensorRT, whose plans are run by ONNX Runtime."""
    monkeypatch.setattr(tensor_rt, "this_gpu", lambda: HERE)
    monkeypatch.setattr(tensor_rt, "TensorRtEngine", FakePlan)
    monkeypatch.setattr(tensor_rt.DeviceContext, "shared", classmethod(lambda cls: object()))


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without TensorRT."""

    def refuse() -> tensor_rt.GpuIdentity:
        raise MISSING

    monkeypatch.setattr(tensor_rt, "this_gpu", refuse)


def _plan(parent: Graph, role: str, **built_with: str) -> Graph:
    return parent.model_copy(
        update={
            "file": f"{role}.int8+fp16.sm_87.engine",
            "backend": "tensorrt",
            "precision": "int8+fp16",
            "built_with": {"gpu": HERE.name, "tensorrt": HERE.tensorrt, **built_with},
            "parent_sha256": "b" * 64,
            "sha256": "a" * 64,
        }
    )


def _with_plans(*, first: bool = True, **built_with: str) -> Bundle:
    """The built-in bundle with plans in front of, or behind, the forms of ONNX Runtime."""
    bundle = open_bundle(DEFAULT_BUNDLE)
    graphs = {}
    for role, forms in bundle.manifest.graphs.items():
        (parent,) = (form for form in forms if not form.parent_sha256)
        source = parent.model_copy(
            update={"backend": "tensorrt-onnx", "sha256": "b" * 64, "parent_sha256": parent.sha256}
        )
        plan = _plan(parent, role, **built_with)
        graphs[role] = [plan, source, parent] if first else [parent, source, plan]
    return UncheckedBundle(bundle.folder, bundle.manifest.model_copy(update={"graphs": graphs}), "mine")


def _backends(bundle: Bundle, backend: Backend) -> list[str]:
    return [load_engine(bundle, role, EngineOptions(backend, 1))[1].backend for role in ROLES]


@pytest.mark.usefixtures("board")
@pytest.mark.parametrize("first", [True, False])
def test_auto_takes_the_first_form_that_runs_here(first: bool) -> None:
    assert set(_backends(_with_plans(first=first), "auto")) == {"tensorrt" if first else "onnxruntime"}


@pytest.mark.usefixtures("board")
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("backend", ["tensorrt", "onnxruntime"])
def test_a_named_backend_is_taken_wherever_its_form_stands(backend: Backend, first: bool) -> None:
    assert set(_backends(_with_plans(first=first), backend)) == {backend}


@pytest.mark.usefixtures("board")
@pytest.mark.parametrize("wanted", [True, False])
def test_a_plan_is_told_whether_cuda_graphs_are_wanted(wanted: bool) -> None:
    engine, _ = load_engine(_with_plans(), "decoder", EngineOptions(threads=1, cuda_graphs=wanted))
    assert isinstance(engine, FakePlan) and engine.cuda_graphs is wanted


@pytest.mark.usefixtures("bare")
def test_auto_without_tensorrt_warns_once_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert set(_backends(_with_plans(), "auto")) == {"onnxruntime"}
    (record,) = caplog.records
    assert str(MISSING) in record.getMessage()


@pytest.mark.usefixtures("bare")
def test_what_is_not_preferred_anyway_needs_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        _backends(_with_plans(first=False), "auto")
        _backends(_with_plans(), "onnxruntime")
    assert not caplog.records


@pytest.mark.usefixtures("bare")
def test_tensorrt_where_there_is_none_says_what_is_missing() -> None:
    with pytest.raises(DeviceError, match="TensorRT is not installed"):
        load_engine(_with_plans(), "encoder", EngineOptions("tensorrt"))


@pytest.mark.usefixtures("bare")
def test_a_bundle_of_plans_alone_needs_tensorrt() -> None:
    bundle = _with_plans()
    alone = {role: forms[:2] for role, forms in bundle.manifest.graphs.items()}
    bundle = Bundle(bundle.folder, bundle.manifest.model_copy(update={"graphs": alone}))
    with pytest.raises(DeviceError, match="TensorRT is not installed"):
        load_engine(bundle, "encoder", EngineOptions())


def test_tensorrt_without_a_plan_names_the_command() -> None:
    with pytest.raises(DeviceError, match=rf"edge-aac build-engine --bundle {DEFAULT_BUNDLE}"):
        load_engine(open_bundle(DEFAULT_BUNDLE), "decoder", EngineOptions("tensorrt"))


@pytest.mark.usefixtures("board")
@pytest.mark.parametrize("backend", ["auto", "tensorrt"])
@pytest.mark.parametrize(
    ("built_with", "named"), [({"gpu": "sm_110 Thor"}, "sm_110 Thor"), ({"tensorrt": "10.13.3"}, "10.13.3")]
)
def test_a_plan_of_another_machine_is_refused(backend: Backend, built_with: dict[str, str], named: str) -> None:
    with pytest.raises(DataError, match=named) as caught:
        load_engine(_with_plans(**built_with), "encoder", EngineOptions(backend))
    assert "`edge-aac build-engine --bundle mine`" in str(caught.value)


@pytest.mark.usefixtures("board")
def test_a_plan_of_another_graph_is_refused() -> None:
    bundle = _with_plans()
    without = {
        role: [form for form in forms if form.backend != "tensorrt-onnx"]
        for role, forms in bundle.manifest.graphs.items()
    }
    bundle = Bundle(bundle.folder, bundle.manifest.model_copy(update={"graphs": without}), "mine")
    with pytest.raises(DataError, match="another graph.*edge-aac build-engine --bundle mine"):
        load_engine(bundle, "encoder", EngineOptions())


@pytest.mark.usefixtures("board")
def test_of_several_boards_plans_the_fitting_one_is_taken() -> None:
    bundle = _with_plans()
    graphs = {}
    for role, (plan, source, parent) in bundle.manifest.graphs.items():
        other = plan.model_copy(update={"file": "other.engine", "built_with": {"gpu": "sm_110", "tensorrt": "11.4.1"}})
        graphs[role] = [other, plan, source, parent]
    bundle = UncheckedBundle(bundle.folder, bundle.manifest.model_copy(update={"graphs": graphs}))
    for role in ROLES:
        engine, graph = load_engine(bundle, role, EngineOptions())
        assert isinstance(engine, FakePlan) and engine.path.name == graph.file == f"{role}.int8+fp16.sm_87.engine"


@pytest.mark.usefixtures("board")
def test_records_name_what_ran() -> None:
    bundle = _with_plans()
    for backend, precision in (("tensorrt", "int8+fp16"), ("onnxruntime", "fp32")):
        captioner = Captioner(bundle, EngineOptions(backend, 1))  # type: ignore[arg-type]
        assert described(captioner, np.zeros((998, 128), np.float32), np.random.default_rng(0)).ranked
        model = captioner.identity
        assert (model.backend, model.precision) == (backend, precision)
