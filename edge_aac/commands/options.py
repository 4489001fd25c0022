"""Options that several verbs share, beside those that are made from the settings."""

from __future__ import annotations

import logging
import sys
from enum import Enum
from typing import Annotated

import typer

from edge_aac.terminal import escaped


class Format(str, Enum):
    """Formats of records on standard output."""

    AUTO = "auto"
    JSON = "json"
    TEXT = "text"


FormatOption = Annotated[
    Format,
    typer.Option(
        "--format", envvar="EDGE_AAC_FORMAT", help="json: JSON Lines; text: sentences; auto: text on a terminal."
    ),
]


def log_to_stderr(level: int = logging.INFO) -> None:
    """Logs of a verb: warnings and notes on stderr, a line each, so that stdout holds records alone.

    Args:
        level: the lowest that is shown; of edge-aac's own it is DEBUG with ``--debug``.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("edge-aac: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])


class _OneLine(logging.Formatter):
    """Messages as one line each, whatever names stand in them; a traceback follows as it is."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return escaped(super().formatMessage(record))
