"""Runs a part of a check in a process of its own, which is ended where it takes too long."""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from typing import NoReturn

from edge_aac.doctor.contract import Finding, Part
from edge_aac.errors import EdgeAacError

END_S = 2.0
"""A process that does not go when it is killed, since it waits for a driver, is left behind after this."""

_MAX_BYTES = 1 << 20
_MAX_TEXT = 2_000


def run_apart(part: Part, debug: bool = False) -> Iterator[Finding]:
    """Run a part, and give its findings as they come.

    The process is forked, so this process should have no other threads. What a library prints in it goes nowhere;
    what edge-aac logs as a warning becomes a finding.

    Args:
        part: the part.
        debug: leave the process's standard error as it is.
    """
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        _run_and_exit(part, write_end, debug)
    os.close(write_end)
    ended = False
    try:
        yield from _received(read_end, time.monotonic() + part.limit_s)
        ended = True
    except TimeoutError:
        yield Finding("failed", f"it was not done within {part.limit_s:g} s, and was ended")
    finally:
        os.close(read_end)
        status = _end(child, END_S if ended else 0.0)
    if ended and status is None:
        return
    if ended and os.WIFSIGNALED(status or 0):
        name = signal.Signals(os.WTERMSIG(status or 0)).name
        yield Finding("failed", f"it crashed ({name})", "report this with what `edge-aac support-dump` makes")


def _received(descriptor: int, deadline_s: float) -> Iterator[Finding]:
    """Findings from a pipe until its other end is closed.

    Raises:
        TimeoutError: the deadline is over.
    """
    received = b""
    total = 0
    while True:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0 or not select.select([descriptor], [], [], left_s)[0]:
            raise TimeoutError
        data = os.read(descriptor, 65_536)
        if not data:
            return
        total += len(data)
        *lines, received = (received + data).split(b"\n")
        if total > _MAX_BYTES:
            raise TimeoutError
        for line in lines:
            yield Finding(**json.loads(line))


def _end(child: int, grace_s: float) -> int | None:
    """Wait for a process, end it and all that it started, and give its status; None where it does not go."""
    status = _waited(child, grace_s)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    return status if status is not None else _waited(child, END_S)


def _waited(child: int, seconds: float) -> int | None:
    deadline_s = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        if time.monotonic() >= deadline_s:
            return None
        time.sleep(0.01)


class _Warnings(logging.Handler):
    """Sends warnings of edge-aac as findings."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(logging.WARNING)
        self._descriptor = descriptor

    def emit(self, record: logging.LogRecord) -> None:
        _send(self._descriptor, Finding("warning", record.getMessage()))


def _run_and_exit(part: Part, descriptor: int, debug: bool) -> NoReturn:
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)
        # Should its parent be killed, nothing is left behind.
        signal.alarm(round(part.limit_s) + 2)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1) if debug else (0, 1, 2):
            os.dup2(nowhere, stream)
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the process ends
        logger = logging.getLogger("edge_aac")
        logger.handlers, logger.propagate = [_Warnings(descriptor)], False
        for finding in part.run():
            _send(descriptor, finding)
    except EdgeAacError as error:
        _send(descriptor, Finding("failed", str(error).rstrip(".")))
    except BaseException as error:
        _send(descriptor, Finding("failed", f"it cannot be checked ({type(error).__name__}: {error})"))
    finally:
        os._exit(0)


def _send(descriptor: int, finding: Finding) -> None:
    shortened = {key: value[:_MAX_TEXT] for key, value in asdict(finding).items()}
    line = json.dumps(shortened).encode() + b"\n"
    with suppress(BrokenPipeError):
        while line:
            line = line[os.write(descriptor, line) :]
