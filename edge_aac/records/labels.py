"""The labels record: which of a user's words fit the sound of a file."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edge_aac.records.base import Part, Record
from edge_aac.records.caption import Model

Scoring = Literal["softmax", "sigmoid", "cosine"]
Pooling = Literal["mean", "max", "none"]

_SHOWN = 5  # labels in a sentence


class NamedLabel(Part):
    """A label with its score.

    Attributes:
        label: as the user wrote it.
        score: by the record's ``scoring``.
        similarity: cosine of the sound and the label's text, pooled over the windows.
        sound: the sound of the bundle's list that the label names, by all of whose wordings it was compared; absent
            where it was compared by the templates.
    """

    label: str
    score: float
    similarity: float
    sound: str | None = None


class Labels(Record):
    """The labels of a file, or of a window of it, best first.

    Attributes:
        labels: the best ones.
        compared: number of labels that were compared.
        template: what made a text of each label, but of those that name a listed sound; the first of several.
        templates: all of them, where they are several.
        scoring: "softmax": shares, which add up to 1 over all labels that were compared; "sigmoid": each label by
            itself, against the template with the word "sound" in its place; "cosine": the similarity itself.
        windows: windows or clips that were heard.
        pooled: how the similarities of several windows became one: "mean", "max", or "none" for a window by itself.
        channel: number of the channel, from 1, of a window by itself of a model that hears channels one by one.
        model: the bundle, and what runs its encoder.
    """

    schema_: Literal["edge-aac/labels/1"] = Field(default="edge-aac/labels/1", alias="schema")
    labels: list[NamedLabel]
    compared: int
    template: str
    templates: list[str] | None = None
    scoring: Scoring
    windows: int
    pooled: Pooling
    channel: int | None = None
    model: Model

    def sentence(self) -> str:
        named = ", ".join(f"{each.label} {each.score:.2f}" for each in self.labels[:_SHOWN])
        more = f" … of {self.compared}" if self.compared > min(_SHOWN, len(self.labels)) else ""
        return named + more
