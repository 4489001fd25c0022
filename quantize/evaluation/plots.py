"""Pictures of an evaluation, as SVG that takes its ink from the page, so that they read on light and on dark."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK = "#010203"
"""A colour that nothing else has; it becomes the page's own."""

# Told apart on white and on black, and by people who see red and green alike (Okabe and Ito, 2008).
_FILLS = {
    "right": "#009e73",
    "wrong": "#d55e00",
    "noise": "#56b4e9",
    "silence": "#999999",
    "outlier": "#e69f00",
    "absent": "#cc79a7",
}
_SHADE = "#0072b2"
_PLOT_SETTINGS = {
    "svg.fonttype": "none",
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


def confusion_plot(table: Mapping[str, Any]) -> str:
    """A picture of the classes that captions name (rows) for the classes of the clips (columns), as SVG.

    Args:
        table: ``captioned`` and ``heard`` (labels of rows and columns), ``counts`` (rows, columns).
    """
    counts = np.array(table["counts"], dtype=float)
    shares = counts / np.maximum(counts.sum(axis=0, keepdims=True), 1.0)
    with _drawing("confusion", (0.62 * counts.shape[1] + 2.2, 0.42 * counts.shape[0] + 1.6)) as drawing:
        axes = drawing.axes
        for (row, column), share in np.ndenumerate(shares):
            if not counts[row, column]:
                continue
            axes.add_patch(_square(column, row, float(share)))
            axes.text(column, row, f"{counts[row, column]:.0f}", ha="center", va="center")
        axes.set_xlim(-0.5, counts.shape[1] - 0.5)
        axes.set_ylim(counts.shape[0] - 0.5, -0.5)
        axes.set_xticks(range(counts.shape[1]), _words(table["heard"]), rotation=40, ha="right")
        axes.set_yticks(range(counts.shape[0]), _words(table["captioned"]))
        axes.set_xlabel("heard")
        axes.set_ylabel("captioned")
        return drawing.svg()


def branches_plot(table: Mapping[str, Any]) -> str:
    """The same for sounds of a tree, in its order, with a line between the branches and their names beside the rows.

    Args:
        table: as of :func:`confusion_plot`, and ``branches`` (sound → branch). Of a hundred sounds the picture is wider
            than a page: cells keep a size that can be read.
    """
    counts = np.array(table["counts"], dtype=float)
    shares = counts / np.maximum(counts.sum(axis=0, keepdims=True), 1.0)
    rows, columns, branches = table["captioned"], table["heard"], table["branches"]
    with _drawing("branches", (0.21 * len(columns) + 4.4, 0.21 * len(rows) + 2.2)) as drawing:
        axes = drawing.axes
        for (row, column), share in np.ndenumerate(shares):
            if counts[row, column]:
                fill = _FILLS["right"] if rows[row] == columns[column] else _SHADE
                axes.add_patch(_square(column, row, float(share), fill))
                axes.text(column, row, f"{counts[row, column]:.0f}", ha="center", va="center", fontsize=7)
        for start, _ in _branch_starts(columns, branches)[1:]:
            axes.axvline(start - 0.5, color=_INK, linewidth=0.5, alpha=0.5)
        for start, _ in _branch_starts(rows, branches)[1:]:
            axes.axhline(start - 0.5, color=_INK, linewidth=0.5, alpha=0.5)
        for start, name in _branch_starts(rows, branches):
            axes.text(len(columns) - 0.3, start, name, ha="left", va="center", fontsize=8, style="italic")
        axes.set_xlim(-0.5, len(columns) - 0.5)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xticks(range(len(columns)), _words(columns), rotation=90, fontsize=8)
        axes.set_yticks(range(len(rows)), _words(rows), fontsize=8)
        axes.set_xlabel("heard")
        axes.set_ylabel("captioned")
        return drawing.svg()


def reliability_plot(table: Mapping[str, Any]) -> str:
    """How often names are right (with intervals), against how sure they are, and how many names each point stands for.

    Args:
        table: ``bins``, each with ``mean_confidence``, ``right``, ``interval``, ``names``, ``from`` and ``to``.
    """
    bins = table["bins"]
    sure, right = ([one[key] for one in bins] for key in ("mean_confidence", "right"))
    # Rounding may put a share outside its interval by the last digit.
    below = [max(0.0, share - one["interval"][0]) for share, one in zip(right, bins, strict=True)]
    above = [max(0.0, one["interval"][1] - share) for share, one in zip(right, bins, strict=True)]
    with _drawing("reliability", (5.2, 5.6), rows=2) as drawing:
        axes, amounts = drawing.all_axes
        axes.plot([0.0, 1.0], [0.0, 1.0], color=_INK, linewidth=1, linestyle="--")
        axes.errorbar(sure, right, yerr=[below, above], marker="o", capsize=3, color=_SHADE)
        axes.set_xlim(0.0, 1.0)
        axes.set_ylim(0.0, 1.02)
        axes.set_ylabel("share of names that are right")
        middles = [(one["from"] + one["to"]) / 2.0 for one in bins]
        amounts.bar(middles, [one["names"] for one in bins], width=0.09, color=_SHADE)
        amounts.set_ylabel("names")
        amounts.set_xlabel("confidence")
        return drawing.svg()


def histogram_plot(name: str, groups: Mapping[str, Sequence[float]], threshold: float | None) -> str:
    """Histograms of a score, a row a group; a line marks the threshold of the gate."""
    values = np.concatenate([np.asarray(group, dtype=float) for group in groups.values()])
    edges = np.linspace(values.min(), max(values.max(), values.min() + 1e-3), 41)
    with _drawing(f"score-{name}", (6.4, 0.85 * len(groups) + 0.9), rows=len(groups)) as drawing:
        for axes, (label, group) in zip(drawing.all_axes, groups.items(), strict=True):
            axes.hist(np.asarray(group), bins=edges.tolist(), color=_FILLS.get(label, _SHADE))
            axes.set_ylabel(f"{label}\n({len(group)})", rotation=0, ha="right", va="center")
            axes.set_yticks([])
            if threshold is not None:
                axes.axvline(threshold, color=_INK, linewidth=1, linestyle="--")
        drawing.all_axes[-1].set_xlabel(name.replace("_", " "))
        return drawing.svg()


def curves_plot(
    name: str,
    x: Sequence[float],
    x_label: str,
    panels: Sequence[tuple[str, Mapping[str, Sequence[float]]]],
    bands: Mapping[str, Sequence[tuple[float, float]]] | None = None,
) -> str:
    """Panels of lines over one logarithmic axis whose ticks are the measured points.

    Args:
        name: name of the picture.
        x: the measured points, above 0.
        x_label: what they are.
        panels: from above: label of the vertical axis, and name → values of each line.
        bands: name of a line → intervals around its values.
    """
    with _drawing(name, (7.4, 2.6 * len(panels) + 0.6), rows=len(panels)) as drawing:
        for axes, (y_label, lines) in zip(drawing.all_axes, panels, strict=True):
            for number, (label, values) in enumerate(lines.items()):
                colour = list(_FILLS.values())[number % len(_FILLS)]
                axes.plot(x, values, marker="o", color=colour, label=label)
                if bands and label in bands:
                    low, high = zip(*bands[label], strict=True)
                    axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
            axes.set_xscale("log")
            axes.set_xticks(list(x), [f"{value:g}" for value in x])
            axes.minorticks_off()
            axes.set_ylabel(y_label)
            if len(lines) > 1:
                axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        drawing.all_axes[-1].set_xlabel(x_label)
        return drawing.svg()


def standalone(svg: str, ink: str = "#777777") -> str:
    """A picture that is a file of its own: no page gives it a colour."""
    return svg.replace("currentColor", ink)


class _drawing:
    """A figure that is closed at the end, with the settings that make it fit any page."""

    def __init__(self, name: str, inches: tuple[float, float], rows: int = 1) -> None:
        self._name, self._inches, self._rows = name, inches, rows

    def __enter__(self) -> _drawing:
        import matplotlib
        from matplotlib.figure import Figure

        settings: dict[Any, Any] = _PLOT_SETTINGS  # matplotlib types a table by the literal names of all its settings
        self._settings = matplotlib.rc_context({**settings, "svg.hashsalt": self._name})
        self._settings.__enter__()
        self.figure: Figure = Figure(figsize=self._inches, layout="constrained")
        self.all_axes: list[Axes] = list(self.figure.subplots(self._rows, 1, sharex=True, squeeze=False)[:, 0])
        self.axes = self.all_axes[0]
        for axes in self.all_axes:
            axes.patch.set_visible(False)
        return self

    def __exit__(self, *_: object) -> None:
        self._settings.__exit__(None, None, None)

    def svg(self) -> str:
        """The ``<svg>`` element alone, with ids that no other picture of the page has."""
        stream = StringIO()
        metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
        self.figure.savefig(stream, format="svg", transparent=True, metadata=metadata)
        text = stream.getvalue()
        text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
        text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{self._name}-", text)
        return text.replace(_INK, "currentColor")


def _branch_starts(sounds: Sequence[str], branches: Mapping[str, str]) -> list[tuple[int, str]]:
    """Number of the first sound of each branch, and its name; what lies in none is one at the end."""
    names = [branches.get(sound, "") for sound in sounds]
    return [(i, name) for i, name in enumerate(names) if i == 0 or name != names[i - 1]]


def _square(column: int, row: int, share: float, fill: str = _SHADE) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.5, row - 0.5), 1.0, 1.0, facecolor=fill, alpha=0.12 + 0.5 * share, linewidth=0)


def _words(labels: Sequence[str]) -> list[str]:
    return [label.replace("_", " ") for label in labels]
