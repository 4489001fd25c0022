"""How often two bundles caption alike: one that reranks with a teacher's text embedder, and one with a student's.

    edge-aac evaluate --bundle whole --data FOLDER --output a/
    edge-aac evaluate --bundle student --data FOLDER --output b/
    python -m benchmarks.agreement a/ b/

With the same captioner graphs and seed both draw the same candidates, so that what differs is the choice among them.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

from benchmarks.command_line import run
from edge_aac.errors import DataError, InputMissingError
from quantize.data.tables import read_table
from quantize.evaluation.evaluate import CAPTIONS_FILE
from quantize.evaluation.statistics import wilson

_WINDOW = ("kind", "source", "relation", "truth")


def main() -> None:
    """Parse, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", type=Path, nargs=2, metavar="REPORT", help="folder that `edge-aac evaluate` wrote")
    arguments = parser.parse_args()
    print(json.dumps(agreement(*arguments.reports), indent=1))


def agreement(one: Path, other: Path) -> dict[str, dict[str, float]]:
    """Share of windows with the same caption, and with the same events named, in all and by kind of window.

    Raises:
        InputMissingError: a folder holds no captions.
        DataError: a list of captions cannot be read, or the two reports are not of the same windows.
    """
    rows = [_captions(folder) for folder in (one, other)]
    if [[row[name] for name in _WINDOW] for row in rows[0]] != [[row[name] for name in _WINDOW] for row in rows[1]]:
        raise DataError(f"{one} and {other} are not of the same windows: evaluate both with the same data and scenes")
    same: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    for first, second in zip(*rows, strict=True):
        outcome = first["caption"] == second["caption"], first["names"] == second["names"]
        same["all"].append(outcome)
        same[first["kind"]].append(outcome)
    return {kind: _shares(outcomes) for kind, outcomes in same.items()}


def _shares(outcomes: list[tuple[bool, bool]]) -> dict[str, float]:
    count, captions = len(outcomes), sum(caption for caption, _ in outcomes)
    low, high = wilson(captions, count)
    return {
        "windows": count,
        "same_caption": round(captions / count, 4),
        "same_caption_from": round(low, 4),
        "same_caption_to": round(high, 4),
        "same_events_named": round(sum(events for _, events in outcomes) / count, 4),
    }


def _captions(folder: Path) -> list[dict[str, str]]:
    path = folder / CAPTIONS_FILE
    if not path.is_file():
        raise InputMissingError(
            f"no {CAPTIONS_FILE} in {folder}: give a folder that `edge-aac evaluate --output` wrote"
        )
    table = read_table(path, ("caption",))
    if not table.rows or not {*_WINDOW, "names"} <= set(table.columns):
        raise DataError(f"{path} lists no windows with their events: evaluate with --data")
    return [row.cells for row in table.whole()]


if __name__ == "__main__":
    run(main)
