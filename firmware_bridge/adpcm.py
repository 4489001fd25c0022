"""IMA ADPCM: 16-bit samples in 4 bits each, in blocks that carry their state (docs/firmware_bridge.md)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

# fmt: off
STEPS = (
    7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 19, 21, 23, 25, 28, 31, 34, 37, 41, 45, 50, 55, 60, 66, 73, 80, 88, 97,
    107, 118, 130, 143, 157, 173, 190, 209, 230, 253, 279, 307, 337, 371, 408, 449, 494, 544, 598, 658, 724, 796,
    876, 963, 1060, 1166, 1282, 1411, 1552, 1707, 1878, 2066, 2272, 2499, 2749, 3024, 3327, 3660, 4026, 4428, 4871,
    5358, 5894, 6484, 7132, 7845, 8630, 9493, 10442, 11487, 12635, 13899, 15289, 16818, 18500, 20350, 22385, 24623,
    27086, 29794, 32767,
)
# fmt: on
_LAST_STEP = len(STEPS) - 1
_INDEX_CHANGES = (-1, -1, -1, -1, 2, 4, 6, 8)
_HEAD = struct.Struct("<hBB")
_MIN, _MAX = -32768, 32767


def _tables() -> tuple[list[list[int]], list[list[int]]]:
    """Difference and next step index of each (step index, code)."""
    differences, followers = [], []
    for index, step in enumerate(STEPS):
        row, next_row = [], []
        for code in range(16):
            size = (step >> 3) + (step >> 2) * (code & 1) + (step >> 1) * (code >> 1 & 1) + step * (code >> 2 & 1)
            row.append(-size if code & 8 else size)
            next_row.append(min(max(index + _INDEX_CHANGES[code & 7], 0), _LAST_STEP))
        differences.append(row)
        followers.append(next_row)
    return differences, followers


_DIFFERENCES, _FOLLOWERS = _tables()


class AdpcmError(ValueError):
    """The bytes are no ADPCM block of that many samples."""


def block_bytes(samples: int) -> int:
    """Bytes of a block that holds ``samples`` samples of one channel."""
    return _HEAD.size + (samples + 1) // 2


@dataclass
class AdpcmEncoder:
    """Encodes the samples of one channel; the state goes on from block to block."""

    predictor: int = 0
    step_index: int = 0

    def encode(self, samples: list[int]) -> bytes:
        """Returns the block of ``samples`` (-32768 to 32767 each)."""
        block = bytearray(_HEAD.pack(self.predictor, self.step_index, 0))
        predictor, index = self.predictor, self.step_index
        low = -1
        for sample in samples:
            step = STEPS[index]
            difference = sample - predictor
            code = 0
            if difference < 0:
                code, difference = 8, -difference
            if difference >= step:
                code |= 4
                difference -= step
            if difference >= step >> 1:
                code |= 2
                difference -= step >> 1
            if difference >= step >> 2:
                code |= 1
            predictor += _DIFFERENCES[index][code]
            predictor = _MIN if predictor < _MIN else min(predictor, _MAX)
            index = _FOLLOWERS[index][code]
            if low < 0:
                low = code
            else:
                block.append(low | code << 4)
                low = -1
        if low >= 0:
            block.append(low)
        self.predictor, self.step_index = predictor, index
        return bytes(block)


def check_block(block: bytes, samples: int) -> None:
    """Looks whether ``block`` is one of ``samples`` samples.

    Raises:
        AdpcmError: it has another length, its head is out of range, or its unused bits are not zero.
    """
    if len(block) != block_bytes(samples):
        raise AdpcmError(f"{len(block)} bytes are no block of {samples} samples")
    _, index, reserved = _HEAD.unpack_from(block)
    if index > _LAST_STEP or reserved:
        raise AdpcmError("the head of an ADPCM block is out of range")
    if samples % 2 and block[-1] >> 4:
        raise AdpcmError("the unused bits of an ADPCM block are not zero")


def decode_block(block: bytes, samples: int) -> list[int]:
    """Returns the ``samples`` samples of a block.

    Raises:
        AdpcmError: as :func:`check_block`.
    """
    check_block(block, samples)
    predictor, index, _ = _HEAD.unpack_from(block)
    decoded: list[int] = []
    append = decoded.append
    for byte in block[_HEAD.size :]:
        for code in (byte & 15, byte >> 4):
            predictor += _DIFFERENCES[index][code]
            if predictor > _MAX:
                predictor = _MAX
            elif predictor < _MIN:
                predictor = _MIN
            index = _FOLLOWERS[index][code]
            append(predictor)
    del decoded[samples:]
    return decoded
