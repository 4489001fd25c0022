"""What holds for every test, whoever starts it."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Ctrl-C reaches tests that a shell runs in the background, too: there it is ignored, and children inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
