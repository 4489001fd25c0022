"""Numbers of INT8 and FP16: scales, whole numbers, and the constants that stand for a mask."""

from __future__ import annotations

import numpy as np
import pytest

from edge_aac.errors import DataError
from quantize.graphs.half import MASK, in_half
from quantize.graphs.layers import channel_scales, exact_in_half, quantised


@pytest.mark.parametrize("magnitude", [0.0, 1e-9, 1e-4, 0.03, 1.0, 300.0, 7e6])
def test_weights_are_symmetric_and_within_half_a_step(magnitude: float) -> None:
    rng = np.random.default_rng(0)
    # Channels of different size, one of which is all zeros.
    matrix = (magnitude * rng.standard_normal((5, 6)) * np.array([1, 0.1, 0, -3, 1e-3, 1])).clip(-7e6, 7e6)
    scales = channel_scales(matrix.astype(np.float32), 1)
    whole = quantised(matrix.astype(np.float32), scales, 1)
    assert whole.dtype == np.int8 and int(whole.astype(int).min()) >= -127
    assert (np.abs(whole * scales - matrix) <= scales * 0.5001).all()
    assert np.array_equal(scales, scales.astype(np.float16).astype(np.float32))


def test_scales_are_fp16_and_never_too_small() -> None:
    for scale in [0.0, *np.geomspace(1e-30, 6e4, 5000)]:
        rounded = float(exact_in_half(scale))
        assert rounded >= np.float32(scale)
        assert rounded == float(np.float16(rounded))
        assert rounded <= max(scale * 1.07, 2.0**-20)


@pytest.mark.parametrize("value", [-1e9, float(np.finfo(np.float32).min), -65504.0, 1e30])
def test_large_constants_become_masks(value: float) -> None:
    assert float(in_half(np.array(value, np.float32), "x")) == np.copysign(MASK, value)


def test_infinity_stays_infinity() -> None:
    assert float(in_half(np.array(-np.inf, np.float32), "x")) == -np.inf


def test_a_table_of_a_mask_is_one_that_fp16_holds() -> None:
    lowest = np.finfo(np.float32).min
    table = in_half(np.array([[0.0, lowest, -np.inf], [0.5, 0.0, lowest]], np.float32), "x")
    np.testing.assert_array_equal(table, [[0.0, -MASK, -np.inf], [0.5, 0.0, -MASK]])
    for value in (1e6, -1e6, -lowest, np.nan, np.inf):
        with pytest.raises(DataError, match="above 65504"):
            in_half(np.array([[0.0, value], [lowest, 1.0]], np.float32), "x")
