"""What holds for the tests of TensorRT's engine."""

from __future__ import annotations

import pytest

from tests.remembered_sessions import remember_sessions


@pytest.fixture(autouse=True)
def sessions_of_equal_graphs_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test opens the built-in bundle, to compare with it; a session has no state."""
    remember_sessions(monkeypatch)
