"""The speed of a bundle's engines beside the bound of the board, on a stand-in for TensorRT."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

onnx = pytest.importorskip("onnx", reason="bounds are counted on graphs with onnx: pip install 'edge-aac[train]'")

from benchmarks import board_report  # noqa: E402
from edge_aac.bundle.manifest import MANIFEST  # noqa: E402
from edge_aac.bundle.store import open_bundle  # noqa: E402
from edge_aac.doctor.contract import Context, Finding  # noqa: E402
from edge_aac.errors import DataError  # noqa: E402
from edge_aac.settings.layers import Layer  # noqa: E402
from edge_aac.settings.tree import load_settings  # noqa: E402
from tests.benchmarks.planned_bundle import planned_bundle  # noqa: E402
from tests.edge_aac.engines.tensor_rt.trt_cases import install  # noqa: E402
from tests.quantize.device.build_cases import exported_bundle  # noqa: E402

pytestmark = pytest.mark.one_python


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The built-in bundle with plans for the stand-in's GPU."""
    return planned_bundle(tmp_path / "planned", monkeypatch)


def _found(folder: Path, root: Path) -> list[Finding]:
    settings = load_settings(None, Layer({"captioner": {"bundle": str(folder), "candidates": 2}}))
    (part,) = board_report.check(Context(settings, root=root))
    return list(part.run())


def test_engines_are_timed_beside_the_bound_of_their_board(planned: Path, tmp_path: Path) -> None:
    roles = list(open_bundle(str(planned)).manifest.graphs)
    loaded, timed, runs, share = _found(planned, tmp_path)
    assert loaded == Finding("ok", f"the engines of {', '.join(roles)} were loaded")
    assert [re.search(rf"\b{role} \d+\.\d{{3}} ms", runs.text) is not None for role in roles] == [True] * len(roles)
    assert [stage in timed.text for stage in ("encode ", "decode ", "rerank ")] == [True] * 3
    assert share.text.startswith("at best it would take, on a Jetson Orin Nano 8 GB: encode ")
    assert float(re.findall(r"encode (\S+) ms", share.text)[0]) > 0
    assert share.text.count("%") == 3

    # Without the engine of one graph the others are timed beside the processor's.
    table = (planned / MANIFEST).read_text()
    without = json.loads(table)
    without["graphs"]["decoder"] = without["graphs"]["decoder"][1:2]
    (planned / MANIFEST).write_text(json.dumps(without))
    loaded, _, runs, share = _found(planned, tmp_path)
    others = ", ".join(role for role in roles if role != "decoder")
    assert loaded == Finding("warning", f"the engines of {others} were loaded, beside the processor's decoder")
    assert "encoder " in runs.text and "decoder " not in runs.text
    assert "encode" in share.text and "decode" not in share.text

    # The same engines on a GPU that none of the boards has are refused, with what mends it.
    (planned / MANIFEST).write_text(table.replace("8 SMs, 8 GB", "16 SMs, 64 GB"))
    with pytest.raises(DataError, match="was built for the GPU sm_87 Orin, 16 SMs, 64 GB, here is"):
        _found(planned, tmp_path)


def test_a_bundle_without_engines_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    (finding,) = _found(exported_bundle(tmp_path / "plain"), tmp_path)
    assert finding.status == "failed" and "edge-aac build-engine --bundle" in finding.mend
