"""What holds for the runtime's tests."""

from __future__ import annotations

import sys

import pytest

from tests.waiting import PATIENCE_S


@pytest.fixture(autouse=True)
def sinks_have_time_to_close(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread of a sink may have to wait for a processor when a stream ends: its last records arrive all the same.

    A test whose sink is stuck on purpose sets a short time itself.
    """
    if (outlet := sys.modules.get("edge_aac.streaming.outlet")) is not None:
        monkeypatch.setattr(outlet, "CLOSE_TIMEOUT_S", PATIENCE_S)
