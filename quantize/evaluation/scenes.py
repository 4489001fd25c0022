"""Event measures of captions: the table behind the model card, the report and ``scores.json``."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from edge_aac.errors import DataError
from quantize.evaluation.statistics import auroc, bootstrap, threshold_that_keeps, wilson
from quantize.evaluation.windows import CaptionedWindow
from quantize.training.metrics import (
    NOTHING_NAMED,
    class_scores,
    confusion,
    event_counts,
    event_scores,
    named_share,
    order_share,
)

RELATIONS = ("overlap", "sequence")
SCORES = ("hybrid", "log_likelihood", "similarity", "familiarity")
KEPT_SHARE = 0.95
"""Of the right captions, what a gate on the score must let through."""

CARD_KEYS: Mapping[str, tuple[str, ...]] = {
    "single_clips": (
        "count", "right_sound_named", "right_and_no_other", "right_or_coarser_named", "by_class", "teacher",
    ),
    "everyday_clips": (
        "count", "sounds", "right_sound_named", "right_or_coarser_named", "right_or_coarser_and_no_other", "teacher",
    ),
    "two_sound_scenes": ("count", "precision", "recall", "f1", "exact", "order_of_sequences_right"),
    "everyday_scenes": ("count", "precision", "recall", "f1", "exact_or_coarser", "order_of_sequences_right"),
    "noise_windows": ("count", "no_class_named"),
    "silent_windows": ("count", "no_class_named"),
    "hum_windows": ("count", "no_class_named"),
    "handling_windows": ("count", "no_class_named"),
    "quiet_windows": ("count", "no_class_named"),
    "speech_windows": ("count", "somebody_speaks_and_no_thing", "by_voice"),
    "outlier_windows": ("count", "no_class_named"),
    "absent_windows": ("count", "no_known_class_named", "parent_unknown_or_nothing", "classes"),
    "reliability": ("names", "expected_calibration_error"),
    "classification": ("count", "labels", "accuracy", "top_label_right", "map"),
    "text_to_audio": ("count", "pool", "r_at_1", "r_at_5", "r_at_10", "map_at_10"),
    "audio_to_text": ("count", "pool", "r_at_1", "r_at_5", "r_at_10", "map_at_10"),
    "question_answering": ("count", "accuracy", "majority_answers_by_kind"),
}  # fmt: skip
"""What of each group goes into the bundle's manifest and card."""


def event_tables(captioned: Sequence[CaptionedWindow]) -> dict[str, Any]:
    """All event measures, shares in 0..1, intervals at 95 %.

    Args:
        captioned: windows of all kinds, from :func:`quantize.evaluation.windows.caption_windows`.
    """
    of_kind: dict[str, list[CaptionedWindow]] = defaultdict(list)
    for window in captioned:
        of_kind[window.kind].append(window)
    single, scenes = of_kind["single"], of_kind["scene"]
    tables = {
        "single_clips": _single_clips(single),
        "two_sound_scenes": _two_sound_scenes(scenes),
        "noise_windows": _nothing_named(of_kind["noise"]),
        "silent_windows": _nothing_named(of_kind["silence"]),
        "outlier_windows": _nothing_named(of_kind["outlier"]) if of_kind["outlier"] else None,
        "absent_windows": _absent(of_kind["absent"]) if of_kind["absent"] else None,
        "classes": _classes(single, scenes),
        "confusion_of_single_clips": _confusion(single),
        "scores_by_outcome": {name: _distributions(group) for name, group in outcome_groups(captioned).items()},
        "gates": _gates(captioned),
    }
    return {name: table for name, table in tables.items() if table is not None}


def manifest_quality(scores: Mapping[str, Any]) -> dict[str, Any]:
    """The part of ``scores.json`` that travels in a bundle's manifest; any other table is given back as it is."""
    if not str(scores.get("schema", "")).startswith("edge-aac/scores/"):
        return dict(scores)
    head = {
        name: scores[name]
        for name in ("measured_by", "precision", "candidates", "held_out_fold", "measured_on")
        if name in scores
    }
    groups = {
        group: {name: _without_intervals(scores[group][name]) for name in names if name in scores[group]}
        for group, names in CARD_KEYS.items()
        if group in scores
    }
    # What was left out has no measure.
    groups = {group: measures for group, measures in groups.items() if measures}
    metrics = {"caption_metrics": scores["caption_metrics"]["scores"]} if "corpus" in scores else {}
    return {**head, **groups, **metrics}


def _without_intervals(measure: Any) -> Any:
    """A measure, or a table of some without their intervals."""
    return {k: v for k, v in measure.items() if k != "intervals"} if isinstance(measure, dict) else measure


def compared_rows(named: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """A table of bundles that were measured alike; those of one name are one row, of means with their range.

    Args:
        named: name of the row, and a bundle's ``scores.json``.

    Raises:
        DataError: a table holds no scores of events.
    """
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for name, scores in named:
        groups[name].append(_compared_row(name, scores))
    rows: dict[str, dict[str, Any]] = {}
    for name, group in groups.items():
        rows[name] = dict(group[0])
        for measure in COMPARED if len(group) > 1 else ():
            values = [row[measure] for row in group]
            mean = sum(values) / len(values)
            rows[name][measure] = f"{mean:.3f} ({min(values):.3f} to {max(values):.3f}, {len(values)} seeds)"
    return rows


COMPARED = ("single_clips_right", "two_sound_scenes_f1", "order_right")


def _compared_row(name: str, scores: Mapping[str, Any]) -> dict[str, Any]:
    try:
        bundle, scenes = scores["bundle"], scores["two_sound_scenes"]
        measured = scores["single_clips"]["right_sound_named"], scenes["f1"], scenes["order_of_sequences_right"]
    except KeyError as error:
        raise DataError(
            f"the scores of {name!r} lack {error.args[0]!r}: give the scores.json of `edge-aac evaluate --data`"
        ) from error
    parameters = sum(bundle.get("parameters", {}).values())
    return {
        **dict(zip(COMPARED, measured, strict=True)),
        "parameters": parameters,
        "graph_bytes": bundle["graph_bytes"],
    }


def outcome_groups(captioned: Sequence[CaptionedWindow]) -> dict[str, list[CaptionedWindow]]:
    """Known sounds by whether the caption names them and no other; the rest by kind. No group is empty."""
    groups: dict[str, list[CaptionedWindow]] = {
        name: [] for name in ("right", "wrong", "noise", "silence", "outlier", "absent")
    }
    for window in captioned:
        known = window.kind in {"single", "scene"}
        groups[("right" if window.right else "wrong") if known else window.kind].append(window)
    return {name: group for name, group in groups.items() if group}


def score_values(windows: Sequence[CaptionedWindow], name: str) -> list[float]:
    """Values of one of the runtime's scores, one a window; empty where the bundle's ranking does not compute it."""
    return [value for value in (getattr(window, name) for window in windows) if value is not None]


def _share(hits: Sequence[bool]) -> tuple[float, list[float]]:
    """A share and its interval, both rounded."""
    return round(sum(hits) / max(len(hits), 1), 4), _rounded(wilson(sum(hits), len(hits)))


def _single_clips(windows: Sequence[CaptionedWindow]) -> dict[str, Any]:
    captions, labels = [window.caption for window in windows], [window.truth[0] for window in windows]
    named = [window.truth[0] in window.named for window in windows]
    by_label: dict[str, list[bool]] = defaultdict(list)
    for label, hit in zip(labels, named, strict=True):
        by_label[label].append(hit)
    return {
        "count": len(windows),
        "right_sound_named": round(named_share(captions, labels), 4),
        "right_and_no_other": round(event_scores(captions, [[label] for label in labels]).exact, 4),
        "by_class": {label: round(sum(hits) / len(hits), 3) for label, hits in sorted(by_label.items())},
        "intervals": {
            "right_sound_named": _share(named)[1],
            "right_and_no_other": _share([window.right for window in windows])[1],
        },
    }


def _two_sound_scenes(windows: Sequence[CaptionedWindow]) -> dict[str, Any]:
    captions, truths = [window.caption for window in windows], [window.truth for window in windows]
    ordered = [window for window in windows if window.relation == "sequence"]
    in_order = [window.named == list(window.truth) for window in ordered]
    intervals = {"exact": _share([window.right for window in windows])[1]}
    if windows:
        intervals["f1"] = _rounded(bootstrap(event_counts(captions, truths)))
    if ordered:
        intervals["order_of_sequences_right"] = _share(in_order)[1]
    by_relation = {relation: [w for w in windows if w.relation == relation] for relation in RELATIONS}
    return {
        "count": len(windows),
        **_event_shares(windows),
        "order_of_sequences_right": round(
            order_share([window.caption for window in ordered], [window.truth for window in ordered]), 4
        ),
        "intervals": intervals,
        "by_relation": {
            relation: {"count": len(group), **_event_shares(group)} for relation, group in by_relation.items() if group
        },
    }


def _event_shares(windows: Sequence[CaptionedWindow]) -> dict[str, float]:
    scores = event_scores([window.caption for window in windows], [window.truth for window in windows])
    return {name: round(value, 4) for name, value in asdict(scores).items()}


def _nothing_named(windows: Sequence[CaptionedWindow]) -> dict[str, Any]:
    share, interval = _share([not window.named for window in windows])
    return {"count": len(windows), "no_class_named": share, "intervals": {"no_class_named": interval}}


def _absent(windows: Sequence[CaptionedWindow]) -> dict[str, Any]:
    share, interval = _share([window.right for window in windows])
    held_out = [window for window in windows if window.held_out]
    labels = sorted({window.truth[0] for window in windows})
    falsely: defaultdict[str, int] = defaultdict(int)
    for window in windows:
        for label in set(window.named) - set(window.truth):
            falsely[label] += 1
    return {
        "count": len(windows),
        "classes": labels,
        "no_known_class_named": share,
        "intervals": {"no_known_class_named": interval},
        "of_held_out_fold": {
            "count": len(held_out),
            "no_known_class_named": _share([window.right for window in held_out])[0],
        },
        "by_class": {label: _share([w.right for w in windows if w.truth[0] == label])[0] for label in labels},
        "falsely_named": dict(sorted(falsely.items(), key=lambda item: -item[1])),
    }


def _classes(single: Sequence[CaptionedWindow], scenes: Sequence[CaptionedWindow]) -> dict[str, Any]:
    """Per class: over single clips, and over scenes; also classes that were only ever named falsely."""
    both = [*single, *scenes]
    labels = sorted({label for window in both for label in (*window.truth, *window.named)})
    table: dict[str, Any] = {label: {} for label in labels}
    for group, windows in (("single_clips", single), ("two_sound_scenes", scenes)):
        scores = class_scores([w.caption for w in windows], [w.truth for w in windows], labels) if windows else []
        for label, found in zip(labels if windows else [], scores, strict=True):
            table[label][group] = {
                name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(found).items()
            }
    return table


def _confusion(windows: Sequence[CaptionedWindow]) -> dict[str, Any]:
    """Rows are classes that captions name, columns are classes of the clips."""
    counts = confusion([window.caption for window in windows], [window.truth[0] for window in windows])
    heard = sorted({window.truth[0] for window in windows})
    named = [*sorted({*heard, *counts} - {NOTHING_NAMED}), NOTHING_NAMED]
    return {
        "captioned": named,
        "heard": heard,
        "counts": [[counts.get(row, {}).get(column, 0) for column in heard] for row in named],
    }


def _distributions(windows: Sequence[CaptionedWindow]) -> dict[str, Any]:
    table: dict[str, Any] = {"count": len(windows)}
    for name in SCORES:
        if values := score_values(windows, name):
            low, median, high = np.percentile(values, (5, 50, 95))
            table[name] = {
                "mean": round(float(np.mean(values)), 4),
                "p5": round(float(low), 4),
                "median": round(float(median), 4),
                "p95": round(float(high), 4),
            }
    return table


def _gates(captioned: Sequence[CaptionedWindow]) -> dict[str, Any] | None:
    """Quality of each score as a gate: its AUROC of right captions against each other group, and the share it keeps."""
    groups = outcome_groups(captioned)
    if "right" not in groups:
        return None
    gates: dict[str, Any] = {}
    for name in SCORES:
        if not (right := score_values(groups["right"], name)):
            continue
        threshold = threshold_that_keeps(right, KEPT_SHARE)
        # Rounded down, so that who sets it loses none of the right captions.
        gate: dict[str, Any] = {
            "threshold": math.floor(1e4 * threshold) / 1e4,
            "auroc_of_right_against": {},
            "kept": {},
        }
        for group, windows in groups.items():
            values = score_values(windows, name)
            if group != "right":
                gate["auroc_of_right_against"][group] = round(auroc(right, values), 4)
            gate["kept"][group] = round(float(np.mean(np.array(values) >= threshold)), 4)
        if "absent" in groups:
            passed = [w for w in groups["absent"] if getattr(w, name) >= threshold]
            falsely = sum(not window.right for window in passed)
            gate["absent_kept_and_falsely_named"] = round(falsely / len(groups["absent"]), 4)
        gates[name] = gate
    return gates


def _rounded(interval: tuple[float, float]) -> list[float]:
    return [round(value, 4) for value in interval]
