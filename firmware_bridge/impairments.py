"""What a bad link does to packets and bytes, with chances that are dialled in and a generator that is given."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Chances:
    """How bad a link is; each is a chance from 0 to 1.

    Attributes:
        loss: of a packet to be lost.
        reorder: of a packet to come after the one behind it.
        duplicate: of a packet to come twice.
        corrupt: of a byte to become another one.
    """

    loss: float = 0.0
    reorder: float = 0.0
    duplicate: float = 0.0
    corrupt: float = 0.0

    def __post_init__(self) -> None:
        for name, chance in vars(self).items():
            if not 0.0 <= chance <= 1.0:
                raise ValueError(f"the chance of {name} is not between 0 and 1")


class BadLink:
    """Does to packets what a bad link does.

    Args:
        chances: how bad it is.
        generator: of chance.

    Attributes:
        lost, reordered, duplicated, corrupted: packets that met each fate.
    """

    def __init__(self, chances: Chances, generator: random.Random) -> None:
        self.lost = self.reordered = self.duplicated = self.corrupted = 0
        self._chances = chances
        self._generator = generator
        self._held: list[bytes] = []

    def carry(self, packet: bytes) -> list[bytes]:
        """The packets that arrive now that ``packet`` was sent."""
        chances, chance = self._chances, self._generator.random
        held, self._held = self._held, []
        if chance() < chances.loss:
            self.lost += 1
            return held
        packet = self._corrupted(packet)
        copies = 1
        if chance() < chances.duplicate:
            self.duplicated += 1
            copies = 2
        if not held and chance() < chances.reorder:
            self.reordered += 1
            self._held = [packet] * copies
            return []
        return [packet] * copies + held

    def _corrupted(self, packet: bytes) -> bytes:
        if not self._chances.corrupt:
            return packet
        changed = bytearray(packet)
        for place in range(len(changed)):
            if self._generator.random() < self._chances.corrupt:
                changed[place] ^= self._generator.randint(1, 255)
        if changed == packet:
            return packet
        self.corrupted += 1
        return bytes(changed)
