"""Bundles whose graphs do compute, but so little that they are made anew for each test, with any part otherwise."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edge_aac.bundle.manifest import MANIFEST
from tests.edge_aac.fakes import SPECIAL_TOKENS, word_tokenizer

WORDS = ("rain", "falls", "a", "dog", "barks", "and", "birds", "sing", "while", "thunder", "rolls", "on", "the", "roof")
VOCABULARY = len(SPECIAL_TOKENS) + len(WORDS)

_FLOAT, _INTEGER, _BOOLEAN = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


@dataclass(frozen=True)
class Tiny:
    """Sizes of the graphs of a tiny bundle.

    Attributes:
        vocabulary, positions: rows of the decoder's tables.
        text_vocabulary: rows of the text embedder's table.
        embedding, text_embedding: dimensions of the embeddings of sounds and of texts.
        layers, heads, memory_steps, head_size: of keys and values.
        unit: whether the text embedder gives unit vectors.
        open_vocabulary: whether the size of the logits shows in a run only.
        padded_logits: logits without a row in the table of tokens; with an open vocabulary.
        patches: frames of a patch, and from one to the next, of a bundle with a stem; None for one without.
        vector: numbers that the stem gives of a patch.
        sounds: number of sounds whose confidence the encoder tells; 0: it tells none.
    """

    vocabulary: int = VOCABULARY
    positions: int = 24
    text_vocabulary: int = VOCABULARY
    embedding: int = 6
    text_embedding: int = 6
    layers: int = 2
    heads: int = 2
    memory_steps: int = 5
    head_size: int = 4
    unit: bool = True
    open_vocabulary: bool = False
    padded_logits: int = 0
    patches: tuple[int, int] | None = None
    vector: int = 5
    sounds: int = 0

    @property
    def patch_count(self) -> int:
        """Patches of a window."""
        frames, hop = self.patches or (998, 1)
        return (998 - frames) // hop + 1


def _weights(seed: int, *shape: int, scale: float = 1.0) -> np.ndarray:
    return (scale * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def _model(
    nodes: list[Any], inputs: dict[str, Any], outputs: dict[str, Any], weights: dict[str, np.ndarray]
) -> ModelProto:
    def declared(tensors: dict[str, Any]) -> list[Any]:
        return [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in tensors.items()]

    graph = helper.make_graph(
        nodes,
        "tiny",
        declared(inputs),
        declared(outputs),
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def encoder(tiny: Tiny, familiarity: bool = True) -> ModelProto:
    """The mean of the frames, or a mixture of the patches' vectors, through a matrix for each output."""
    memory = (tiny.layers, tiny.heads, tiny.memory_steps, tiny.head_size)
    size = int(np.prod(memory))
    flat = tiny.patch_count * tiny.vector
    heard = [helper.make_node("ReduceMean", ["fbank"], ["mean"], axes=[1], keepdims=0)]
    if tiny.patches:
        heard = [
            helper.make_node("Reshape", ["vectors", "flat"], ["in_order"]),
            helper.make_node("MatMul", ["in_order", "to_mean"], ["mean"]),
        ]
    nodes = [*heard, helper.make_node("MatMul", ["mean", "to_embedding"], ["audio_embedding"])]
    weights = {
        "flat": np.array([-1, flat], np.int64),
        "to_mean": _weights(11, flat, 128, scale=0.3),
        "to_embedding": _weights(1, 128, tiny.embedding),
        "memory": np.array([-1, *memory], np.int64),
    }
    outputs: dict[str, Any] = {"audio_embedding": (_FLOAT, ["windows", tiny.embedding])}
    for seed, name in enumerate(("cross_keys", "cross_values"), start=2):
        weights[f"to_{name}"] = _weights(seed, 128, size)
        nodes += [
            helper.make_node("MatMul", ["mean", f"to_{name}"], [f"{name}_flat"]),
            helper.make_node("Reshape", [f"{name}_flat", "memory"], [name]),
        ]
        outputs[name] = (_FLOAT, ["windows", *memory])
    if familiarity:
        nodes.append(helper.make_node("ReduceMean", ["mean"], ["familiarity"], axes=[1], keepdims=0))
        outputs["familiarity"] = (_FLOAT, ["windows"])
    if tiny.sounds:
        nodes += [
            helper.make_node("MatMul", ["mean", "to_sounds"], ["sound_logits"]),
            helper.make_node("Sigmoid", ["sound_logits"], ["sounds"]),
        ]
        weights["to_sounds"] = _weights(14, 128, tiny.sounds, scale=1.5)
        outputs["sounds"] = (_FLOAT, ["windows", tiny.sounds])
    fbank: dict[str, Any] = {"fbank": (_FLOAT, ["windows", 998, 128])}
    vectors: dict[str, Any] = {"vectors": (_FLOAT, ["windows", tiny.patch_count, tiny.vector])}
    return _model(nodes, vectors if tiny.patches else fbank, outputs, weights)


def stem(tiny: Tiny) -> ModelProto:
    """Of each patch, the frames weighted by their order."""
    assert tiny.patches is not None
    frames, _ = tiny.patches
    nodes = [
        helper.make_node("MatMul", ["by_order", "patches"], ["heard"]),
        helper.make_node("Squeeze", ["heard", "axis"], ["bands"]),
        helper.make_node("MatMul", ["bands", "to_vector"], ["wide"]),
        helper.make_node("Tanh", ["wide"], ["vectors"]),
    ]
    weights = {
        "by_order": _weights(12, 1, frames, scale=frames**-0.5),
        "axis": np.array([1], np.int64),
        "to_vector": _weights(13, 128, tiny.vector, scale=0.1),
    }
    return _model(
        nodes,
        {"patches": (_FLOAT, ["patches", frames, 128])},
        {"vectors": (_FLOAT, ["patches", tiny.vector])},
        weights,
    )


def decoder(tiny: Tiny) -> ModelProto:
    """Logits of the token and its position alone."""
    width = 8
    new = tiny.layers * tiny.heads * tiny.head_size
    nodes = [
        helper.make_node("Gather", ["tokens", "token_ids"], ["token"]),
        helper.make_node("Gather", ["positions", "step"], ["position"]),
        helper.make_node("Add", ["token", "position"], ["both"]),
        helper.make_node("Reshape", ["both", "flat"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "to_logits"], ["scores" if tiny.open_vocabulary else "logits"]),
        helper.make_node("MatMul", ["hidden", "to_new"], ["new"]),
        helper.make_node("Reshape", ["new", "new_shape"], ["new_rows"]),
        helper.make_node("Transpose", ["new_rows"], ["new_keys"], perm=[1, 0, 2, 3, 4]),
        helper.make_node("Neg", ["new_keys"], ["new_values"]),
    ]
    if tiny.open_vocabulary:  # as many as there are numbers below a sum that no inference computes
        nodes += [
            helper.make_node("ReduceSum", ["step"], ["sum"], keepdims=0),
            helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
            helper.make_node("Add", ["nothing", "size"], ["limit"]),
            helper.make_node("Range", ["zero", "limit", "one"], ["numbers"]),
            helper.make_node("Gather", ["scores", "numbers"], ["logits"], axis=1),
        ]
    logits = tiny.vocabulary + tiny.padded_logits
    weights = {
        **{name: np.array(number, np.int64) for name, number in (("zero", 0), ("one", 1), ("size", logits))},
        "tokens": _weights(5, tiny.vocabulary, width),
        "positions": _weights(6, tiny.positions, width),
        "to_logits": _weights(7, width, logits, scale=0.5),
        "to_new": _weights(8, width, new),
        "flat": np.array([-1, width], np.int64),
        "new_shape": np.array([-1, tiny.layers, tiny.heads, 1, tiny.head_size], np.int64),
    }
    cache = ["rows", tiny.heads, "capacity", tiny.head_size]
    cross = ["windows", tiny.heads, "memory_steps", tiny.head_size]
    kinds = {"self_keys": cache, "self_values": cache, "cross_keys": cross, "cross_values": cross}
    new_rows = [tiny.layers, "rows", tiny.heads, 1, tiny.head_size]
    return _model(
        nodes,
        {
            "token_ids": (_INTEGER, ["rows", 1]),
            "step": (_INTEGER, [1]),
            "memory_padding": (_BOOLEAN, ["windows", "memory_steps"]),
            **{f"{kind}_{layer}": (_FLOAT, shape) for kind, shape in kinds.items() for layer in range(tiny.layers)},
        },
        {
            "logits": (_FLOAT, ["rows", "vocabulary" if tiny.open_vocabulary else logits]),
            "new_keys": (_FLOAT, new_rows),
            "new_values": (_FLOAT, new_rows),
        },
        weights,
    )


def text_embedder(tiny: Tiny) -> ModelProto:
    """The mean of the tokens' vectors, of unit length."""
    nodes = [
        helper.make_node("Gather", ["tokens", "token_ids"], ["vectors"]),
        helper.make_node("ReduceMean", ["vectors"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("LpNormalization", ["mean"], ["embedding"], axis=-1, p=2)
        if tiny.unit
        else helper.make_node("Mul", ["mean", "three"], ["embedding"]),
    ]
    weights = {"tokens": _weights(9, tiny.text_vocabulary, tiny.text_embedding), "three": np.array(3.0, np.float32)}
    texts = {name: (_INTEGER, ["texts", "tokens_of_text"]) for name in ("token_ids", "attention_mask")}
    return _model(nodes, texts, {"embedding": (_FLOAT, ["texts", tiny.text_embedding])}, weights)


GRAPHS: dict[str, Callable[[Tiny], ModelProto]] = {
    "encoder": encoder,
    "decoder": decoder,
    "text_embedder": text_embedder,
}


def entry(path: Path) -> dict[str, Any]:
    """A file as a manifest names it."""
    return {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def graph_entry(path: Path, **changes: Any) -> dict[str, Any]:
    """A graph as a manifest names it, with its own shapes."""
    graph = onnx.load(str(path), load_external_data=False).graph
    shapes = {
        tensor.name: [axis.dim_param or axis.dim_value for axis in tensor.type.tensor_type.shape.dim]
        for tensor in (*graph.input, *graph.output)
    }
    return {
        **entry(path),
        "backend": "onnxruntime",
        "precision": "fp32",
        "shapes": shapes,
        "built_with": {},
        "max_abs_difference": 0.0,
        **changes,
    }


def captioner_table(folder: Path, tiny: Tiny = Tiny(), **models: ModelProto) -> dict[str, Any]:
    """Write the files of a captioner; its manifest, which fits them where no graph is given otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    graphs = _graphs(tiny)
    for role, make in graphs.items():
        onnx.save(models.get(role) or make(tiny), str(folder / f"{role}.onnx"))
    for name in ("tokenizer.json", "text_tokenizer.json"):
        word_tokenizer(WORDS).save(str(folder / name))
    return {
        **_common(),
        "embedding_size": tiny.embedding,
        "vocabulary_size": tiny.vocabulary,
        "decoding": {"candidates": 3, "min_length": 3, "max_length": 12, "max_positions": tiny.positions},
        "rerank": {"log_likelihood": 0.3, "similarity": 0.7},
        "tokenizers": {
            "decoder": entry(folder / "tokenizer.json"),
            "text": entry(folder / "text_tokenizer.json"),
        },
        "graphs": {role: [graph_entry(folder / f"{role}.onnx")] for role in graphs},
        **_patches(tiny),
    }


def _graphs(tiny: Tiny) -> dict[str, Callable[[Tiny], ModelProto]]:
    return {"stem": stem, **GRAPHS} if tiny.patches else GRAPHS


def _patches(tiny: Tiny) -> dict[str, Any]:
    return {"patches": dict(zip(("frames", "hop_frames"), tiny.patches, strict=True))} if tiny.patches else {}


def dual_encoder_table(folder: Path, tiny: Tiny = Tiny()) -> dict[str, Any]:
    """Write the files of a dual encoder; its manifest."""
    table = captioner_table(folder, tiny)
    return {
        **_common(),
        "kind": "dual_encoder",
        "embedding_size": tiny.embedding,
        "labels": ["rain", "a dog barks", "thunder"],
        "text_tokenizer": table["tokenizers"]["text"],
        "graphs": {
            role: _without_memory(folder, tiny) if role == "encoder" else forms
            for role, forms in table["graphs"].items()
            if role != "decoder"
        },
        **_patches(tiny),
    }


def write(folder: Path, table: Any) -> str:
    """Write the manifest, a table or text as it is; the folder's name."""
    content = table if isinstance(table, str | bytes) else json.dumps(table)
    (folder / MANIFEST).write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(folder)


def _without_memory(folder: Path, tiny: Tiny) -> list[dict[str, Any]]:
    model = encoder(tiny, familiarity=False)
    kept = [output for output in model.graph.output if output.name == "audio_embedding"]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    onnx.save(model, str(folder / "encoder.onnx"))
    return [graph_entry(folder / "encoder.onnx")]


def _common() -> dict[str, Any]:
    return {
        "schema": "edge-aac/bundle/1",
        "name": "tiny",
        "version": "1",
        "license": "Apache-2.0",
        "attributions": [],
        "sample_rate": 16_000,
        "window_s": 10.0,
        "quality": {},
    }
