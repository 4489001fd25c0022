"""What INT8 costs, summed up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx", reason="the build-time side needs onnx: pip install 'edge-aac[train]'")

pytest.importorskip("torch", reason="scores are of the build-time side: pip install 'edge-aac[train]'")

from benchmarks.int8_forms import as_built, as_exported, lost_points  # noqa: E402
from benchmarks.profile import profile  # noqa: E402
from edge_aac.bundle.store import Bundle, open_bundle  # noqa: E402
from edge_aac.errors import DeviceError  # noqa: E402
from edge_aac.models.seq2seq import Captioner  # noqa: E402
from quantize.device.build import BuildOptions  # noqa: E402
from quantize.device.cpu import forms as cpu_forms  # noqa: E402
from quantize.device.kinds import captioners  # noqa: E402
from tests.quantize.device.build_cases import FASTER, SLOWER, built, exported_bundle  # noqa: E402
from tests.quantize.device.shared_work import compute_once, few_windows  # noqa: E402


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


@pytest.fixture
def built_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """The built-in bundle with an INT8 form of every graph in front."""
    compute_once(monkeypatch)
    windows = few_windows(4)
    monkeypatch.setattr(captioners, "check_windows", lambda: windows)
    monkeypatch.setattr(cpu_forms, "timing", lambda *_: FASTER)
    # The form that optimum makes of the text embedder, and those in blocks, have tests of their own.
    for other in ("by_optimum", "in_blocks"):
        monkeypatch.setattr(cpu_forms, other, lambda *_: None)
    folder = exported_bundle(tmp_path / "bundle")
    built(BuildOptions(str(folder), backend="onnxruntime", threads=1))
    return open_bundle(str(folder))


def test_fp32_is_what_was_exported_and_int8_what_build_engine_takes(
    built_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Captioner(built_bundle).encoder_graph.precision == "int8"
    assert profile(built_bundle, "encoder", 1, {"windows": 1})[0]["form"] == "encoder.int8.onnx (int8)"
    exported = as_exported(built_bundle, tmp_path / "fp32")
    assert Captioner(exported).encoder_graph.precision == "fp32"
    assert exported.manifest.exported() == built_bundle.manifest.exported()
    form, outcomes = as_built(exported, tmp_path / "int8")
    assert {role: forms[0].sha256 for role, forms in form.manifest.graphs.items()} == {
        role: forms[0].sha256 for role, forms in built_bundle.manifest.graphs.items()
    }
    assert outcomes == [f"{role}: faithful and faster" for role in exported.manifest.graphs]
    monkeypatch.setattr(cpu_forms, "timing", lambda *_: SLOWER)
    with pytest.raises(DeviceError, match="none is faster"):
        as_built(exported, tmp_path / "none")
