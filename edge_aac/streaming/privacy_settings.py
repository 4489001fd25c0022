"""The section ``[privacy]``: what is heard and not told."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from edge_aac.streaming.wording import checked_patterns

SpeechRule = Literal["publish", "mark", "suppress"]


class PrivacySettings(BaseModel):
    """What is heard and not told."""

    model_config = ConfigDict(frozen=True, defer_build=True, extra="forbid")

    speech: SpeechRule = Field(
        default="publish",
        description="Captions and events that tell of people talking: publish them; mark them with speech = true; or "
        "suppress them, counted as private. No clip of marked or suppressed ones is saved.",
        json_schema_extra={"flag": "--speech", "env": "EDGE_AAC_SPEECH"},
    )
    suppress: tuple[str, ...] = Field(
        default=(),
        description="Words whose captions and events are not published, nor saved as clips; * stands for any letters "
        "of a word.",
        examples=[("radio", "door* bell*")],
        json_schema_extra={"flag": "--suppress", "metavar": "WORDS", "env": "EDGE_AAC_SUPPRESS", "absent": "none"},
    )

    @field_validator("suppress")
    @classmethod
    def _with_words(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        return checked_patterns(patterns)

    def leaves(self) -> str:
        """What of the captions leaves the device, see :mod:`edge_aac.settings.leaving`."""
        of_speech = {
            "publish": "Captions that tell of people talking are published as all others are.",
            "mark": 'Captions that tell of people talking are published with the mark "speech": true.',
            "suppress": "Captions that tell of people talking are not published.",
        }[self.speech]
        if self.suppress:
            words = ", ".join(f'"{pattern}"' for pattern in self.suppress)
            return f"{of_speech} Captions with the words {words} are not published."
        return of_speech
