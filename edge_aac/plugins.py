"""What installed packages register by entry points, edge-aac's own parts among it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from functools import lru_cache
from importlib import metadata
from importlib.metadata import EntryPoint
from typing import Any, TypeAlias

from edge_aac.errors import ConfigError

_Places: TypeAlias = "tuple[tuple[str, int | None], ...]"


def registered(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group by name, sorted by it; nothing is loaded."""
    return {point.name: point for point in sorted(entry_points(group))}


def entry_points(group: str) -> Iterable[EntryPoint]:
    """The entry points of a group. The packages are read once, since a start asks for ten groups, and there may be
    hundreds of packages; and again where one was installed meanwhile."""
    return _of_group(tuple((path, _changed(path)) for path in sys.path), group)


@lru_cache
def _of_group(places: _Places, group: str) -> tuple[EntryPoint, ...]:
    return tuple(_all(places).select(group=group))


@lru_cache(maxsize=1)
def _all(places: _Places) -> Any:
    """All entry points, by where packages are looked for and when each of these places was changed."""
    return metadata.entry_points()


def _changed(path: str) -> int | None:
    """When something was last put into a folder or taken out of it; None where it is not there."""
    try:
        return os.stat(path or ".").st_mtime_ns
    except OSError:
        return None


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
