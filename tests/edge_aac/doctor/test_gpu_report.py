"""`edge-aac doctor --gpu`: CUDA's first steps on a stand-in, the last build, and which checks it runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from edge_aac.bundle.build_reports import keep_report, last_report, reports_folder
from edge_aac.commands.doctor import app
from edge_aac.doctor import first_steps, last_build
from edge_aac.doctor.apart import run_apart
from edge_aac.doctor.contract import Context, Finding
from edge_aac.errors import DeviceError
from edge_aac.settings.layers import Layer
from edge_aac.settings.tree import load_settings
from tests.edge_aac.engines.tensor_rt.trt_cases import Installed, install


def _first_steps() -> list[Finding]:
    (part,) = first_steps.check(Context(None))
    return list(part.run())


def _statuses(found: Sequence[Finding]) -> list[str]:
    return [finding.status for finding in found]


@pytest.mark.parametrize("version", ["12.9.2", "13.5.0"])
def test_first_steps_of_cuda(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = install(monkeypatch, cuda_version=version)
    found = _first_steps()
    assert _statuses(found) == ["ok"] * 4
    assert "CUDA 12.9 on a driver for CUDA 12.6" in found[0].text
    assert "cudaMalloc" in found[1].text
    assert installed.cuda.did["cudaMalloc"] == 2 and installed.cuda.did["cudaGraphLaunch"] == 1


def _copies_nothing(installed: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed.cuda.module, "cudaMemcpy2DAsync", lambda *_: (installed.cuda._error("cudaSuccess"),))


def test_first_steps_that_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = install(monkeypatch)
    installed.cuda.failing["cudaMalloc"] = "cudaErrorMemoryAllocation"
    (part,) = first_steps.check(Context(None))
    found = list(run_apart(part))
    assert _statuses(found) == ["ok", "failed"] and "1048576 bytes of memory (out of memory)" in found[1].text
    installed.cuda.failing = {"cudaStreamEndCapture": "cudaErrorStreamCaptureInvalidated"}
    found = _first_steps()
    assert _statuses(found) == ["ok", "ok", "ok", "warning"] and "no CUDA graph can be run" in found[-1].text
    _copies_nothing(install(monkeypatch), monkeypatch)
    found = _first_steps()
    assert _statuses(found) == ["ok", "ok", "failed"] and "not what was sent" in found[-1].text


def test_first_steps_without_cuda_python() -> None:
    (part,) = first_steps.check(Context(None))
    with pytest.raises(DeviceError, match="cuda-python cannot be imported"):
        list(part.run())


FORM: dict[str, Any] = {
    "graph": "encoder",
    "backend": "tensorrt",
    "precision": "int8+fp16",
    "built_with": {"gpu": "sm_87 Orin, 8 SMs, 8 GB", "tensorrt": "10.3.0"},
    "timing": {"reference_ms": 35.0, "form_ms": 3.125, "ratio": 0.09, "pairs": 60},
    "built": {
        "seconds": 120.5,
        "attempts": 2,
        "layers_by_precision": {"INT8": 45, "FP16": 30},
        "int8_matmuls": [40, 44],
        "fp8_matmuls": [0, 44],
    },
    "written": True,
    "outcome": "faithful",
}


def _last_build(name: str = "garden") -> list[Finding]:
    (part,) = last_build.check(Context(load_settings(None, Layer({"captioner": {"bundle": name}}))))
    return list(part.run())


def test_the_last_build_is_told_with_what_it_refused() -> None:
    refused = {**FORM, "graph": "decoder", "written": False, "outcome": "unfaithful: captions differ"}
    keep_report("garden", {"forms": [FORM, refused], "notes": ["encoder: 40 of 44 large products have Q/DQ"]})
    found = _last_build()
    assert _statuses(found) == ["ok", "ok", "warning", "ok"]
    assert found[1].text == (
        "encoder tensorrt int8+fp16: faithful; 3.12 ms a window, 35 ms without it; layers: 45 INT8, 30 FP16; "
        "40 of 44 large products in INT8; built in 120.5 s and 2 attempts; "
        "for sm_87 Orin, 8 SMs, 8 GB with TensorRT 10.3.0"
    )
    assert "unfaithful: captions differ, not written" in found[2].text
    keep_report("garden", {"failure": "memory does not suffice"})
    assert "nothing was written: memory does not suffice" in _last_build()[1].text, "the newest alone"


def test_no_build_and_an_unreadable_one() -> None:
    (finding,) = _last_build()
    assert finding == Finding(
        "warning", "this user has built no engines of garden here", "run `edge-aac build-engine --bundle garden`"
    )
    path = keep_report("garden", {})
    path.write_text("[1")
    assert last_report("garden") is None
    path.write_text('{"schema": "edge-aac/last-build/1"}')
    assert last_report("garden") is None


def test_a_bundle_in_a_folder_has_a_report_of_its_own(tmp_path: Path) -> None:
    keep_report(str(tmp_path / "my bundle"), {"notes": ["mine"]})
    kept = last_report(str(tmp_path / "my bundle"))
    assert kept is not None and kept["report"] == {"notes": ["mine"]}
    assert [path.name for path in reports_folder().iterdir()] == ["my_bundle.json"]
    assert last_report("..") is None


def test_a_build_that_breaks_off_is_kept() -> None:
    build_engine = pytest.importorskip("quantize.cli.build_engine").build_engine
    done = CliRunner().invoke(build_engine, ["--bundle", "no-such-bundle"])
    assert done.exit_code != 0
    kept = last_report("no-such-bundle")
    assert kept is not None and "no-such-bundle" in kept["report"]["failure"]


def test_the_verb_runs_the_checks_of_the_gpu_and_no_others() -> None:
    done = CliRunner().invoke(app, ["--gpu", "--bundle", "esc10-tiny"])
    lines = [line for line in done.stdout.splitlines() if ": " in line]
    checks = [line.split()[1].rstrip(":") for line in lines]
    assert list(dict.fromkeys(checks)) == [
        *("versions", "configuration", "gpu", "board", "temperature", "memory"),
        *("first-steps", "clocks", "last-build", "engines"),
    ]
    assert done.exit_code == 1, "there is no GPU here"
