"""The boards that a bound is worked out for: what their makers say that they can do at most.

Arithmetic is that of the GPU alone, dense, in the module's highest power mode: INT8 = SMs x 2048 multiply-accumulates
x 2 x clock, FP16 half of it. NVIDIA's data sheets often give twice that (with sparsity) and add the DLAs.
"""

from __future__ import annotations

from dataclasses import dataclass


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
    """

    title: str
    fp16_tflops: float
    int8_tops: float
    bandwidth_gb_s: float
    memory_gb: float
    watts: tuple[int, int]


BOARDS = {
    "orin-nano-8gb": Board("Jetson Orin Nano 8 GB", 10, 20, 68, 8, (7, 15)),
    "orin-nano-super": Board("Jetson Orin Nano 8 GB, Super mode", 17, 33, 102, 8, (7, 25)),
    "orin-nx-16gb": Board("Jetson Orin NX 16 GB", 15, 30, 102, 16, (10, 25)),
    "agx-orin-64gb": Board("Jetson AGX Orin 64 GB", 43, 85, 205, 64, (15, 60)),
    "thor-t5000": Board("Jetson Thor T5000", 258, 517, 273, 128, (40, 130)),
}
"""Name on the command line → board."""
