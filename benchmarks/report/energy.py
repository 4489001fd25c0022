"""What an hour of sound costs: processor time everywhere, and energy where the board has sensors that may be read."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from benchmarks.report.plan import Log, Plan
from benchmarks.report.spread import spread
from benchmarks.sources import measure_apart
from edge_aac.board.power import PowerMeter

HOPS_S = (2.0, 1.0)
_READ_EVERY_S = 0.2
_HOUR_S = 3600.0
NO_SENSOR = "no power sensor can be read here: neither INA3221 or hwmon, nor RAPL, which only root may read"


def measure(plan: Plan, log: Log, meter: PowerMeter | None = None) -> dict[str, Any]:
    """Bundle → hop → processor seconds an hour of sound, one source, with the time before the first window left out.

    Args:
        plan: which bundles, how much sound, how often.
        log: is told each step.
        meter: the board's sensors.
    """
    watcher = PowerWatch(meter or PowerMeter())
    log("power at rest")
    at_rest = watcher.during(lambda: time.sleep(min(5.0, plan.sound_s / 6)))
    hours = {bundle: _hours(plan, bundle, watcher, log) for bundle in plan.bundles}
    return {"watts_at_rest": at_rest, "bundles": hours, **({} if at_rest is not None else {"left_out": NO_SENSOR})}


def _hours(plan: Plan, bundle: str, watcher: PowerWatch, log: Log) -> dict[str, Any]:
    rows: dict[float, list[float]] = {hop_s: [] for hop_s in HOPS_S}
    watts: dict[float, list[float]] = {hop_s: [] for hop_s in HOPS_S}
    for repetition in range(plan.slow_repetitions):
        for hop_s in HOPS_S:
            log(f"{bundle}: sound at a hop of {hop_s:g} s, {repetition + 1} of {plan.slow_repetitions}")
            found: dict[str, Any] = {}
            drawn = watcher.during(
                lambda hop_s=hop_s, found=found: found.update(  # type: ignore[misc]
                    measure_apart(bundle, 1, plan.sound_s, hop_s, "fast")
                )
            )
            rows[hop_s].append(found["processor_s"] / plan.sound_s * _HOUR_S)
            if drawn is not None:
                watts[hop_s].append(drawn)
    return {
        f"{hop_s:g}": {
            "processor_s_an_hour": spread(values),
            "share_of_a_core": round(spread(values)["median"] / _HOUR_S, 5),
            "watts_while_computing": spread(watts[hop_s]) if watts[hop_s] else None,
        }
        for hop_s, values in rows.items()
    }


class PowerWatch:
    """Mean power of the board while something runs."""

    def __init__(self, meter: PowerMeter) -> None:
        self._meter = meter

    def during(self, work: Callable[[], object]) -> float | None:
        """Watts on average while ``work`` runs; None without a sensor."""
        readings: list[float] = []
        ended = threading.Event()
        self._meter.read()  # an energy counter begins here

        def watch() -> None:
            while not ended.wait(_READ_EVERY_S):
                if (watts := PowerMeter.total(self._meter.read())) is not None:
                    readings.append(watts)

        thread = threading.Thread(target=watch, name="power")
        thread.start()
        try:
            work()
        finally:
            ended.set()
            thread.join()
        return round(sum(readings) / len(readings), 3) if readings else None
