"""Bars as SVG that takes its ink from the page; no drawing library is needed for them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from html import escape

from benchmarks.report.spread import Spread
from benchmarks.report.words import number

# Told apart on white and on black, and by people who see red and green alike (Okabe and Ito, 2008).
COLOURS = ("#56b4e9", "#0072b2", "#009e73", "#e69f00", "#cc79a7", "#d55e00")
_ROW, _BAR, _GAP, _WIDTH, _VALUES = 26, 16, 8, 480, 110
_CHARACTER = 7.2
"""Width of a letter at the size of the labels, about."""


class _Chart:
    """Rows from above, with labels to the left of where bars begin."""

    def __init__(self, labels: Iterable[str], rows: int) -> None:
        self.left = _GAP + max(_CHARACTER * len(label) for label in labels)
        self._rows = rows
        self._parts: list[str] = []

    def label(self, row: int, text: str) -> None:
        self.text(row, self.left - _GAP, text, ' text-anchor="end"')

    def text(self, row: int, x: float, text: str, more: str = "") -> None:
        y = (row + 0.5) * _ROW
        self._parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" dominant-baseline="central" fill="currentColor"{more}>{escape(text)}</text>'
        )

    def bar(self, row: int, x: float, width: float, colour: str) -> None:
        y = row * _ROW + (_ROW - _BAR) / 2
        size = f'width="{max(width, 0.5):.1f}" height="{_BAR}"'
        self._parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" {size} fill="{colour}"/>')

    def line(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        places = f'x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}"'
        self._parts.append(f'<line {places} stroke="currentColor" stroke-width="1.5"/>')

    def svg(self) -> str:
        width, height = self.left + _WIDTH + _VALUES, self._rows * _ROW
        size = f'width="{width:.0f}" height="{height}" viewBox="0 0 {width:.0f} {height}"'
        opened = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-size="13" role="img">'
        return f"{opened}{''.join(self._parts)}</svg>"


def stacked_bars(rows: Mapping[str, Mapping[str, float]], unit: str) -> str:
    """One bar a row, a piece a stage, with its total behind it and the stages' colours below.

    Args:
        rows: label → stage → value; all of the same stages.
        unit: behind the totals.
    """
    chart = _Chart(rows, len(rows) + 1)
    longest = max(sum(values.values()) for values in rows.values())
    for row, (label, values) in enumerate(rows.items()):
        x = chart.left
        chart.label(row, label)
        for place, value in enumerate(values.values()):
            width = _WIDTH * value / longest
            chart.bar(row, x, width, _colour(place))
            x += width
        chart.text(row, x + _GAP, f"{number(sum(values.values()))} {unit}")
    x = chart.left
    for place, stage in enumerate(next(iter(rows.values()))):
        chart.bar(len(rows), x, 12.0, _colour(place))
        chart.text(len(rows), x + 16.0, stage)
        x += 28.0 + _CHARACTER * len(stage)
    return chart.svg()


def ratio_bars(rows: Mapping[str, Spread]) -> str:
    """Bars over a logarithmic axis that begins at 1, with a line from the low to the high end of each spread.

    Args:
        rows: label → spread of a ratio; what is below 1 has a bar to the other side of the axis.
    """
    chart = _Chart(rows, len(rows))
    ends = [value for row in rows.values() for value in (row["low"], row["high"], 1.0)]
    low, high = math.log10(min(ends)), math.log10(max(ends))

    def place(value: float) -> float:
        return chart.left + _WIDTH * (math.log10(value) - low) / max(high - low, 1e-9)

    for row, (label, found) in enumerate(rows.items()):
        start, end = sorted((place(1.0), place(found["median"])))
        chart.label(row, label)
        chart.bar(row, start, end - start, COLOURS[1])
        y = (row + 0.5) * _ROW
        chart.line((place(found["low"]), y), (place(found["high"]), y))
        chart.text(row, max(end, place(found["high"])) + _GAP, f"{number(found['median'])} ×")
    chart.line((place(1.0), 0.0), (place(1.0), len(rows) * _ROW))
    return chart.svg()


def _colour(place: int) -> str:
    return COLOURS[place % len(COLOURS)]
