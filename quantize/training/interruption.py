"""A polite request to end (SIGTERM) waits until the step is done and saved."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType


class Termination:
    """While this context is open, SIGTERM is only noted; at its end it is sent again, and does what it did before.

    So the caller can end at a place of its choice. Outside the main thread, and where SIGTERM is ignored, nothing
    changes.
    """

    def __init__(self) -> None:
        self.requested = False
        self._installed = False

    def __enter__(self) -> Termination:
        self._before = signal.getsignal(signal.SIGTERM)
        if threading.current_thread() is threading.main_thread() and self._before != signal.SIG_IGN:
            signal.signal(signal.SIGTERM, self._note)
            self._installed = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._installed:
            return
        signal.signal(signal.SIGTERM, self._before or signal.SIG_DFL)
        if self.requested and error is None:
            signal.raise_signal(signal.SIGTERM)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.requested = True


def obey_parent_only(_worker: int) -> None:
    """For a process that makes batches: SIGTERM ends it only when its parent sends it.

    ``torchrun``, service managers and terminals send SIGTERM to all processes of a group; torch would take the death of
    these for a fault, and break off the step that the parent wants to finish.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
