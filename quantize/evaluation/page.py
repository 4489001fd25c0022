"""The parts of which reports are made: one HTML page that loads nothing from elsewhere, its sections and tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

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
.large svg { max-width: none; }
"""

Row = Sequence[object]


def metrics_section(metrics: Mapping[str, Any] | None) -> str:
    """What caption metrics gave, and what was left out; nothing without metrics."""
    if not metrics:
        return ""
    rows = [(name, f"{value:.4f}") for name, value in metrics.get("scores", {}).items()]
    rows += [(f"{name} (left out)", reason) for name, reason in metrics.get("left_out", {}).items()]
    about = (
        f"{metrics['count']} captions, {metrics['references']} references; {metrics['tokenisation']}."
        if "count" in metrics
        else ""
    )
    return section("Captions against references", table(("metric", "value"), rows), about)


def shown_of(shown: int, count: int, what: str) -> str:
    """A note that not all are shown; nothing where they are."""
    return f"{count} {what} {shown} shown." if count > shown else ""


def section(title: str, body: str, note: str = "", large: bool = False) -> str:
    """A heading, a note, and HTML that may be wider than the page; a large picture keeps its size."""
    quiet = f'<p class="quiet">{escape(note)}</p>' if note else ""
    return f'<h2>{escape(title)}</h2>\n{quiet}<div class="wide{" large" if large else ""}">{body}</div>\n'


def table(heads: Sequence[str], rows: Iterable[Row], numbers: Iterable[int] = ()) -> str:
    """A table whose cells are escaped; ``numbers`` are the columns that hold numbers."""
    kinds = dict.fromkeys(numbers, ' class="number"')

    def cells(tag: str, row: Row) -> str:
        return "".join(f"<{tag}{kinds.get(column, '')}>{escape(str(cell))}</{tag}>" for column, cell in enumerate(row))

    body = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table><thead><tr>{cells('th', heads)}</tr></thead>\n<tbody>{body}</tbody></table>"


def page(scores: Mapping[str, Any], sections: Iterable[str]) -> str:
    """The whole page of a bundle's scores."""
    bundle = scores["bundle"]
    about = f"version {bundle['version']} · {scores['precision']}"
    if "candidates" in scores:
        about += f" · {scores['candidates']} candidates"
    name = str(bundle["name"])
    return whole_page(f"{name}: evaluation", name, (about, scores["measured_by"]), "".join(sections))


def whole_page(title: str, heading: str, about: Iterable[str], body: str) -> str:
    """A page that loads nothing from elsewhere.

    Args:
        title: of the window.
        heading: over the page.
        about: lines below it.
        body: HTML of all sections.
    """
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{escape(title)}</title><style>{_STYLE}</style></head><body>
<h1>{escape(heading)}</h1>
<p class="quiet">{"<br>".join(map(escape, about))}</p>
{body}</body></html>
"""
