"""What INT8 costs, summed up."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("onnx", reason="the build-time side needs onnx: pip install 'edge-aac[train]'")

from benchmarks.int8_forms import lost_points  # noqa: E402


def scores(single: float, f1: float, order: float) -> dict[str, Any]:
    return {
        "bundle": {"graph_bytes": 1},
        "single_clips": {"right_sound_named": single},
        "two_sound_scenes": {"f1": f1, "order_of_sequences_right": order},
    }


def test_what_is_lost_is_the_mean_over_the_seeds_in_points() -> None:
    measured = {
        "fp32": [scores(0.9, 0.8, 0.7), scores(0.8, 0.8, 0.7)],
        "int8": [scores(0.9, 0.7, 0.7), scores(0.7, 0.8, 0.8)],
    }
    lost = lost_points(measured)
    assert lost.keys() == {"int8"}
    assert lost["int8"] == {
        "single_clips_right": pytest.approx(5.0),
        "two_sound_scenes_f1": pytest.approx(5.0),
        "order_right": pytest.approx(-5.0),
    }
