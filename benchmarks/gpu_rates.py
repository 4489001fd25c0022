"""What a GPU can do at most: one large product in FP16, by an engine built for it, and copies within its memory.

Written without a GPU: the tests run it through stand-ins.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge_aac.engines.tensor_rt.cuda_memory import CudaStream, DeviceBuffer
from edge_aac.engines.tensor_rt.engine import DeviceContext
from edge_aac.engines.tensor_rt.plan import BoundPlan
from quantize.device.tensorrt.builder import BuildRequest, build_engine
from quantize.progress import Log

SIZE = 4096
"""Rows, inner size and columns of the product: 69 G multiply-accumulates, and 100 MB that are read and written."""
COPIED_BYTES = 256_000_000
"""More than the caches of a GPU hold."""
RUNS = 20
"""On the stream between two looks at the clock: a launch takes microseconds."""
REPETITIONS = 5


@dataclass(frozen=True)
class GpuRates:
    """The fastest of some repetitions.

    Attributes:
        fp16_gmacs_per_s: 10^9 multiply-accumulates a second in FP16.
        copy_gb_per_s: 10^9 bytes a second that are read and written.
    """

    fp16_gmacs_per_s: float
    copy_gb_per_s: float

    def bound_ms(self, macs: float, narrow_macs: float, read_and_written: float) -> float:
        """Least milliseconds of so much work (the roofline, Williams et al., 2009).

        Args:
            macs: multiply-accumulates in FP16.
            narrow_macs: those in 8 bits, of which tensor cores do twice as many.
            read_and_written: bytes.
        """
        arithmetic_s = (macs + narrow_macs / 2) / (self.fp16_gmacs_per_s * 1e9)
        return 1e3 * max(arithmetic_s, read_and_written / (self.copy_gb_per_s * 1e9))


def measure_rates(
    context: DeviceContext, folder: Path, log: Log, size: int = SIZE, copied: int = COPIED_BYTES
) -> GpuRates:
    """Build the product's engine in a folder, and time it and a copy.

    Args:
        context: TensorRT's runtime and stream.
        folder: for files that nobody needs afterwards.
        log: is told each step.
        size: rows, inner size and columns of the product.
        copied: bytes of the copy.

    Raises:
        DeviceError: TensorRT cannot build it, or there is no room.
    """
    log("building a large product, for the GPU's rate of arithmetic")
    graph = folder / "product.onnx"
    _write_product(graph, size)
    built = build_engine(BuildRequest(graph, folder / "product.engine", folder / "product.cache", {}), log)
    plan = BoundPlan(built.path, context.load(built.path), context.trt, context.log)
    buffers = {
        name: DeviceBuffer(context.cuda, tensor.largest_bytes)
        for name, tensor in {**plan.inputs, **plan.outputs}.items()
    }
    for buffer in buffers.values():
        context.stream.clear(buffer.address, buffer.size)
    plan.bind({name: buffer.address for name, buffer in buffers.items()})
    product_s = _seconds(context.stream, lambda: plan.enqueue(context.stream.handle))
    first, second = (DeviceBuffer(context.cuda, copied) for _ in range(2))
    context.stream.clear(first.address, copied)
    ends = (second.address, copied), (first.address, copied)
    copy_s = _seconds(context.stream, lambda: context.stream.copy_rows(*ends, copied, 1))
    return GpuRates(size**3 / product_s / 1e9, 2 * copied / copy_s / 1e9)


def _seconds(stream: CudaStream, enqueue: Callable[[], None]) -> float:
    """Seconds of one run: the fastest of some repetitions, each of many."""
    taken = []
    with stream.lock:
        for _ in range(1 + REPETITIONS):
            begun_s = time.perf_counter()
            for _ in range(RUNS):
                enqueue()
            stream.synchronise()
            taken.append((time.perf_counter() - begun_s) / RUNS)
    return min(taken[1:])


def _write_product(path: Path, size: int) -> None:
    weight = np.random.default_rng(0).standard_normal((size, size), np.float32).astype(np.float16)
    shapes: Mapping[str, tuple[int, int]] = {"activation": (size, size), "product": (size, size)}
    ends = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT16, shape) for name, shape in shapes.items()}
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["activation", "weight"], ["product"], "product")],
        "product",
        [ends["activation"]],
        [ends["product"]],
        [numpy_helper.from_array(weight, "weight")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9), str(path))
