"""Weights in 8-bit blocks, measured: every form is timed in turn and held against the fp32 graph."""

from __future__ import annotations

import json
import sys

import pytest

pytest.importorskip("onnx", reason="graphs are written with onnx: pip install 'edge-aac[build]'")

from benchmarks import weight_bits  # noqa: E402


def test_forms_of_the_default_bundle(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(weight_bits, "read_rate", lambda: 1e9)
    words = ["--steps", "30", "--windows", "2", "--blocks", "32", "64", "--accuracy-levels", "0", "4"]
    monkeypatch.setattr(sys, "argv", ["weight_bits", *words])
    weight_bits.main()
    found = json.loads(capsys.readouterr().out)
    names = ["fp32", "int8", "32, 0", "32, 4", "64, 0", "64, 4"]
    for table in ("megabytes", "median_ms", "ratio", "largest_difference_of_logits", "mean_log_likelihood"):
        assert list(found[table]) == names
    assert found["ratio"]["fp32"] == 1.0 and found["largest_difference_of_logits"]["fp32"] == 0.0
    assert found["greedy_captions_equal"]["fp32"] == 1.0
    assert 0.0 < found["largest_difference_of_logits"]["32, 4"] < found["largest_difference_of_logits"]["int8"]
    assert found["megabytes"]["64, 4"] > found["megabytes"]["32, 4"], "sums of 160 are filled up to 192"
