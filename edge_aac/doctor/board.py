"""The machine: its board, processor and power mode."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator, Sequence

from edge_aac.board.gpu_clock import power_mode
from edge_aac.doctor.contract import Context, Finding, Part

_GOVERNORS = "sys/devices/system/cpu/cpufreq/policy*/scaling_governor"


def check(context: Context) -> Sequence[Part]:
    """See :data:`edge_aac.doctor.contract.Check`."""
    return [Part(lambda: _board(context))]


def _board(context: Context) -> Iterator[Finding]:
    facts = [model(context), processor(context)]
    if mode := power_mode(context.root):
        facts.append(f"power mode {mode}")
    if governors := {context.text(str(path.relative_to(context.root))) for path in context.there(_GOVERNORS)}:
        facts.append(f"governor {', '.join(sorted(governors))}")
    yield Finding("ok", ", ".join(fact for fact in facts if fact))


def model(context: Context) -> str:
    """The board's name: of its device tree (Jetson, Raspberry Pi), or of its firmware; else that it is unknown."""
    # A container hides the first two.
    for path in ("proc/device-tree/model", "sys/firmware/devicetree/base/model", "sys/devices/soc0/machine"):
        if name := context.text(path):
            return name
    parts = [context.text(f"sys/class/dmi/id/{field}") for field in ("sys_vendor", "product_name")]
    return " ".join(part for part in parts if part) or "unknown board"


def processor(context: Context) -> str:
    """The processor's name, and how many of its cores this process may use."""
    match = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", context.text("proc/cpuinfo"), re.M)
    name = match[1] if match else platform.machine()
    return f"{name}, {len(os.sched_getaffinity(0))} of {os.cpu_count()} cores"
