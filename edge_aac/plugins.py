"""What installed packages register by entry points, edge-aac's own parts among it."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from edge_aac.errors import ConfigError


def registered(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group by name, sorted by it; nothing is loaded."""
    return {point.name: point for point in sorted(entry_points(group=group))}


def load(point: EntryPoint, what: str) -> Any:
    """Load what an entry point names.

    Args:
        point: from :func:`registered`.
        what: what it is, as a message names it: "the record schema 'acme/gust/1'".

    Raises:
        ConfigError: its code cannot be loaded.
    """
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"{what} is registered as {point.value}, which cannot be loaded ({error}): install that package again"
        ) from error
