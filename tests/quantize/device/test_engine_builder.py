"""The process that builds an engine: its lines, its end, its failures. It finds a stand-in where TensorRT would be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_aac.errors import DataError, DeviceError, InputMissingError
from quantize.device.tensorrt import builder
from quantize.device.tensorrt.builder import MAX_ATTEMPTS, BuildRequest, BuiltPlan, build_engine
from quantize.device.tensorrt.plan_building import PlanRequest
from tests.edge_aac.engines.tensor_rt.trt_cases import install_in_children
from tests.edge_aac.engines.tensor_rt.trt_stand_in import Ways

_WORKSPACE = 1 << 28


@pytest.fixture
def request_of(tmp_path: Path) -> BuildRequest:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], "/fc/MatMul")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["windows", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["windows", 64])],
        [numpy_helper.from_array(np.eye(64, dtype="f4"), "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "fc.onnx")
    (tmp_path / "out").mkdir()
    profiles = {"x": ((1, 64), (1, 64), (2, 64))}
    return BuildRequest(
        tmp_path / "fc.onnx",
        tmp_path / "out" / "fc.engine",
        tmp_path / "out" / "timing",
        profiles,
        _WORKSPACE,
        _WORKSPACE,
    )


def _build(
    request: BuildRequest, ways: Ways, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[BuiltPlan, list[str]]:
    install_in_children(monkeypatch, folder / "stand-in", ways)
    lines: list[str] = []
    return build_engine(request, lines.append), lines


def _left(request: BuildRequest) -> set[str]:
    return {entry.name for entry in request.output.parent.iterdir()}


def test_one_engine(request_of: BuildRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request_of.output.write_bytes(b"an older one")
    built, lines = _build(request_of, Ways(version="11.4.0"), tmp_path, monkeypatch)
    assert (built.path, built.tensorrt, built.attempts) == (request_of.output, "11.4.0", 1)
    assert built.gpu == "sm_87 Orin, 8 SMs, 8 GB"
    # The product, and what gives its weights their axes.
    assert (built.int8_matmuls, built.precisions) == ((0, 1), {"FP16": 2, "FP32": 1})
    assert built.node_range == "ONNXTRT_w … /fc/MatMul"
    assert built.seconds > 0
    assert request_of.output.read_bytes().startswith(b"stand-in plan")
    assert _left(request_of) == {"fc.engine", "timing"}
    assert any("256 MiB for the workspace, optimisation level 3" in line for line in lines)
    assert any(line.startswith("Building Engine") for line in lines)


@pytest.mark.parametrize("way", ["memory_above", "killed_above", "skips_above"])
def test_out_of_memory_is_tried_again_smaller(
    way: str, request_of: BuildRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether TensorRT says so, warns and then finds no implementation, or the kernel kills the process without a
    word."""
    built, lines = _build(request_of, Ways(**{way: _WORKSPACE // 2}), tmp_path, monkeypatch)  # type: ignore[arg-type]
    assert built.attempts == 2
    assert [line.partition("workspace, ")[2] for line in lines if "MiB for" in line] == [
        "optimisation level 3",
        "optimisation level 2",
    ]
    assert sum("trying again" in line for line in lines) == 1
    assert _left(request_of) == {"fc.engine", "timing"}


def test_where_memory_is_short_the_largest_batch_shrinks(
    request_of: BuildRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = replace(request_of, profiles={"x": ((1, 64), (2, 64), (8, 64))})
    built, lines = _build(wide, Ways(rows_above=4), tmp_path, monkeypatch)
    assert built.attempts == 2 and built.profiles == {"x": ((1, 64), (2, 64), (4, 64))}
    assert (built.workspace_bytes, built.optimization_level) == (_WORKSPACE // 2, 2)
    assert len(built.shortages) == 1
    assert "Could not find any implementation" in built.shortages[0] and "4 warnings" in built.shortages[0]
    assert any("trying again with half the workspace and fewer rows" in line for line in lines)


def test_a_workspace_that_is_too_small_is_not_made_smaller(
    request_of: BuildRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int | None]] = []

    def attempt(_: BuildRequest, plan: PlanRequest, log: object) -> dict[str, object]:
        asked.append((plan.smaller, plan.smaller_workspace))
        return {"kind": "OutOfMemoryError", "error": "insufficient workspace", "wants_workspace": len(asked) == 1}

    monkeypatch.setattr(builder, "_attempt", attempt)
    with pytest.raises(DeviceError, match=r"insufficient workspace.*stop other programs"):
        build_engine(request_of, lambda _: None)
    assert asked == [(0, 0), (1, 0), (2, 1), (3, 2)]


def test_memory_that_never_suffices(request_of: BuildRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request_of.output.write_bytes(b"an older one")
    with pytest.raises(DeviceError, match=r"memory does not suffice .*fc\.onnx.*out of memory.*stop other programs"):
        _build(request_of, Ways(memory_above=1), tmp_path, monkeypatch)
    assert request_of.output.read_bytes() == b"an older one"
    assert MAX_ATTEMPTS == 4


@pytest.mark.parametrize(
    ("ways", "kind", "sentence"),
    [
        (Ways(fails="Error Code 10: no implementation"), DataError, "cannot build an engine of .*: Error Code 10"),
        (Ways(version="10.3.0"), InputMissingError, "there is no .*absent.onnx"),
    ],
)
def test_what_the_child_refuses_is_the_parent_s_error(
    ways: Ways,
    kind: type[Exception],
    sentence: str,
    request_of: BuildRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    onnx_path = request_of.onnx if ways.fails else tmp_path / "absent.onnx"
    changed = BuildRequest(onnx_path, request_of.output, request_of.timing_cache, request_of.profiles)
    with pytest.raises(kind, match=sentence) as caught:
        _build(changed, ways, tmp_path, monkeypatch)
    assert "\n" not in str(caught.value)
    assert not request_of.output.exists()


def test_without_tensorrt(request_of: BuildRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tensorrt.py").write_text("raise ImportError('libnvinfer.so.10: cannot open shared object file')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[3]}")
    with pytest.raises(DeviceError, match="libnvinfer.so.10.*--system-site-packages"):
        build_engine(request_of, lambda _: None)


def test_a_child_that_breaks_down(request_of: BuildRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[3]}")
    broken = "import os, sys; print('TensorRT fell over', file=sys.stderr, flush=True)"
    for end, lines in (("os.abort()", "by SIGABRT"), ("os._exit(3)", "with exit code 3")):
        (tmp_path / "tensorrt.py").write_text(f"{broken}; {end}")
        with pytest.raises(DeviceError, match=rf"ended {lines} \(.*TensorRT fell over"):
            build_engine(request_of, lambda _: None)
    assert _left(request_of) == set()


def test_a_folder_that_cannot_be_written(request_of: BuildRequest, tmp_path: Path) -> None:
    changed = BuildRequest(request_of.onnx, tmp_path / "absent" / "fc.engine", request_of.timing_cache, {})
    with pytest.raises(DeviceError, match="cannot write in .*absent.*--output"):
        build_engine(changed, lambda _: None)


_PARENT = """
import sys
from pathlib import Path
from quantize.device.tensorrt.builder import BuildRequest, build_engine

folder = Path(sys.argv[1])
request = BuildRequest(folder / "fc.onnx", folder / "out" / "fc.engine", folder / "out" / "timing",
                       {"x": ((1, 64), (1, 64), (2, 64))}, 1 << 28, 1 << 28)
build_engine(request, lambda line: print(line, flush=True))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_build_that_is_stopped(
    number: signal.Signals, request_of: BuildRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the parent ends, the child ends with it and the old engine stays."""
    request_of.output.write_bytes(b"an older one")
    install_in_children(monkeypatch, tmp_path / "stand-in", Ways(step_s=15.0))
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    for line in parent.stdout:
        if line.startswith("Building Engine"):
            break
    (child,) = _children(parent.pid)
    parent.send_signal(number)
    _, complaint = parent.communicate(timeout=10)
    assert parent.returncode == (128 + number if number == signal.SIGTERM else -number)
    assert "ProcessLookupError" not in complaint
    deadline = time.monotonic() + 10
    while _alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(child)
    assert request_of.output.read_bytes() == b"an older one"
    if number != signal.SIGKILL:  # which leaves no one to clear up
        assert _left(request_of) == {"fc.engine"}


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z" and os.path.exists(f"/proc/{pid}")
