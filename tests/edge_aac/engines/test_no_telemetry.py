"""Nothing leaves the device but captions: ONNX Runtime's own reports are off before it is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge_aac.bundle.store import DEFAULT_BUNDLE, open_bundle

_OPEN_A_GRAPH = """
{first}
import onnxruntime
onnxruntime.InferenceSession({graph!r}, providers=["CPUExecutionProvider"])
print(onnxruntime.__version__)
"""
_REPORTS_SINCE = (1, 29)


def _files_left_by(first: str, home: Path) -> tuple[list[Path], tuple[int, ...]]:
    """What opening a graph leaves in a home that was empty, and ONNX Runtime's version."""
    home.mkdir()
    bundle = open_bundle(DEFAULT_BUNDLE)
    graph = bundle.path(bundle.manifest.graphs["decoder"][0])
    # ONNX Runtime itself is silent where it sees that it is tested.
    kept = {key: value for key, value in os.environ.items() if key not in ("CI", "XDG_CACHE_HOME")}
    kept = {key: value for key, value in kept.items() if not key.startswith("ORT_")} | {"HOME": str(home)}
    program = _OPEN_A_GRAPH.format(first=first, graph=str(graph))
    done = subprocess.run(
        [sys.executable, "-c", program], env=kept, capture_output=True, text=True, timeout=120, check=True
    )
    version = tuple(int(part) for part in done.stdout.strip().split(".")[:2])
    return [file for file in home.rglob("*") if file.is_file()], version


@pytest.mark.parametrize("package", ["edge_aac", "quantize", "benchmarks", "firmware_bridge"])
def test_no_package_of_ours_lets_onnx_runtime_report(package: str, tmp_path: Path) -> None:
    assert _files_left_by(f"import {package}", tmp_path / "home")[0] == []


def test_the_test_above_sees_onnx_runtime_report(tmp_path: Path) -> None:
    left, version = _files_left_by("", tmp_path / "home")
    if version < _REPORTS_SINCE:
        pytest.skip(f"ONNX Runtime {version} reports nothing")
    if not left:
        pytest.skip("this build of ONNX Runtime reports nothing")
    assert any("onnxruntime" in str(file) for file in left)


def test_whoever_set_the_variable_keeps_it() -> None:
    shown = subprocess.run(
        [sys.executable, "-c", "import edge_aac, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"],
        env=os.environ | {"ORT_DISABLE_TELEMETRY": "0"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert shown.stdout == "0\n"
