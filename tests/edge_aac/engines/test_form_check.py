"""What a manifest says of a graph's shapes, precision and files, beside the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_aac.bundle.store import open_bundle
from edge_aac.engines.choice import load_engine
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import DataError
from tests.edge_aac.bundle.bundle_folder import one_sentence
from tests.edge_aac.models import tiny_bundle as tiny
from tests.edge_aac.models.tiny_bundle import Tiny, captioner_table, entry, graph_entry

ROLE = "text_embedder"


def _refused(folder: Path, table: Any) -> str:
    bundle = open_bundle(tiny.write(folder, table))
    with pytest.raises(DataError) as caught:
        load_engine(bundle, ROLE, EngineOptions(threads=1))
    return one_sentence(caught)


@pytest.mark.parametrize(
    ("shapes", "named"),
    [
        ({"ids": ["texts"]}, "shapes names ids, the file has no ids"),
        ({"token_ids": None}, "shapes has no token_ids, the file has a token_ids"),
        ({"token_ids": ["texts"]}, r"shapes.token_ids is ['texts'], the file has ['texts', 'tokens_of_text']"),
        ({"token_ids": ["texts", 16]}, "shapes.token_ids is ['texts', 16], the file has"),
        ({"token_ids": ["texts", "words"]}, "shapes.token_ids is ['texts', 'words'], the file has"),
        ({"embedding": ["texts", 7]}, "shapes.embedding is ['texts', 7], the file has ['texts', 6]"),
        ({"embedding": ["texts", 6, 1]}, "shapes.embedding is ['texts', 6, 1], the file has ['texts', 6]"),
    ],
)
def test_other_shapes(tmp_path: Path, shapes: dict[str, Any], named: str) -> None:
    table = captioner_table(tmp_path, Tiny(text_embedding=6))
    table["rerank"]["similarity"] = 0.0
    stated = table["graphs"][ROLE][0]["shapes"]
    stated |= shapes
    table["graphs"][ROLE][0]["shapes"] = {name: shape for name, shape in stated.items() if shape is not None}
    message = _refused(tmp_path, table)
    assert named in message
    assert "contradicts its graph text_embedder.onnx: graphs.text_embedder says" in message
    assert "export the bundle again" in message


def _quantised() -> onnx.ModelProto:
    """A text embedder that rounds its vectors to whole numbers."""
    model = tiny.text_embedder(Tiny())
    (gather,) = (node for node in model.graph.node if node.op_type == "Gather")
    gather.output[0] = "exact"
    model.graph.initializer.extend(
        [
            numpy_helper.from_array(np.array(0.02, np.float32), "scale"),
            numpy_helper.from_array(np.array(0, np.int8), "zero"),
        ]
    )
    model.graph.node.insert(1, helper.make_node("QuantizeLinear", ["exact", "scale", "zero"], ["int8"]))
    model.graph.node.insert(2, helper.make_node("DequantizeLinear", ["int8", "scale", "zero"], ["vectors"]))
    return model


def _in_half() -> onnx.ModelProto:
    """A text embedder whose table is in FP16."""
    model = tiny.text_embedder(Tiny())
    (table,) = (weights for weights in model.graph.initializer if weights.name == "tokens")
    table.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(table).astype(np.float16), "halves"))
    model.graph.node.insert(0, helper.make_node("Cast", ["halves"], ["tokens"], to=TensorProto.FLOAT))
    return model


@pytest.mark.parametrize(
    ("model", "precision", "named"),
    [
        (tiny.text_embedder(Tiny()), "int8", "precision is 'int8', the file computes with no integers"),
        (_in_half(), "int8+fp16", "computes with no integers"),
        (_quantised(), "fp32", "precision is 'fp32', the file computes with integers (DequantizeLinear)"),
        (_quantised(), "fp16", "computes with integers"),
        (_quantised(), "int8+fp16", "holds no FP16 numbers"),
        (tiny.text_embedder(Tiny()), "fp16", "precision is 'fp16', the file holds no FP16 numbers"),
    ],
)
def test_another_precision(tmp_path: Path, model: onnx.ModelProto, precision: str, named: str) -> None:
    table = captioner_table(tmp_path, text_embedder=model)
    table["graphs"][ROLE][0]["precision"] = precision
    assert named in _refused(tmp_path, table)


@pytest.mark.parametrize(
    ("model", "precision"),
    [(_quantised(), "int8"), (_in_half(), "fp16"), (_in_half(), "fp32"), (_quantised(), "int8+x")],
)
def test_the_precision_that_it_has(tmp_path: Path, model: onnx.ModelProto, precision: str) -> None:
    """Weights in FP16 may be computed with in FP32."""
    table = captioner_table(tmp_path, text_embedder=model)
    table["graphs"][ROLE][0]["precision"] = precision
    assert (
        load_engine(open_bundle(tiny.write(tmp_path, table)), ROLE, EngineOptions(threads=1))[1].precision == precision
    )


def _with_weights_beside(folder: Path, location: str = "weights.bin") -> dict[str, Any]:
    table = captioner_table(folder)
    path = folder / f"{ROLE}.onnx"
    model = onnx.load(str(path))
    onnx.save_model(model, str(path), save_as_external_data=True, location="weights.bin", size_threshold=0)
    model = onnx.load(str(path), load_external_data=False)
    for weights in model.graph.initializer:
        for pair in weights.external_data:
            if pair.key == "location":
                pair.value = location
    path.write_bytes(model.SerializeToString())
    table["graphs"][ROLE] = [graph_entry(path)]
    return table


def test_weights_in_a_file_that_the_manifest_does_not_name(tmp_path: Path) -> None:
    """Nothing would vouch for them: the graph's own hash does not cover them."""
    table = _with_weights_beside(tmp_path)
    message = _refused(tmp_path, table)
    assert "takes weights from the file 'weights.bin', which external_data" in message and "again" in message
    table["graphs"][ROLE][0]["external_data"] = [entry(tmp_path / "tokenizer.json")]
    assert "'weights.bin'" in _refused(tmp_path, table)


@pytest.mark.parametrize("location", ["weights.bin", "./weights.bin"])
def test_weights_in_a_file_that_the_manifest_names(tmp_path: Path, location: str) -> None:
    table = _with_weights_beside(tmp_path, location)
    table["graphs"][ROLE][0]["external_data"] = [entry(tmp_path / "weights.bin")]
    engine = load_engine(open_bundle(tiny.write(tmp_path, table)), ROLE, EngineOptions(threads=1))[0]
    ids = np.array([[4, 5]])
    assert engine.run({"token_ids": ids, "attention_mask": ids})["embedding"].shape == (1, 6)


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/hostname", "sub/weights.bin"])
def test_weights_elsewhere(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "bundle"
    table = _with_weights_beside(folder, location)
    table["graphs"][ROLE][0]["external_data"] = [entry(folder / "weights.bin")]
    assert f"takes weights from the file {location!r}" in _refused(folder, table)


def test_a_run_that_fails_says_which_graph(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    engine = load_engine(open_bundle(tiny.write(tmp_path, captioner_table(tmp_path))), ROLE, EngineOptions(threads=1))[
        0
    ]
    ids = np.array([[10_000]])
    with pytest.raises(DataError, match=r"text_embedder\.onnx cannot compute with what it is given") as caught:
        engine.run({"token_ids": ids, "attention_mask": ids})
    one_sentence(caught)
    assert capfd.readouterr() == ("", ""), "the library writes nothing beside"
