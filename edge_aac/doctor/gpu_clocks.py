"""The GPU's clock, the memory's, the power mode, and what the board draws: what times are to be judged by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edge_aac.board.gpu_clock import gpu_clock, memory_clock_mhz, power_mode
from edge_aac.board.power import PowerMeter
from edge_aac.doctor.contract import Context, Finding, Part


def check(context: Context) -> Sequence[Part]:
    """See :data:`edge_aac.doctor.contract.Check`."""
    return [Part(lambda: _clocks(context))]


def _clocks(context: Context) -> Iterator[Finding]:
    facts = []
    if mode := power_mode(context.root):
        facts.append(f"power mode {mode}")
    if clock := gpu_clock(context.root):
        range_mhz = (
            f"held at {clock.highest:.0f} MHz" if clock.held else f"{clock.lowest:.0f} to {clock.highest:.0f} MHz"
        )
        load = "" if clock.load is None else f", busy {100 * clock.load:.0f} % of the time"
        facts.append(f"GPU at {clock.now:.0f} MHz ({range_mhz}){load}")
    if memory_mhz := memory_clock_mhz(context.root):
        facts.append(f"memory at {memory_mhz:.0f} MHz")
    if watts := PowerMeter.total(PowerMeter(context.root).read()):
        facts.append(f"{watts:.1f} W")
    unknown = "neither power mode nor clocks can be seen here (a container hides the power mode)"
    yield Finding("ok", "; ".join(facts) or unknown)
