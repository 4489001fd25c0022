"""Gates: silence is not captioned, sound that goes on is not captioned again, and a low score is not published."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_aac.audio.windows import Window
from edge_aac.errors import DataError
from edge_aac.models.contract import Description, Undecoded

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class EnergyGate:
    """Passes windows in which something loud enough can be heard.

    Attributes:
        audible_dbfs: A-weighted level in dB below full scale that the loudest 0.1 s of a window must reach; else the
            window is silent and not captioned.
    """

    audible_dbfs: float

    def passes(self, window: Window) -> bool:
        """Whether the window is to be captioned; one without a level (NaN) is left to the model, which says why."""
        return not window.audible_dbfs < self.audible_dbfs


@dataclass(frozen=True)
class ScoreGate:
    """Passes captions whose score is high enough.

    Attributes:
        min_score: lowest hybrid score of a published caption; None passes all. Scores are comparable within one
            bundle only; ``edge-aac evaluate`` reports what a threshold keeps and what it stops.
        familiar_only: whether windows without a familiar sound are left out, even as an unknown sound.
    """

    min_score: float | None = None
    familiar_only: bool = False

    def passes(self, description: Description) -> bool:
        """Whether the window's best caption is to be published."""
        if self.familiar_only and not description.familiar:
            return False
        return self.min_score is None or description.best.hybrid >= self.min_score


@dataclass(frozen=True)
class SameGate:
    """Stops windows that sound like the last one that was captioned: they need no decoding.

    Attributes:
        min_similarity: smallest cosine between two audio embeddings of the same sound. Cosines are comparable within
            one bundle only.
        max_difference_db: greatest difference between the A-weighted levels of the loudest 0.1 s of the two: a sound
            over another one, which the embedding hardly shows, is louder.
        settle_samples: samples of sound after a change in which all windows are decoded: a sound that has just begun is
            in the end of a window, whose caption may not name it, and which the next ones resemble.
        refresh_samples: samples from one decoded window to the next at most, however alike they are.
    """

    min_similarity: float
    max_difference_db: float
    settle_samples: int
    refresh_samples: int

    def as_loud(self, one_dbfs: float, other_dbfs: float) -> bool:
        """Whether two windows are as loud as each other; a level that is no number is like none."""
        return abs(one_dbfs - other_dbfs) <= self.max_difference_db

    def alike(self, one: Array, other: Array) -> bool:
        """Whether two audio embeddings, each of shape (E,) and any length, are of the same sound; NaN is like none."""
        lengths = float(np.linalg.norm(one)) * float(np.linalg.norm(other))
        return lengths > 0.0 and float(one @ other) >= self.min_similarity * lengths


class SoundMemory:
    """What a source sounded like when it was last captioned, and whether a window sounds like that.

    The window is compared with the last one that was *decoded*, not with the one before it: sound that drifts is
    captioned again when it has gone far enough. Nothing is the same as silence, as a window that could not be
    described, or as sound that no longer overlaps what it is compared with.

    Args:
        gate: the rule.
    """

    def __init__(self, gate: SameGate) -> None:
        self._gate = gate
        self._embedding: Array | None = None
        self._audible_dbfs = 0.0
        self._decoded_start = 0
        self._changed_start = 0
        self._heard_end = 0

    def is_same(self, window: Window, embedding: Array) -> bool:
        """Whether a window, whose audio embedding is given, need not be decoded."""
        gate = self._gate
        if window.start - self._decoded_start >= gate.refresh_samples:
            return False
        return self._resembles(window, embedding) and window.start - self._changed_start >= gate.settle_samples

    def _resembles(self, window: Window, embedding: Array) -> bool:
        """Whether a window sounds like the last one that was decoded, and overlaps what was heard since."""
        if self._embedding is None or window.start >= self._heard_end:
            return False
        gate = self._gate
        return gate.as_loud(self._audible_dbfs, window.audible_dbfs) and gate.alike(self._embedding, embedding)

    @property
    def loudest_same_dbfs(self) -> float:
        """Level that the loudest 0.1 s of the next sound may reach and still be the same; infinite before any."""
        if self._embedding is None:
            return math.inf
        return self._audible_dbfs + self._gate.max_difference_db

    def settle(self, window: Window, outcome: Description | DataError | Undecoded | None) -> None:
        """Take in what became of a window; windows come in order."""
        if isinstance(outcome, Description):
            if not self._resembles(window, outcome.audio_embedding):
                self._changed_start = window.start
            self._embedding = outcome.audio_embedding
            self._audible_dbfs = window.audible_dbfs
            self._decoded_start = window.start
        elif not isinstance(outcome, Undecoded):
            self._embedding = None
        self._heard_end = window.start + window.samples
