"""What holds for the tests of streams."""

from __future__ import annotations

from tests.remembered_sessions import sessions_of_equal_graphs_are_one

__all__ = ["sessions_of_equal_graphs_are_one"]
