"""`edge-aac bench`: what it shows of models and boards, and what it says where something is missing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

onnx = pytest.importorskip("onnx", reason="costs are counted on graphs with onnx: pip install 'edge-aac[train]'")


from benchmarks.boards import BOARDS  # noqa: E402
from benchmarks.commands import bench  # noqa: E402
from edge_aac.errors import DeviceError, UsageError  # noqa: E402


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    bench(args=list(arguments), standalone_mode=False)
    return capsys.readouterr().out


def test_the_verb_shows_every_model_and_says_that_nothing_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="the published models are counted with torch")
    report = json.loads(run(capsys, "--board", "orin-nano-8gb", "--candidates", "3", "--json"))
    assert report["note"].startswith("a bound, not a measurement")
    student, published = report["models"]
    assert {model["decoding"]["candidates"] for model in report["models"]} == {3}
    assert student["precisions"]["fp16"]["window_ms"] < published["precisions"]["fp16"]["window_ms"]
    # 217 million parameters and INSTRUCTOR-XL's 1.24 billion, less BEATs' classifier and the layers that never run.
    assert 1.40e9 < published["weights_and_caches_fp32_bytes"] / 4 < 1.47e9
    ours, theirs = report["text_embedders"]
    assert ours["weights_bytes"] < theirs["weights_bytes"] == pytest.approx(2 * 1.24e9, rel=0.01)
    shown = run(capsys, "--board", "orin-nano-8gb", "--candidates", "3")
    assert "not a measurement" in shown and "…" not in shown
    for model in report["models"]:
        for numbers in model["precisions"].values():
            assert f"{numbers['window_ms']:.2f}" in shown


def test_a_faster_board_is_never_slower(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # as where it is not installed
    monkeypatch.delitem(sys.modules, "benchmarks.published_costs", raising=False)
    reports = [json.loads(run(capsys, "--board", name, "--json")) for name in BOARDS]
    for report in reports:
        (sentence,) = report["left_out"]
        assert "torch" in sentence
    assert "pip install 'edge-aac[train]'" in run(capsys, "--board", "thor-t5000").replace("\n", "")
    shown = {name: run(capsys, "--board", name) for name in ("thor-t5000", "orin-nx-super")}
    assert "FP8 517 TFLOPS" in shown["thor-t5000"] and "fp8+fp16" in shown["thor-t5000"]
    assert "FP8" not in shown["orin-nx-super"].upper() and "int8+fp16" in shown["orin-nx-super"]
    windows = [report["models"][0]["precisions"]["int8+fp16"]["window_ms"] for report in reports]
    speeds = [(board.bandwidth_gb_s, board.int8_tops, board.fp16_tflops) for board in BOARDS.values()]
    for one, two in [(a, b) for a in range(len(windows)) for b in range(len(windows))]:
        if all(x <= y for x, y in zip(speeds[one], speeds[two], strict=True)):
            assert windows[one] >= windows[two]


@pytest.mark.parametrize("arguments", [[], ["--board", "orin-mini"]])
def test_the_boards_are_named_where_none_is_chosen(arguments: list[str]) -> None:
    with pytest.raises(UsageError, match=r"orin-nano-8gb, orin-nano-super, .*thor-t5000"):
        bench(args=arguments, standalone_mode=False)


def test_what_counts_the_graphs_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [module for module in sys.modules if module.partition(".")[0] == "onnx"]:
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("benchmarks.roofline", "benchmarks.graph_costs"):
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(DeviceError, match=r"edge-aac\[build\]"):
        bench(args=["--board", "thor-t5000"], standalone_mode=False)


def test_help_needs_nothing_of_the_build_time() -> None:
    script = (
        "import sys\nfrom benchmarks.commands import bench\n"
        "try:\n    bench(args=['--help'])\nexcept SystemExit as ended:\n    code = ended.code\n"
        "print(code, sorted({'torch', 'onnx', 'transformers', 'numpy', 'quantize'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "0 []"
    assert "--board" in done.stdout
