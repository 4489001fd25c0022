"""`edge-aac doctor --gpu`: CUDA's first steps on a stand-in, the last build, and which checks it runs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from edge_aac.bundle.build_reports import (
    SCHEMA,
    UNFINISHED_SCHEMA,
    keep_report,
    last_report,
    noted_build,
    reports_folder,
    unfinished_build,
)
from edge_aac.bundle.manifest import MANIFEST
from edge_aac.bundle.store import DEFAULT_BUNDLE
from edge_aac.commands.doctor import app
from edge_aac.doctor import first_steps, last_build
from edge_aac.doctor.apart import run_apart
from edge_aac.doctor.contract import Context, Finding
from edge_aac.doctor.dump import Dump
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
    assert _statuses(found) == ["ok"] * 5
    assert "cudaHostAllocMapped" in found[3].text
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
    assert _statuses(found) == ["ok", "ok", "ok", "ok", "warning"] and "no CUDA graph can be run" in found[-1].text
    assert "restart" not in found[-1].text, "nothing is to be mended"
    sees_nothing = install(monkeypatch)
    succeeded = (sees_nothing.cuda._error("cudaSuccess"),)
    monkeypatch.setattr(sees_nothing.cuda.module, "cudaMemsetAsync", lambda *_: succeeded)
    found = _first_steps()
    assert _statuses(found) == ["ok", "ok", "ok", "failed"] and "wrote into the host's memory" in found[-1].text
    card = install(monkeypatch)
    card.cuda.properties["integrated"] = 0
    assert not any("host's memory" in finding.text for finding in _first_steps())
    assert card.cuda.did["cudaHostAlloc"] == 0
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


def test_a_form_that_lost_against_another_of_its_graph_is_no_fault() -> None:
    slower = {**FORM, "precision": "int8+fp16", "written": False, "outcome": "faithful, but slower: fp16 is kept"}
    keep_report("garden", {"forms": [slower, {**FORM, "precision": "fp16"}]})
    assert [finding.status for finding in _last_build()[1:]] == ["ok", "ok"]
    keep_report("garden", {"forms": [slower]})
    assert _last_build()[1].status == "warning"


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
    path = keep_report("garden", {"failure": "memory does not suffice"})
    assert path.stat().st_mode & 0o777 == 0o600
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


def test_bundles_of_one_name_have_reports_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    pulled = tmp_path / "data" / "edge-aac" / "bundles" / "my bundle"
    pulled.mkdir(parents=True)
    (pulled / MANIFEST).write_text("{}")
    monkeypatch.chdir(tmp_path)
    for name in ("my bundle", str(tmp_path / "one" / "my bundle"), "two/my bundle", "two/my_bundle"):
        keep_report(name, {"notes": [name]})
    noted = {
        name: (last_report(name) or {"report": None})["report"]
        for name in ("my bundle", str(pulled), "one/my bundle", str(tmp_path / "two" / "my bundle"), "two/my_bundle")
    }
    assert noted == {
        "my bundle": {"notes": ["my bundle"]},
        str(pulled): {"notes": ["my bundle"]},
        "one/my bundle": {"notes": [str(tmp_path / "one" / "my bundle")]},
        str(tmp_path / "two" / "my bundle"): {"notes": ["two/my bundle"]},
        "two/my_bundle": {"notes": ["two/my_bundle"]},
    }
    assert len(list(reports_folder().iterdir())) == 4
    assert last_report("..") is None


_KILLED = """
import os, signal
from edge_aac.bundle.build_reports import noted_build
with noted_build("garden") as note:
    note("encoder: building")
    note("encoder: trying again with less")
    print("begun", flush=True)
    if {waits}:
        input()
    else:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_build_that_was_killed_is_told() -> None:
    """The kernel ends what takes too much memory: nothing is reported then."""
    keep_report("garden", {"forms": [FORM]})
    done = subprocess.run([sys.executable, "-c", _KILLED.format(waits=False)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    found = _last_build()
    assert _statuses(found) == ["failed", "ok", "ok"], "what was built before is told as well"
    assert "was killed, or the power failed; it said last: encoder: trying again with less" in found[0].text
    assert "edge-aac build-engine --bundle garden" in found[0].mend
    assert _last_build("meadow")[0].status == "warning" and len(_last_build("meadow")) == 1
    with noted_build("garden"):
        pass
    assert _statuses(_last_build()) == ["ok", "ok"], "one that ended by itself leaves no note"
    with pytest.raises(KeyboardInterrupt), noted_build("garden"):
        raise KeyboardInterrupt
    assert unfinished_build("garden") is None


def test_a_build_that_is_running_is_not_taken_for_a_killed_one() -> None:
    command = [sys.executable, "-c", _KILLED.format(waits=True)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as building:
        assert building.stdout is not None and building.stdout.readline() == "begun\n"
        (finding,) = _last_build()
        assert finding.status == "warning" and "is running; it said last: encoder: trying again" in finding.text
        with noted_build("garden") as note:
            note("of the second build, which is refused")
        kept = unfinished_build("garden")
        assert kept is not None and kept["said"] == "encoder: trying again with less"
        building.communicate("\n", timeout=60)
    assert unfinished_build("garden") is None


def test_builds_in_a_support_dump_are_a_list() -> None:
    context = Context(load_settings(None, Layer({"captioner": {"bundle": "garden,meadow"}})))

    def packed() -> list[dict[str, Any]]:
        (text,) = [entry.make() for entry in Dump(context)._entries() if entry.name == "builds.json"]
        listed: list[dict[str, Any]] = json.loads(text)
        return listed

    keep_report("garden", {"notes": ["of the garden"]})
    keep_report("meadow", {"notes": ["of the meadow"]})
    assert [each["report"]["notes"] for each in packed()] == [["of the garden"], ["of the meadow"]]
    subprocess.run([sys.executable, "-c", _KILLED.format(waits=False)], check=False, timeout=60)
    assert [(each["bundle"], each["schema"]) for each in packed()] == [
        ("garden", UNFINISHED_SCHEMA),
        ("garden", SCHEMA),
        ("meadow", SCHEMA),
    ]


def test_a_build_that_breaks_off_is_kept() -> None:
    build_engine = pytest.importorskip("quantize.cli.build_engine").build_engine
    done = CliRunner().invoke(build_engine, ["--bundle", "no-such-bundle"])
    assert done.exit_code != 0
    kept = last_report("no-such-bundle")
    assert kept is not None and "no-such-bundle" in kept["report"]["failure"]


def test_the_verb_runs_the_checks_of_the_gpu_and_no_others() -> None:
    done = CliRunner().invoke(app, ["--gpu", "--bundle", DEFAULT_BUNDLE])
    lines = [line for line in done.stdout.splitlines() if ": " in line]
    checks = [line.split()[1].rstrip(":") for line in lines]
    assert list(dict.fromkeys(checks)) == [
        *("versions", "configuration", "gpu", "board", "temperature", "memory"),
        *("first-steps", "clocks", "last-build", "engines"),
    ]
    assert done.exit_code == 1, "there is no GPU here"
