"""The caption record: what is heard in one window."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edge_aac.records.base import Part, Record


class Score(Part):
    """Why a caption was chosen.

    Attributes:
        hybrid: weighted sum of the two scores below, by which candidates are ranked.
        log_likelihood: mean log-likelihood a token; absent where the model generates no text.
        similarity: cosine of audio and text embedding; absent where it has no weight.
        familiarity: score of how much the window is like the training sounds; absent where the bundle does not compute
            it.
        sounds: sounds that the caption names → how sure the bundle is that they are heard, 0 to 1; absent where it
            names none, and where the bundle does not tell.
    """

    hybrid: float
    log_likelihood: float | None = None
    similarity: float | None = None
    familiarity: float | None = None
    sounds: dict[str, float] | None = None


class Model(Part):
    """The bundle that made a caption, with the backend and precision that run its encoder."""

    bundle: str
    version: str
    backend: str
    precision: str


class LatencyMs(Part):
    """Milliseconds to a caption.

    Attributes:
        total: time from the end of the window's sound to the record, waiting included; for a file the sum of the
            parts.
        queue: waiting before and beside the work on this window (sound buffers, other windows); absent for files.
        encode, decode, rerank: the window's share of the work on its batch.
    """

    total: float
    queue: float | None = None
    encode: float
    decode: float
    rerank: float


class Caption(Record):
    """The caption of a window of a source.

    Attributes:
        seq: number of the caption, from 0, within its run and source.
        caption: description of the sound in plain words.
        score: why this caption was chosen.
        candidates: number of captions that were drawn.
        rms_dbfs: level of the window in dB below full scale.
        dropped_ms: milliseconds of sound lost since the caption before.
        event: number of the event that the caption opens or belongs to: of the sound that it names first; absent where
            windows are not tracked, and where no event has started of what it names.
        events: numbers of all events that it names, where these are several.
        model: the model that made the caption.
        latency_ms: milliseconds that the caption took.
        speech: True where people may talk in the window, and the settings want that marked; else absent.
    """

    schema_: Literal["edge-aac/caption/1"] = Field(default="edge-aac/caption/1", alias="schema")
    seq: int
    caption: str
    score: Score
    candidates: int
    rms_dbfs: float
    dropped_ms: int
    event: int | None = None
    events: list[int] | None = None
    model: Model
    latency_ms: LatencyMs
    speech: bool | None = None

    def sentence(self) -> str:
        return self.caption
