"""Costs counted on ONNX graphs, against sums done by hand and against torch; and the bounds made of them."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="costs are counted on graphs with onnx: pip install 'edge-aac[train]'")

from onnx import helper  # noqa: E402

from benchmarks.boards import Board  # noqa: E402
from benchmarks.graph_costs import GraphCosts, graph_costs  # noqa: E402
from benchmarks.roofline import Decoding, Model, Part, bound, bundle_model, memory_bytes, model_report  # noqa: E402
from edge_aac.bundle.manifest import DecodingRules, Seq2SeqManifest  # noqa: E402
from edge_aac.bundle.store import DEFAULT_BUNDLE, open_bundle  # noqa: E402
from edge_aac.errors import ConfigError, DataError  # noqa: E402
from tests.benchmarks.counted_graphs import counted, zeros  # noqa: E402
from tests.edge_aac.models.tiny_bundle import Tiny, captioner_table, write  # noqa: E402

# Its cores do 2 x 10 x 256 x 195.3125 x 10^6 = 10^12 FP16 operations a second outside the tensor cores.
BOARD = Board("a board whose sums are easy", 10, 20, 100, 8, (5, 10), None, "sm_87", 10, 195.3125)
COSTS = GraphCosts(
    weight_macs=3_000_000,
    other_macs=1_000_000,
    depthwise_macs=0,
    folded_macs=500,
    product_weights=600,
    stored=1_000,
    read=800,
    inputs={"fbank": 100, "cross_keys_0": 40},
    outputs={"embedding": 10},
    other_bytes=16,
)


@pytest.mark.parametrize(
    ("node", "given", "weight", "macs"),
    [
        (helper.make_node("MatMul", ["x", "w"], ["y"]), (2, 3, 7), (7, 5), 2 * 3 * 7 * 5),
        (helper.make_node("Gemm", ["x", "w"], ["y"]), (3, 7), (7, 5), 3 * 7 * 5),
        (helper.make_node("Gemm", ["x", "w"], ["y"], transA=1, transB=1), (7, 3), (5, 7), 3 * 7 * 5),
        (helper.make_node("Conv", ["x", "w"], ["y"]), (1, 6, 10), (4, 6, 3), 8 * 4 * 6 * 3),
        (helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2]), (1, 4, 9), (4, 3, 5), 9 * 4 * 3 * 5),
    ],
    ids=lambda value: value.op_type if isinstance(value, onnx.NodeProto) else "",
)
def test_products_with_a_weight(tmp_path: Path, node: Any, given: tuple[int, ...], weight: Any, macs: int) -> None:
    costs = counted(tmp_path, [node], {"x": given}, {"w": zeros(*weight)}, "y")
    assert (costs.weight_macs, costs.other_macs, costs.folded_macs) == (macs, 0, 0)
    assert costs.product_weights == costs.stored == costs.read == np.prod(weight)
    assert costs.inputs == {"x": np.prod(given)}


def test_a_transposed_weight_is_one_and_a_single_row_gains_nothing_from_int8(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Transpose", ["w"], ["turned"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "turned"], ["hidden"]),
        helper.make_node("ReduceMean", ["hidden"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("MatMul", ["mean", "v"], ["y"]),
    ]
    costs = counted(tmp_path, nodes, {"x": (9, 4)}, {"w": zeros(6, 4), "v": zeros(6, 3)}, "y")
    assert (costs.weight_macs, costs.other_macs) == (9 * 4 * 6, 6 * 3)
    assert (costs.product_weights, costs.stored) == (24, 24 + 18)


def test_attention_multiplies_no_weights_and_what_is_made_of_weights_is_made_once(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["keys"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["x", "keys"], ["scores"]),
        helper.make_node("MatMul", ["table", "w"], ["positions"]),
        helper.make_node("MatMul", ["scores", "positions"], ["y"]),
    ]
    costs = counted(tmp_path, nodes, {"x": (2, 5, 8)}, {"table": zeros(5, 3), "w": zeros(3, 4)}, "y")
    assert (costs.weight_macs, costs.other_macs) == (0, 2 * 5 * 5 * 8 + 2 * 5 * 5 * 4)
    assert (costs.folded_macs, costs.product_weights) == (5 * 3 * 4, 0)
    assert costs.macs == costs.other_macs


def test_of_a_table_the_rows_are_read_and_no_row_twice(tmp_path: Path) -> None:
    table, ids = zeros(100, 4), np.array([3, 1, 3], np.int64)
    rows = helper.make_node("Gather", ["table", "ids"], ["rows"])
    added = helper.make_node("Add", ["x", "rows"], ["y"])
    costs = counted(tmp_path, [rows, added], {"x": (3, 4)}, {"table": table, "ids": ids}, "y")
    assert (costs.stored, costs.read, costs.macs) == (400, 12, 0)
    many = {"table": zeros(2, 4), "ids": np.zeros(50, np.int64)}
    assert counted(tmp_path, [rows, added], {"x": (50, 4)}, many, "y").read == 8


def test_shapes_that_the_graph_computes_itself(tmp_path: Path) -> None:
    """As the exporter writes a reshape that keeps the batch: its shape is made of the input's."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "first"], ["batch"], axis=0),
        helper.make_node("Mul", ["batch", "two"], ["rows"]),
        helper.make_node("Concat", ["rows", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["split"]),
        helper.make_node("MatMul", ["split", "w"], ["y"]),
    ]
    weights = {name: np.array(value, np.int64) for name, value in (("first", [0]), ("two", [2]), ("rest", [-1]))}
    shapes = {"x": (3, 10)}
    costs = counted(tmp_path, nodes, shapes, {**weights, "w": zeros(5, 7)}, "y", {"x": ("batch", 10)})
    assert costs.weight_macs == 6 * 5 * 7
    assert costs.outputs == {"y": 6 * 7}


def test_what_cannot_be_counted_is_refused(tmp_path: Path) -> None:
    product = helper.make_node("MatMul", ["x", "w"], ["y"])
    with pytest.raises(DataError, match="its input x"):
        counted(tmp_path, [product], {}, {"w": zeros(4, 2)}, "y", {"x": ("batch", 4)})
    with pytest.raises(DataError, match="its input x"):
        counted(tmp_path, [product], {"x": ("batch", 4)}, {"w": zeros(4, 2)}, "y")  # type: ignore[dict-item]
    lookup = [helper.make_node("NonZero", ["x"], ["places"]), helper.make_node("Cast", ["places"], ["z"], to=1)]
    with pytest.raises(DataError, match="inputs' sizes"):
        counted(
            tmp_path, [*lookup, helper.make_node("MatMul", ["w", "z"], ["y"])], {"x": (3, 3)}, {"w": zeros(4, 2)}, "y"
        )
    recurrent = helper.make_node("GRU", ["x", "w", "r"], ["y"], hidden_size=2)
    with pytest.raises(DataError, match="GRU"):
        counted(tmp_path, [recurrent], {"x": (1, 1, 4)}, {"w": zeros(1, 6, 4), "r": zeros(1, 6, 2)}, "y")
    (tmp_path / "torn.onnx").write_bytes(b"no graph at all")
    with pytest.raises(DataError, match="no ONNX file"):
        graph_costs(tmp_path / "torn.onnx", {})


def test_the_bound_of_a_part_is_the_longer_of_arithmetic_and_traffic() -> None:
    fp16 = bound("encoder", Part(COSTS, 2), BOARD, "fp16")
    # Twice 4 million MACs at 5 x 10^12 MACs a second; twice 950 numbers of 2 bytes and 16 bytes at 100 GB/s.
    assert fp16.arithmetic_ms == pytest.approx(2 * 4e6 / 5e12 * 1e3)
    assert fp16.bandwidth_ms == pytest.approx(2 * (2 * (800 + 150) + 16) / 100e9 * 1e3)
    assert (fp16.ms, fp16.limited_by) == (fp16.arithmetic_ms, "arithmetic")
    int8 = bound("encoder", Part(COSTS, 2), BOARD, "int8+fp16")
    assert int8.arithmetic_ms == pytest.approx(2 * (3e6 / 10e12 + 1e6 / 5e12) * 1e3)
    assert int8.bandwidth_ms == pytest.approx(2 * (600 + 2 * (200 + 150) + 16) / 100e9 * 1e3)
    # The decoder stays in FP16, whatever the encoder is in.
    assert bound("decoder", Part(COSTS, 2), BOARD, "int8+fp16") == fp16
    # 10^12 operations a second in place of 10^13, whatever the others are in.
    deep = replace(COSTS, depthwise_macs=2_000_000)
    for precision, rest_ms in (("fp16", fp16.arithmetic_ms), ("int8+fp16", int8.arithmetic_ms)):
        assert bound("encoder", Part(deep, 2), BOARD, precision).arithmetic_ms == pytest.approx(
            rest_ms + 2 * 2e6 / 0.5e12 * 1e3
        )
    slow = replace(BOARD, bandwidth_gb_s=0.001)
    assert bound("encoder", Part(COSTS, 1), slow, "fp16").limited_by == "bandwidth"


def test_fp8_is_counted_where_the_gpu_has_it() -> None:
    thor = replace(BOARD, fp8_tflops=40)
    found = bound("encoder", Part(COSTS, 2), thor, "fp8+fp16")
    assert found.arithmetic_ms == pytest.approx(2 * (3e6 / 20e12 + 1e6 / 5e12) * 1e3)
    assert found.bandwidth_ms == bound("encoder", Part(COSTS, 2), thor, "int8+fp16").bandwidth_ms
    assert bound("decoder", Part(COSTS, 2), thor, "fp8+fp16") == bound("decoder", Part(COSTS, 2), thor, "fp16")
    with pytest.raises(ConfigError, match="has no FP8"):
        bound("encoder", Part(COSTS, 2), BOARD, "fp8+fp16")
    model = Model("m", "here", Decoding(6, 30, 6, 28), {"encoder": Part(COSTS, 1)})
    columns = {board: model_report(model, board)["precisions"] for board in (BOARD, thor)}
    assert list(columns[BOARD]) == ["fp16", "int8+fp16"]
    assert list(columns[thor]) == ["fp16", "int8+fp16", "fp8+fp16"]
    part = columns[thor]["fp8+fp16"]["parts"]["encoder"]
    assert (part["int8_macs_a_run"], part["fp8_macs_a_run"]) == (0, 3_000_000)


def test_a_window_is_its_parts_one_after_the_other() -> None:
    decoding = Decoding(6, 30, 6, 28)
    parts = {"encoder": Part(COSTS, 1), "decoder": Part(COSTS, decoding.steps), "text_embedder": Part(COSTS, 1)}
    report = model_report(Model("m", "here", decoding, parts), BOARD)
    for precision in ("fp16", "int8+fp16"):
        numbers = report["precisions"][precision]
        assert sum(part["bound_ms"] for part in numbers["parts"].values()) == pytest.approx(numbers["window_ms"])
        assert sum(part["share"] for part in numbers["parts"].values()) == pytest.approx(1.0)
        assert numbers["parts"]["decoder"]["runs"] == 29
    # Weights and buffers once each, whatever the number of steps; cross-attention lies in the encoder's outputs.
    assert memory_bytes(Model("m", "here", decoding, parts), "fp16") == 3 * (2 * 1000 + 2 * 110 + 16)
    assert memory_bytes(Model("m", "here", decoding, parts), "fp32") == 3 * (4 * 1000 + 4 * 110 + 16)
    assert report["precisions"]["int8+fp16"]["memory_bytes"] == 3 * (2 * 1000 + 2 * 110 + 16) - 600


def test_how_a_bundle_decodes() -> None:
    nucleus = DecodingRules(candidates=6, max_length=30, beams=4)
    assert Decoding.of(nucleus, True, 8) == Decoding(6, 30, 6, 36)
    assert Decoding.of(nucleus, False, 0) == Decoding(6, 30, 1, 28)
    assert Decoding.of(nucleus.model_copy(update={"method": "beam"}), True, 0) == Decoding(4, 30, 1, 28)
    assert Decoding.of(nucleus.model_copy(update={"method": "greedy"}), True, 0).rows == 1
    with pytest.raises(ConfigError, match="40 exceeds"):
        Decoding.of(nucleus.model_copy(update={"max_length": 40, "max_positions": 32}), True, 0)


def test_more_candidates_cost_arithmetic_but_no_weights_twice() -> None:
    bundle = open_bundle(DEFAULT_BUNDLE)
    one, six = (bundle_model(bundle, Decoding(rows, 30, rows, 28)).parts for rows in (1, 6))
    assert six["decoder"].costs.macs == 6 * one["decoder"].costs.macs
    assert six["encoder"] == one["encoder"]
    more = six["decoder"].costs.read - one["decoder"].costs.read
    _, _, heads, _, head_size = bundle.manifest.graphs["encoder"][0].shapes["cross_keys"]
    assert more == 5 * int(heads) * int(head_size), "a row of the token table for each"


def test_the_shipped_bundle_costs_what_torch_counts() -> None:
    pytest.importorskip("torch", reason="torch counts the other side")
    from quantize.models.footprint import footprint
    from quantize.training.recipe import load_recipe

    bundle = open_bundle(DEFAULT_BUNDLE)
    recipe, manifest = load_recipe(DEFAULT_BUNDLE), bundle.manifest_of(Seq2SeqManifest)
    config = recipe.model
    decoder = replace(config.decoder, vocab_size=manifest.vocabulary_size)
    config = replace(config, embedding_dim=manifest.embedding_size, decoder=decoder)
    rules = manifest.decoding
    counted = footprint(config, None, rules.candidates, rules.max_length - 1)
    parts = bundle_model(bundle, Decoding.of(rules, True, 0)).parts
    encoder, step = parts["encoder"].costs, parts["decoder"].costs
    # torch projects the Conformer's relative positions anew for each window, an engine once.
    dim, steps = config.beats.dim, config.memory_steps
    relative = config.conformer.layers * (2 * steps - 1) * dim * dim
    assert encoder.folded_macs in {0, relative}, "none where they were projected when the bundle was exported"
    # Of a window in patches torch counts all of them in one; what names or withholds sounds it does not count.
    stem = parts["stem"].costs.macs if "stem" in parts else 0
    naming = 0
    if settings := recipe.familiarity:  # a predictor, and a product for each stretch
        tokens = steps - 1 + config.downsample_kernel  # at a downsample_rate of 1
        naming += tokens * dim * config.beats.classes + len(settings.stretches.starts(tokens)) * dim * settings.rank
    if manifest.sureness:
        naming += steps * dim * len(manifest.sureness.names)
    assert naming, "the shipped bundle knows what it does not know"
    assert stem + encoder.macs + relative == counted.encoder_macs + naming
    assert step.macs == rules.candidates * counted.step_macs
    assert 4 * step.read == counted.step_weight_bytes
    states = {kind: sum(n for name, n in step.inputs.items() if name.startswith(kind)) for kind in ("self", "cross")}
    assert 4 * states["self"] == counted.step_cache_bytes
    assert 4 * states["cross"] == counted.step_cross_bytes


def test_sizes_alone_give_the_costs_of_the_graphs_that_are_exported_from_them(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="models are exported with torch")
    from benchmarks.published_costs import captioner_costs, text_embedder_costs
    from quantize.bundles.onnx_writer import write_onnx
    from quantize.models.captioner import Captioner
    from quantize.models.config import TextEmbedderConfig
    from quantize.models.graph_modules import (
        cross_attention,
        decoder_spec,
        encoder_spec,
        fold_weight_norm,
        text_embedder_spec,
    )
    from quantize.models.instructor import TextEmbedder
    from tests.quantize.models.published_layout import SMALL

    torch.manual_seed(0)
    model, candidates, cached = Captioner(SMALL).eval(), 3, 20
    embedder = TextEmbedder.from_config(
        TextEmbedderConfig(vocab_size=40, dim=16, head_dim=8, heads=2, ffn_dim=24, layers=2, embedding_dim=6)
    ).eval()
    fold_weight_norm(model)
    with torch.no_grad():
        # Equal weights, as those of fresh layer norms are, the exporter would write once.
        for tensor in (*model.parameters(), *model.buffers(), *embedder.parameters()):
            if tensor.is_floating_point():
                tensor.uniform_()
        windows = torch.randn(2, 998, 128)
        write_onnx(encoder_spec(model, windows), tmp_path / "encoder.onnx")
        write_onnx(decoder_spec(model, cross_attention(model, windows), cached), tmp_path / "decoder.onnx")
        ids = torch.randint(1, 40, (2, 7))
        write_onnx(text_embedder_spec(embedder, ids, torch.ones_like(ids)), tmp_path / "text.onnx")
    heads, size, steps = SMALL.decoder.heads, SMALL.beats.dim // SMALL.decoder.heads, SMALL.memory_steps
    shapes: dict[str, tuple[int, ...]] = {"token_ids": (candidates, 1), "step": (1,), "memory_padding": (1, steps)}
    for name in [f"{kind}_{layer}" for kind in ("keys", "values") for layer in range(SMALL.decoder.layers)]:
        shapes[f"self_{name}"], shapes[f"cross_{name}"] = (candidates, heads, cached, size), (1, heads, steps, size)
    of_sizes = captioner_costs(SMALL, candidates, cached)
    assert asdict(graph_costs(tmp_path / "encoder.onnx", {"fbank": (1, 998, 128)})) == asdict(of_sizes["encoder"])
    step = graph_costs(tmp_path / "decoder.onnx", shapes)
    assert sum(step.inputs.values()) == sum(of_sizes["decoder"].inputs.values())
    assert replace(step, inputs={}) == replace(of_sizes["decoder"], inputs={})
    for texts in (1, 3):
        given = {"token_ids": (texts, 9), "attention_mask": (texts, 9)}
        assert graph_costs(tmp_path / "text.onnx", given) == text_embedder_costs(embedder.to("meta"), texts, 9)


def test_a_stem_is_a_part_of_its_own(tmp_path: Path) -> None:
    parts = []
    for name, tiny in (("plain", Tiny()), ("patched", Tiny(patches=(98, 50)))):
        table = captioner_table(tmp_path / name, tiny)
        for text in ("token_ids", "attention_mask"):
            table["graphs"]["text_embedder"][0]["shapes"][text] = ["texts", "tokens"]
        bundle = open_bundle(write(tmp_path / name, table))
        rules = bundle.manifest_of(Seq2SeqManifest).decoding
        parts.append(bundle_model(bundle, Decoding.of(rules, True, 0)).parts)
    assert [list(each) for each in parts] == [
        ["encoder", "decoder", "text_embedder"],
        ["stem", "encoder", "decoder", "text_embedder"],
    ]
    # Of each of 19 patches, its 98 frames are weighted, and their 128 sums multiplied with 5 columns.
    assert parts[1]["stem"].costs.macs == 19 * (98 * 128 + 128 * 5)
