"""Options that several verbs share, beside those that are made from the settings."""

from __future__ import annotations

import logging
import sys
from enum import Enum
from typing import Annotated

import typer


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


def log_to_stderr() -> None:
    """Logs of a verb: warnings and notes on stderr, so that stdout holds records alone."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="edge-aac: %(message)s")
