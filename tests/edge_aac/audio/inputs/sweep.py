"""Tries every generated input on every way, and prints what became of how many: a table for the notes.

`python -m tests.edge_aac.audio.inputs.sweep [--failures N] [KIND …]`
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.edge_aac.audio.inputs import lies, others
from tests.edge_aac.audio.inputs.cases import Input, Tally
from tests.edge_aac.audio.inputs.headers import CONTAINERS
from tests.edge_aac.audio.inputs.hearing import REDIRECTED, WAYS


def generated(kinds: list[str]) -> Iterator[Input]:
    """All inputs, or those of some kinds."""
    for item in _generated():
        if not kinds or item.kind in kinds:
            yield item


def _generated() -> Iterator[Input]:
    for container in others.written_containers():
        yield from others.every_layout(container)
    for sized in CONTAINERS:
        yield from lies.lying(sized)
        yield from lies.stale_with_tags(sized)
        yield from lies.cut(sized)
        yield from others.with_trailers(sized)
        yield from others.with_chunks(sized)
    yield from lies.flacs()
    yield from others.odd_sounds()
    yield from others.unsized_with_trailers()
    yield from others.joined()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*")
    parser.add_argument("--failures", type=int, default=0, help="so many are printed")
    parser.add_argument("--ways", default=",".join((*WAYS, REDIRECTED)))
    options = parser.parse_args()
    tally = Tally()
    with contextlib.suppress(KeyboardInterrupt), tempfile.TemporaryDirectory() as folder:
        for _, items in itertools.groupby(generated(options.kinds), lambda item: item.container):
            some = list(items)
            for way in options.ways.split(","):
                tally.try_all(some, way, Path(folder))
    _print(tally)
    print(f"\n{len(tally.failures)} did not become what they should")
    print(*tally.failures[: options.failures], sep="\n")


def _print(tally: Tally) -> None:
    verdicts = sorted({name for counts in tally.counts.values() for name in counts})
    for title, place in (("kind and way", (0, 2)), ("kind and container", (0, 1))):
        rows: dict[tuple[str, ...], collections.Counter[str]] = collections.defaultdict(collections.Counter)
        for key, counts in tally.counts.items():
            rows[tuple(key[index] for index in place)].update(counts)
            rows[("all",)].update(counts)
        print(f"\n{title:34} {'tried':>6} " + " ".join(f"{name:>{max(len(name), 6)}}" for name in verdicts))
        for row, counts in rows.items():
            numbers = " ".join(f"{counts[name] or '':>{max(len(name), 6)}}" for name in verdicts)
            print(f"{' / '.join(row):34} {sum(counts.values()):>6} {numbers}")


if __name__ == "__main__":
    main()
