"""What holds for the runtime's tests."""

from __future__ import annotations

import sys

import pytest

from tests.waiting import PATIENCE_S


@pytest.fixture(autouse=True)
def threads_have_time_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread of a sink, or of clips, may have to wait for a processor when a stream ends: nothing is lost all the
    same.

    A test whose sink is stuck on purpose sets a short time itself.
    """
    if (outlet := sys.modules.get("edge_aac.streaming.outlet")) is not None:
        monkeypatch.setattr(outlet, "CLOSE_TIMEOUT_S", PATIENCE_S)
    if (saving := sys.modules.get("edge_aac.streaming.clips.saving")) is not None:
        monkeypatch.setattr(saving.ClipSaving.close, "__defaults__", (PATIENCE_S,))
