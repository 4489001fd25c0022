"""The machine: board, processor, and what its firmware says of its power supply."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator, Sequence

from edge_aac.doctor.contract import Context, Finding, Part

_GOVERNORS = "sys/devices/system/cpu/cpufreq/policy*/scaling_governor"
_THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"
_UNDER_VOLTAGE_NOW, _THROTTLED_NOW, _UNDER_VOLTAGE_SINCE = 1 << 0, 1 << 2, 1 << 16
"""Bits of the Raspberry Pi's firmware:
https://www.raspberrypi.com/documentation/computers/os.html#vcgencmd (get_throttled)."""


def check(context: Context) -> Sequence[Part]:
    """See :data:`edge_aac.doctor.contract.Check`."""
    return [Part(lambda: _board(context))]


def _board(context: Context) -> Iterator[Finding]:
    facts = [model(context), processor(context)]
    if mode := context.text("var/lib/nvpmodel/status"):
        facts.append(f"power mode {mode.partition(':')[2].split()[0] if ':' in mode else mode}")
    if governors := {context.text(str(path.relative_to(context.root))) for path in context.there(_GOVERNORS)}:
        facts.append(f"governor {', '.join(sorted(governors))}")
    yield Finding("ok", ", ".join(fact for fact in facts if fact))
    try:
        bits = int(context.text(_THROTTLED) or "0", 16)
    except ValueError:
        bits = 0
    if bits & _UNDER_VOLTAGE_NOW:
        yield Finding("warning", "the supply voltage is too low now", "use a stronger power supply or a shorter cable")
    elif bits & _UNDER_VOLTAGE_SINCE:
        yield Finding("warning", "the supply voltage was too low since boot", "use a stronger power supply")
    if bits & _THROTTLED_NOW:
        yield Finding("warning", "the processor is throttled now", "cool the board, or use a stronger power supply")


def model(context: Context) -> str:
    """The board's name: of its device tree (Jetson, Raspberry Pi), or of its firmware; else that it is unknown."""
    name = context.text("proc/device-tree/model") or context.text("sys/firmware/devicetree/base/model")
    if name:
        return name
    parts = [context.text(f"sys/class/dmi/id/{field}") for field in ("sys_vendor", "product_name")]
    return " ".join(part for part in parts if part) or "unknown board"


def processor(context: Context) -> str:
    """The processor's name, and how many of its cores this process may use."""
    match = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", context.text("proc/cpuinfo"), re.M)
    name = match[1] if match else platform.machine()
    return f"{name}, {len(os.sched_getaffinity(0))} of {os.cpu_count()} cores"
