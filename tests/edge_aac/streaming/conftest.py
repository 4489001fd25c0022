"""What holds for the tests of streams."""

from __future__ import annotations

import pytest

from tests.remembered_sessions import remember_sessions


@pytest.fixture(autouse=True)
def sessions_of_equal_graphs_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many tests open the same few bundles; a session has no state."""
    remember_sessions(monkeypatch)
