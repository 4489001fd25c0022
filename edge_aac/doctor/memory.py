"""Memory: what is free, the limit of a container or service, and processes that were killed for want of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from edge_aac.doctor.contract import Context, Finding, Part

ENOUGH_MB = 200.0
"""The shipped bundle takes 130 MB."""

_KILOBYTES = re.compile(r"^(\w+):\s+(\d+) kB$", re.M)


def check(context: Context) -> Sequence[Part]:
    """See :data:`edge_aac.doctor.contract.Check`."""
    return [Part(lambda: _memory(context))]


def _memory(context: Context) -> Iterator[Finding]:
    table = {name: int(kilobytes) / 1e3 for name, kilobytes in _KILOBYTES.findall(context.text("proc/meminfo"))}
    total, free = table.get("MemTotal"), table.get("MemAvailable")
    if total is None or free is None:
        yield Finding("warning", "the machine does not tell its memory")
        return
    limit = limit_mb(context)
    bounded = f", this process may take {limit:.0f} MB" if limit is not None else ""
    text = f"{free:.0f} of {total:.0f} MB free, {table.get('SwapTotal', 0.0):.0f} MB of swap{bounded}"
    if min(free, limit if limit is not None else free) < ENOUGH_MB:
        yield Finding("warning", text, "end what takes it, or add swap on zram")
    else:
        yield Finding("ok", text)
    if (killed := re.search(r"^oom_kill (\d+)$", context.text("proc/vmstat"), re.M)) and int(killed[1]):
        yield Finding(
            "warning", f"{killed[1]} processes were killed since boot for want of memory", "see `journalctl -k`"
        )


def limit_mb(context: Context) -> float | None:
    """The smallest limit of this process's cgroup and of those around it, in MB; None without one."""
    match = re.search(r"^0::(/.*)$", context.text("proc/self/cgroup"), re.M)
    path = match[1].strip("/").split("/") if match else []
    limits = []
    for depth in range(len(path) + 1):
        text = context.text("/".join(["sys/fs/cgroup", *path[:depth], "memory.max"]))
        if text.isdecimal():
            limits.append(int(text) / 1e6)
    return min(limits, default=None)
