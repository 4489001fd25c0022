"""A polite request to end (SIGTERM, or SIGHUP of a closed terminal) waits until the step is done and saved."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class Termination:
    """While this context is open, SIGTERM and SIGHUP are only noted; at its end the first one that came is sent again,
    and does what it did before.

    So the caller can end at a place of its choice. Outside the main thread, and where a signal is ignored, nothing
    changes.
    """

    def __init__(self) -> None:
        self._first: int | None = None
        self._before: dict[int, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether one of the signals came."""
        return self._first is not None

    def request(self) -> None:
        """Note what another process was sent: this one ends as by SIGTERM, unless a signal came here, too."""
        if self._first is None:
            self._first = signal.SIGTERM

    def __enter__(self) -> Termination:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if (before := signal.getsignal(number)) != signal.SIG_IGN:
                    self._before[number] = before or signal.SIG_DFL
                    signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        if self._first is not None and error is None:
            signal.raise_signal(self._first)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._first = number if self._first is None else self._first


def obey_parent_only(_worker: int) -> None:
    """For a process that makes batches: SIGTERM and SIGHUP end it only when its parent sends them.

    ``torchrun``, service managers and terminals send them to all processes of a group; torch would take the death of
    these for a fault, and break off the step that the parent wants to finish.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    while signal.sigwaitinfo(_SIGNALS).si_pid != os.getppid():
        pass
    os._exit(0)
