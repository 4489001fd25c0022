"""Small ONNX graphs with everything that quantising has to tell apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import NodeProto, TensorProto, helper, numpy_helper, shape_inference

from edge_aac.audio.features import filter_bank
from edge_aac.audio.sources.demo import synthesise_demo

Array = npt.NDArray[Any]

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def node(kind: str, inputs: Sequence[str], output: str, **stated: Any) -> NodeProto:
    """Named after what it makes."""
    return helper.make_node(kind, list(inputs), [output], name=output, **stated)


def save(
    path: Path,
    nodes: Sequence[NodeProto],
    weights: Mapping[str, Array],
    inputs: Mapping[str, tuple[int, Sequence[int | str]]],
    outputs: Mapping[str, int],
    opset: int = 17,
    beside: bool = False,
) -> Path:
    """Write a graph; ``beside`` puts its weights into a file of their own."""
    graph = helper.make_graph(
        list(nodes),
        "small",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    domains = {n.domain for n in nodes if n.domain}
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=9 if opset > 17 else 8)
    model = shape_inference.infer_shapes(model)
    if beside:
        onnx.save(model, str(path), save_as_external_data=True, location=f"{path.name}.data", size_threshold=512)
    else:
        onnx.save(model, str(path))
    return path


def weight(rng: np.random.Generator, *shape: int) -> Array:
    """Of the size that keeps activations near 1."""
    return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[:-1]))).astype(np.float32)


def small_encoder(path: Path, beside: bool = False, outlier: float = 1.0) -> Path:
    """fbank (windows, 16, 64) → cross_keys (windows, 8, 64), audio_embedding (windows, 64).

    Two convolutions (the first of one channel), a layer norm with two matrices behind it, attention, a position bias of
    integers, and a product of a single row.

    Args:
        path: to write.
        beside: whether the weights lie in a file of their own.
        outlier: factor of one channel of the layer norm.
    """
    rng = np.random.default_rng(0)
    gamma = np.ones(64, np.float32)
    gamma[3] = outlier
    weights = {
        "stem.weight": rng.standard_normal((32, 1, 3, 3)).astype(np.float32) / 3,
        "conv.weight": weight(rng, 64, 32, 3, 3) * 4,
        "conv.bias": rng.standard_normal(64).astype(np.float32) / 10,
        "gamma": gamma,
        "beta": np.zeros(64, np.float32),
        # The loud channel shall not decide alone what is attended to.
        "q.weight": weight(rng, 64, 64) / np.float32(outlier),
        "k.weight": weight(rng, 64, 64) / np.float32(outlier),
        "v.weight": weight(rng, 64, 64),
        "k.bias": rng.standard_normal(64).astype(np.float32) / 10,
        "out.weight": weight(rng, 64, 64),
        "out.bias": rng.standard_normal(64).astype(np.float32) / 10,
        "tiny.weight": weight(rng, 64, 8),
        "mlp.weight": weight(rng, 64, 64),
        "never": np.array(-1e9, np.float32),
        "far": np.arange(8, dtype=np.int64) * 700,
        "thousand": np.array(1001.0, np.float32),
        "one": np.array([1], np.int64),
        "rows": np.array([0, 64, 8], np.int64),
    }
    nodes = [
        node("Unsqueeze", ["fbank", "one"], "image"),
        node("Conv", ["image", "stem.weight"], "stem", strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Relu", ["stem"], "stem.relu"),
        node("Conv", ["stem.relu", "conv.weight", "conv.bias"], "conv", strides=[4, 8], pads=[1, 1, 1, 1]),
        node("Relu", ["conv"], "conv.relu"),
        node("Reshape", ["conv.relu", "rows"], "flat"),
        node("Transpose", ["flat"], "steps", perm=[0, 2, 1]),
        node("LayerNormalization", ["steps", "gamma", "beta"], "norm", axis=-1, epsilon=1e-5),
        *(node("MatMul", ["norm", f"{x}.weight"], f"{x}.product") for x in "qkv"),
        node("Add", ["k.product", "k.bias"], "cross_keys"),
        # Positions above 2048 are not exact in FP16: 5600 / 1001 must stay above 5.
        node("Cast", ["far"], "far.float", to=FLOAT),
        node("Div", ["far.float", "thousand"], "far.steps"),
        node("Cast", ["far.steps"], "far.whole", to=TensorProto.INT64),
        node("Equal", ["far.whole", "one"], "hidden"),
        node("Cast", ["hidden"], "hidden.float", to=FLOAT),
        node("Mul", ["hidden.float", "never"], "mask"),
        node("Transpose", ["cross_keys"], "keys", perm=[0, 2, 1]),
        node("MatMul", ["q.product", "keys"], "scores"),
        node("Add", ["scores", "mask"], "masked"),
        node("Softmax", ["masked"], "attention", axis=-1),
        node("MatMul", ["attention", "v.product"], "context"),
        node("MatMul", ["context", "tiny.weight"], "tiny"),
        node("MatMul", ["context", "out.weight"], "out.product"),
        node("Add", ["out.bias", "out.product"], "out"),
        node("ReduceMean", ["out"], "mean", axes=[1], keepdims=0),
        node("MatMul", ["mean", "mlp.weight"], "audio_embedding"),
        node("ReduceSum", ["tiny", "one"], "sum", keepdims=1),
    ]
    inputs = {"fbank": (FLOAT, ("windows", 16, 64))}
    outputs = {"cross_keys": FLOAT, "audio_embedding": FLOAT, "sum": FLOAT}
    return save(path, nodes, weights, inputs, outputs, beside=beside)


def small_inputs(count: int, seed: int = 1) -> list[dict[str, Array]]:
    """Of :func:`small_encoder`."""
    rng = np.random.default_rng(seed)
    return [{"fbank": rng.standard_normal((1, 16, 64)).astype(np.float32)} for _ in range(count)]


def demo_inputs(count: int, seed: int) -> list[dict[str, Array]]:
    """Windows of rain and a clock, louder and softer, with and without noise."""
    rng = np.random.default_rng(seed)
    return [
        {"fbank": filter_bank(_demo(int(rng.integers(2**31)), rng.uniform(-20, 0), rng.uniform(-80, -30)))[None]}
        for _ in range(count)
    ]


def _demo(seed: int, level_db: float, noise_db: float) -> npt.NDArray[np.float32]:
    noise = np.random.default_rng(seed).standard_normal(160_000) * 10 ** (noise_db / 20)
    return (synthesise_demo(10, seed) * 10 ** (level_db / 20) + noise).astype(np.float32)


@lru_cache(maxsize=8)
def _session(path: Path, changed_ns: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run(path: Path, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """One run in ONNX Runtime, on one thread."""
    session = _session(path, path.stat().st_mtime_ns)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def cosine(one: Array, other: Array) -> float:
    """Of all numbers of two arrays."""
    a, b = np.asarray(one, np.float64).ravel(), np.asarray(other, np.float64).ravel()
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def min_cosine(folder: Path) -> float:
    """What the explicit form must reach in this ONNX Runtime: 1.23 cuts where it should round to int8 from FP16."""
    weights = {"s": np.array(1, np.float16), "z": np.array(0, np.int8)}
    nodes = [node("QuantizeLinear", ["x", "s", "z"], "q")]
    path = save(folder / "rounds.onnx", nodes, weights, {"x": (HALF, (2,))}, {"q": TensorProto.INT8}, opset=19)
    rounded = run(path, {"x": np.array([1.75, -1.75], np.float16)})["q"].tolist()
    return 0.99 if rounded == [2, -2] else 0.95


def kinds(path: Path) -> list[str]:
    """Operators of a file."""
    return [n.op_type for n in onnx.load(str(path), load_external_data=False).graph.node]


def io_types(path: Path) -> dict[str, int]:
    """Input or output → element type."""
    graph = onnx.load(str(path), load_external_data=False).graph
    return {entry.name: entry.type.tensor_type.elem_type for entry in (*graph.input, *graph.output)}
