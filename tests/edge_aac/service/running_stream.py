"""A running stream for the tests of the service, in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from edge_aac import app
from edge_aac.service.reload import Running
from edge_aac.service.reload_request import ReloadRequest
from edge_aac.settings.tree import Settings

PATIENCE_S = 60.0


def wait_for(condition: Callable[[], object], state: Callable[[], object] = lambda: "not so") -> None:
    """Wait until something is so; where it takes too long, ``state`` says what is there instead."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"after {PATIENCE_S:.0f} s: {state()}"
        time.sleep(0.005)


@contextmanager
def running_stream(settings: Settings, request: ReloadRequest | None = None) -> Iterator[Running]:
    """A stream that has begun; it is ended, and its thread with it."""
    stop = threading.Event()
    parts: list[Running] = []
    build = app._opened

    def noting(*arguments: Any) -> Running:
        parts.append(build(*arguments))
        return parts[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "_opened", noting)
        thread = threading.Thread(
            target=app.run_stream, args=(settings, app.Output(), stop), kwargs={"reload": request}
        )
        thread.start()
        wait_for(lambda: parts and any(parts[0].session.signs()))
        try:
            yield parts[0]
        finally:
            stop.set()
            thread.join(PATIENCE_S)
    assert not thread.is_alive()
