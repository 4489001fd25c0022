"""How much power the board takes, where its sensors say so, from ``/sys``.

Jetson boards: INA3221 sensors (https://docs.kernel.org/hwmon/ina3221.html; older releases of L4T have them under
``iio``). Other boards: power sensors of hwmon. x86-64: RAPL's energy counters
(https://docs.kernel.org/power/powercap/powercap.html), which only root may read on most machines.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from edge_aac.board.sysfs import number_of, numbered, text_of

_WHOLE_BOARD = ("VDD_IN", "POM_5V_IN", "SYS5V", "VIN_SYS_5V0", "psys")
"""Rails that everything else hangs on."""


class PowerMeter:
    """Reads the board's power.

    Args:
        root: folder in which ``sys`` lies; a test or a container has another.
        monotonic: the clock between two readings of an energy counter, in seconds.
    """

    def __init__(self, root: Path = Path("/"), monotonic: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._monotonic = monotonic
        self._energy: dict[str, tuple[float, int]] = {}
        """Of each counter, when it was read, in seconds, and what it said, in microjoules."""

    def read(self) -> dict[str, float]:
        """Watts of each rail, by its name. An energy counter gives its first value at the second call, as the mean
        power since the one before; empty where there is no sensor or it may not be read."""
        return {**self._hwmon(), **self._iio(), **self._counters()}

    @staticmethod
    def total(rails: dict[str, float]) -> float | None:
        """Watts of the whole board, or of its processors where no sensor covers more; None without a sensor."""
        for name in _WHOLE_BOARD:
            if name in rails:
                return rails[name]
        packages = [watts for name, watts in rails.items() if name.startswith("package")]
        return sum(packages) if packages else None

    def _hwmon(self) -> dict[str, float]:
        rails: dict[str, float] = {}
        for folder in numbered(self._root / "sys/class/hwmon", "hwmon*"):
            chip = text_of(folder / "name") or folder.name
            for path in numbered(folder, "power*_input"):
                label = text_of(path.with_name(path.name.replace("_input", "_label")))
                if (microwatts := number_of(path)) is not None:
                    rails[label or f"{chip} {path.name.removesuffix('_input')}"] = microwatts / 1e6
            if chip != "ina3221":
                continue
            for path in numbered(folder, "curr*_input"):
                number = path.name.removeprefix("curr").removesuffix("_input")
                milliamperes, millivolts = number_of(path), number_of(folder / f"in{number}_input")
                label = text_of(folder / f"in{number}_label")
                # Channels 4 and up are sums of the others, or shunt voltages.
                if label and label != "NC" and milliamperes is not None and millivolts is not None:
                    rails.setdefault(label, milliamperes * millivolts / 1e6)
        return rails

    def _iio(self) -> dict[str, float]:
        rails: dict[str, float] = {}
        for folder in numbered(self._root / "sys/bus/i2c/drivers/ina3221x", "*/iio:device*"):
            for path in numbered(folder, "rail_name_*"):
                number = path.name.removeprefix("rail_name_")
                name, milliwatts = text_of(path), number_of(folder / f"in_power{number}_input")
                if name and milliwatts is not None:
                    rails[name] = milliwatts / 1e3
        return rails

    def _counters(self) -> dict[str, float]:
        rails: dict[str, float] = {}
        for folder in numbered(self._root / "sys/class/powercap", "intel-rapl:*"):
            name, microjoules = text_of(folder / "name"), number_of(folder / "energy_uj")
            # intel-rapl:0:1 is a part of intel-rapl:0.
            if name is None or microjoules is None or folder.name.count(":") > 1:
                continue
            now_s = self._monotonic()
            before = self._energy.get(folder.name)
            self._energy[folder.name] = (now_s, microjoules)
            if before is None or now_s <= before[0]:
                continue
            spent = microjoules - before[1]
            if spent < 0:
                spent += number_of(folder / "max_energy_range_uj") or 0
            if spent >= 0:
                rails[name] = spent / 1e6 / (now_s - before[0])
        return rails
