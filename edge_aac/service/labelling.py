"""From settings to labels: what `edge-aac label` opens and runs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import UsageError
from edge_aac.models.settings import CaptionerSettings
from edge_aac.models.window_space import open_shared_space
from edge_aac.models.zero_shot import EmbeddedLabels
from edge_aac.records import Pooling, Scoring
from edge_aac.settings.tree import Settings
from edge_aac.sinks.stdout import StdoutSink
from edge_aac.streaming.labelling import CSV_COLUMNS, FileLabeller, LabellingRules, csv_line, csv_lines
from edge_aac.streaming.offline import in_turn
from edge_aac.streaming.settings import StreamSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelOptions:
    """What a user asks of labelled files.

    Attributes:
        labels: what may be heard; empty for the bundle's own.
        templates: texts around each label; none for the bundle's own.
        scoring, pooled, top: see :class:`edge_aac.streaming.labelling.LabellingRules`.
        scale: factor of the cosines; None for the bundle's own.
        output_format: of standard output: as for :class:`edge_aac.app.Output`, or "csv".
    """

    labels: tuple[str, ...]
    templates: tuple[str, ...]
    scoring: Scoring
    pooled: Pooling
    top: int
    scale: float | None
    output_format: Literal["auto", "json", "text", "csv"]


def label_files(files: Sequence[Path], settings: Settings, options: LabelOptions) -> int:
    """Label whole files on standard output.

    A file that cannot be labelled is logged and does not keep the others from it.

    Returns:
        The exit code of the first failure; 0 without any.

    Raises:
        UsageError: there are no labels.
        EdgeAacError: the bundle cannot be opened, a label cannot be embedded, or standard output cannot be written.
    """
    chosen = settings.get(CaptionerSettings)
    space = open_shared_space(chosen.bundle, EngineOptions(chosen.backend, chosen.threads, chosen.cuda_graph))
    names = options.labels or tuple(space.own_labels)
    if not names:
        raise UsageError(f"bundle {chosen.bundle!r} has no labels of its own: give some with --labels or --labels-file")
    labels = EmbeddedLabels.of(space, names, options.templates, options.scale)
    for warning in labels.warnings(space.language):
        log.warning("%s", warning)
    if options.output_format == "csv":
        sink = StdoutSink(lines=csv_lines)
        sink.write([csv_line(CSV_COLUMNS)])
    else:
        sink = StdoutSink(options.output_format)
    rules = LabellingRules(options.scoring, options.pooled, options.top)
    labeller = FileLabeller(space, labels, rules, settings.get(StreamSettings).node, sink.publish)
    exit_code = in_turn(files, labeller.label)
    sink.close()
    return exit_code
