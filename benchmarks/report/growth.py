"""How cost grows with the hop, with sources, candidates and the length of captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.report.plan import Log, Plan
from benchmarks.report.side_by_side import Order, take_turns
from benchmarks.report.spread import Stages, spread
from benchmarks.sources import measure_apart
from edge_aac.bundle.store import open_bundle

HOPS_S = (10.0, 5.0, 2.0, 1.0, 0.5)
CANDIDATES = (1, 2, 4, 6, 8, 16, 32, 50)
LENGTHS = (6, 10, 16, 22, 30)
SOURCES_HOP_S = 2.0
LIVE_SOUND_S = 40

_WAYS = "benchmarks.report.growth_ways"


def measure(plan: Plan, log: Log) -> dict[str, Any]:
    """Bundle → curve → points with spreads; ratios to the first point of the same repetition."""
    return {"bundles": {bundle: _measure(plan, bundle, log) for bundle in plan.bundles}}


def _measure(plan: Plan, bundle: str, log: Log) -> dict[str, Any]:
    hops = [hop_s for hop_s in HOPS_S if hop_s <= plan.sound_s]
    orders = {
        "hop_s": Order(f"{_WAYS}:hops", 1, {"bundle": bundle, "hops_s": hops, "sound_s": plan.sound_s}),
        "candidates": Order(f"{_WAYS}:candidates", 1, {"bundle": bundle, "numbers": CANDIDATES, "tokens": plan.tokens}),
        "tokens": Order(f"{_WAYS}:lengths", 1, {"bundle": bundle, "tokens": LENGTHS}),
    }
    taken = take_turns(orders, plan.slow_repetitions, log)
    return {
        **{name: curve(rows) for name, rows in taken.rows.items()},
        "sources": _sources(plan, bundle, log),
        "window_s": _window(bundle),
        "left_out": taken.left_out,
    }


def curve(rows: Sequence[Stages]) -> list[dict[str, Any]]:
    """Points in ascending order: ``at``, ``ms``, and ``of_first``, its share of the first point's time of each row."""
    points = sorted(rows[0], key=float)
    first = next(iter(points))
    return [
        {
            "at": float(point),
            "ms": spread([row[point] for row in rows]),
            "of_first": spread([row[point] / row[first] for row in rows]),
        }
        for point in points
    ]


def _sources(plan: Plan, bundle: str, log: Log) -> dict[str, Any]:
    """Sound as fast as it is read from each number of sources, in turn; and the largest number as it comes live."""
    counts = sorted({1, *plan.sources})
    rows: dict[int, list[Mapping[str, Any]]] = {count: [] for count in counts}
    for repetition in range(plan.slow_repetitions):
        for count in counts[:: 1 if repetition % 2 else -1]:
            log(f"{bundle}: {count} sources, {repetition + 1} of {plan.slow_repetitions}")
            rows[count].append(measure_apart(bundle, count, plan.sound_s, SOURCES_HOP_S, "fast"))
    live_s = min(LIVE_SOUND_S, plan.sound_s)
    log(f"{bundle}: {counts[-1]} sources for {live_s} s as they come")
    live = measure_apart(bundle, counts[-1], live_s, SOURCES_HOP_S, "live")
    return {"points": source_points(rows), "live": _live(live, counts[-1], live_s)}


def source_points(rows: Mapping[int, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Number of sources → processor time and time by the clock as ratios to one source's of the same repetition, and
    megabytes of each source beyond the first."""
    return [
        {
            "at": count,
            "processor_of_one": spread(_ratios(rows, count, "processor_s")),
            "busy_of_one": spread(_ratios(rows, count, "busy_s")),
            "resident_mb": spread([row["resident_mb"] for row in results]),
            "mb_a_source_more": _mb_more(rows, count),
        }
        for count, results in rows.items()
    ]


def _ratios(rows: Mapping[int, Sequence[Mapping[str, Any]]], count: int, what: str) -> list[float]:
    return [many[what] / one[what] for many, one in zip(rows[count], rows[1], strict=True)]


def _mb_more(rows: Mapping[int, Sequence[Mapping[str, Any]]], count: int) -> float | None:
    if count == 1:
        return None
    many, one = (spread([row["resident_mb"] for row in rows[number]])["median"] for number in (count, 1))
    return round((many - one) / (count - 1), 2)


def _live(result: Mapping[str, Any], count: int, seconds: int) -> dict[str, Any]:
    return {
        "sources": count,
        "hop_s": SOURCES_HOP_S,
        "seconds": seconds,
        "windows": result["windows"],
        "skipped": result["skipped"],
        "cores_used": round(result["processor_s"] / seconds, 3),
    }


def _window(bundle: str) -> str:
    """Why the length of the window is no curve."""
    return f"not measured: {bundle} hears windows of {open_bundle(bundle).manifest.window_s:g} s and no others"
