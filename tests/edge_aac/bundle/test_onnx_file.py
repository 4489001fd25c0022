"""ONNX files looked through without the package onnx: operators, types of weights, and files that they refer to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_aac.bundle.onnx_file import FLOAT16, OnnxContents, read_contents, references
from edge_aac.bundle.store import DEFAULT_BUNDLE, open_bundle
from edge_aac.errors import DataError


def _external(name: str, location: str) -> TensorProto:
    """A weight whose numbers lie in another file."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", "8")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return tensor


def _saved(path: Path, nodes: list[onnx.NodeProto], weights: list[TensorProto], sparse: bool = False) -> Path:
    graph = helper.make_graph(nodes, "graph", [], [], weights)
    if sparse:
        graph.sparse_initializer.add().values.CopyFrom(_external("sparse", "sparse.bin"))
    model = helper.make_model(graph)
    model.functions.append(
        helper.make_function("own", "Twice", ["x"], ["y"], [helper.make_node("Erf", ["x"], ["y"])], [])
    )
    path.write_bytes(model.SerializeToString())
    return path


def _nested() -> onnx.NodeProto:
    """A loop in a branch, with constants in both."""
    constant = helper.make_node("Constant", [], ["c"], value=_external("c", "constant.bin"))
    loop = helper.make_node(
        "Loop", [], ["l"], body=helper.make_graph([constant], "body", [], [], [_external("b", "b.bin")])
    )
    branch = helper.make_graph([loop], "branch", [], [])
    return helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)


def test_operators_types_and_references_are_found_at_any_depth(tmp_path: Path) -> None:
    weights = [numpy_helper.from_array(np.zeros(3, np.float16), "half"), _external("w", "weights.bin")]
    path = _saved(
        tmp_path / "graph.onnx", [helper.make_node("MatMulInteger", ["a", "b"], ["c"]), _nested()], weights, True
    )
    found = read_contents(path)
    assert found.operators == {"MatMulInteger", "If", "Loop", "Constant", "Erf"}
    assert found.tensor_types == {TensorProto.FLOAT, FLOAT16}
    assert found.locations == {"weights.bin", "constant.bin", "b.bin", "sparse.bin"} == references(path)


def test_what_onnx_says_of_the_built_in_graphs() -> None:
    bundle = open_bundle(DEFAULT_BUNDLE)
    for forms in bundle.manifest.graphs.values():
        path = bundle.path(forms[0])
        graph = onnx.load(str(path)).graph
        found = read_contents(path)
        constants = [attribute.t for node in graph.node for attribute in node.attribute if attribute.HasField("t")]
        assert found == OnnxContents(
            {node.op_type for node in graph.node},
            {tensor.data_type for tensor in (*graph.initializer, *constants)},
            set(),
        )
        assert references(path) == set()


def test_a_file_that_names_no_other_needs_not_be_onnx(tmp_path: Path) -> None:
    for content in (b"", b"anything"):
        (tmp_path / "file").write_bytes(content)
        assert references(tmp_path / "file") == set()
    (tmp_path / "file").write_bytes(b"\x07location")
    with pytest.raises(DataError, match="no ONNX file"):
        references(tmp_path / "file")


@pytest.mark.parametrize(
    "content", [b"", b"\x3a", b"\x3a\xff\xff\xff\xff\x0f", b"\x3b", b"\x3a\x05\x08" + b"\xff" * 20]
)
def test_a_damaged_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(DataError, match="no ONNX file") as caught:
        read_contents(tmp_path / "file")
    assert "again" in str(caught.value)


def test_a_file_cut_or_changed_anywhere_is_read_or_refused(tmp_path: Path) -> None:
    whole = _saved(tmp_path / "graph.onnx", [_nested()], [_external("w", "weights.bin")]).read_bytes()
    path = tmp_path / "changed"
    refused = 0
    for place in range(len(whole)):
        for content in (whole[:place], whole[:place] + b"\xff" + whole[place + 1 :]):
            path.write_bytes(content)
            try:
                read_contents(path)
            except DataError:
                refused += 1
    assert refused > len(whole)


def test_graphs_within_graphs_without_end(tmp_path: Path) -> None:
    content = b""
    for _ in range(200):
        attribute = b"\x32" + _size(content) + content  # AttributeProto.g
        node = b"\x2a" + _size(attribute) + attribute  # NodeProto.attribute
        content = b"\x0a" + _size(node) + node  # GraphProto.node
    (tmp_path / "file").write_bytes(b"\x3a" + _size(content) + content)
    with pytest.raises(DataError, match="no ONNX file"):
        read_contents(tmp_path / "file")


def _size(content: bytes) -> bytes:
    """The length of a message as it stands before it."""
    left, written = len(content), b""
    while left > 0x7F:
        written += bytes([left & 0x7F | 0x80])
        left >>= 7
    return written + bytes([left])
