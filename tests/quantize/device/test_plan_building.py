"""Plans built through a stand-in with the API of three versions of TensorRT. None was ever built for a GPU here."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from edge_aac.bundle.manifest import GraphRole
from edge_aac.bundle.store import DEFAULT_BUNDLE, Bundle, open_bundle
from edge_aac.engines.tensor_rt.engine import DeviceContext, TensorRtEngine
from edge_aac.errors import DataError, DeviceError, InputMissingError
from edge_aac.models.seq2seq import Captioner
from quantize.device.profiles import profiles_for
from quantize.device.tensorrt.failures import OutOfMemoryError
from quantize.device.tensorrt.inspection import summary
from quantize.device.tensorrt.plan_building import build_plan, free_bytes
from tests.edge_aac.engines.tensor_rt.trt_api import VERSIONS
from tests.edge_aac.engines.tensor_rt.trt_cases import (
    ONE_THREAD,
    Installed,
    captioner_of,
    install,
    noise_described,
    same,
)
from tests.edge_aac.engines.tensor_rt.trt_stand_in import Ways
from tests.quantize.device.product_graphs import X, build_here, request_of, write_products

_ROLES: tuple[GraphRole, ...] = ("encoder", "decoder", "text_embedder")
_SIZES: dict[str, int] = dict(streams=2, candidates=6, capacity=32, memory_steps=248, text_tokens=64)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return open_bundle(DEFAULT_BUNDLE)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_bundle_built_and_run(version: str, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way in one code path: parse, build, write, inspect, load, caption."""
    installed = install(monkeypatch, Ways(version=version))
    engines = {}
    for role in _ROLES:
        graph = bundle.manifest.graphs[role][0]
        output = tmp_path / f"{role}.engine"
        request = request_of(bundle.path(graph), tmp_path, profiles_for(role, graph.shapes, **_SIZES), output=output)
        made, lines = build_here(request)
        assert (made.tensorrt, made.gpu) == (version, "sm_87 Orin, 8 SMs, 8 GB")
        assert " … " in made.node_range
        assert any("MiB for the workspace" in line for line in lines)
        assert any("Building Engine 0/4" in line for line in lines)
        engines[role] = TensorRtEngine(output, DeviceContext.shared())
    plans = captioner_of(bundle, engines, monkeypatch)  # type: ignore[arg-type]
    same(noise_described(plans, 1), noise_described(Captioner(bundle, ONE_THREAD), 1), 1e-5)
    calls = set(installed.tensorrt.calls)
    assert {
        "OnnxParser.parse_from_file",
        "IBuilderConfig.set_timing_cache",
        "IBuilderConfig.progress_monitor=",
    } <= calls
    assert {"EngineInspector.get_engine_information", "IExecutionContext.infer_shapes"} <= calls


def test_shapes_of_the_profiles(bundle: Bundle) -> None:
    shapes = {role: forms[0].shapes for role, forms in bundle.manifest.graphs.items()}
    assert profiles_for("stem", shapes["stem"], **_SIZES) == {"patches": ((1, 98, 128), (1, 98, 128), (2, 98, 128))}
    assert profiles_for("encoder", shapes["encoder"], **_SIZES) == {
        "vectors": ((1, 19, 160), (1, 19, 160), (2, 19, 160))
    }
    decoder = profiles_for("decoder", shapes["decoder"], **_SIZES)
    assert decoder["token_ids"] == ((1, 1), (6, 1), (32, 1)), "of each of two windows, 16"
    assert decoder["memory_padding"] == ((1, 1), (1, 248), (2, 248))
    assert decoder["self_values_2"] == ((1, 4, 1, 40), (6, 4, 32, 40), (32, 4, 32, 40))
    assert decoder["cross_keys_0"] == ((1, 4, 1, 40), (1, 4, 248, 40), (2, 4, 248, 40))
    assert set(decoder) == {name for name in shapes["decoder"] if not name.startswith(("new", "logits", "step"))}
    assert profiles_for("text_embedder", shapes["text_embedder"], **_SIZES) == {
        name: ((1, 1), (6, 32), (16, 64)) for name in ("token_ids", "attention_mask")
    }
    many = profiles_for("decoder", shapes["decoder"], **{**_SIZES, "candidates": 40})
    assert many["token_ids"] == ((1, 1), (40, 1), (80, 1))
    padded = {"fbank": ["windows", 998, 128], "frame_padding": ["windows", 998], "memory_padding": ["windows", "T"]}
    assert set(profiles_for("encoder", padded, **_SIZES)) == {"fbank", "frame_padding"}
    with pytest.raises(DataError, match="axis 'mystery'"):
        profiles_for("encoder", {"fbank": ["mystery", 998, 128]}, **_SIZES)


def test_int8_is_counted_by_the_engine_not_by_the_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "graph.onnx"
    write_products(path, [("a/one", 64, True), ("a/onetwo", 64, True), ("plain", 64, False), ("small", 16, True)])
    for int8, found in ((10, 2), (1, 1), (0, 0)):
        install(monkeypatch, Ways(int8=int8))
        made, _ = build_here(request_of(path, tmp_path, X))
        assert made.summary.int8_matmuls == (found, 3), "three are large"
        # The small product is quantised too.
        assert made.summary.precisions.get("INT8", 0) == min(int8, 3)
        assert sum(made.summary.precisions.values()) == 5


def test_the_inspector_s_answers() -> None:
    def layer(name: str, form: str, metadata: str | None = None) -> dict[str, Any]:
        lines = {} if metadata is None else {"Metadata": metadata}
        return {"Name": name, "Inputs": [{"Name": "int8_named", "Format/Datatype": form}], "Outputs": [], **lines}

    layers = [
        layer("fused", "Row major Int8 format", "[ONNX Layer: /a/MatMul]\x1e[ONNX Layer: /a/MatMul_1]"),
        layer("/b/MatMul + /c/MatMul", "Int8"),
        layer("/d/MatMul_10_myl0_3", "Int8"),
        layer("/e/MatMul", "Row major linear FP16 format"),
        {"Name": "from nothing", "Inputs": [], "Outputs": [{"Format": "Half"}]},
        {"Name": "shape", "Inputs": None, "Outputs": None},
    ]
    names = [
        "/a/MatMul",
        "/a/MatMul_1",
        "/b/MatMul",
        "/c/MatMul",
        "/d/MatMul",
        "/d/MatMul_1",
        "/d/MatMul_10",
        "/e/MatMul",
    ]
    found = summary(json.dumps({"Layers": layers, "Bindings": []}), dict.fromkeys(names, ()))
    assert found.precisions == {"INT8": 3, "FP16": 2, "unknown": 1}
    assert found.int8_matmuls == (5, 8), "two of a fused layer, two of one that is named for them, and /d/MatMul_10"
    for answer in ("", "[]", "{}", json.dumps({"Layers": ["one", "two"]})):
        with pytest.raises(DataError, match="inspector"):
            summary(answer, {})


def test_every_error_of_the_parser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], [f"q{i}", f"s{i}", f"z{i}"], f"layer.{i}/quantise")
        for i in range(5)
    ]
    path = tmp_path / "dynamic.onnx"
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [x], [x])), path)
    lines: list[str] = []
    with pytest.raises(DataError) as caught:
        build_plan(request_of(path, tmp_path, {}), lines.append, lambda: True)
    message = str(caught.value)
    assert message.count("DynamicQuantizeLinear): Unsupported operator") == 3
    assert "layer.0/quantise" in message
    assert message.endswith("and 2 more")
    assert "\n" not in message
    assert sum("layer." in line for line in lines) == 5
    (tmp_path / "broken.onnx").write_bytes(b"\xff no graph")
    with pytest.raises(DataError, match=r"cannot parse .*broken\.onnx: the file: Failed to parse"):
        build_here(request_of(tmp_path / "broken.onnx", tmp_path, {}))
    with pytest.raises(InputMissingError, match="absent"):
        build_here(request_of(tmp_path / "absent.onnx", tmp_path, {}))


def test_builds_that_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "graph.onnx"
    write_products(path, [("one", 64, True)])
    install(monkeypatch, Ways(fails="Error Code 10: Could not find any implementation for node {one}\nstack"))
    with pytest.raises(
        DataError, match=r"cannot build an engine of .*graph\.onnx: Error Code 10: Could not find"
    ) as caught:
        build_here(request_of(path, tmp_path, X))
    assert "stack" not in str(caught.value)
    with pytest.raises(DataError, match="no sizes of: x"):
        build_here(request_of(path, tmp_path, {}))
    install(monkeypatch, Ways(memory_above=1 << 27))
    with pytest.raises(OutOfMemoryError, match="out of memory"):
        build_here(request_of(path, tmp_path, X))
    build_here(request_of(path, tmp_path, X, smaller=1))
    install(monkeypatch)
    with pytest.raises(DeviceError, match="cannot be written"):
        build_here(request_of(path, tmp_path, X, output=tmp_path / "no" / "folder"))
    with pytest.raises(DataError, match="build cancelled"):
        build_plan(request_of(path, tmp_path, X), lambda _: None, lambda: False)


def _limits(installed: Installed) -> dict[str, Any]:
    return dict(installed.tensorrt.builds[-1])


def test_memory_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "graph.onnx"
    write_products(path, [("one", 64, True)])
    installed = install(monkeypatch)
    build_here(request_of(path, tmp_path, X))
    assert _limits(installed) == {"limits": {"WORKSPACE": 1 << 28, "TACTIC_DRAM": 1 << 29}, "level": 3}
    build_here(request_of(path, tmp_path, X, smaller=2, optimization_level=1))
    assert _limits(installed) == {"limits": {"WORKSPACE": 1 << 26, "TACTIC_DRAM": 1 << 27}, "level": 1}
    build_here(request_of(path, tmp_path, X, workspace_bytes=1, smaller=3))
    assert _limits(installed)["limits"]["WORKSPACE"] == 16 << 20
    installed.cuda.properties["integrated"] = 0
    installed.cuda.memory_bytes = 1 << 33
    free = installed.cuda.memory_bytes - installed.cuda.allocated("device")
    build_here(request_of(path, tmp_path, X, workspace_bytes=0, tactic_dram_bytes=0))
    assert _limits(installed)["limits"] == {"WORKSPACE": free // 4, "TACTIC_DRAM": free // 2}


def test_what_is_free_on_a_board(tmp_path: Path) -> None:
    account = tmp_path / "meminfo"
    account.write_text("MemTotal: 7816400 kB\nMemFree:  102400 kB\nMemAvailable:    5242880 kB\nCached: 9 kB\n")
    assert free_bytes(1 << 20, True, account) == 5 << 30, "what caches hold can be had"
    assert free_bytes(1 << 20, False, account) == 1 << 20
    account.write_text("MemTotal: 7816400 kB\n")
    with pytest.raises(DeviceError, match="how much memory"):
        free_bytes(1, True, account)
    with pytest.raises(DeviceError, match="cannot be read"):
        free_bytes(1, True, tmp_path / "absent")


def test_the_timing_cache_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path, cache = tmp_path / "graph.onnx", tmp_path / "timing.cache"
    write_products(path, [("one", 64, True)])

    def timings() -> int:
        return len(json.loads(cache.read_text())["timings"])

    install(monkeypatch)
    for builds in (1, 2):
        build_here(request_of(path, tmp_path, X))
        assert timings() == builds
    install(monkeypatch, Ways(old_cache=True))
    build_here(request_of(path, tmp_path, X))
    assert timings() == 1, "one of another GPU is begun anew"
    assert "another TensorRT or GPU" in caplog.text
    with caplog.at_level(logging.WARNING):
        build_here(request_of(path, tmp_path, X, timing_cache=tmp_path / "no" / "folder" / "cache"))
    assert "cannot be kept" in caplog.text
    assert {entry.name for entry in tmp_path.iterdir()} == {"graph.onnx", "timing.cache", "plan"}


def test_the_builder_needs_no_torch() -> None:
    script = "import sys, quantize.device.tensorrt.child; print(sorted({n.partition('.')[0] for n in sys.modules}))"
    loaded = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60
    ).stdout
    assert "pydantic" in loaded, "or nothing was looked at"
    assert not any(f"'{name}'" in loaded for name in ("torch", "transformers", "onnx", "tensorrt"))
