"""What a window costs, stage by stage: each bundle, as it is and in INT8, with each number of threads, in turn."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.report.plan import OUR_CANDIDATES, Log, Plan
from benchmarks.report.side_by_side import Order, Taken, take_turns
from benchmarks.report.spread import by_stage

WAY = "benchmarks.report.ways:captioner"


def measure(plan: Plan, log: Log) -> dict[str, Any]:
    """Rows of bundle and threads with the spread of each stage; captions as long as the model makes them."""
    with tempfile.TemporaryDirectory() as folder:
        copies, left_out = _int8_copies(plan, Path(folder), log)
        orders = _orders(plan, copies)
        rows = _rows(take_turns(orders, plan.repetitions, log, warm_up=min(3, plan.repetitions)), plan)
    if plan.published is not None:
        rows += _rows(take_turns(_published_orders(plan), plan.slow_repetitions, log), plan)
    return {"rows": rows, "left_out": left_out}


def _int8_copies(plan: Plan, folder: Path, log: Log) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Bundle → its copy in INT8; and what is left out, with the reason."""
    try:
        from benchmarks.report.int8_copies import int8_copies
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        return {}, {"INT8": "left out: quantising needs the package onnx, pip install 'edge-aac[build]' brings it"}
    return int8_copies(plan.bundles, folder, log), {}


def _orders(plan: Plan, copies: Mapping[str, str]) -> dict[str, Order]:
    named = {**{name: name for name in plan.bundles}, **{f"{name} in INT8": copy for name, copy in copies.items()}}
    return {
        f"{name}, {threads}": Order(WAY, threads, {"bundle": bundle})
        for name, bundle in named.items()
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
