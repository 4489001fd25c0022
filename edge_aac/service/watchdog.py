"""The thread that watches over the service: it feeds the manager's watchdog only while everything is alive.

Whatever hangs, the model, a driver or an accelerator, this thread finds it, logs which part it is with the stacks of
all threads, and feeds no more: the manager then ends the process by SIGABRT, at which the stacks are written once more
(:func:`dump_stacks_at_abort`, of what let this thread do nothing either), and starts it anew. Without a manager the
same is logged and shown in health records.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
import threading
import time
from contextlib import suppress
from typing import Any

from edge_aac import __version__
from edge_aac.service.notify import ServiceManager
from edge_aac.service.state_file import StateFile
from edge_aac.streaming import overview
from edge_aac.streaming.liveness import LIMIT_S, Liveness
from edge_aac.streaming.session import Session

INTERVAL_S = 5.0
"""Seconds between two looks where no manager wants more; status and state file are renewed no more often."""

CLOSE_TIMEOUT_S = 1.0
START_STEP_S = 30.0
MAX_START_S = 900.0
"""A start that takes longer is no longer excused: engines are read within minutes even from a slow card."""

log = logging.getLogger(__name__)


def dump_stacks_at_abort() -> None:
    """Write the stacks of all threads to standard error when the process is aborted, by a watchdog for example."""
    faulthandler.enable(file=sys.stderr, all_threads=True)


def _dump_stacks() -> None:
    # Here the other threads stand still. The handler of a signal reads their stacks while they run, and now and then
    # ends with a segmentation fault before it has come to the one that hangs.
    with suppress(OSError, ValueError, AttributeError):  # a standard error without a descriptor, or none at all
        faulthandler.dump_traceback(file=sys.stderr, all_threads=True)


class Watchdog:
    """Watches over a service from its start to its stop, in a thread of its own.

    Args:
        node: name of the device.
        manager: is told.
        state_file: is kept up to date; None for none.
    """

    def __init__(self, node: str, manager: ServiceManager, state_file: StateFile | None = None) -> None:
        self._node = node
        self._manager = manager
        self._state_file = state_file
        self._session: Session | None = None
        self._liveness: Liveness | None = None
        self._note: str | None = None
        self._phase = "starting"
        self._sent = ""
        self._lock = threading.Lock()
        """Held while the manager is told of a phase, so that nothing that belongs to an earlier one comes after it."""
        self._awake = threading.Event()
        self._closed = False
        interval_s = INTERVAL_S if manager.watchdog_s is None else min(1.0, manager.watchdog_s / 4)
        self._interval_s = interval_s
        # Half of the manager's time, so that a hang costs at most one and a half of it.
        self._limit_s = LIMIT_S if manager.watchdog_s is None else manager.watchdog_s / 2
        self._thread = threading.Thread(target=self._run, name="edge-aac-watchdog", daemon=True)
        self._thread.start()

    def watch(self, session: Session) -> None:
        """Watch over a session that is about to run: the start is done."""
        liveness = Liveness(session.signs, self._limit_s, self._interval_s)
        session.health.missing = liveness.missing
        session.ending = self._stopping
        with self._lock:
            self._session, self._liveness, self._phase = session, liveness, "running"
            self._tell_ready()
        self._awake.set()

    def reloading(self) -> None:
        """Take note that the settings are read anew, until :meth:`reloaded`."""
        with self._lock:
            if self._phase == "stopping":
                return
            self._phase = "reloading"
            self._manager.reloading()

    def reloaded(self, note: str | None) -> None:
        """Take note that the new settings are in use, or refused.

        Args:
            note: what is wrong with them, shown in the status line from now on; None where nothing is.
        """
        with self._lock:
            if self._phase == "stopping":
                return
            self._phase, self._note = "running", note
            self._tell_ready()
        self._awake.set()

    def _stopping(self) -> None:
        with self._lock:
            self._phase = "stopping"
            self._manager.stopping()

    def close(self) -> None:
        """End the thread: the service has ended."""
        self._closed = True
        self._awake.set()
        self._thread.join(CLOSE_TIMEOUT_S)
        if self._state_file is not None:
            self._state_file.remove()

    def _tell_ready(self) -> None:
        self._sent = self._sentence()
        self._manager.ready(self._sent)

    def _sentence(self) -> str:
        session, note = self._session, self._note
        if session is None:
            return "starting"
        return "; ".join(filter(None, [note, *self._missing(), overview.sentence(session)]))

    def _missing(self) -> list[str]:
        return [] if self._liveness is None else self._liveness.missing()

    def _run(self) -> None:
        began_s = renewed_s = time.monotonic()
        extended_s = began_s - START_STEP_S
        were_missing: list[str] = []
        self._write_state()
        while not self._closed:
            self._awake.clear()
            now_s = time.monotonic()
            if self._liveness is None:
                if now_s - extended_s >= START_STEP_S / 3 and now_s - began_s < MAX_START_S:
                    extended_s = now_s
                    self._manager.extend_timeout(START_STEP_S)
            else:
                missing = self._liveness.check()
                if missing and not were_missing:
                    _dump_stacks()
                elif not missing and self._phase != "stopping":
                    self._manager.feed_watchdog()
                were_missing = missing
            if now_s - renewed_s >= INTERVAL_S:
                renewed_s = now_s
                self._renew_status()
                self._write_state()
            self._awake.wait(self._interval_s)

    def _renew_status(self) -> None:
        with self._lock:
            if self._phase == "stopping" or self._session is None or (sentence := self._sentence()) == self._sent:
                return
            self._sent = sentence
            self._manager.status(sentence)

    def _write_state(self) -> None:
        if self._state_file is None:
            return
        session = self._session
        now: dict[str, Any] = {"captions": 0, "sources": {}, "sinks": {}, "health": {}}
        if session is not None:
            now = overview.table(session)
        self._state_file.write(
            {
                **now,
                "node": self._node,
                "version": __version__,
                "pid": os.getpid(),
                "phase": self._phase,
                "status": self._sentence(),
                "missing": self._missing(),
                "written_s": time.time(),
                "monotonic_s": time.monotonic(),
            }
        )
