"""``report.md``: the tables that a README shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks.report.words import number, size_words, spread_words, way_words

Table = Mapping[str, Any]


def markdown(report: Table) -> str:
    """A heading line, and a table for each section that was measured."""
    machine = report["machine"]
    lines = [
        f"edge-aac {report['version']}, {report['date']}, {machine['processor']}, {machine['cores']} cores "
        f"(`{report['measured_by']}`); medians, and between which values eight of ten lie.",
        "",
    ]
    if report["note"]:
        lines += [report["note"], ""]
    for name, made in report["sections"].items():
        lines += [*_SECTIONS[name](made), ""]
    return "\n".join([*lines, *(f"{name}: {why}." for name, why in report["not_run"].items())]) + "\n"


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(str(cell).replace('|', '/') for cell in row)} |"


def _windows(made: Table) -> Iterator[str]:
    stages = list(made["rows"][0]["ms"])
    rows = [
        (way_words(row["name"], row), *(spread_words(row["ms"][stage]) for stage in stages)) for row in made["rows"]
    ]
    yield from _table(("ms a window of 10 s", *stages), rows)
    yield from _left_out(made)


def _against(made: Table) -> Iterator[str]:
    ours = list(made["ours"])
    rows = [
        (name, *(f"{number(ratios[own]['median'])} ×" if own in ratios else "" for own in ours))
        for name, ratios in made["ratios"].items()
    ]
    yield from _table((f"time, captions of {made['tokens']} tokens", *(f"times {own}'s" for own in ours)), rows)
    yield from _left_out(made)


def _limit(made: Table) -> Iterator[str]:
    rows = [
        (name, threads, *(f"{100 * stages[stage]['share']:.0f} %" for stage in ("encode", "decode")))
        for threads, found in made["by_threads"].items()
        for name, stages in found.get("bundles", {}).items()
    ]
    yield from _table(("share of the machine's limit", "threads", "encode", "decode"), rows)
    for found in made["by_threads"].values():
        yield from _left_out(found)


def _growth(made: Table) -> Iterator[str]:
    for bundle, curves in made["bundles"].items():
        for name in ("hop_s", "candidates", "tokens"):
            points = curves[name]
            heads = (f"{bundle}, {name.replace('_s', ' in s')}", *(f"{point['at']:g}" for point in points))
            yield from _table(heads, [("ms", *(number(point["ms"]["median"]) for point in points))])
            yield ""
        points, live = curves["sources"]["points"], curves["sources"]["live"]
        heads = (f"{bundle}, sources", *(str(point["at"]) for point in points))
        yield from _table(
            heads,
            [
                ("processor time of one", *(number(point["processor_of_one"]["median"]) for point in points)),
                ("resident MB", *(number(point["resident_mb"]["median"]) for point in points)),
            ],
        )
        yield f"\n{live['sources']} live sources, hop {live['hop_s']:g} s: {live['skipped']} windows skipped."


def _start(made: Table) -> Iterator[str]:
    rows = [(name, f"{spread_words(values)} s") for name, values in made["seconds"].items()]
    rows += [(f"{name}: memory while it streams (PSS)", f"{row['pss_mib_late']} MiB") for name, row in _memory(made)]
    rows += [(name, size_words(value)) for name, value in made["bytes"].items()]
    yield from _table(("start, memory, size", ""), rows)


def _memory(made: Table) -> Iterable[tuple[str, Table]]:
    found: Mapping[str, Table] = made["memory_mib"]
    return found.items()


def _energy(made: Table) -> Iterator[str]:
    rows = [
        (bundle, hop_s, spread_words(row["processor_s_an_hour"]), f"{100 * row['share_of_a_core']:.2f} %")
        for bundle, hops in made["bundles"].items()
        for hop_s, row in hops.items()
    ]
    yield from _table(("an hour of sound", "hop in s", "processor seconds", "of one core"), rows)
    if "left_out" in made:
        yield f"\nEnergy: {made['left_out']}."


def _left_out(made: Table) -> Iterator[str]:
    for name, why in made["left_out"].items():
        yield f"\n{name}: {why}."


_SECTIONS: dict[str, Callable[[Table], Iterator[str]]] = {
    "windows": _windows,
    "against": _against,
    "limit": _limit,
    "growth": _growth,
    "start": _start,
    "energy": _energy,
}
