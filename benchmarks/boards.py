"""The boards that a bound is worked out for: what their makers say that they can do at most.

Arithmetic is that of the GPU alone, dense, in the module's highest power mode: INT8 = multiprocessors (SMs) x
multiply-accumulates that one does in a clock (:data:`INT8_MACS`) x 2 x clock, FP16 half of it. NVIDIA's data sheets
often give twice that (with sparsity) and add the DLAs.

FP8 is derived, not read in a table of NVIDIA's: of Thor they give 2070 TFLOPS on FP4 numbers with sparsity, which is
half of it without, and half of that on FP8 numbers: 517, as many as on INT8 numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

INT8_MACS = {"sm_87": 2048, "sm_110": 8192}
"""Architecture → INT8 multiply-accumulates of one multiprocessor in one clock: of Ampere as in Orin, which has no FP8,
and of Blackwell as in Thor, which does as many in FP8."""


CORE_MACS = {"sm_87": 256, "sm_110": 256}
"""Architecture → FP16 multiply-accumulates of one multiprocessor in one clock without its tensor cores. The CUDA C++
Programming Guide ("Arithmetic Instructions") has 256 for 8.0, 128 for 8.6, and neither 8.7 nor 11.0: the larger number,
so that a bound stays one."""


@dataclass(frozen=True)
class Board:
    """One module in one power mode.

    Attributes:
        title: as a person calls it.
        fp16_tflops: 10^12 operations a second on FP16 numbers; a multiply-accumulate is two of them.
        int8_tops: the same on INT8 numbers.
        bandwidth_gb_s: 10^9 bytes a second to and from memory, which CPU and GPU share.
        memory_gb: of the module, 10^9 bytes; the system and all else that runs need their part of it.
        watts: that the module may draw, least and most.
        fp8_tflops: 10^12 operations a second on FP8 numbers; None where the GPU has no such numbers.
        architecture: architecture of the GPU, as CUDA counts them ("sm_87").
        multiprocessors: multiprocessors of the GPU.
        gpu_mhz: highest clock of the GPU in MHz.
    """

    title: str
    fp16_tflops: float
    int8_tops: float
    bandwidth_gb_s: float
    memory_gb: float
    watts: tuple[int, int]
    fp8_tflops: float | None
    architecture: str
    multiprocessors: int
    gpu_mhz: float

    @property
    def core_tflops(self) -> float:
        """10^12 operations a second on FP16 numbers outside the tensor cores."""
        return 2 * self.multiprocessors * CORE_MACS[self.architecture] * self.gpu_mhz / 1e6


BOARDS = {
    "orin-nano-8gb": Board("Jetson Orin Nano 8 GB", 10, 20, 68, 8, (7, 15), None, "sm_87", 8, 625),
    "orin-nano-super": Board("Jetson Orin Nano 8 GB, Super mode", 17, 33, 102, 8, (7, 25), None, "sm_87", 8, 1020),
    "orin-nx-16gb": Board("Jetson Orin NX 16 GB", 15, 30, 102, 16, (10, 25), None, "sm_87", 8, 918),
    "orin-nx-super": Board("Jetson Orin NX 16 GB, Super mode", 19, 38, 102, 16, (10, 40), None, "sm_87", 8, 1173),
    "agx-orin-32gb": Board("Jetson AGX Orin 32 GB", 27, 53, 205, 32, (15, 40), None, "sm_87", 14, 930),
    "agx-orin-64gb": Board("Jetson AGX Orin 64 GB", 43, 85, 205, 64, (15, 60), None, "sm_87", 16, 1300),
    "thor-t5000": Board("Jetson Thor T5000", 258, 517, 273, 128, (40, 130), 517, "sm_110", 20, 1575),
}
"""Name on the command line → board."""


def board_of(architecture: str, multiprocessors: int, memory_gb: int, gpu_mhz: float | None = None) -> Board | None:
    """The board that has this GPU; None where none is known.

    Args:
        architecture: architecture of the GPU ("sm_87").
        multiprocessors: multiprocessors that are on.
        memory_gb: size that the board's memory is sold as.
        gpu_mhz: clock that the power mode allows, which tells a board's modes apart; None for the slowest of them.
    """
    wanted = (architecture, multiprocessors, memory_gb)
    fitting = [
        board for board in BOARDS.values() if (board.architecture, board.multiprocessors, board.memory_gb) == wanted
    ]
    return min(fitting, key=lambda board: abs(board.gpu_mhz - gpu_mhz) if gpu_mhz else board.gpu_mhz, default=None)
