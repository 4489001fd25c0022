"""Which products of a plan run in INT8 or FP8, by what inspectors and importers of several versions say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from quantize.device.tensorrt.inspection import summary
from tests.edge_aac.engines.tensor_rt.trt_api import VERSIONS
from tests.edge_aac.engines.tensor_rt.trt_cases import install
from tests.edge_aac.engines.tensor_rt.trt_stand_in import Ways
from tests.quantize.device.product_graphs import X, build_here, request_of, write_products


@pytest.mark.parametrize("version", VERSIONS)
def test_products_are_counted_whatever_the_importer_puts_around_them(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Since 10.13 weights get their leading axes by an unsqueeze, which takes INT8 and names the product's node."""
    path = tmp_path / "graph.onnx"
    write_products(path, [("a/one", 64, True), ("a/two", 64, True), ("plain", 64, False)])
    for int8, found in ((9, 2), (1, 1), (0, 0)):
        install(monkeypatch, Ways(version=version, int8=int8))
        made, _ = build_here(request_of(path, tmp_path, X))
        assert made.summary.int8_matmuls == (found, 3)
        assert made.summary.fp8_matmuls == (0, 3)


def _layer(name: str, taken: str, **more: Any) -> dict[str, Any]:
    return {"Name": name, "Inputs": [{"Format/Datatype": taken}], "Outputs": [], **more}


@pytest.mark.parametrize(
    ("layer", "int8", "fp8"),
    [
        (_layer("__myl_Fc_myl0_1", "Int8", Metadata="[ONNX Layer: /a/MatMul]\x1e[ONNX Layer: /a/Q]"), 1, 0),
        (_layer("ONNXTRT_renamed_7_myl0_2", "Int8", Metadata="[ONNX Layer: /other]"), 1, 0),
        (_layer("/a/MatMul", "FP8"), 0, 1),
        (_layer("/a/MatMul", "Row major linear E4M3 format"), 0, 1),
        (_layer("/a/MatMul", "Half", Weights={"Type": "Int8", "Count": 4096}), 1, 0),
        (_layer("/a/MatMul", "Half", TacticName="sm80_xmma_gemm_i8i8_i8i32_f32_tn_n"), 1, 0),
        (_layer("/a/MatMul", "Half", TacticName="sm90_xmma_gemm_e4m3e4m3_f32f32_f32_tn_n"), 0, 1),
        (_layer("/a/MatMul", "Half", TacticName="sm80_xmma_gemm_f16f16_f16f16_f16_tn_n"), 0, 0),
        (_layer("/a/MatMul", "Half", Outputs=[{"Format/Datatype": "Int8"}]), 0, 0),
        (_layer("/a/MatMul", "Int8", LayerType="Unsqueeze"), 0, 0),
        (_layer("/a/MatMul_1", "Int8"), 0, 0),
        (_layer("/b/MatMul", "Int8"), 0, 0),
    ],
)
def test_a_layer_is_known_by_what_it_takes_and_what_it_was(layer: dict[str, Any], int8: int, fp8: int) -> None:
    found = summary(json.dumps({"Layers": [layer]}), {"/a/MatMul": ["ONNXTRT_renamed_7"]})
    assert (found.int8_matmuls, found.fp8_matmuls) == ((int8, 1), (fp8, 1))
