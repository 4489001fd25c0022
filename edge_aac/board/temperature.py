"""How hot the processor is, and whether the machine slows itself down, from what the kernel tells in ``/sys``.

Thermal zones: https://docs.kernel.org/driver-api/thermal/sysfs-api.html. Sensors of machines without zones:
https://docs.kernel.org/hwmon/sysfs-interface.html. Raspberry Pi's flags: the firmware's ``GET_THROTTLED`` property.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_aac.board.sysfs import number_of, numbered, text_of

_COLDEST_C, _HOTTEST_C = -40.0, 150.0
"""A sensor that says less or more is broken or absent."""

_PROCESSOR = re.compile(
    r"cpu|gpu|soc|^tj|cluster|package|x86_pkg|coretemp|k10temp|zenpower|tsens|^cv\d|^ao-|a0-therm|big|little", re.I
)
"""Zones of a processor's die: ``cpu-thermal``, ``x86_pkg_temp``, Jetson's ``tj-thermal`` and ``CPU-therm`` …"""
_NOT_THE_BOARD = re.compile(r"pmic-die|int3400|battery|iwlwifi|nvme|drivetemp|wifi|ath\d|phy\d|bat\d", re.I)
"""Zones that say nothing of the processor; Jetson's PMIC-Die always says 100 degrees."""
_PROCESSOR_CHIPS = re.compile(r"coretemp|k10temp|zenpower|cpu|soc|scpi_sensors|scmi_sensors", re.I)
_SLOWS_DOWN = re.compile(r"processor|cpufreq|devfreq|cpu|gpu", re.I)
_ONLY_COOLS = re.compile(r"fan|pwm|lcd|backlight|powerclamp", re.I)

_TRIP_TYPES = ("passive", "hot")
_LOWEST_TRIP_C, _HIGHEST_TRIP_C = 60.0, 115.0
"""A trip point outside is none of a processor that is slowed down: fans start at 50 degrees, some boards claim 0."""

_PI_THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"
_PI_SIGNS = (
    (0x1, "the supply voltage is too low"),
    (0x2, "the firmware caps the processor's frequency"),
    (0x4, "the firmware slows the processor down"),
    (0x8, "the firmware's soft temperature limit is reached"),
)
_PI_SLOWED = 0xE


@dataclass(frozen=True)
class Zone:
    """A temperature that the kernel knows.

    Attributes:
        name: name of the zone, as the kernel or its driver gives it.
        celsius: temperature in degrees Celsius.
        throttles_c: temperature at which the kernel slows the processor down; None where it does not say.
    """

    name: str
    celsius: float
    throttles_c: float | None = None


@dataclass(frozen=True)
class Heat:
    """What the board's sensors said at one moment.

    Attributes:
        zones: all temperatures of the processor, or of the board where no sensor is the processor's; may be empty.
        slowed: whether something slows the processor down at this moment for heat or for want of power.
        signs: what says so, in words; also a supply voltage that is too low.
    """

    zones: tuple[Zone, ...] = ()
    slowed: bool = False
    signs: tuple[str, ...] = ()

    @property
    def hottest(self) -> Zone | None:
        """The zone with the highest temperature; None where there is none."""
        return max(self.zones, key=lambda zone: zone.celsius, default=None)

    @property
    def celsius(self) -> float | None:
        """The highest temperature in degrees Celsius; None where no sensor is known."""
        hottest = self.hottest
        return None if hottest is None else hottest.celsius

    @property
    def throttles_c(self) -> float | None:
        """The lowest temperature at which a zone is slowed down; None where none says."""
        return min((zone.throttles_c for zone in self.zones if zone.throttles_c is not None), default=None)


def read_heat(root: Path = Path("/")) -> Heat:
    """Read all sensors; takes about a millisecond.

    Args:
        root: folder in which ``sys`` lies; a test or a container has another.

    Returns:
        What could be read. A sensor that gives an error or an impossible number is left out.
    """
    zones = [*_thermal_zones(root)] or [*_chips(root)]
    of_processor = tuple(zone for zone in zones if _PROCESSOR.search(zone.name))
    flags = number_of(root / _PI_THROTTLED, 16) or 0
    signs = [*_cooling(root)]
    slowed = bool(signs) or bool(flags & _PI_SLOWED)
    signs += [sign for bit, sign in _PI_SIGNS if flags & bit]
    return Heat(of_processor or tuple(zones), slowed, tuple(signs))


def _thermal_zones(root: Path) -> Iterator[Zone]:
    for folder in numbered(root / "sys/class/thermal", "thermal_zone*"):
        name = text_of(folder / "type") or folder.name
        celsius = _celsius(folder / "temp")
        if celsius is None or _NOT_THE_BOARD.search(name):
            continue
        trips = [
            trip_c
            for path in numbered(folder, "trip_point_*_temp")
            if text_of(path.with_name(path.name.replace("_temp", "_type"))) in _TRIP_TYPES
            and (trip_c := _celsius(path)) is not None
            and _LOWEST_TRIP_C <= trip_c <= _HIGHEST_TRIP_C
        ]
        yield Zone(name, celsius, min(trips, default=None))


def _chips(root: Path) -> Iterator[Zone]:
    """The sensors of the processor, on machines whose kernel has no thermal zones."""
    for folder in numbered(root / "sys/class/hwmon", "hwmon*"):
        chip = text_of(folder / "name") or ""
        if not _PROCESSOR_CHIPS.search(chip):
            continue
        for path in numbered(folder, "temp*_input"):
            celsius = _celsius(path)
            if celsius is None:
                continue
            sensor = path.name.removesuffix("_input")
            label = text_of(folder / f"{sensor}_label") or sensor
            limit_c = _celsius(folder / f"{sensor}_max") or _celsius(folder / f"{sensor}_crit")
            if limit_c is not None and not _LOWEST_TRIP_C <= limit_c <= _HIGHEST_TRIP_C:
                limit_c = None
            yield Zone(f"{chip} {label}", celsius, limit_c)


def _cooling(root: Path) -> Iterator[str]:
    """What slows a processor down at this moment; a fan that turns slows nothing down."""
    for folder in numbered(root / "sys/class/thermal", "cooling_device*"):
        kind = text_of(folder / "type") or ""
        if not _SLOWS_DOWN.search(kind) or _ONLY_COOLS.search(kind):
            continue
        state, largest = number_of(folder / "cur_state"), number_of(folder / "max_state")
        if state is not None and state > 0:
            yield f"the kernel slows down {kind} (step {state} of {'?' if largest is None else largest})"


def _celsius(path: Path) -> float | None:
    """Degrees Celsius of a file in thousandths of one; None for what no processor can have."""
    number = number_of(path)
    if number is None or not _COLDEST_C < number / 1000 < _HOTTEST_C:
        return None
    return number / 1000
