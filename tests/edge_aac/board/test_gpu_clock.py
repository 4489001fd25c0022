"""Clocks and power modes of boards that are folders of a test."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_aac.board.gpu_clock import GpuClock, gpu_clock, memory_clock_mhz, power_mode
from edge_aac.doctor import gpu_clocks
from edge_aac.doctor.contract import Context

MODES = "< POWER_MODEL ID=0 NAME=15W >\nCPU_ONLINE CORE_0 1\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n"


def _devfreq(
    root: Path, name: str, now: int, lowest: int, highest: int, *, node: str = "", load: int | None = None
) -> None:
    folder = root / "sys/class/devfreq" / name
    (folder / "device/of_node").mkdir(parents=True)
    for kind, mhz in (("cur", now), ("min", lowest), ("max", highest)):
        (folder / f"{kind}_freq").write_text(f"{mhz}000000\n")
    if node:
        (folder / "device/of_node/name").write_text(f"{node}\0")
    if load is not None:
        (folder / "device/load").write_text(f"{load}\n")


@pytest.mark.parametrize(("name", "node"), [("17000000.gpu", ""), ("17000000.bus", "ga10b"), ("gpu-gpc-0", "")])
def test_the_gpu_s_clock(name: str, node: str, tmp_path: Path) -> None:
    _devfreq(tmp_path, "15340000.vic", 115, 115, 729)
    _devfreq(tmp_path, name, 306, 306, 1020, node=node, load=125)
    assert gpu_clock(tmp_path) == GpuClock(306.0, 306.0, 1020.0, 0.125)


def test_no_clock(tmp_path: Path) -> None:
    assert gpu_clock(tmp_path) is None and memory_clock_mhz(tmp_path) is None and power_mode(tmp_path) == ""
    _devfreq(tmp_path, "15340000.vic", 115, 115, 729)
    assert gpu_clock(tmp_path) is None, "the video's is none"
    (part,) = gpu_clocks.check(Context(None, root=tmp_path))
    (finding,) = part.run()
    assert finding.status == "ok" and "container" in finding.text


def test_the_power_mode_has_its_name(tmp_path: Path) -> None:
    (tmp_path / "var/lib/nvpmodel").mkdir(parents=True)
    (tmp_path / "var/lib/nvpmodel/status").write_text("pmode:0002 fmode:quiet\n")
    assert power_mode(tmp_path) == "2"
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nvpmodel.conf").write_text(MODES)
    assert power_mode(tmp_path) == "MAXN_SUPER (2)"


def test_the_report_has_all_of_it_in_a_line(tmp_path: Path) -> None:
    _devfreq(tmp_path, "17000000.gpu", 1020, 1020, 1020, load=1000)
    (tmp_path / "var/lib/nvpmodel").mkdir(parents=True)
    (tmp_path / "var/lib/nvpmodel/status").write_text("pmode:0002 fmode:quiet\n")
    memory = tmp_path / "sys/kernel/debug/bpmp/debug/clk/emc"
    memory.mkdir(parents=True)
    (memory / "rate").write_text("3199000000\n")
    (part,) = gpu_clocks.check(Context(None, root=tmp_path))
    (finding,) = part.run()
    assert finding.text == (
        "power mode 2; GPU at 1020 MHz (held at 1020 MHz), busy 100 % of the time; memory at 3199 MHz"
    )
