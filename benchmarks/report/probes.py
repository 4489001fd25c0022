"""What this machine can do at most: products, copies and reads as large as to be no other's bound."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.product_rates import COLUMNS, INNER, ROWS, Product
from benchmarks.report.scene import timed
from benchmarks.report.worker import Way

_MEGABYTES = 256
"""Of each array: more than most processors' caches hold."""


def rates(threads: int, megabytes: int = _MEGABYTES) -> Way:
    """Products in fp32 and INT8, and memory: milliseconds of each; ``about`` says of how many MACs and bytes.

    Args:
        threads: threads of the products; numpy's are those of the environment.
        megabytes: size of each of two arrays.
    """
    products = {kind: Product(kind, threads) for kind in ("fp32", "int8")}
    numbers = megabytes * 1_000_000 // 4
    first, second = np.ones(numbers, np.float32), np.ones(numbers, np.float32)

    def run(index: int) -> Mapping[str, float]:
        times = {kind: 1e3 * product.run() for kind, product in products.items()}
        times["copy"], _ = timed(lambda: np.copyto(first, second))
        times["read"], _ = timed(lambda: first @ second)
        return times

    moved = 2 * first.nbytes  # one is read and one is written, or both are read
    return Way(run, {"macs": products["fp32"].macs, "bytes": moved})


def bfloat16(threads: int) -> Way:
    """The same product in bfloat16, by torch: ONNX Runtime has none on processors."""
    import torch

    torch.set_num_threads(threads)
    left, right = torch.randn(ROWS, INNER).bfloat16(), torch.randn(INNER, COLUMNS).bfloat16()

    def run(index: int) -> Mapping[str, float]:
        product_ms, _ = timed(lambda: left @ right)
        return {"bf16": product_ms}

    return Way(run, {"macs": ROWS * INNER * COLUMNS})
