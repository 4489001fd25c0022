"""Ours against what a user would pick instead: each in turn, at equal length of captions."""

from __future__ import annotations

from typing import Any

from benchmarks.report.plan import OUR_CANDIDATES, PUBLISHED_CANDIDATES, Log, Plan
from benchmarks.report.side_by_side import Order, Taken, take_turns
from benchmarks.report.spread import by_stage, ratio

ENCODER_ONLY = "encode"
"""The stage in which a tagger is compared, which gives no caption."""

_TORCH = "benchmarks.report.torch_ways"


def measure(plan: Plan, log: Log) -> dict[str, Any]:
    """Ways, what they take, and how many times as long as each of ours."""
    ours, theirs = our_orders(plan), other_orders(plan)
    taken = take_turns({**ours, **theirs}, plan.slow_repetitions, log)
    return {
        "threads": plan.most_threads,
        "tokens": plan.tokens,
        "ours": {name: _row(taken, name) for name in ours if name in taken.rows},
        "theirs": {name: {"words": _WORDS[name[:3]], **_row(taken, name)} for name in theirs if name in taken.rows},
        "ratios": ratios(taken, list(ours), list(theirs)),
        "left_out": taken.left_out,
    }


def ratios(taken: Taken, ours: list[str], theirs: list[str]) -> dict[str, dict[str, Any]]:
    """Name of theirs → name of ours → spread of the ratios of their times, of all that they have in common."""
    return {
        name: {
            own: ratio(taken.rows[name], taken.rows[own], ENCODER_ONLY if _only_encodes(taken, name) else None)
            for own in ours
            if own in taken.rows
        }
        for name in theirs
        if name in taken.rows
    }


def _only_encodes(taken: Taken, name: str) -> bool:
    return set(taken.rows[name][0]) == {ENCODER_ONLY}


def _row(taken: Taken, name: str) -> dict[str, Any]:
    return {"about": taken.about[name], "ms": by_stage(taken.rows[name])}


def our_orders(plan: Plan) -> dict[str, Order]:
    """The bundles, and those of the published sizes where they are asked for."""
    way, threads = "benchmarks.report.ways:captioner", plan.most_threads
    shared = {"tokens": plan.tokens, "as_many_as_pay": True}
    orders = {name: Order(way, threads, {"bundle": name, **shared}) for name in plan.bundles}
    if plan.published is not None:
        from benchmarks.report.published import FORMS

        for form, folder in FORMS.items():
            settings = {"bundle": str(plan.published / folder), "candidates": OUR_CANDIDATES, **shared}
            orders[f"published sizes, {form}"] = Order(way, threads, settings)
    return orders


def other_orders(plan: Plan) -> dict[str, Order]:
    """What they are compared with."""
    threads, shared = plan.most_threads, {"sizes": dict(plan.sizes), "embedder": plan.embedder, "tokens": plan.tokens}
    few = {**shared, "candidates": OUR_CANDIDATES}
    return {
        "(a) published way": Order(
            f"{_TORCH}:eager", threads, {**shared, "candidates": PUBLISHED_CANDIDATES, "second_pass": True}
        ),
        "(b) torch, our number of candidates": Order(f"{_TORCH}:eager", threads, {**few, "second_pass": False}),
        "(c) transformers' generate": Order(f"{_TORCH}:generate", threads, few),
        "(d) plain ONNX Runtime": Order("benchmarks.report.plain:plain", threads, few),
        "(e) EffB2-Trm": Order("benchmarks.report.effb2:effb2", threads, {"tokens": plan.tokens}),
        "(f) tagger mn10": Order("benchmarks.report.tagger:tagger", threads, {"width": 1.0}),
        "(f) tagger mn04": Order("benchmarks.report.tagger:tagger", threads, {"width": 0.4}),
    }


_WORDS = {
    "(a)": f"torch in eager mode, the published sizes with random weights, {PUBLISHED_CANDIDATES} candidates over a "
    "cache, their likelihood by a second pass, a text embedder of INSTRUCTOR-base's size",
    "(b)": f"the same with {OUR_CANDIDATES} candidates and the likelihood kept from the drawing",
    "(c)": f"the same encoder and text embedder, {OUR_CANDIDATES} candidates by transformers' generate on a decoder of "
    "the same sizes, likelihood not counted",
    "(d)": f"the same sizes in ONNX Runtime with default session settings, matrix products quantised dynamically, "
    f"{OUR_CANDIDATES} candidates, no cache",
    "(e)": "EfficientNet-B2 on 64 mels, a decoder of 2 layers and width 256, beam 3, random weights, torch in eager "
    "mode; no reranking",
    "(f)": "EfficientAT's network with random weights in ONNX Runtime, without its mel spectrogram, against the "
    "encoder alone",
}
