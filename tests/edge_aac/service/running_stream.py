"""A running stream for the tests of the service, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from edge_aac import app
from edge_aac.service.reload import Running
from edge_aac.service.reload_request import ReloadRequest
from edge_aac.settings.tree import Settings
from tests.waiting import ended, until


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
        until(lambda: parts and any(parts[0].session.signs()))
        try:
            yield parts[0]
        finally:
            stop.set()
            ended(thread)
