"""``report.html``: one file that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from quantize.evaluation.corpus import CaptionedCorpus
from quantize.evaluation.plots import confusion_plot, histogram_plot
from quantize.evaluation.scenes import SCORES, outcome_groups, score_values
from quantize.evaluation.windows import CaptionedWindow

SHOWN_WRONG = 60
SHOWN_RECORDINGS = 30

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1b; --page: #ffffff; --line: #d5d5d5; --quiet: #666666; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --page: #16181b; --line: #3a3e44; --quiet: #a0a0a0; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page);
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .6rem 0 1.2rem; }
th, td { padding: .25rem .8rem .25rem 0; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
.quiet { color: var(--quiet); }
svg { max-width: 100%; height: auto; }
"""

Row = Sequence[object]


def events_report(scores: Mapping[str, Any], captioned: Sequence[CaptionedWindow]) -> str:
    """The page of an evaluation on scenes."""
    gates = scores.get("gates", {})
    groups = outcome_groups(captioned)
    histograms = []
    for name in SCORES:
        values = {group: score_values(windows, name) for group, windows in groups.items()}
        if all(values.values()) and values:
            histograms.append(histogram_plot(name, values, gates.get(name, {}).get("threshold")))
    sections = [
        _summary(scores),
        _section("Classes", _class_table(scores["classes"])),
        _section(
            "Captions of single clips",
            confusion_plot(scores["confusion_of_single_clips"]),
            "A caption that names two classes counts in two rows.",
        ),
        _section(
            "Scores of the captions",
            "".join(histograms) + _gate_table(gates),
            "The dashed line keeps 95 % of the right captions. A right caption of noise says that there is nothing, "
            "and may score as high as any.",
        ),
        _caption_metrics(scores.get("caption_metrics")),
        _wrong(captioned),
    ]
    return _page(scores, sections)


def corpus_report(scores: Mapping[str, Any], corpus: CaptionedCorpus) -> str:
    """The page of an evaluation against reference captions."""
    rows = [(r.name, r.best.text, " / ".join(r.references), f"{r.best.hybrid:.3f}") for r in corpus.recordings]
    sections = [
        _caption_metrics(scores["caption_metrics"]),
        _section(
            "Captions beside their references",
            _table(("recording", "caption", "references", "hybrid"), rows[:SHOWN_RECORDINGS]),
            _of(SHOWN_RECORDINGS, len(rows), "recordings, the first"),
        ),
    ]
    if corpus.skipped:
        sections.append(_section("Skipped", _table(("recording", "why"), corpus.skipped.items())))
    return _page(scores, sections)


def summary_rows(scores: Mapping[str, Any]) -> list[tuple[str, float, list[float] | None, int]]:
    """Rows of the summary: measure, value, 95 % interval, count; for the page and the terminal."""
    names = (
        ("single_clips", "right_sound_named", "single clips, right sound named"),
        ("single_clips", "right_and_no_other", "single clips, right sound and no other"),
        ("two_sound_scenes", "precision", "two-sound scenes, event precision"),
        ("two_sound_scenes", "recall", "two-sound scenes, event recall"),
        ("two_sound_scenes", "f1", "two-sound scenes, event F1"),
        ("two_sound_scenes", "exact", "two-sound scenes, both named and no other"),
        ("two_sound_scenes", "order_of_sequences_right", "two in sequence, named in order"),
        ("noise_windows", "no_class_named", "noise, no class named"),
        ("silent_windows", "no_class_named", "digital silence, no class named"),
        ("outlier_windows", "no_class_named", "other sounds, no class named"),
        ("absent_windows", "no_known_class_named", "absent classes, no known class named"),
    )
    rows = []
    for group, name, words in names:
        if table := scores.get(group):
            sequences = table.get("by_relation", {}).get("sequence", {}).get("count", 0)
            count = sequences if name == "order_of_sequences_right" else table["count"]
            rows.append((words, table[name], table["intervals"].get(name), count))
    return rows


def _summary(scores: Mapping[str, Any]) -> str:
    rows = [
        (words, f"{value:.3f}", f"{interval[0]:.3f} – {interval[1]:.3f}" if interval else "", count)
        for words, value, interval, count in summary_rows(scores)
    ]
    relations = [
        (name, table["count"], *(f"{table[key]:.3f}" for key in ("precision", "recall", "f1", "exact")))
        for name, table in scores["two_sound_scenes"]["by_relation"].items()
    ]
    heads = ("two sounds", "scenes", "precision", "recall", "F1", "exact")
    body = _table(("", "value", "95 % interval", "of"), rows, numbers=(1, 3)) + _table(heads, relations, range(1, 6))
    return _section("Summary", body)


def _class_table(classes: Mapping[str, Any]) -> str:
    rows = []
    for label, groups in classes.items():
        cells: list[object] = [label.replace("_", " ")]
        for group in ("single_clips", "two_sound_scenes"):
            if found := groups.get(group):
                cells += [f"{found[key]:.2f}" for key in ("precision", "recall", "f1")] + [found["support"]]
            else:
                cells += [""] * 4
        rows.append(cells)
    measures = ("precision", "recall", "F1", "there")
    heads = ("class", *(f"clips: {name}" for name in measures), *(f"scenes: {name}" for name in measures))
    return _table(heads, rows, range(1, 9))


def _gate_table(gates: Mapping[str, Any]) -> str:
    rows = []
    for score, gate in gates.items():
        for group, kept in gate["kept"].items():
            auroc = gate["auroc_of_right_against"].get(group)
            rows.append((score, gate["threshold"], group, f"{kept:.3f}", "" if auroc is None else f"{auroc:.3f}"))
    return _table(("score", "threshold", "group", "passes", "AUROC of right against it"), rows, (1, 3, 4))


def _caption_metrics(table: Mapping[str, Any] | None) -> str:
    if not table:
        return ""
    rows = [(name, f"{value:.4f}") for name, value in table.get("scores", {}).items()]
    rows += [(f"{name} (left out)", reason) for name, reason in table.get("left_out", {}).items()]
    about = (
        f"{table['count']} captions, {table['references']} references; {table['tokenisation']}."
        if "count" in table
        else ""
    )
    return _section("Captions against references", _table(("metric", "value"), rows), about)


def _wrong(captioned: Sequence[CaptionedWindow]) -> str:
    wrong = [window for window in captioned if not window.right]
    rows = [
        (
            w.source, w.relation, " + ".join(w.truth) or "nothing", w.caption, " + ".join(w.named) or "nothing",
            f"{w.hybrid:.3f}",
        )
        for w in wrong[:SHOWN_WRONG]
    ]  # fmt: skip
    heads = ("window", "relation", "truth", "caption", "names", "hybrid")
    return _section("Wrong captions", _table(heads, rows), _of(SHOWN_WRONG, len(wrong), "wrong captions, the first"))


def _of(shown: int, count: int, what: str) -> str:
    return f"{count} {what} {shown} shown." if count > shown else ""


def _section(title: str, body: str, note: str = "") -> str:
    quiet = f'<p class="quiet">{escape(note)}</p>' if note else ""
    return f'<h2>{escape(title)}</h2>\n{quiet}<div class="wide">{body}</div>\n'


def _table(heads: Sequence[str], rows: Iterable[Row], numbers: Iterable[int] = ()) -> str:
    kinds = dict.fromkeys(numbers, ' class="number"')

    def cells(tag: str, row: Row) -> str:
        return "".join(f"<{tag}{kinds.get(column, '')}>{escape(str(cell))}</{tag}>" for column, cell in enumerate(row))

    body = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table><thead><tr>{cells('th', heads)}</tr></thead>\n<tbody>{body}</tbody></table>"


def _page(scores: Mapping[str, Any], sections: Iterable[str]) -> str:
    bundle = scores["bundle"]
    about = f"version {bundle['version']} · {scores['precision']} · {scores['candidates']} candidates"
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{escape(str(bundle["name"]))}: evaluation</title><style>{_STYLE}</style></head><body>
<h1>{escape(str(bundle["name"]))}</h1>
<p class="quiet">{escape(about)}<br>{escape(scores["measured_by"])}</p>
{"".join(sections)}</body></html>
"""
