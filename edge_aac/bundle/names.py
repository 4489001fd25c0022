"""Names of bundles as a user gives them: one, or several of an ensemble with commas between them."""

from __future__ import annotations

from pathlib import Path

from edge_aac.bundle.manifest import MANIFEST
from edge_aac.bundle.store import built_in_bundles, pulled_bundles
from edge_aac.errors import ConfigError

SEPARATOR = ","


def bundle_names(text: str) -> tuple[str, ...]:
    """The names or paths in a list with commas; blanks around them do not count.

    A text that is itself the name of a bundle, or the path of a folder of one, is that one bundle, whatever commas it
    holds. In a list no path can hold a comma.

    Raises:
        ConfigError: there is nothing before, between or behind the commas.
    """
    if SEPARATOR not in text or _is_bundle(text):
        return (text,)
    names = tuple(name.strip() for name in text.split(SEPARATOR))
    if not all(names):
        raise ConfigError(f"the list of bundles {text!r} has a comma with no name beside it: take it out")
    return names


def _is_bundle(text: str) -> bool:
    try:
        found = (Path(text) / MANIFEST).is_file()
    except (OSError, ValueError):  # too long for a path, or not to be looked into
        found = False
    return found or text in built_in_bundles() or text in pulled_bundles()
