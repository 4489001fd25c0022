"""Bars as SVG that takes its ink from the page; no drawing library is needed for them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from html import escape

from benchmarks.report.spread import Spread

# Told apart on white and on black, and by people who see red and green alike (Okabe and Ito, 2008).
COLOURS = ("#56b4e9", "#0072b2", "#009e73", "#e69f00", "#cc79a7", "#d55e00")
_ROW, _BAR, _LABELS, _WIDTH, _VALUES = 26, 16, 290, 520, 130
_CHARACTER = 7.0
"""Width of a letter at the size of the labels, about."""


def stacked_bars(rows: Mapping[str, Mapping[str, float]], unit: str) -> str:
    """One bar a row, a piece a stage, with its total behind it and the stages' colours below.

    Args:
        rows: label → stage → value; all of the same stages.
        unit: behind the totals.
    """
    longest = max(sum(values.values()) for values in rows.values())
    parts = []
    for number, (label, values) in enumerate(rows.items()):
        left, top = float(_LABELS), number * _ROW
        parts.append(_label(label, top))
        for colour, value in zip(_colours(values), values.values(), strict=True):
            width = _WIDTH * value / longest
            parts.append(_bar(left, top, width, colour))
            left += width
        parts.append(_text(left + 6, top, f"{_short(sum(values.values()))} {unit}"))
    legend, left, top = [], float(_LABELS), len(rows) * _ROW
    stages = next(iter(rows.values()))
    for colour, stage in zip(_colours(stages), stages, strict=True):
        legend += [_bar(left, top, 12.0, colour), _text(left + 16, top, stage)]
        left += 28 + _CHARACTER * len(stage)
    return _svg([*parts, *legend], len(rows) + 1)


def ratio_bars(rows: Mapping[str, Spread]) -> str:
    """Bars over a logarithmic axis that begins at 1, with a line from the low to the high end of each spread.

    Args:
        rows: label → spread of a ratio; what is below 1 has a bar to the other side of the axis.
    """
    ends = [value for row in rows.values() for value in (row["low"], row["high"], 1.0)]
    low, high = math.log10(min(ends)), math.log10(max(ends))
    span = max(high - low, 1e-9)

    def place(value: float) -> float:
        return _LABELS + _WIDTH * (math.log10(value) - low) / span

    parts = []
    for number, (label, row) in enumerate(rows.items()):
        top, (start, end) = number * _ROW, sorted((place(1.0), place(row["median"])))
        parts += [_label(label, top), _bar(start, top, end - start, COLOURS[1])]
        middle = top + _ROW / 2
        parts.append(
            f'<line x1="{place(row["low"]):.1f}" x2="{place(row["high"]):.1f}" y1="{middle:.1f}" y2="{middle:.1f}" '
            'stroke="currentColor" stroke-width="1.5"/>'
        )
        parts.append(_text(max(end, place(row["high"])) + 6, top, f"{_short(row['median'])} ×"))
    axis = f'<line x1="{place(1.0):.1f}" x2="{place(1.0):.1f}" y1="0" y2="{len(rows) * _ROW}" stroke="currentColor"/>'
    return _svg([axis, *parts], len(rows))


def _svg(parts: Iterable[str], rows: int) -> str:
    size = f'viewBox="0 0 {_LABELS + _WIDTH + _VALUES} {rows * _ROW}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-size="13" role="img">{"".join(parts)}</svg>'


def _colours(stages: Iterable[str]) -> list[str]:
    return [COLOURS[number % len(COLOURS)] for number, _ in enumerate(stages)]


def _bar(left: float, top: float, width: float, colour: str) -> str:
    return (
        f'<rect x="{left:.1f}" y="{top + (_ROW - _BAR) / 2:.1f}" width="{max(width, 0.5):.1f}" height="{_BAR}" '
        f'fill="{colour}"/>'
    )


def _label(text: str, top: float) -> str:
    return _text(_LABELS - 8, top, text, ' text-anchor="end"')


def _text(left: float, top: float, text: str, more: str = "") -> str:
    middle = top + _ROW / 2
    return (
        f'<text x="{left:.1f}" y="{middle:.1f}" dominant-baseline="central" fill="currentColor"{more}>'
        f"{escape(text)}</text>"
    )


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004 - three digits
