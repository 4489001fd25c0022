"""The GPU's clock, how busy it is, and the board's power mode, as a Jetson tells them.

Clocks: https://docs.kernel.org/driver-api/devfreq.html, in which the GPU of an Orin is ``17000000.gpu``, that of a Thor
``gpu-gpc-0``. Power modes: the tool ``nvpmodel`` keeps the number of the one that is on, and names them in its
configuration.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edge_aac.board.sysfs import number_of, numbered, text_of

_GPU = re.compile(r"gpu|ga10b|gv11b|gp10b")
_MODE_FILE = "var/lib/nvpmodel/status"
_MODES_FILE = "etc/nvpmodel.conf"
_MEMORY_CLOCK = "sys/kernel/debug/bpmp/debug/clk/emc/rate"


@dataclass(frozen=True)
class GpuClock:
    """The GPU's clock, in MHz.

    Attributes:
        now: clock at this moment; an idle GPU has its lowest.
        lowest, highest: limits that the power mode and ``jetson_clocks`` set.
        load: share of the time in which the GPU computes, 0 to 1; None where the driver does not say.
    """

    now: float
    lowest: float
    highest: float
    load: float | None = None

    @property
    def held(self) -> bool:
        """Whether it cannot change, as after ``jetson_clocks``."""
        return self.lowest == self.highest


def gpu_clock(root: Path = Path("/")) -> GpuClock | None:
    """Read the clock; None where the kernel shows none of a GPU.

    Args:
        root: folder in which ``sys`` lies.
    """
    for folder in numbered(root / "sys/class/devfreq", "*"):
        if not (_GPU.search(folder.name) or _GPU.search(text_of(folder / "device/of_node/name") or "")):
            continue
        now, lowest, highest = (number_of(folder / f"{name}_freq") for name in ("cur", "min", "max"))
        if now is None or lowest is None or highest is None:
            continue
        permille = number_of(folder / "device/load")
        return GpuClock(now / 1e6, lowest / 1e6, highest / 1e6, None if permille is None else permille / 1000)
    return None


def memory_clock_mhz(root: Path = Path("/")) -> float | None:
    """The memory's clock, which only root may read; None where it cannot be read."""
    hertz = number_of(root / _MEMORY_CLOCK)
    return None if hertz is None else hertz / 1e6


def power_mode(root: Path = Path("/")) -> str:
    """Name and number of the power mode that is on ("15W (1)"), its number where no name is known; else empty.

    Args:
        root: folder in which ``etc`` and ``var`` lie; a container sees neither of the board's files.
    """
    status = re.search(r"pmode:0*(\d+)", text_of(root / _MODE_FILE) or "")
    if status is None:
        return ""
    modes = text_of(root / _MODES_FILE) or ""
    name = re.search(rf"POWER_MODEL\s+ID=0*{status[1]}\s+NAME=([^\s>]+)", modes)
    return f"{name[1]} ({status[1]})" if name else status[1]
