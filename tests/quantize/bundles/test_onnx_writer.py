"""Graphs on disk: their weights once, inside or beside them, and nothing in them that copies a cache at every step."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import GraphProto, NodeProto, numpy_helper

from edge_aac.bundle.manifest import Manifest
from edge_aac.bundle.store import Bundle, check_all, open_bundle
from edge_aac.errors import DataError, InputMissingError
from quantize.bundles import onnx_writer
from quantize.bundles.convert import Provenance, convert_published
from quantize.bundles.onnx_writer import OPSET, write_onnx
from quantize.bundles.staging import check_output
from quantize.bundles.verify import max_abs_difference, parent_outputs
from quantize.graphs.onnx_file import ALIGNMENT
from quantize.models.captioner import Captioner
from quantize.models.decoder_tokenizer import NUMBERED
from quantize.models.graph_modules import (
    GraphSpec,
    cross_attention,
    decoder_spec,
    encoder_spec,
    fold_weight_norm,
    text_embedder_spec,
)
from quantize.models.instructor import load_instructor_weights
from tests.quantize.models.published_layout import SMALL, small_captioner, write_captioner, write_instructor

ROLES = ("encoder", "decoder", "text_embedder")
CACHES = ("self_keys", "self_values", "cross_keys", "cross_values")


@pytest.fixture(scope="module")
def model() -> Captioner:
    model = small_captioner()
    fold_weight_norm(model)
    return model


@pytest.fixture(scope="module")
def specs(model: Captioner, tmp_path_factory: pytest.TempPathFactory) -> dict[str, GraphSpec]:
    fbanks = torch.randn(2, 998, 128, generator=torch.Generator().manual_seed(0))
    instructor = load_instructor_weights(write_instructor(tmp_path_factory.mktemp("instructor")))
    ids = torch.randint(3, 40, (2, 7))
    mask = torch.tensor([[1] * 7, [1] * 5 + [0] * 2])
    return {
        "encoder": encoder_spec(model, fbanks, takes_padding=True),
        "decoder": decoder_spec(model, cross_attention(model, fbanks), 8),
        "text_embedder": text_embedder_spec(instructor.embedder("birds: "), ids, mask),
    }


@pytest.fixture(scope="module")
def written(specs: dict[str, GraphSpec], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Role → graph with its weights inside."""
    folder = tmp_path_factory.mktemp("inside")
    paths = {role: folder / f"{role}.onnx" for role in specs}
    for role, spec in specs.items():
        assert write_onnx(spec, paths[role]) == [paths[role]]
    assert sorted(folder.iterdir()) == sorted(paths.values())
    return paths


@pytest.fixture(scope="module")
def beside(specs: dict[str, GraphSpec], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Role → the same graph with its weights beside it."""
    folder = tmp_path_factory.mktemp("beside")
    paths = {role: folder / f"{role}.onnx" for role in specs}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_writer, "EXTERNAL_DATA_BYTES", 1)
        for role, spec in specs.items():
            assert write_onnx(spec, paths[role]) == [paths[role], folder / f"{role}.onnx.data"]
    return paths


def _graph(path: Path) -> GraphProto:
    return onnx.load(str(path), load_external_data=False).graph


def _readers(graph: GraphProto, name: str) -> list[NodeProto]:
    return [node for node in graph.node if name in node.input]


@pytest.mark.parametrize("role", ROLES)
def test_versions_that_every_runtime_reads(role: str, written: dict[str, Path]) -> None:
    model = onnx.load(str(written[role]))
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]
    assert OPSET == 17
    # ONNX Runtime 1.23, the last for JetPack 6, reads up to IR version 11.
    assert model.ir_version <= 11


@pytest.mark.parametrize("role", ROLES)
def test_inputs_and_outputs_are_the_specs(role: str, specs: dict[str, GraphSpec], written: dict[str, Path]) -> None:
    graph, spec = _graph(written[role]), specs[role]
    assert [entry.name for entry in graph.input] == list(spec.inputs)
    assert [entry.name for entry in graph.output] == list(spec.outputs)
    for entry in (*graph.input, *graph.output):
        names = {axis: dim.dim_param for axis, dim in enumerate(entry.type.tensor_type.shape.dim) if dim.dim_param}
        wanted = dict(spec.dynamic_axes.get(entry.name, {}))
        # The exporter cannot tell how long some axes of outputs are; of inputs it is told.
        assert names == wanted if entry in graph.input else names.items() >= wanted.items(), entry.name


@pytest.mark.parametrize("role", ROLES)
def test_gives_the_numbers_of_torch(role: str, specs: dict[str, GraphSpec], written: dict[str, Path]) -> None:
    spec = specs[role]
    expected = parent_outputs(spec)
    assert max_abs_difference(written[role], spec.checks, expected) < 1e-4
    expected[-1][0] = expected[-1][0] + np.float32(0.5)
    assert max_abs_difference(written[role], spec.checks, expected) > 0.4


@pytest.mark.parametrize("role", ROLES)
def test_weights_beside_the_graph_give_the_same_numbers(
    role: str, specs: dict[str, GraphSpec], written: dict[str, Path], beside: dict[str, Path]
) -> None:
    inputs = {name: tensor.numpy() for name, tensor in specs[role].inputs.items()}
    inside, outside = (
        onnxruntime.InferenceSession(str(paths[role]), providers=["CPUExecutionProvider"]).run(None, inputs)
        for paths in (written, beside)
    )
    for one, other in zip(inside, outside, strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("role", ROLES)
def test_weights_beside_the_graph_lie_on_pages(role: str, written: dict[str, Path], beside: dict[str, Path]) -> None:
    data = Path(f"{beside[role]}.data")
    stored = {tensor.name: tensor for tensor in _graph(beside[role]).initializer}
    whole = {tensor.name: numpy_helper.to_array(tensor) for tensor in _graph(written[role]).initializer}
    assert stored.keys() == whole.keys()
    end = 0
    external = [tensor for tensor in stored.values() if tensor.data_location == tensor.EXTERNAL]
    assert len(external) > 2
    for tensor in external:
        place = {entry.key: entry.value for entry in tensor.external_data}
        offset, length = int(place["offset"]), int(place["length"])
        assert place["location"] == data.name
        assert offset % ALIGNMENT == 0 == offset % 4096
        assert offset >= end
        end = offset + length
        assert length == 4 * math.prod(tensor.dims)
        array = np.fromfile(data, np.float32, length // 4, offset=offset).reshape(tensor.dims)
        assert np.array_equal(array, whole[tensor.name])
    assert data.stat().st_size == end
    # What stays in the graph is small: shapes are inferred from it.
    inline = [whole[tensor.name].nbytes for tensor in stored.values() if tensor not in external]
    assert max(inline) < 1024 <= min(whole[tensor.name].nbytes for tensor in external)


@pytest.mark.parametrize("role", ROLES)
def test_no_weight_is_turned_round_when_the_graph_runs(role: str, written: dict[str, Path]) -> None:
    graph = _graph(written[role])
    weights = {tensor.name for tensor in graph.initializer}
    left = [node for node in graph.node if node.op_type == "Transpose" and node.input[0] in weights]
    for node in left:
        readers = _readers(graph, node.output[0])
        assert {reader.op_type for reader in readers} - {"MatMul", "Gemm"}, node.input[0]
    products = [name for node in graph.node if node.op_type == "MatMul" for name in node.input if name in weights]
    assert len(products) > 4, "no matrix product has a weight: this test looks at nothing"


@pytest.mark.parametrize("role", ROLES)
def test_every_weight_is_stored_once(role: str, written: dict[str, Path]) -> None:
    arrays = [numpy_helper.to_array(tensor) for tensor in _graph(written[role]).initializer]
    large = [array for array in arrays if array.size > 16]
    contents = {np.sort(array, axis=None).tobytes() for array in large}
    assert len(contents) == len(large)


@torch.no_grad()
def test_equal_weights_of_two_layers_are_two_weights(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 4)).eval()
    for layer in (module[0], module[2]):
        layer.bias.zero_()
    given = {"x": torch.randn(2, 4)}
    (path,) = write_onnx(
        GraphSpec(module, given, ("y",), {"x": {0: "rows"}}, lambda: iter((given,))), tmp_path / "g.onnx"
    )
    graph = onnx.load(str(path)).graph
    assert {"0.bias", "2.bias"} <= {tensor.name for tensor in graph.initializer}
    assert not [node for node in graph.node if node.op_type == "Identity"]


def test_the_token_table_is_looked_up_and_multiplied_with(model: Captioner, written: dict[str, Path]) -> None:
    graph = _graph(written["decoder"])
    table = model.decoder.embed_tokens.weight.detach().numpy()
    (name,) = [t.name for t in graph.initializer if list(t.dims) in ([60, 16], [16, 60])]
    assert np.array_equal(numpy_helper.to_array(next(t for t in graph.initializer if t.name == name)), table)
    assert sorted(node.op_type for node in _readers(graph, name)) == ["Gather", "Gemm"]


def test_a_step_copies_no_cache(written: dict[str, Path]) -> None:
    """A cache goes into a matrix product as it is; ONNX Runtime makes one node of a transpose and its product."""
    graph = _graph(written["decoder"])
    caches = [entry.name for entry in graph.input if entry.name.startswith(CACHES)]
    assert len(caches) == len(CACHES) * SMALL.decoder.layers
    for name in caches:
        readers = [node for node in _readers(graph, name) if node.op_type != "Shape"]
        assert readers, name
        for node in readers:
            if node.op_type == "Transpose":
                assert [reader.op_type for reader in _readers(graph, node.output[0])] == ["MatMul"], name
            else:
                assert node.op_type == "MatMul", (name, node.op_type)


def test_cross_attention_is_as_large_as_the_window_not_as_the_candidates(written: dict[str, Path]) -> None:
    shapes = {
        entry.name: [dim.dim_param or dim.dim_value for dim in entry.type.tensor_type.shape.dim]
        for entry in _graph(written["decoder"]).input
    }
    assert shapes["cross_keys_1"] == shapes["cross_values_0"] == ["windows", 8, "memory_steps", 2]
    assert shapes["self_keys_1"] == shapes["self_values_0"] == ["rows", 8, "capacity", 2]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole bundle whose weights lie beside its graphs."""
    folder = tmp_path_factory.mktemp("converted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_writer, "EXTERNAL_DATA_BYTES", 1)
        return convert_published(
            write_captioner(folder / "captioner"),
            write_instructor(folder / "instructor"),
            NUMBERED,
            folder / "bundle",
            Provenance("small", "1", "CC0-1.0", ()),
            lambda line: None,
        )


def test_bundle_vouches_for_its_weights(bundle: Path) -> None:
    opened: Bundle = open_bundle(str(bundle))
    manifest: Manifest = opened.manifest
    for role in ROLES:
        (graph,) = manifest.graphs[role]
        assert [file.file for file in graph.external_data] == [f"{role}.fp32.onnx.data"]
        sizes = [(bundle / name).stat().st_size for name in (graph.file, f"{graph.file}.data")]
        assert opened.size(graph) == sum(sizes) > sizes[0] > 0
    assert {file.file for file in manifest.files()} < {path.name for path in bundle.iterdir()}
    check_output(bundle)  # all in it is its own, so a newer one may take its place


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(("spoil", "kind"), [(_flip, DataError), (Path.unlink, InputMissingError)])
def test_weights_that_are_not_the_bundles(spoil: Callable[[Path], None], kind: type[Exception], bundle: Path) -> None:
    data = bundle / "decoder.fp32.onnx.data"
    content = data.read_bytes()
    try:
        spoil(data)
        with pytest.raises(kind, match=r"decoder\.fp32\.onnx\.data"):
            check_all(open_bundle(str(bundle)))
    finally:
        data.write_bytes(content)
    check_all(open_bundle(str(bundle)))
