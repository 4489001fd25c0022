"""`edge-aac bench --gpu`: the table with a stand-in for the GPU, and without one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

onnx = pytest.importorskip("onnx", reason="bounds are counted on graphs with onnx: pip install 'edge-aac[train]'")

from benchmarks import gpu_rates  # noqa: E402
from benchmarks.commands import bench  # noqa: E402
from benchmarks.gpu import HEADS, NOT_YET_RUN, gpu_report, lines, table  # noqa: E402
from benchmarks.gpu_rates import GpuRates, measure_rates  # noqa: E402
from edge_aac.bundle.store import open_bundle  # noqa: E402
from edge_aac.engines.tensor_rt.engine import DeviceContext  # noqa: E402
from quantize.device.tensorrt.builder import BuildRequest, BuiltPlan  # noqa: E402
from tests.benchmarks.planned_bundle import planned_bundle  # noqa: E402
from tests.edge_aac.engines.tensor_rt.trt_cases import install  # noqa: E402
from tests.edge_aac.engines.tensor_rt.trt_stand_in_parts import stand_in_plan  # noqa: E402
from tests.quantize.device.build_cases import exported_bundle  # noqa: E402

pytestmark = pytest.mark.one_python

RATES = GpuRates(fp16_gmacs_per_s=1000.0, copy_gb_per_s=100.0)


def _built(request: BuildRequest, log: object) -> BuiltPlan:
    stand_in_plan(request.output, request.onnx, {})
    return BuiltPlan(request.output, "10.3.0", "a GPU", 1.0, {}, (0, 0), 1, "")


def test_rates_are_of_a_product_and_of_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    monkeypatch.setattr(gpu_rates, "build_engine", _built)
    ticks = iter(range(1000))
    monkeypatch.setattr(gpu_rates.time, "perf_counter", lambda: float(next(ticks)))
    told: list[str] = []
    rates = measure_rates(DeviceContext(), tmp_path, told.append, size=64, copied=1_000_000)
    assert rates.fp16_gmacs_per_s == pytest.approx(64**3 * gpu_rates.RUNS / 1e9)
    assert rates.copy_gb_per_s == pytest.approx(2 * 1e6 * gpu_rates.RUNS / 1e9)
    assert told == ["building a large product, for the GPU's rate of arithmetic"]


def test_the_longer_of_both_bounds_counts() -> None:
    assert RATES.bound_ms(macs=2e9, narrow_macs=0.0, read_and_written=1e6) == pytest.approx(2.0)
    assert RATES.bound_ms(macs=0.0, narrow_macs=2e9, read_and_written=1e6) == pytest.approx(1.0)
    assert RATES.bound_ms(macs=1.0, narrow_macs=0.0, read_and_written=1e9) == pytest.approx(10.0)


def test_engines_beside_what_the_gpu_can_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = str(planned_bundle(tmp_path / "planned", monkeypatch))
    plain = str(exported_bundle(tmp_path / "plain"))
    monkeypatch.setattr(gpu_rates, "measure_rates", lambda *_: RATES)
    made = gpu_report([folder, plain], lambda _: None, windows=2, warm_up=0)
    assert json.loads(json.dumps(made)) == made
    assert made["gpu"].startswith("sm_87 Orin, 8 SMs, 8 GB, TensorRT 10.3")
    row, without = made["bundles"][folder], made["bundles"][plain]
    assert row["on_the_processor"] == [] and set(row["graphs"]) == set(open_bundle(folder).manifest.graphs)
    assert set(row["ms"]) == {"features", "encode", "decode", "rerank", "total"}
    assert all(found["count"] == 2 and found["low"] > 0.0 for found in row["ms"].values())
    assert set(row["share_of_limit"]) == {"encode", "decode", "rerank"} and min(row["share_of_limit"].values()) > 0.0
    assert min(row["decode_step_ms"].values()) > 0.0 and row["decode_without_over_with"]["count"] == 2
    assert "holds no engine of TensorRT" in without[NOT_YET_RUN] and "build-engine" in without[NOT_YET_RUN]
    rows = list(table(made))
    assert [len(cells) for cells in rows] == [len(HEADS)] * 2 and NOT_YET_RUN in rows[1]
    first, *others = lines(made)
    assert "1,000 · 10⁹" in first and "100 GB/s" in first and len(others) == 2


def test_without_a_gpu_the_table_says_that_it_has_not_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorrt", None)
    bench(args=["--gpu"], standalone_mode=False)
    shown = capsys.readouterr().out
    assert shown.count(NOT_YET_RUN) >= len(HEADS) and "TensorRT" in shown
