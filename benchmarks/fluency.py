"""How well the fluency check tells faulty captions from fluent ones, and what a caption costs.

    python -m benchmarks.fluency --examples benchmarks/fluency_development.csv

Examples are CSV files with the columns caption and error; the error of a fluent caption is empty. Machines differ and
are shared, so the time is also given in units of a yardstick measured between the passes: SHA-256 of 64 KiB.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.command_line import run
from edge_aac.errors import DataError, InputMissingError
from edge_aac.fluency.english.sentences import FluencyError, fluency_errors
from quantize.data.tables import RowFault, read_table, refusal

HERE = Path(__file__).parent
DEFAULT_EXAMPLES = (HERE / "fluency_development.csv", HERE / "fluency_held_out.csv")
YARDSTICK_BYTES = bytes(64 * 1024)
PASSES = 9
WARM_UP_PASSES = 1  # the first pass fills the caches of words and moves, as the first minutes of a stream do


def main() -> None:
    """Score each file of examples and print one JSON object, keyed by file name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=Path, nargs="+", default=list(DEFAULT_EXAMPLES), metavar="FILE")
    arguments = parser.parse_args()
    print(json.dumps({path.name: measure(load_examples(path)) for path in arguments.examples}, indent=1))


def load_examples(path: Path) -> list[tuple[str, FluencyError | None]]:
    """Captions with what is wrong with them, None for the fluent ones.

    Raises:
        InputMissingError: there is no such file.
        DataError: it is no table of captions and errors, or a row of it cannot be used.
    """
    if not path.is_file():
        raise InputMissingError(f"there is no file {path}: give CSV files with --examples")
    rows = read_table(path, ("caption", "error")).whole()
    known = {error.value for error in FluencyError}
    if faults := [
        RowFault(row.line, f"has the error {row.cells['error']!r}: use one of {', '.join(sorted(known))}, or none")
        for row in rows
        if row.cells["error"] not in {"", *known}
    ]:
        raise refusal(path, faults)
    if not rows:
        raise DataError(f"{path} lists no captions: give CSV files with --examples")
    return [(row.cells["caption"], FluencyError(row.cells["error"]) if row.cells["error"] else None) for row in rows]


def measure(examples: Sequence[tuple[str, FluencyError | None]]) -> dict[str, Any]:
    """Scores and times of one set of examples."""
    captions = [caption for caption, _ in examples]
    cold_us = _microseconds(lambda: [fluency_errors(caption) for caption in captions]) / len(captions)
    found = [fluency_errors(caption) for caption in captions]
    labels = [label for _, label in examples]
    fluent = labels.count(None)
    false_alarms = sum(bool(errors) for errors, label in zip(found, labels, strict=True) if label is None)
    caught = sum(bool(errors) for errors, label in zip(found, labels, strict=True) if label is not None)
    return {
        "captions": len(examples),
        "fluent": fluent,
        "faulty": len(examples) - fluent,
        "any_error": _scores(caught, caught + false_alarms, len(examples) - fluent),
        "false_alarm_rate": _ratio(false_alarms, fluent),
        "kinds": {kind.value: _kind_scores(kind, found, labels) for kind in FluencyError},
        **_time(captions, cold_us),
    }


def _kind_scores(
    kind: FluencyError, found: Sequence[tuple[FluencyError, ...]], labels: Sequence[FluencyError | None]
) -> dict[str, Any]:
    right = Counter(label for errors, label in zip(found, labels, strict=True) if kind in errors)
    count = labels.count(kind)
    under_any = sum(bool(errors) for errors, label in zip(found, labels, strict=True) if label is kind)
    return {
        "count": count,
        **_scores(right[kind], sum(right.values()), count),
        "found_under_any_kind": _ratio(under_any, count),
    }


def _scores(right: int, claimed: int, count: int) -> dict[str, float | None]:
    precision, recall = _ratio(right, claimed), _ratio(right, count)
    return {"precision": precision, "recall": recall, "f1": _ratio(2 * right, claimed + count)}


def _ratio(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _time(captions: Sequence[str], cold_us: float) -> dict[str, float]:
    passes_us, yardsticks_us = [], []
    for index in range(PASSES + WARM_UP_PASSES):
        pass_us = _microseconds(lambda: [fluency_errors(caption) for caption in captions]) / len(captions)
        yardstick_us = _microseconds(lambda: hashlib.sha256(YARDSTICK_BYTES).digest())
        if index >= WARM_UP_PASSES:
            passes_us.append(pass_us)
            yardsticks_us.append(yardstick_us)
    caption_us, yardstick_us = statistics.median(passes_us), statistics.median(yardsticks_us)
    return {
        "microseconds_a_new_caption": round(cold_us, 1),
        "microseconds_a_caption_seen_before": round(caption_us, 1),
        "yardstick_us": round(yardstick_us, 1),
        "in_yardsticks": round(cold_us / yardstick_us, 3),
    }


def _microseconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return 1e6 * (time.perf_counter() - started)


if __name__ == "__main__":
    run(main)
