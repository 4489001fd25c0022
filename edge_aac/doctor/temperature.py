"""The machine's temperature, and whether heat or want of power slows it down."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edge_aac.board.power import PowerMeter
from edge_aac.board.temperature import read_heat
from edge_aac.doctor.contract import Context, Finding, Part

HOT_C = 85.0
"""Where a zone names no limit of its own."""


def check(context: Context) -> Sequence[Part]:
    """See :data:`edge_aac.doctor.contract.Check`."""
    return [Part(lambda: _temperature(context))]


def _temperature(context: Context) -> Iterator[Finding]:
    heat = read_heat(context.root)
    for sign in heat.signs:
        yield Finding("warning", sign, "cool the board, or use a stronger power supply")
    for zone in heat.zones:
        limit_c = HOT_C if zone.throttles_c is None else zone.throttles_c
        if zone.celsius >= limit_c:
            yield Finding(
                "warning",
                f"{zone.name} has {zone.celsius:.0f} °C, its limit is {limit_c:.0f} °C",
                "cool the board, or raise hop_s",
            )
    readings = [f"{zone.name} {zone.celsius:.0f} °C" for zone in heat.zones]
    readings += [f"{name} {watts:.1f} W" for name, watts in PowerMeter(context.root).read().items()]
    yield Finding("ok", ", ".join(readings) if readings else "no sensors here")
