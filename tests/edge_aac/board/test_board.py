"""What the kernel's files of several boards say of heat and power; the trees are made here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from edge_aac.board.power import PowerMeter
from edge_aac.board.temperature import read_heat

THERMAL = "sys/class/thermal"
PI_FLAGS = "sys/devices/platform/soc/soc:firmware/get_throttled"


def tree(root: Path, files: Mapping[str, str | int]) -> Path:
    """Writes files as the kernel shows them."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="utf-8")
    return root


def zone(number: int, name: str, millidegrees: str | int, **more: str | int) -> dict[str, str | int]:
    """Files of a thermal zone."""
    folder = f"{THERMAL}/thermal_zone{number}"
    return {f"{folder}/type": name, f"{folder}/temp": millidegrees, **{f"{folder}/{k}": v for k, v in more.items()}}


def cooling(number: int, kind: str, state: int, largest: int = 10) -> dict[str, str | int]:
    """Files of a cooling device."""
    folder = f"{THERMAL}/cooling_device{number}"
    return {f"{folder}/type": kind, f"{folder}/cur_state": state, f"{folder}/max_state": largest}


JETSON = {
    **zone(0, "cpu-thermal", 51_250, trip_point_0_temp=99_000, trip_point_0_type="passive"),
    **zone(1, "gpu-thermal", 49_500, trip_point_0_temp=50_000, trip_point_0_type="active"),
    **zone(8, "tj-thermal", 52_031, trip_point_2_temp=104_500, trip_point_2_type="critical"),
    **zone(9, "PMIC-Die", 100_000),
    **cooling(0, "pwm-fan", 4),
    **cooling(1, "cpufreq-cpu0", 0),
}


def test_a_jetson_is_as_hot_as_its_hottest_die_and_a_fan_slows_nothing_down(tmp_path: Path) -> None:
    heat = read_heat(tree(tmp_path, JETSON))
    assert [zone.name for zone in heat.zones] == ["cpu-thermal", "gpu-thermal", "tj-thermal"]
    assert (heat.celsius, heat.throttles_c, heat.slowed, heat.signs) == (52.031, 99.0, False, ())


def test_a_kernel_that_slows_the_processor_down_says_so(tmp_path: Path) -> None:
    heat = read_heat(tree(tmp_path, {**JETSON, **cooling(1, "cpufreq-cpu0", 3, 7)}))
    assert heat.slowed
    assert heat.signs == ("the kernel slows down cpufreq-cpu0 (step 3 of 7)",)


@pytest.mark.parametrize(
    ("flags", "slowed", "words"),
    [
        ("0", False, ()),
        ("50000", False, ()),  # it happened since the start, and does not now
        ("1", False, ("the supply voltage is too low",)),
        ("e0008", True, ("the firmware's soft temperature limit is reached",)),
        ("50005", True, ("the supply voltage is too low", "the firmware slows the processor down")),
    ],
)
def test_a_raspberry_pi_tells_it_in_flags(flags: str, slowed: bool, words: tuple[str, ...], tmp_path: Path) -> None:
    heat = read_heat(tree(tmp_path, {**zone(0, "cpu-thermal", 61_322), PI_FLAGS: flags}))
    assert (heat.celsius, heat.slowed, heat.signs) == (61.322, slowed, words)


def test_a_machine_without_zones_has_its_chips(tmp_path: Path) -> None:
    files: dict[str, str | int] = {
        "sys/class/hwmon/hwmon0/name": "nvme",
        "sys/class/hwmon/hwmon0/temp1_input": 71_000,
        "sys/class/hwmon/hwmon1/name": "k10temp",
        "sys/class/hwmon/hwmon1/temp1_input": 55_500,
        "sys/class/hwmon/hwmon1/temp1_label": "Tctl",
        "sys/class/hwmon/hwmon1/temp1_crit": 95_000,
    }
    heat = read_heat(tree(tmp_path, files))
    assert [(zone.name, zone.celsius, zone.throttles_c) for zone in heat.zones] == [("k10temp Tctl", 55.5, 95.0)]


@pytest.mark.parametrize("nonsense", ["", "no number", "-274000", "9999999", "1e5"])
def test_a_broken_sensor_is_left_out(nonsense: str, tmp_path: Path) -> None:
    heat = read_heat(tree(tmp_path, {**zone(0, "cpu-thermal", nonsense), **zone(1, "soc-thermal", 40_000)}))
    assert [zone.name for zone in heat.zones] == ["soc-thermal"]


def test_a_zone_that_gives_an_error_is_left_out(tmp_path: Path) -> None:
    tree(tmp_path, {**zone(1, "soc-thermal", 40_000), **zone(0, "iwlwifi_1", 90_000)})
    # As a GPU that sleeps: there is a file, and it cannot be read.
    (tmp_path / THERMAL / "thermal_zone2" / "temp").mkdir(parents=True)
    assert read_heat(tmp_path).celsius == 40.0


def test_a_board_whose_sensor_has_another_name_is_still_measured(tmp_path: Path) -> None:
    assert read_heat(tree(tmp_path, zone(0, "acpitz", 47_000))).celsius == 47.0


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    heat = read_heat(tmp_path)
    assert (heat.zones, heat.celsius, heat.throttles_c, heat.slowed) == ((), None, None, False)
    assert PowerMeter(tmp_path).read() == {}
    assert PowerMeter.total({}) is None


def test_power_of_a_jetson(tmp_path: Path) -> None:
    folder = "sys/class/hwmon/hwmon3"
    rails = {1: ("VDD_IN", 5_040, 1_200), 2: ("VDD_CPU_GPU_CV", 5_040, 400), 3: ("NC", 0, 0)}
    files: dict[str, str | int] = {f"{folder}/name": "ina3221"}
    for number, (label, millivolts, milliamperes) in rails.items():
        files[f"{folder}/in{number}_label"] = label
        files[f"{folder}/in{number}_input"] = millivolts
        files[f"{folder}/curr{number}_input"] = milliamperes
    read = PowerMeter(tree(tmp_path, files)).read()
    assert read == {"VDD_IN": pytest.approx(6.048), "VDD_CPU_GPU_CV": pytest.approx(2.016)}
    assert PowerMeter.total(read) == pytest.approx(6.048)


def test_power_of_an_older_jetson(tmp_path: Path) -> None:
    folder = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    files: dict[str, str | int] = {f"{folder}/rail_name_0": "POM_5V_IN", f"{folder}/in_power0_input": 3_150}
    assert PowerMeter(tree(tmp_path, files)).read() == {"POM_5V_IN": 3.15}


def test_energy_counters_become_power_and_may_run_over(tmp_path: Path) -> None:
    folder, now = "sys/class/powercap/intel-rapl:0", [100.0]
    counter = {f"{folder}/name": "package-0", f"{folder}/max_energy_range_uj": 262_143_328_850}
    tree(tmp_path, {**counter, f"{folder}/energy_uj": 262_143_000_000, f"{folder}:0/name": "core"})
    meter = PowerMeter(tmp_path, lambda: now[0])
    assert meter.read() == {}
    now[0] += 2.0
    tree(tmp_path, {f"{folder}/energy_uj": 29_671_150})
    read = meter.read()
    assert read == {"package-0": pytest.approx(15.0)}
    assert PowerMeter.total(read) == pytest.approx(15.0)
