"""What a window costs, stage by stage: each bundle with each number of threads, in turn."""

from __future__ import annotations

from typing import Any

from benchmarks.report.plan import OUR_CANDIDATES, Log, Plan
from benchmarks.report.side_by_side import Order, Taken, take_turns
from benchmarks.report.spread import by_stage

WAY = "benchmarks.report.ways:captioner"


def measure(plan: Plan, log: Log) -> dict[str, Any]:
    """Rows of bundle and threads with the spread of each stage; captions as long as the model makes them."""
    rows = _rows(take_turns(_orders(plan), plan.repetitions, log, warm_up=min(3, plan.repetitions)), plan)
    if plan.published is not None:
        rows += _rows(take_turns(_published_orders(plan), plan.slow_repetitions, log), plan)
    return {"rows": rows}


def _orders(plan: Plan) -> dict[str, Order]:
    return {
        f"{bundle}, {threads}": Order(WAY, threads, {"bundle": bundle})
        for bundle in plan.bundles
        for threads in plan.threads
    }


def _published_orders(plan: Plan) -> dict[str, Order]:
    """Random weights never end a caption by themselves, so theirs have the fixed length."""
    from benchmarks.report.published import FORMS

    assert plan.published is not None
    return {
        f"published sizes, {form}, {threads}": Order(
            WAY,
            threads,
            {"bundle": str(plan.published / folder), "candidates": OUR_CANDIDATES, "tokens": plan.tokens},
        )
        for form, folder in FORMS.items()
        for threads in plan.threads
    }


def _rows(taken: Taken, plan: Plan) -> list[dict[str, Any]]:
    return [
        {
            "name": name.rpartition(", ")[0],
            "threads": int(name.rpartition(", ")[2]),
            "about": taken.about[name],
            "ms": by_stage(rows),
        }
        for name, rows in taken.rows.items()
    ]
