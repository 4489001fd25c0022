"""Numbers as a reader wants them, for the page and for Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.report.spread import TOTAL, Spread

_HUNDRED = 100


def number(value: float) -> str:
    """Three digits, and all those before the point."""
    return f"{value:,.0f}" if abs(value) >= _HUNDRED else f"{value:.3g}"


def spread_words(values: Spread) -> str:
    """The median, and between which values eight of ten lie."""
    return f"{number(values['median'])} ({number(values['low'])} – {number(values['high'])})"


def way_words(name: str, row: Mapping[str, Any]) -> str:
    """A bundle and how it runs."""
    about = row["about"]
    threads = f", {row['threads']} thread{'s' if row['threads'] > 1 else ''}" if "threads" in row else ""
    return f"{name}, {about['precision']}, {about['candidates']} candidates{threads}"


def stage_medians(ms: Mapping[str, Spread]) -> dict[str, float]:
    """Stage → median, without the total."""
    return {stage: values["median"] for stage, values in ms.items() if stage != TOTAL}


def size_words(value: int | str) -> str:
    """Bytes as megabytes; a sentence as it is."""
    return value if isinstance(value, str) else f"{value / 1e6:.1f} MB"
