"""Files and a user's words: which of them fit what is heard, over all windows of a file."""

from __future__ import annotations

import csv
import io
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge_aac import signals
from edge_aac.errors import EdgeAacError
from edge_aac.models.shared_space import HeardPart, SharedSpace
from edge_aac.models.zero_shot import EmbeddedLabels
from edge_aac.records import Labels, NamedLabel, Pooling, Record, Scoring, as_text
from edge_aac.streaming.offline import readable

log = logging.getLogger(__name__)

_DIGITS = 6
CSV_COLUMNS = ("source", "start_s", "end_s", "channel", "rank", "label", "score", "similarity", "sound")


@dataclass(frozen=True)
class LabellingRules:
    """How files are labelled.

    Attributes:
        scoring: how cosines become scores.
        pooled: "mean": cosines are averaged over all windows; "max": each label's largest; "none": a record a window.
        top: labels of a record, the best ones.
    """

    scoring: Scoring
    pooled: Pooling
    top: int


class FileLabeller:
    """Labels whole files.

    Args:
        space: embeds sounds.
        labels: what is looked for.
        rules: how.
        node: name of the device.
        publish: function that is given the records; it may wait.
    """

    def __init__(
        self,
        space: SharedSpace,
        labels: EmbeddedLabels,
        rules: LabellingRules,
        node: str,
        publish: Callable[[Record], None],
    ) -> None:
        self._space, self._labels, self._rules, self._node, self._publish = space, labels, rules, node, publish

    def label(self, path: Path) -> None:
        """Label a file; of one that is damaged, what comes before the damage.

        Args:
            path: a file or a pipe, as the user named it.

        Raises:
            InputMissingError: the file is not there, cannot be read, or is nothing that has an end, as a device.
            DataError: it cannot be read to its end, or was heard without usable numbers.
        """
        pool, failure = _Pool(len(self._labels.labels), self._rules.pooled), None
        parts = self._parts(path)
        while True:
            signals.exit_if_swallowed()
            try:
                part = next(parts, None)
            except EdgeAacError as error:
                failure = error
                break
            if part is None:
                break
            cosines, neutral = self._labels.similarities(part.embedding)
            if self._rules.pooled == "none":
                self._publish(self._record(path, cosines, neutral, (part.start_s, part.end_s, 1, part.channel)))
            pool.add(part, cosines, neutral)
        if pool.windows and self._rules.pooled != "none":
            span = (0.0, pool.end_s, pool.windows, None)
            self._publish(self._record(path, *pool.pooled(), span))
        if failure is not None:
            raise failure

    def _parts(self, path: Path) -> Iterator[HeardPart]:
        with readable(path):
            yield from self._space.hear(path)

    def _record(
        self,
        path: Path,
        cosines: npt.NDArray[np.float32],
        neutral: float,
        heard: tuple[float, float, int, int | None],
    ) -> Labels:
        start_s, end_s, windows, channel = heard
        scores = self._labels.scores(cosines, neutral, self._rules.scoring)
        templates, sounds = self._labels.texts.templates, self._labels.texts.sounds
        best = np.argsort(-cosines, kind="stable")[: self._rules.top]
        named = [
            NamedLabel(
                label=as_text(self._labels.labels[at]),
                score=round(float(scores[at]), _DIGITS),
                similarity=round(float(cosines[at]), _DIGITS),
                sound=sounds[at],
            )
            for at in best
        ]
        return Labels(
            node=self._node,
            source=as_text(str(path)),
            start_s=round(start_s, 3),
            end_s=round(end_s, 3),
            labels=named,
            compared=len(self._labels.labels),
            template=as_text(templates[0]),
            templates=[as_text(template) for template in templates] if len(templates) > 1 else None,
            scoring=self._rules.scoring,
            windows=windows,
            pooled=self._rules.pooled,
            channel=channel,
            model=self._space.identity,
        )


class _Pool:
    """The cosines of a file's windows, as they come."""

    def __init__(self, labels: int, pooled: Pooling) -> None:
        self.windows = 0
        self.end_s = 0.0
        self._largest = pooled == "max"
        self._cosines = np.full(labels, -math.inf) if self._largest else np.zeros(labels)
        self._neutral = -math.inf if self._largest else 0.0

    def add(self, part: HeardPart, cosines: npt.NDArray[np.float32], neutral: float) -> None:
        self.windows += 1
        self.end_s = max(self.end_s, part.end_s)
        if self._largest:
            self._cosines, self._neutral = np.maximum(self._cosines, cosines), max(self._neutral, neutral)
        else:
            self._cosines, self._neutral = self._cosines + cosines, self._neutral + neutral

    def pooled(self) -> tuple[npt.NDArray[np.float32], float]:
        """The cosines (L,) and that of the neutral text."""
        count = 1 if self._largest else self.windows
        return (self._cosines / count).astype(np.float32), self._neutral / count


def csv_lines(record: Record) -> Iterator[str]:
    """Lines of a table of :data:`CSV_COLUMNS`, one a label, without a heading."""
    assert isinstance(record, Labels)
    for rank, named in enumerate(record.labels, 1):
        channel = "" if record.channel is None else record.channel
        place = (record.source, record.start_s, record.end_s, channel)
        yield csv_line((*place, rank, named.label, named.score, named.similarity, named.sound or ""))


def csv_line(cells: tuple[object, ...]) -> str:
    """A line of a table, without its end."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()
