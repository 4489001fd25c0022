"""Options that several verbs share, beside those that are made from the settings."""

from __future__ import annotations

import logging
import sys
from enum import Enum
from typing import Annotated

import typer

from edge_aac.log_lines import JournalFormatter, LineFormatter, RepeatFilter, leads_to_journal


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


MqttOption = Annotated[
    list[str] | None,
    typer.Option(
        "--mqtt",
        metavar="URL",
        help="Publish to an MQTT broker, mqtts://HOST[:PORT]; short for --sink mqtt:URL. Repeat it for several.",
        show_default=False,
    ),
]


class LogLevel(str, Enum):
    """Levels of what is logged on standard error."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


LogLevelOption = Annotated[
    LogLevel,
    typer.Option("--log-level", envvar="EDGE_AAC_LOG_LEVEL", help="The lowest level that is logged on standard error."),
]


def log_to_stderr(level: int | LogLevel = logging.INFO, *, endless: bool = False) -> None:
    """Logs of a verb: warnings and notes on stderr, a line each, so that stdout holds records alone.

    Args:
        level: the lowest that is shown; of edge-aac's own it is DEBUG with ``--debug``.
        endless: the verb may run for years: what repeats itself is shown once an hour, with a count.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JournalFormatter() if leads_to_journal(sys.stderr) else LineFormatter())
    if endless:
        handler.addFilter(RepeatFilter())
    number = logging.getLevelName(level.name) if isinstance(level, LogLevel) else level
    if number == logging.DEBUG:  # other packages' own are of interest to nobody
        logging.getLogger("edge_aac").setLevel(number)
    logging.basicConfig(level=max(number, logging.INFO), handlers=[handler])
