"""What the tests of the store do with it, and see of it."""

from __future__ import annotations

import logging

import pytest

from edge_aac.sinks.spool import Spool
from tests.edge_aac.sinks.remote_cases import message, numbers


def put(spool: Spool, *which: int) -> None:
    """Store messages of these numbers, one after the other."""
    for number in which:
        spool.put([message(number)])


def waiting_in(spool: Spool) -> list[int]:
    """Numbers of all messages that wait, in order."""
    return numbers(spool.first(1_000_000, 1_000_000_000))


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    """Lines of the log of this level and above."""
    return [record.getMessage() for record in caplog.records if record.levelno >= level]
