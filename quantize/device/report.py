"""The report of a build, for people and as JSON."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from edge_aac.bundle.manifest import Graph, GraphRole
from quantize.device.gate import (
    MAX_CONFIDENCE_DIFFERENCE,
    MAX_LIKELIHOOD_DIFFERENCE,
    MIN_CAPTIONS_EQUAL,
    MIN_COSINE,
    Agreement,
)
from quantize.device.timing import Timing

SCHEMA = "edge-aac/build/1"


@dataclass
class FormReport:
    """A form that was made.

    Attributes:
        role: role of the graph.
        graph: the form's entry in the manifest.
        size_bytes: size of the form's files.
        agreement: agreement with the exported graph when this form alone replaces it.
        timing: time of a run, beside that of the form that would run without this one.
        fault: why the gate refused it; empty where it did not.
        outcome: result of the gate, in words.
        written: whether the bundle holds the form now.
        built: facts about a plan from TensorRT's builder.
        beside: another form of the graph (a plan's precision, or which form for processors), and the time of this one
            beside it; None where they were not timed in turn.
    """

    role: GraphRole
    graph: Graph
    size_bytes: int
    agreement: Agreement | None = None
    timing: Timing | None = None
    fault: str = ""
    outcome: str = ""
    written: bool = False
    built: dict[str, Any] = field(default_factory=dict)
    beside: tuple[str, Timing] | None = None

    def to_table(self) -> dict[str, Any]:
        """Plain values; what was not measured is left out."""
        graph = self.graph
        table: dict[str, Any] = {
            "graph": self.role,
            "backend": graph.backend,
            "precision": graph.precision,
            "bytes": self.size_bytes,
            "built_with": graph.built_with,
        }
        if self.agreement:
            table["agreement"] = _rounded(asdict(self.agreement))
        if self.timing:
            table["timing"] = _rounded(asdict(self.timing))
            table["max_abs_difference"] = graph.max_abs_difference
        if self.beside:
            precision, timing = self.beside
            table["beside"] = {"precision": precision, **_rounded(asdict(timing))}
        if self.built:
            table["built"] = self.built
        if self.written:
            table["file"] = graph.file
        return {**table, "written": self.written, "outcome": self.outcome}


@dataclass
class BuildReport:
    """A build of a bundle's forms.

    Attributes:
        bundle: name or folder of the bundle, as the user gave it.
        folder: folder that the forms went to, or would have gone to.
        check_windows: number of windows that every form captioned.
        forms: the forms, in the order in which they were made.
        together: backend → agreement of all its forms that would be written, at once; "auto" → of the fastest of each
            graph, where some are TensorRT's and some are not.
        order: role → backend and precision of its forms as they are now, the preferred one first.
        notes: further remarks, a sentence each.
        failure: why nothing was written; empty where all is well.
        written: whether the bundle was changed.
        seconds: duration of the build.
    """

    bundle: str
    folder: str
    check_windows: int = 0
    forms: list[FormReport] = field(default_factory=list)
    together: dict[str, Agreement] = field(default_factory=dict)
    order: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    failure: str = ""
    written: bool = False
    seconds: float = 0.0

    def to_table(self) -> dict[str, Any]:
        """The report as a table for JSON."""
        return {
            "schema": SCHEMA,
            "bundle": self.bundle,
            "folder": self.folder,
            "written": self.written,
            **({"failure": self.failure} if self.failure else {}),
            "gate": {
                "check_windows": self.check_windows,
                "min_cosine": MIN_COSINE,
                "min_captions_equal": MIN_CAPTIONS_EQUAL,
                "max_log_likelihood_difference": MAX_LIKELIHOOD_DIFFERENCE,
                "max_confidence_difference": MAX_CONFIDENCE_DIFFERENCE,
            },
            "forms": [form.to_table() for form in self.forms],
            "together": {backend: _rounded(asdict(agreed)) for backend, agreed in self.together.items()},
            "order": self.order,
            "notes": self.notes,
            "seconds": round(self.seconds, 1),
        }

    def outcome(self) -> str:
        """What became of the folder, as one sentence without its full stop."""
        if not self.written:
            return "nothing was written"
        if not self.forms:
            return f"no engine was made: {self.folder} holds the graphs as they were exported"
        return f"engines written to {self.folder}"

    def to_text(self) -> str:
        """The report as text for a terminal."""
        heads = ("graph", "form", "MB", "cosine", "same", "likelihood", "before", "now", "ratio", "")
        rows = [heads, *(_row(form) for form in self.forms)]
        for backend, agreed in self.together.items():
            rows.append(("together", backend, "", *_agreement_cells(agreed), "", "", "", ""))
        widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([*lines, *self.notes])


def _row(form: FormReport) -> tuple[str, ...]:
    agreed = _agreement_cells(form.agreement) if form.agreement else ("", "", "")
    timed = ("", "", "")
    if form.timing:
        timed = (f"{form.timing.reference_ms:.2f} ms", f"{form.timing.form_ms:.2f} ms", f"{form.timing.ratio:.2f}")
    kind = f"{form.graph.backend} {form.graph.precision}"
    return (form.role, kind, f"{form.size_bytes / 1e6:.2f}", *agreed, *timed, form.outcome)


def _agreement_cells(agreed: Agreement) -> tuple[str, str, str]:
    cosine = min(agreed.audio_cosine, agreed.text_cosine)
    return f"{cosine:.4f}", f"{agreed.captions_equal:.1%}", f"{agreed.log_likelihood_difference:.2%}"


def _rounded(table: dict[str, Any]) -> dict[str, Any]:
    """Readable numbers; JSON has no NaN, so what is none is left out."""
    whole = {name: value for name, value in table.items() if not isinstance(value, float) or math.isfinite(value)}
    return {name: round(value, 6) if isinstance(value, float) else value for name, value in whole.items()}
