"""`edge-aac bench --report`: a quick report of the default bundle, from the command line to the files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.commands import bench
from benchmarks.report.command import QUICK_NOTE, QUICK_NUMBERS, ReportOptions, shipped
from benchmarks.report.energy import NO_SENSOR, measure
from benchmarks.report.making import SCHEMA, processor
from benchmarks.report.plan import SECTIONS, Plan
from edge_aac.board.power import PowerMeter
from edge_aac.bundle.store import ASKED_BUNDLE, DEFAULT_BUNDLE, built_in_bundles
from edge_aac.errors import InputMissingError, UsageError

ROOT = Path(__file__).parents[3]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge_aac.cli", "bench", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=900)


def test_a_quick_report_of_the_default_bundle(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="costs are counted on graphs with onnx: pip install 'edge-aac[build]'")
    folder, history = tmp_path / "speed", tmp_path / "history.csv"
    sections = ("windows", "limit", "start", "energy")
    only = [word for name in sections for word in ("--only", name)]
    done = run("--report", str(folder), "--quick", "--threads", "1", *only, "--history", str(history), "--json")
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert json.loads(done.stdout) == report and report["schema"] == SCHEMA
    assert tuple(report["sections"]) == sections
    assert str(tmp_path) not in (folder / "report.md").read_text(encoding="utf-8")
    assert "<svg" in (folder / "report.html").read_text(encoding="utf-8")
    assert history.read_text(encoding="utf-8").count("\n") == 2
    plain, quantised = report["sections"]["windows"]["rows"]
    _check_window(plain, DEFAULT_BUNDLE, "fp32")
    _check_window(quantised, f"{DEFAULT_BUNDLE} in INT8", "int8")
    _check_limit(report["sections"]["limit"])
    seconds = report["sections"]["start"]["seconds"]
    listening, bare = seconds[f"{DEFAULT_BUNDLE}: to listening"], seconds["bare interpreter"]
    assert listening["median"] > bare["median"] > 0.0
    memory = report["sections"]["start"]["memory_mib"][DEFAULT_BUNDLE]
    assert 0.0 < memory["pss_mib_late"] <= memory["rss_mib_late"] <= memory["rss_mib_peak"]
    hops = report["sections"]["energy"]["bundles"][DEFAULT_BUNDLE]
    assert set(hops) == {"2", "1"} and all(hop["processor_s_an_hour"]["median"] > 0.0 for hop in hops.values())


def _check_window(row: dict[str, Any], name: str, precision: str) -> None:
    assert (row["name"], row["threads"], row["about"]["candidates"]) == (name, 1, 2)
    assert row["about"]["precision"] == precision
    stages = ["features", "encode", "decode", "rerank", "publish"]
    assert list(row["ms"]) == [*stages, "total"]
    for found in row["ms"].values():
        assert found["count"] == QUICK_NUMBERS["repetitions"] and 0.0 < found["low"] <= found["median"] <= found["high"]
    assert row["ms"]["total"]["high"] <= sum(row["ms"][stage]["high"] for stage in stages) * 1.01


def _check_limit(limit: dict[str, Any]) -> None:
    found = limit["by_threads"]["1"]
    assert {"fp32_gmacs_per_s", "int8_gmacs_per_s", "copy_gb_per_s", "read_gb_per_s"} <= set(found["rates"])
    for share in found["bundles"][DEFAULT_BUNDLE].values():
        assert share["bound_ms"] == max(share["arithmetic_ms"], share["memory_ms"])
        assert share["share"] == pytest.approx(share["bound_ms"] / share["measured_ms"]["median"], abs=1e-3)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--report", "x", "--board", "thor-t5000"], "--report goes without --board"),
        (["--report", "x", "--candidates", "3"], "--candidates"),
        (["--board", "thor-t5000", "--quick"], "go with --report"),
        (["--board", "thor-t5000", "--note", "busy"], "go with --report"),
        (["--gpu", "--report", "x"], "--gpu goes without --report, --board"),
        (["--gpu", "--quick"], "go with --report"),
        (["--report", "x", "--only", "speed"], f"--only takes {', '.join(SECTIONS)}"),
        (["--report", "x", "--threads", "4096"], "cores that this process may use"),
        (["--report", "x", "--threads", "0"], "--threads must lie in 1 to"),
    ],
)
def test_what_makes_no_sense(words: list[str], complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=complaint):
        bench(args=words, standalone_mode=False)
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_that_is_not_there_is_told_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputMissingError, match="no bundle '/nope'"):
        bench(args=["--report", str(tmp_path / "x"), "--also", "/nope"], standalone_mode=False)
    assert capsys.readouterr() == ("", "") and not (tmp_path / "x").exists()


def test_the_plan_of_options() -> None:
    options = ReportOptions(
        Path("x"), "one", ("two", "one"), ("energy", "windows"), threads=(1, 1), quick=True, note="others had the cores"
    )
    plan = options.plan()
    assert (plan.bundles, plan.sections, plan.threads) == (("one", "two"), ("windows", "energy"), (1,))
    assert plan.slow_repetitions == 1 and plan.most_threads == 1
    assert options.words.startswith("edge-aac bench --report DIR --bundle one --also two")
    assert options.about == f"{QUICK_NOTE} others had the cores"
    every = ReportOptions(Path("x"), also=("two",)).plan()
    assert every.sections == SECTIONS and every.bundles == (*shipped(), "two") and shipped()[0] == DEFAULT_BUNDLE
    assert ASKED_BUNDLE in built_in_bundles() and ASKED_BUNDLE not in shipped(), "it is no captioner"


def test_power_is_told_where_a_sensor_may_be_read(tmp_path: Path) -> None:
    plan = Plan(bundles=(), threads=(1,), slow_repetitions=1, sound_s=6)
    assert measure(plan, lambda line: None, PowerMeter(tmp_path)) == {
        "watts_at_rest": None,
        "bundles": {},
        "left_out": NO_SENSOR,
    }
    sensor = tmp_path / "sys/class/hwmon/hwmon0"
    sensor.mkdir(parents=True)
    for name, text in {"name": "ina3221", "curr1_input": "2000", "in1_input": "5000", "in1_label": "VDD_IN"}.items():
        (sensor / name).write_text(text, encoding="ascii")
    assert measure(plan, lambda line: None, PowerMeter(tmp_path)) == {"watts_at_rest": 10.0, "bundles": {}}


def test_the_processor_in_words(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("processor\t: 0\nmodel name\t: Some Processor\n", encoding="ascii")
    assert processor(tmp_path) == "Some Processor"
    (tmp_path / "proc/device-tree").mkdir()
    (tmp_path / "proc/device-tree/model").write_text("NVIDIA Jetson Orin Nano\0", encoding="ascii")
    assert processor(tmp_path) == "NVIDIA Jetson Orin Nano"
