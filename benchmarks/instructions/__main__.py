"""Count, compare, and end with 1 where a loop became dearer than its bound."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Mapping
from pathlib import Path

import benchmarks.instructions
from benchmarks.command_line import run
from benchmarks.instructions.counting import count
from benchmarks.instructions.ratios import BOUNDS, Bound, read_bounds, value, write_bounds

_COUNTED_ON = "x86_64"
_CHEAPER = 0.85
"""Of what was measured: below that the table is to be renewed, or the gain can be lost again unseen."""


def main() -> None:
    """See the package."""
    parser = argparse.ArgumentParser(
        description=benchmarks.instructions.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--renew", action="store_true", help="write bounds.csv anew, after a change that is meant")
    parser.add_argument("--counts", type=Path, help="keep the counts in this JSON file, too")
    arguments = parser.parse_args()
    bounds = [] if arguments.renew else read_bounds()
    counts = count()
    if arguments.counts is not None:
        arguments.counts.write_text(json.dumps(counts, indent=1) + "\n", encoding="utf-8")
    if arguments.renew:
        write_bounds(counts)
        print(f"written: {BOUNDS}")
        return
    lines, exceeded = compared(bounds, counts)
    print("\n".join(lines))
    if platform.machine() != _COUNTED_ON:
        print(f"the bounds are those of {_COUNTED_ON}: nothing fails on {platform.machine()}")
    elif exceeded:
        print(
            "a loop became dearer than its bound: make it cheaper, or say why in the commit that renews the table "
            "(python -m benchmarks.instructions --renew)",
            file=sys.stderr,
        )
        sys.exit(1)


def compared(bounds: list[Bound], counts: Mapping[str, int]) -> tuple[list[str], bool]:
    """Lines of a table, and whether a bound is exceeded."""
    lines, exceeded = [], False
    for bound in bounds:
        now = value(bound.ratio, counts)
        verdict = "ok"
        if now > bound.at_most:
            verdict, exceeded = "DEARER", True
        elif now < _CHEAPER * bound.measured:
            verdict = "cheaper: renew the table"
        over = f"{bound.ratio.over} bytes or samples" if bound.ratio.over.isdecimal() else bound.ratio.over
        lines.append(f"{now:9.4g} of at most {bound.at_most:<9.4g} {verdict:6}  {bound.ratio.loop} / {over}")
    return lines, exceeded


if __name__ == "__main__":
    run(main)
