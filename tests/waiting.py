"""Waiting for what another thread or process does, with a patience that nothing but a hang outlasts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

PATIENCE_S = 120.0
"""Seconds after which something hangs. No passing test waits for them, however much else has the cores."""


def until(
    condition: Callable[[], object], told: Callable[[], object] = lambda: "it never came", interval_s: float = 0.005
) -> None:
    """Wait until something holds.

    Args:
        condition: looked at again and again.
        told: gives what is told where it never holds.
        interval_s: seconds from look to look.

    Raises:
        AssertionError: it did not hold within :data:`PATIENCE_S`.
    """
    give_up_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up_s, told()
        time.sleep(interval_s)


def eventually(condition: Callable[[], object], what: str) -> None:
    """Wait until something holds, else tell what never came."""
    until(condition, lambda: what)


def ended(*threads: threading.Thread) -> None:
    """Wait for the ends of threads.

    Raises:
        AssertionError: one has not ended within :data:`PATIENCE_S`.
    """
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), f"{thread.name} does not end"


def set_once(event: threading.Event, condition: Callable[[], object]) -> None:
    """Set an event from another thread as soon as something holds; also where it never does, so that nobody hangs."""

    def wait() -> None:
        try:
            until(condition)
        finally:
            event.set()

    threading.Thread(target=wait, name="sets-once", daemon=True).start()
