"""Forms whose weights are in 8-bit blocks: run where this ONNX Runtime has their operator, else left aside."""

from __future__ import annotations

import logging
import platform
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, helper, numpy_helper

from edge_aac.bundle.manifest import Graph
from edge_aac.bundle.store import Bundle, open_bundle
from edge_aac.engines import processor
from edge_aac.engines.choice import load_engine
from edge_aac.engines.contract import EngineOptions, LoadedEngine
from edge_aac.errors import DataError
from tests.edge_aac.bundle.bundle_folder import one_sentence
from tests.edge_aac.models import tiny_bundle as tiny
from tests.edge_aac.models.tiny_bundle import Tiny, captioner_table, graph_entry

ROLE = "text_embedder"
HERE = {"machine": platform.machine()}


def _with_a_product(bits: int | None) -> ModelProto:
    """A text embedder whose vectors go through the identity; None = in fp32."""
    model = tiny.text_embedder(Tiny())
    width = Tiny().text_embedding
    (gather,) = (node for node in model.graph.node if node.op_type == "Gather")
    gather.output[0] = "exact"
    identity = np.eye(width, dtype=np.float32)
    if bits is None:
        weights = {"identity": identity}
        product = helper.make_node("MatMul", ["exact", "identity"], ["vectors"])
    else:
        blocks = np.full((width, 1, 16), 128, np.uint8)
        blocks[np.arange(width), 0, np.arange(width)] = 255
        weights = {"blocks": blocks, "scales": np.full(width, 1 / 127, np.float32)}
        stated = {"K": width, "N": width, "bits": bits, "block_size": 16, "accuracy_level": 4}
        product = helper.make_node("MatMulNBits", ["exact", *weights], ["vectors"], domain="com.microsoft", **stated)
        model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    model.graph.node.insert(1, product)
    return model


def _bundle(folder: Path, bits: int, *, alone: bool = False, **changes: Any) -> Bundle:
    """A captioner whose text embedder has a form in blocks in front of the exported one."""
    table = captioner_table(folder, text_embedder=_with_a_product(None))
    (exported,) = table["graphs"][ROLE]
    path = folder / "text_embedder.int8_blocks.onnx"
    path.write_bytes(_with_a_product(bits).SerializeToString())
    made = {"built_with": HERE, "parent_sha256": exported["sha256"], **changes}
    form = graph_entry(path, precision="int8_blocks", **made)
    table["graphs"][ROLE] = [form] if alone else [form, exported]
    if alone:
        form["parent_sha256"] = form["sha256"]  # no orphan
    return open_bundle(tiny.write(folder, table))


def _loaded(bundle: Bundle) -> tuple[LoadedEngine, Graph]:
    return load_engine(bundle, ROLE, EngineOptions(threads=1))


def test_it_runs_and_gives_its_parents_numbers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bundle = _bundle(tmp_path, 8)
    engine, graph = _loaded(bundle)
    assert graph.precision == processor.INT8_BLOCKS and not graph.in_int8
    assert not caplog.records
    ids = np.array([[4, 5, 6]])
    given = {"token_ids": ids, "attention_mask": np.ones_like(ids)}
    parent = bundle.manifest.graphs[ROLE][1]
    exported = Bundle(bundle.folder, bundle.manifest.model_copy(update={"graphs": {ROLE: [parent]}}))
    wanted = _loaded(exported)[0].run(given)["embedding"]
    assert np.abs(engine.run(given)["embedding"] - wanted).max() < 0.02


@pytest.mark.parametrize("bits", [3, 99])
def test_without_the_operator_it_is_left_aside_with_one_warning(
    tmp_path: Path, bits: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Bits that no ONNX Runtime has stand in for an ONNX Runtime that lacks these 8."""
    bundle = _bundle(tmp_path, bits)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert _loaded(bundle)[1].precision == "fp32"
    (record,) = caplog.records
    message = record.getMessage()
    assert "text_embedder.int8_blocks.onnx has weights in 8-bit blocks, which cannot be run here (" in message
    assert f"`{bundle.build_command}`; until then the bundle's fp32 graphs run in its place" in message
    assert "\n" not in message


def test_without_the_operator_and_alone_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="weights in 8-bit blocks, which cannot be run here") as caught:
        _loaded(_bundle(tmp_path, 3, alone=True))
    one_sentence(caught)


def test_a_file_that_is_another_is_no_missing_operator(tmp_path: Path) -> None:
    bundle = _bundle(tmp_path, 3)
    (tmp_path / "text_embedder.int8_blocks.onnx").write_bytes(b"something else")
    with pytest.raises(DataError) as caught:
        _loaded(bundle)
    assert "blocks, which" not in one_sentence(caught)


def test_one_of_another_kind_of_processor_is_left_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert _loaded(_bundle(tmp_path, 8, built_with={"machine": "riscv64"}))[1].precision == "fp32"
    assert "built for processors of kind riscv64" in caplog.text


def test_without_vnni_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "saturates", lambda: True)
    assert _loaded(_bundle(tmp_path, 8))[1].precision == "int8_blocks"


@pytest.mark.parametrize(
    ("precision", "named"),
    [("fp32", "computes with integers (MatMulNBits)"), ("int8_blocks", "holds no weights in blocks")],
)
def test_a_manifest_that_says_otherwise_is_refused(tmp_path: Path, precision: str, named: str) -> None:
    model = _with_a_product(8 if precision == "fp32" else None)
    table = captioner_table(tmp_path, text_embedder=model)
    table["graphs"][ROLE][0]["precision"] = precision
    with pytest.raises(DataError) as caught:
        _loaded(open_bundle(tiny.write(tmp_path, table)))
    assert named in one_sentence(caught)
