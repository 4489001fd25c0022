"""What long work calls while it runs: one name for each kind of callback."""

from __future__ import annotations

from collections.abc import Callable

Log = Callable[[str], None]
"""Called with one line of text, without its line feed, about what is being done now."""

OnProgress = Callable[[int], None]
"""Called with the number of items that are done so far."""
