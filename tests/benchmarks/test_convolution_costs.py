"""Convolutions of few channels are counted as what they are: FP16, and without tensor cores where each is by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="costs are counted on graphs with onnx: pip install 'edge-aac[train]'")

from onnx import helper  # noqa: E402

from tests.benchmarks.counted_graphs import counted, zeros  # noqa: E402


@pytest.mark.parametrize(
    ("node", "given", "weight", "macs"),
    [
        (
            helper.make_node("Conv", ["x", "w"], ["y"], strides=[2, 2], pads=[1, 2, 1, 2], group=4),
            (2, 8, 6, 10),
            (8, 2, 3, 5),
            2 * (3 * 5) * 8 * 2 * (3 * 5),
        ),
        (helper.make_node("ConvTranspose", ["x", "w"], ["y"], group=2), (1, 4, 9), (4, 3, 5), 9 * 4 * 3 * 5),
        # Of the raw spectrogram, in patches.
        (helper.make_node("Conv", ["x", "w"], ["y"], strides=[4, 4]), (1, 1, 8, 8), (6, 1, 4, 4), 4 * 6 * 16),
    ],
    ids=["groups", "transposed", "one channel"],
)
def test_convolutions_of_few_channels_stay_fp16(
    tmp_path: Path, node: Any, given: tuple[int, ...], weight: Any, macs: int
) -> None:
    costs = counted(tmp_path, [node], {"x": given}, {"w": zeros(*weight)}, "y")
    assert (costs.weight_macs, costs.other_macs, costs.depthwise_macs) == (0, macs, 0)
    assert (costs.product_weights, costs.stored, costs.macs) == (0, np.prod(weight), macs)


@pytest.mark.parametrize(
    ("node", "weight", "macs"),
    [
        (helper.make_node("Conv", ["x", "w"], ["y"], group=6, pads=[1, 1]), (6, 1, 3), 10 * 6 * 3),
        # Two outputs of each channel.
        (helper.make_node("Conv", ["x", "w"], ["y"], group=6, pads=[1, 1]), (12, 1, 3), 10 * 12 * 3),
        (helper.make_node("ConvTranspose", ["x", "w"], ["y"], group=6), (6, 1, 3), 10 * 6 * 3),
    ],
)
def test_a_convolution_of_each_channel_by_itself_uses_no_tensor_cores(
    tmp_path: Path, node: Any, weight: Any, macs: int
) -> None:
    costs = counted(tmp_path, [node], {"x": (1, 6, 10)}, {"w": zeros(*weight)}, "y")
    assert (costs.weight_macs, costs.other_macs, costs.depthwise_macs) == (0, 0, macs)
    assert (costs.product_weights, costs.macs) == (0, macs)
