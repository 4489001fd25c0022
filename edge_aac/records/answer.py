"""The answer record: what a bundle answers when it is asked about a sound."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edge_aac.records.base import Part, Record
from edge_aac.records.caption import LatencyMs, Model

QUESTION_MARKS = ("?", "\uff1f", "\u061f")
"""What questions end in: Latin, of East Asia, Arabic."""


class PossibleAnswer(Part):
    """One of the texts that the search kept.

    Attributes:
        text: the answer.
        log_likelihood: mean log-likelihood a token; absent where it is minus infinity.
    """

    text: str
    log_likelihood: float | None = None


class Answer(Record):
    """The answer to a prompt about a piece of sound.

    Attributes:
        answer: the best text, without the space that a finished one ends in; empty where the model says nothing.
        prompt: what was asked, as the model read it; absent where the bundle takes no prompts.
        task: name of the prompt, where it has one.
        answers: all texts that the search kept, best first.
        event: number of the event that it was asked about, of a stream that asks about events; else absent.
        speech: True where people may talk in the sound, and the settings want that marked; else absent.
        model: the model that answered.
        latency_ms: milliseconds that the answer took.
    """

    schema_: Literal["edge-aac/answer/1"] = Field(default="edge-aac/answer/1", alias="schema")
    answer: str
    prompt: str | None = None
    task: str | None = None
    answers: list[PossibleAnswer]
    event: int | None = None
    speech: bool | None = None
    model: Model
    latency_ms: LatencyMs

    def sentence(self) -> str:
        """The answer behind the question: "no" alone says nothing beside other records. Other prompts are left out."""
        asked = " ".join((self.prompt or "").split())
        question = f"{asked} " if asked.endswith(QUESTION_MARKS) else ""
        return question + (self.answer or "[no answer]")
