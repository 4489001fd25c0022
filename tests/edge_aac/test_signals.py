"""SIGHUP of a service: its settings are read anew, whenever it comes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from edge_aac import signals


@pytest.fixture
def kept_handlers() -> Iterator[None]:
    """The handlers of before are there again after the test."""
    before = {number: signal.getsignal(number) for number in signals.ENDING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize(
    ("numbers", "calls"),
    [
        ([signal.SIGHUP], ["reload"]),
        ([signal.SIGTERM], ["stop"]),
        ([signal.SIGHUP, signal.SIGTERM], ["reload", "stop"]),
    ],
)
def test_a_hang_up_reloads_a_service_and_nothing_else_does(
    numbers: list[signal.Signals], calls: list[str], early: bool, kept_handlers: None
) -> None:
    found: list[str] = []
    signals.hold()
    if early:
        for number in numbers:
            os.kill(os.getpid(), number)
    signals.end_by(lambda: found.append("stop"), lambda: found.append("reload"))
    if not early:
        for number in numbers:
            os.kill(os.getpid(), number)
    assert found == calls


def test_a_signal_within_a_stop_is_part_of_it(kept_handlers: None) -> None:
    stop, found = threading.Event(), []

    def stopping() -> None:
        found.append("stop")
        os.kill(os.getpid(), signal.SIGINT)
        stop.set()

    signals.end_by(stopping)
    os.kill(os.getpid(), signal.SIGTERM)
    assert (found, stop.is_set()) == (["stop"], True)


def test_signals_after_the_end_are_ignored(kept_handlers: None) -> None:
    signals.end_by(lambda: pytest.fail("it has ended"))
    signals.ended()
    for number in signals.ENDING:
        os.kill(os.getpid(), number)
