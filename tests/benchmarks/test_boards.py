"""The table of boards: its figures follow from its formula, and a GPU is found in it."""

from __future__ import annotations

import pytest

from benchmarks.boards import BOARDS, INT8_MACS, board_of

TOLERANCE = 0.03
"""The makers round to whole operations, and clocks to whole megahertz."""


@pytest.mark.parametrize("name", BOARDS)
def test_figures_follow_from_the_formula(name: str) -> None:
    board = BOARDS[name]
    int8_tops = 2 * board.multiprocessors * INT8_MACS[board.architecture] * board.gpu_mhz / 1e6
    assert board.int8_tops == pytest.approx(int8_tops, rel=TOLERANCE)
    assert board.fp16_tflops == pytest.approx(int8_tops / 2, rel=TOLERANCE)
    assert board.fp8_tflops == (board.int8_tops if board.architecture == "sm_110" else None)


def test_a_gpu_is_found_by_what_cuda_and_the_clock_tell() -> None:
    assert board_of("sm_87", 8, 8, 624.75) is BOARDS["orin-nano-8gb"]
    assert board_of("sm_87", 8, 8, 1020.0) is BOARDS["orin-nano-super"]
    assert board_of("sm_87", 8, 8) is BOARDS["orin-nano-8gb"], "the slower one, where the clock is not known"
    assert board_of("sm_87", 8, 16, 918.0) is BOARDS["orin-nx-16gb"]
    assert board_of("sm_110", 20, 128) is BOARDS["thor-t5000"]
    assert board_of("sm_87", 8, 16, 1173.0) is BOARDS["orin-nx-super"]
    assert board_of("sm_87", 14, 32) is BOARDS["agx-orin-32gb"]
    assert board_of("sm_87", 8, 64) is None, "an AGX Orin in a mode with half of its GPU"
    assert board_of("sm_90", 132, 140) is None
