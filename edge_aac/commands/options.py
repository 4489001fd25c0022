"""What several verbs share beside the options that are made from the settings."""

from __future__ import annotations

import logging
import sys
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edge_aac.models.seq2seq import Captioner
    from edge_aac.models.settings import CaptionerSettings


class Format(str, Enum):
    """How records are written."""

    AUTO = "auto"
    JSON = "json"
    TEXT = "text"


FormatOption = Annotated[
    Format,
    typer.Option(
        "--format", envvar="EDGE_AAC_FORMAT", help="json: JSON Lines; text: sentences; auto: text on a terminal."
    ),
]


def open_captioner(settings: CaptionerSettings) -> Captioner:
    """The captioner that the settings describe."""
    from edge_aac.engines.contract import EngineOptions
    from edge_aac.models.seq2seq import Captioner, Choices

    choices = Choices(
        method=settings.method,
        max_length=settings.max_length,
        likelihood_weight=settings.likelihood_weight,
        similarity_weight=settings.similarity_weight,
        fluency_check=settings.fluency_check,
        least_familiarity=settings.least_familiarity,
    )
    return Captioner.open(
        settings.bundle, EngineOptions(settings.backend, settings.threads), settings.candidates, choices
    )


def log_to_stderr() -> None:
    """Logs of a verb: warnings and notes on stderr, so that stdout holds records alone."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="edge-aac: %(message)s")
