"""``report.html``: one file that loads nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from html import escape
from typing import Any

from benchmarks.report.bars import ratio_bars, stacked_bars
from benchmarks.report.words import number, size_words, spread_words, stage_medians, way_words
from quantize.evaluation.page import section, table, whole_page

Table = Mapping[str, Any]

NO_CURVES = "Curves are left out: they are drawn with matplotlib, pip install 'edge-aac[evaluate]' brings it."


def page(report: Table) -> str:
    """The whole page of a report."""
    made = report["sections"]
    body = "".join(_SECTIONS[name](made[name]) for name in _SECTIONS if name in made)
    machine = report["machine"]
    about = f"edge-aac {report['version']} · {report['date']} · {machine['processor']}, {machine['cores']} cores"
    libraries = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    not_run = section("Not yet run", table(("", "why"), report["not_run"].items()))
    note = f'<p class="quiet">{escape(report["note"])}</p>' if report["note"] else ""
    lines = (about, libraries, report["measured_by"])
    return whole_page("edge-aac: speed", "How fast edge-aac is here", lines, f"{note}{body}{not_run}")


def _windows(made: Table) -> str:
    rows = {way_words(row["name"], row): row["ms"] for row in made["rows"]}
    stages = list(next(iter(rows.values())))
    cells = [(name, *(spread_words(ms[stage]) for stage in stages)) for name, ms in rows.items()]
    return section(
        "A window of 10 s",
        stacked_bars({name: stage_medians(ms) for name, ms in rows.items()}, "ms")
        + table(("milliseconds", *stages), cells, range(1, len(stages) + 1))
        + _left_out(made["left_out"]),
        "Medians, and between which values eight of ten lie. Features are of a whole window: a stream computes those "
        'of new sound alone. "In INT8" is every graph quantised, for its time alone: build-engine takes those that '
        "are faithful and faster.",
    )


def _against(made: Table) -> str:
    parts = []
    for own in made["ours"]:
        spreads = {name: ratios[own] for name, ratios in made["ratios"].items() if own in ratios}
        if spreads:
            parts += [f"<h3>times {escape(own)}'s time</h3>", ratio_bars(spreads)]
    rows = [
        (name, row.get("words", "ours"), *(spread_words(row["ms"][key]) if key in row["ms"] else "" for key in _STAGES))
        for name, row in {**made["ours"], **made["theirs"]}.items()
    ]
    return section(
        "Against what a user would pick instead",
        "".join(parts)
        + table(("milliseconds", "", *_STAGES), rows, range(2, 2 + len(_STAGES)))
        + _left_out(made["left_out"]),
        f"All in turn on {made['threads']} cores, captions of {made['tokens']} tokens each. A ratio is the median over "
        "the repetitions; the line shows where eight of ten lie.",
    )


_STAGES = ("features", "encode", "decode", "score", "rerank", "publish", "total")


def _limit(made: Table) -> str:
    rates: list[tuple[str, ...]] = []
    rows: list[tuple[str, ...]] = []
    left_out: dict[str, str] = {}
    for threads, found in made["by_threads"].items():
        left_out |= found["left_out"]
        rates += [(threads, name.replace("_", " "), number(rate)) for name, rate in found.get("rates", {}).items()]
        for name, stages in found.get("bundles", {}).items():
            rows += [(name, threads, stage, *_share_cells(share)) for stage, share in stages.items()]
    heads = ("", "threads", "", "form", "MMAC", "MB", "arithmetic ms", "memory ms", "measured ms", "share")
    return section(
        "How close to the limit",
        table(("threads", "", "10⁹ a second"), rates, (0, 2))
        + table(heads, rows, (1, *range(4, 10)))
        + _left_out(left_out),
        "Rates are those of large products and arrays in the same run. The share is the longer of both bounds over the "
        "time that was measured: the rest is all that is neither product nor traffic.",
    )


def _share_cells(share: Table) -> tuple[str, ...]:
    return (
        share["precision"],
        number(share["macs"] / 1e6),
        number(share["bytes"] / 1e6),
        number(share["arithmetic_ms"]),
        number(share["memory_ms"]),
        spread_words(share["measured_ms"]),
        f"{100 * share['share']:.0f} %",
    )


def _growth(made: Table) -> str:
    parts = []
    for count, (bundle, curves) in enumerate(made["bundles"].items()):
        parts.append(f"<h3>{escape(bundle)}</h3>")
        for name, label in _CURVES.items():
            points = curves[name]
            parts.append(_curve(f"{name}-{count}", label, points))
            rows = [(f"{p['at']:g}", spread_words(p["ms"]), spread_words(p["of_first"])) for p in points]
            parts.append(table((label, "milliseconds", "of the first"), rows, (0, 1, 2)))
        parts.append(_sources(curves["sources"]))
        parts.append(f'<p class="quiet">Length of the window: {escape(curves["window_s"])}.</p>')
        parts.append(_left_out(curves["left_out"]))
    return section("How cost grows", "".join(parts))


_CURVES = {
    "hop_s": "seconds from window to window: cost of a window with its new sound",
    "candidates": "candidates: decoding and ranking",
    "tokens": "tokens of a caption: decoding and ranking",
}


def _sources(made: Table) -> str:
    rows = [
        (
            point["at"],
            spread_words(point["processor_of_one"]),
            spread_words(point["busy_of_one"]),
            number(point["resident_mb"]["median"]),
            "" if point["mb_a_source_more"] is None else number(point["mb_a_source_more"]),
        )
        for point in made["points"]
    ]
    live = made["live"]
    heads = ("sources", "processor, of one's", "by the clock, of one's", "resident MB", "MB a source more")
    told = (
        f"{live['sources']} live sources at a hop of {live['hop_s']:g} s for {live['seconds']} s: {live['windows']} "
        f"windows, {live['skipped']} skipped, {number(live['cores_used'])} cores used."
    )
    return table(heads, rows, range(5)) + f"<p>{escape(told)}</p>"


def _curve(name: str, label: str, points: list[Table]) -> str:
    try:
        from quantize.evaluation.plots import curves_plot

        lines = {"milliseconds": [point["ms"]["median"] for point in points]}
        bands = {"milliseconds": [(point["ms"]["low"], point["ms"]["high"]) for point in points]}
        return curves_plot(name, [point["at"] for point in points], label, [("milliseconds", lines)], bands)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        return f'<p class="quiet">{NO_CURVES}</p>'


def _start(made: Table) -> str:
    seconds = [(name, spread_words(values)) for name, values in made["seconds"].items()]
    bare = made["bare_interpreter_rss_mib"]
    memory = [(name, *(number(row[key]) for key in _MEMORY)) for name, row in made["memory_mib"].items()]
    heads = ("MiB, while it streams", *(key.replace("_mib", "").replace("_", " ") for key in _MEMORY))
    sizes = [(name, size_words(value)) for name, value in made["bytes"].items()]
    return section(
        "Start, memory and size",
        table(("seconds from the start of the process", ""), seconds, (1,))
        + table(heads, memory, range(1, len(heads)))
        + table(("size", ""), sizes, (1,)),
        f"A bare interpreter that has imported numpy and ONNX Runtime holds {number(bare)} MiB.",
    )


_MEMORY = ("pss_mib_early", "pss_mib_late", "rss_mib_late", "rss_mib_peak")


def _energy(made: Table) -> str:
    rows = []
    for bundle, hops in made["bundles"].items():
        for hop_s, row in hops.items():
            watts = row["watts_while_computing"]
            rows.append(
                (
                    bundle,
                    hop_s,
                    spread_words(row["processor_s_an_hour"]),
                    f"{100 * row['share_of_a_core']:.2f} %",
                    spread_words(watts) if watts else "",
                )
            )
    heads = ("", "hop in s", "processor seconds an hour of sound", "of one core", "watts while computing")
    at_rest = made["watts_at_rest"]
    note = made.get("left_out") or f"At rest the board draws {number(at_rest)} W."
    return section("Energy", table(heads, rows, range(1, 5)), note)


def _left_out(sentences: Mapping[str, str]) -> str:
    return "".join(_lines(sentences))


def _lines(sentences: Mapping[str, str]) -> Iterator[str]:
    for name, why in sentences.items():
        yield f'<p class="quiet">{escape(name)}: {escape(why)}.</p>\n'


_SECTIONS: dict[str, Callable[[Table], str]] = {
    "windows": _windows,
    "against": _against,
    "limit": _limit,
    "growth": _growth,
    "start": _start,
    "energy": _energy,
}
