"""How fast this processor multiplies: one large matrix product in ONNX Runtime, in fp32 or INT8."""

from __future__ import annotations

import time
from typing import Literal

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

ROWS, INNER, COLUMNS = 992, 3072, 3072
"""Of the feed-forward layers of the published encoder, with twice the columns of its memory as rows."""

_RUNS = 20

Kind = Literal["fp32", "int8"]


class Product:
    """A product (rows, inner) x (inner, columns); of INT8 numbers as MatMulInteger, uint8 by int8.

    Attributes:
        macs: multiply-accumulates of one run.
    """

    def __init__(self, kind: Kind, threads: int, rows: int = ROWS, inner: int = INNER, columns: int = COLUMNS) -> None:
        self.macs = rows * inner * columns
        weights, activations = (np.random.default_rng(seed) for seed in (0, 1))
        self._activation: np.ndarray
        if kind == "int8":
            weight = weights.integers(-127, 128, (inner, columns)).astype(np.int8)
            self._activation = activations.integers(0, 256, (rows, inner)).astype(np.uint8)
            node = helper.make_node("MatMulInteger", ["activation", "weight", "zero"], ["product"])
            given, made = TensorProto.UINT8, TensorProto.INT32
            held = [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(np.array(128, np.uint8), "zero")]
        else:
            node = helper.make_node("MatMul", ["activation", "weight"], ["product"])
            given = made = TensorProto.FLOAT
            self._activation = activations.standard_normal((rows, inner), np.float32)
            held = [numpy_helper.from_array(weights.standard_normal((inner, columns), np.float32), "weight")]
        graph = helper.make_graph(
            [node],
            "product",
            [helper.make_tensor_value_info("activation", given, (rows, inner))],
            [helper.make_tensor_value_info("product", made, (rows, columns))],
            held,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def run(self) -> float:
        """Seconds of one run."""
        started = time.perf_counter()
        self._session.run(None, {"activation": self._activation})
        return time.perf_counter() - started


def macs_per_s(kind: Kind, threads: int) -> float:
    """Multiply-accumulates a second, by the fastest of some runs."""
    product = Product(kind, threads)
    return product.macs / min(product.run() for _ in range(_RUNS))
