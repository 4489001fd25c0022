"""Which layers are found to hurt, what smoothing does to them, and what stays in higher precision."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from edge_aac.errors import DataError
from quantize.graphs.calibration import MINMAX, Observed, observe
from quantize.graphs.int8 import explicit_int8
from quantize.graphs.onnx_file import OnnxFile
from quantize.graphs.qdq_lint import int8_products
from quantize.graphs.sensitivity import LayerCost, Sensitivity, decided, measure
from quantize.graphs.smoothing import fold, foldable, migration_scales
from tests.quantize.graphs.int8_cases import cosine, min_cosine, run, small_encoder, small_inputs

LAYERS = ["conv", "q.product", "k.product", "v.product", "out.product"]


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With one channel 300 times as loud as the others: int8 leaves the others almost nothing."""
    return small_encoder(tmp_path_factory.mktemp("parent") / "encoder.fp32.onnx", outlier=300.0)


@pytest.fixture(scope="module")
def observed(parent: Path) -> Observed:
    return observe(parent, small_inputs(8), MINMAX)


@pytest.fixture(scope="module")
def plain(parent: Path, observed: Observed) -> Sensitivity:
    return measure(parent, observed, small_inputs(3, seed=2), alpha=None)


@pytest.fixture(scope="module")
def smoothed(parent: Path, observed: Observed) -> Sensitivity:
    return measure(parent, observed, small_inputs(3, seed=2), alpha=0.5)


def test_each_layer_alone(plain: Sensitivity) -> None:
    assert [cost.layer.name for cost in plain.costs] == LAYERS
    assert plain.smoothing == {} and all(cost.smoothed_db is None for cost in plain.costs)
    for cost in plain.costs:
        assert 0.0 < cost.cosine < 1.0 and 0.0 < cost.sqnr_db < 90.0
    assert plain.foreseen_db >= plain.target_db


def test_an_outlier_costs_and_smoothing_helps(plain: Sensitivity, smoothed: Sensitivity, parent: Path) -> None:
    before = {cost.layer.name: cost.sqnr_db for cost in plain.costs}
    assert set(smoothed.smoothing) == {"norm"}
    helped = {cost.layer.name: cost.smoothed_db for cost in smoothed.costs if cost.smoothed_db is not None}
    assert set(helped) == {"q.product", "k.product", "v.product"}
    noise = sum(10 ** (-db / 10) for db in helped.values() if db is not None)
    assert noise < sum(10 ** (-before[name] / 10) for name in helped) / 1.25
    assert smoothed.ranges["norm"][1] < smoothed.ranges["conv.relu"][1] * 100
    assert len(smoothed.keep) <= len(plain.keep)


def test_the_whole_graph_is_as_foreseen(
    parent: Path, observed: Observed, smoothed: Sensitivity, tmp_path: Path
) -> None:
    path = tmp_path / "e.onnx"
    explicit_int8(parent, path, smoothed.ranges, smoothed.keep, smoothed.smoothing)
    assert int8_products(path).int8 == len(LAYERS) - len(smoothed.keep)
    for inputs in small_inputs(3, seed=5):
        want, have = run(parent, inputs), run(path, inputs)
        assert cosine(want["cross_keys"], have["cross_keys"]) > min_cosine(tmp_path)
        assert cosine(want["audio_embedding"], have["audio_embedding"]) > min_cosine(tmp_path)


def test_folding_changes_no_result(parent: Path, observed: Observed, tmp_path: Path) -> None:
    file = OnnxFile(parent)
    weights = [file.weights[f"{name}.weight"]() for name in "qkv"]
    scales = migration_scales(observed.channel_peaks["norm"], weights, 0.5)
    assert scales[3] == scales.max() and float(np.log(scales).mean()) == pytest.approx(0.0, abs=1e-5)
    fold(file, {"norm": tuple(float(scale) for scale in scales)})
    file.save(tmp_path / "folded.onnx")
    calmer = observe(tmp_path / "folded.onnx", small_inputs(8), MINMAX)
    assert calmer.channel_peaks["norm"] == pytest.approx(observed.channel_peaks["norm"] / scales, rel=1e-3)
    for inputs in small_inputs(2, seed=6):
        want, have = run(parent, inputs), run(tmp_path / "folded.onnx", inputs)
        for name in want:
            assert np.allclose(want[name], have[name], rtol=1e-3, atol=1e-3 * np.abs(want[name]).max())


def test_norms_that_feed_something_else_are_not_folded(parent: Path) -> None:
    file = OnnxFile(parent)
    assert [layer.name for layer in foldable(file)["norm"]] == ["q.product", "k.product", "v.product"]
    nodes = list(file.graph.node)
    residual = next(n for n in nodes if n.name == "cross_keys")
    residual.input[1] = "norm"
    assert foldable(file) == {}


def _cost(sqnr_db: float, plain: Sensitivity) -> LayerCost:
    layer = replace(plain.costs[0].layer, name=f"{sqnr_db:g}")
    return LayerCost(layer, 0.9, sqnr_db)


@pytest.mark.parametrize(
    ("costs", "target", "kept"),
    [
        ([], 20.0, []),
        ([30.0], 20.0, []),
        ([20.0], 20.0, []),
        ([19.0], 20.0, ["19"]),
        ([30.0, 10.0, 30.0], 20.0, ["10"]),
        ([22.0, 21.0, 22.0], 20.0, ["21", "22"]),  # 22 and 22 are 19 dB together
        ([23.1, 23.1], 20.0, []),  # and these 20.1
        ([10.0, 5.0, 40.0], 60.0, ["5", "10", "40"]),
    ],
)
def test_what_is_kept(costs: list[float], target: float, kept: list[str], plain: Sensitivity) -> None:
    result = decided([_cost(cost, plain) for cost in costs], target)
    assert sorted((c.layer.name for c in result if c.kept), key=float) == kept
    assert [c.sqnr_db for c in result] == costs
    remaining = Sensitivity(tuple(result), {}, {}, target)
    assert remaining.foreseen_db >= target - 0.01


def test_the_table_says_it_all(smoothed: Sensitivity) -> None:
    console = Console(width=160, record=True)
    console.print(smoothed.table())
    text = console.export_text()
    for cost in smoothed.costs:
        (row,) = [line for line in text.splitlines() if f" {cost.layer.name} " in line]
        assert f"{cost.sqnr_db:.1f}" in row and ("higher" if cost.kept else "INT8") in row
    assert f"{smoothed.foreseen_db:.1f} dB foreseen, 25 dB wanted" in text


def test_a_line_for_each_layer_and_no_windows(parent: Path, observed: Observed) -> None:
    lines: list[str] = []
    found = measure(parent, observed, small_inputs(1), target_db=300.0, alpha=None, log=lines.append)
    assert [line.split()[3] for line in lines] == LAYERS
    assert list(found.keep) == LAYERS
    with pytest.raises(DataError, match="no window"):
        measure(parent, observed, [])
