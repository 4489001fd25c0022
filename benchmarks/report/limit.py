"""How close to the machine's limit: the time that its arithmetic and memory allow, of the time that is taken.

The roofline (Williams et al., 2009) with rates that are measured in the same run. Arithmetic: the graph's
multiply-accumulates at the speed of one large product. Memory: weights, inputs and outputs at the speed at which large
arrays are read or copied; weights so few that they stay in a cache may come faster than that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.report.plan import OUR_CANDIDATES, Log, Plan
from benchmarks.report.side_by_side import Order, Taken, take_turns
from benchmarks.report.spread import spread

WAY = "benchmarks.report.ways:captioner"
_RATES, _BFLOAT16 = "rates", "bf16"
_FLOAT_BYTES = 4


def measure(plan: Plan, log: Log) -> dict[str, Any]:
    """For each number of threads: the rates, and of each bundle the bound of encoding and decoding and its share."""
    return {"by_threads": {str(threads): _measure(plan, threads, log) for threads in plan.threads}}


def _measure(plan: Plan, threads: int, log: Log) -> dict[str, Any]:
    ours = _orders(plan, threads)
    orders = {_RATES: Order("benchmarks.report.probes:rates", threads)}
    orders[_BFLOAT16] = Order("benchmarks.report.probes:bfloat16", threads)
    slow = plan.published is not None
    taken = take_turns({**orders, **ours}, plan.slow_repetitions if slow else plan.repetitions, log)
    if _RATES not in taken.rows:
        return {"left_out": taken.left_out}
    found = rates(taken)
    return {
        "rates": found,
        "bundles": {name: _shares(name, order, taken, found) for name, order in ours.items() if name in taken.rows},
        "left_out": taken.left_out,
    }


def _orders(plan: Plan, threads: int) -> dict[str, Order]:
    orders = {name: Order(WAY, threads, {"bundle": name, "tokens": plan.tokens}) for name in plan.bundles}
    if plan.published is not None:
        from benchmarks.report.published import FORMS

        for form, folder in FORMS.items():
            settings = {"bundle": str(plan.published / folder), "candidates": OUR_CANDIDATES, "tokens": plan.tokens}
            orders[f"published sizes, {form}"] = Order(WAY, threads, settings)
    return orders


def rates(taken: Taken) -> dict[str, float]:
    """10^9 multiply-accumulates and bytes a second, each by the fastest repetition."""
    about = taken.about[_RATES]

    def fastest(way: str, stage: str) -> float:
        return min(row[stage] for row in taken.rows[way])

    found = {f"{kind}_gmacs_per_s": about["macs"] / fastest(_RATES, kind) / 1e6 for kind in ("fp32", "int8")}
    if _BFLOAT16 in taken.rows:
        found["bf16_gmacs_per_s"] = taken.about[_BFLOAT16]["macs"] / fastest(_BFLOAT16, "bf16") / 1e6
    memory = {f"{way}_gb_per_s": about["bytes"] / fastest(_RATES, way) / 1e6 for way in ("copy", "read")}
    return {name: round(value, 2) for name, value in {**found, **memory}.items()}


def _shares(name: str, order: Order, taken: Taken, found: Mapping[str, float]) -> dict[str, Any]:
    parts = graph_parts(order.settings["bundle"], taken.about[name]["candidates"], order.settings["tokens"])
    precisions: Mapping[str, str] = taken.about[name]["precisions"]
    shares = {}
    for stage, roles in {"encode": ("stem", "encoder"), "decode": ("decoder",)}.items():
        there = [role for role in roles if role in parts]
        bounds = [bound(parts[role], precisions[role], found) for role in there]
        bound_ms = sum(max(each.values()) for each in bounds)
        measured = spread([row[stage] for row in taken.rows[name]])
        shares[stage] = {
            "precision": "+".join(dict.fromkeys(precisions[role] for role in there)),
            "macs": sum(parts[role]["macs"] for role in there),
            "bytes": sum(_bytes(parts[role], precisions[role]) for role in there),
            "arithmetic_ms": round(sum(each["arithmetic_ms"] for each in bounds), 4),
            "memory_ms": round(sum(each["memory_ms"] for each in bounds), 4),
            "bound_ms": round(bound_ms, 4),
            "measured_ms": measured,
            "share": round(bound_ms / measured["median"], 4),
        }
    return shares


def bound(part: Mapping[str, int], precision: str, found: Mapping[str, float]) -> dict[str, float]:
    """Least milliseconds of a graph's runs: of its arithmetic, and of its traffic with memory.

    Args:
        part: from :func:`graph_parts`.
        precision: of the form that runs; with "int8" products with weights count at that rate.
        found: from :func:`rates`.
    """
    narrow = part["weight_macs"] if "int8" in precision else 0
    arithmetic = narrow / found["int8_gmacs_per_s"] + (part["macs"] - narrow) / found["fp32_gmacs_per_s"]
    bandwidth = max(found["copy_gb_per_s"], found["read_gb_per_s"])
    return {"arithmetic_ms": arithmetic / 1e6, "memory_ms": _bytes(part, precision) / bandwidth / 1e6}


def _bytes(part: Mapping[str, int], precision: str) -> int:
    saved = (_FLOAT_BYTES - 1) * part["product_weights"] if "int8" in precision else 0
    return part["bytes"] - saved


def graph_parts(bundle: str, candidates: int, tokens: int) -> dict[str, dict[str, int]]:
    """Role → multiply-accumulates and fp32 bytes of all runs for a window: those of the encoder, of every step.

    Raises:
        DataError: the bundle holds no fp32 graph, or one that cannot be counted.
    """
    from benchmarks.roofline import Decoding, bundle_model
    from edge_aac.bundle.store import open_bundle

    model = bundle_model(open_bundle(bundle), Decoding(candidates, tokens, candidates, tokens))
    counted = {}
    for role, part in model.parts.items():
        costs = part.costs
        passed = sum(costs.inputs.values()) + sum(costs.outputs.values())
        counted[role] = {
            "macs": part.runs * costs.macs,
            "weight_macs": part.runs * costs.weight_macs,
            "product_weights": part.runs * costs.product_weights,
            "bytes": part.runs * (_FLOAT_BYTES * (costs.read + passed) + costs.other_bytes),
        }
    return counted
