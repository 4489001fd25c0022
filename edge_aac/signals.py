"""Signals that ask the process to end: SIGINT, SIGTERM, and SIGHUP, which comes when a terminal is closed.

The command line holds them while it imports a verb, so that they end a verb that ends in good order no less politely
than later; then they either end the process by an exception, or call what the verb has for them.
"""

from __future__ import annotations

import signal
import sys

# Imported before signals are held: only what must be, so that this is soon.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import NoReturn

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_held: list[int] = []
_raised: list[int] = []


def exit_code_of(number: int) -> int:
    """The exit code of a process that a signal ended, as a shell gives it: 143 for SIGTERM."""
    return 128 + number


def hold() -> None:
    """Only note signals from now on, until :func:`end_by_exception` or :func:`end_by` says what they do.

    SIGHUP and SIGINT that are ignored stay so: ``nohup`` starts a process that is to outlive its terminal, and a shell
    script one that is not to end with it. To be called in the main thread, as all of this module.
    """
    _held.clear()
    _raised.clear()
    for number in ENDING:
        if number == signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda received, _frame: _held.append(received))


def end_by_exception() -> None:
    """Let each signal raise SystemExit, SIGINT KeyboardInterrupt; one that was noted does so now.

    What is open is closed then; by default SIGTERM and SIGHUP would end the process on the spot, and leave half-written
    folders behind.
    """
    for number in ENDING:
        if number == signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else _exit)
    if _held:
        first = _held[0]
        _held.clear()
        if first == signal.SIGINT:
            raise KeyboardInterrupt
        _exit(first, None)


def end_by(stop: Callable[[], object], reload: Callable[[], object] | None = None) -> None:
    """Let each signal call ``stop``; one that was noted does so now. SIGHUP that is ignored stays so.

    Args:
        stop: called in the main thread, between two of its instructions; it must not wait.
        reload: called by SIGHUP in place of ``stop``: of a service, which has no terminal that could be closed.
    """
    stopped: list[bool] = []

    def stop_once() -> None:
        # A second signal may come while the first one's call is under way, in the same thread: an event that is set
        # within its own ``set`` waits for itself.
        if not stopped:
            stopped.append(True)
            stop()

    for number in ENDING:
        if number == signal.SIGHUP and reload is not None:
            signal.signal(number, lambda *_: reload())
        elif number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: stop_once())
    noted = set(_held)
    _held.clear()
    if reload is not None and signal.SIGHUP in noted:
        noted.remove(signal.SIGHUP)
        reload()
    if noted:
        stop_once()


def ended() -> None:
    """Ignore signals from now on: all is done, and one that comes while Python ends changes no exit code.

    Python gives its own handlers back to the system before it has ended, and SIGTERM would then count as a crash.
    """
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


def exit_if_swallowed() -> None:
    """Exit as a signal asked for, where what it raised was ignored, as in a callback of C and in ``__del__``."""
    if _raised:
        sys.exit(exit_code_of(_raised[0]))


def _exit(number: int, _frame: FrameType | None) -> NoReturn:
    _raised.append(number)
    sys.exit(exit_code_of(number))
