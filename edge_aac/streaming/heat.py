"""A board that is hot is given less to do: how much less, by its temperature."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from edge_aac.board.temperature import Heat, read_heat

READ_EVERY_S = 5.0
BELOW_THROTTLING_C, WARM_BELOW_HOT_C = 3.0, 15.0
"""Where the kernel says when it slows the processor down, the hop is longest that much before, and grows from there."""

DEFAULT_HOT_C = 80.0
"""Where nothing is known: Raspberry Pis slow down at 80 degrees, Jetson boards at 95 to 99 and say so."""

HYSTERESIS_C = 3.0
"""The board must be so much cooler before it is given more to do again."""

SLOWED_STEP = 0.25
"""Growth of the share at each reading in which the machine slows itself down, whatever its temperature."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HeatLimits:
    """At which temperatures a board is given less to do.

    Attributes:
        warm_c: up to this many degrees Celsius everything stays as it is; None: 15 below ``hot_c``.
        hot_c: from this many on, windows come as seldom as they may; None: what the kernel says, less 3, else 80.
    """

    warm_c: float | None = None
    hot_c: float | None = None

    def decided(self, heat: Heat) -> tuple[float, float]:
        """Both temperatures in degrees Celsius, by what the board says of itself; the first is the lower one."""
        hot_c = self.hot_c
        if hot_c is None:
            hot_c = DEFAULT_HOT_C if heat.throttles_c is None else heat.throttles_c - BELOW_THROTTLING_C
            if self.warm_c is not None:
                hot_c = max(hot_c, self.warm_c + HYSTERESIS_C)
        return hot_c - WARM_BELOW_HOT_C if self.warm_c is None else self.warm_c, hot_c


class HeatWatch:
    """Reads the board's temperature every five seconds and tells how much less it is to be given.

    The share grows in proportion between the two limits, and falls only when the board is three degrees cooler. While
    the machine slows itself down, it grows by a quarter with each reading, however cool the sensors claim to be.

    Args:
        limits: temperatures.
        read: gives what the sensors say.
        monotonic: clock in seconds.
        changes_hop: whether less is to be done at all; else the board is only watched.
    """

    def __init__(
        self,
        limits: HeatLimits | None = None,
        read: Callable[[], Heat] = read_heat,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        changes_hop: bool = True,
    ) -> None:
        self._changes_hop = changes_hop
        self._limits = limits or HeatLimits()
        self._read = read
        self._monotonic = monotonic
        self._due_s = monotonic()
        self._heat = Heat()
        self._told = False
        self.share = 0.0
        """How much less the board is to be given: 0 is nothing less, 1 as little as may be."""

    @property
    def celsius(self) -> float | None:
        """Temperature in degrees Celsius when it was last read; None where no sensor is known."""
        return self._heat.celsius

    @property
    def warnings(self) -> list[str]:
        """What is wrong, one sentence each; empty while the board is cool."""
        said = list(self._heat.signs)
        if self.share and (hottest := self._heat.hottest) is not None:
            said.insert(0, f"the board is hot ({hottest.name} {hottest.celsius:.0f} °C): windows come less often")
        elif self.share:
            said.insert(0, "the machine slows itself down: windows come less often")
        return said

    def tick(self) -> bool:
        """Read the sensors if it is time; whether :attr:`share` is another one."""
        if (now_s := self._monotonic()) < self._due_s:
            return False
        self._due_s = now_s + READ_EVERY_S
        self._heat = self._read()
        share = self._decided() if self._changes_hop else 0.0
        if share == self.share:
            return False
        before, self.share = self.share, share
        # On a summer's day it comes and goes: health records tell of it each time.
        level = logging.DEBUG if self._told else logging.WARNING
        if not before:
            log.log(level, "%s", "; ".join(self.warnings))
        elif not share:
            celsius = "" if self.celsius is None else f" ({self.celsius:.0f} °C)"
            log.log(level, "the board is cool again%s: windows come as before", celsius)
            self._told = True
        else:
            log.debug("heat: share %.2f", share)
        return True

    def _decided(self) -> float:
        heat = self._heat
        warm_c, hot_c = self._limits.decided(heat)

        def share_at(celsius: float) -> float:
            return min(1.0, max(0.0, (celsius - warm_c) / (hot_c - warm_c)))

        rising = falling = 0.0
        if heat.celsius is not None:
            rising, falling = share_at(heat.celsius), share_at(heat.celsius + HYSTERESIS_C)
        if heat.slowed:
            return max(rising, min(1.0, self.share + SLOWED_STEP))
        if heat.celsius is None:
            return max(0.0, self.share - SLOWED_STEP)
        return round(max(rising, min(self.share, falling)), 2)
