"""Inputs that installed packages list beside the microphones, for ``edge-aac devices``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from edge_aac.plugins import load, registered

ENTRY_POINT_GROUP = "edge_aac.listings"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ListedInput:
    """An input that can be captioned.

    Attributes:
        id: address that stays, for ``--device``.
        description: what it is, in a line for a person.
        details: further facts for programs, which JSON can hold.
    """

    id: str
    description: str
    details: Mapping[str, object] = field(default_factory=dict)


Listing = Callable[[], Sequence[ListedInput]]
"""What the group ``edge_aac.listings`` registers. It opens no device: another program may have it."""


def listed_inputs() -> list[ListedInput]:
    """What all packages list, in order of their names; one that fails is named in the log."""
    found: list[ListedInput] = []
    for name, point in registered(ENTRY_POINT_GROUP).items():
        try:
            listing: Listing = load(point, f"The listing '{name}'")
            found += listing()
        except Exception as error:
            _log.warning("the inputs of '%s' cannot be listed: %s", name, error)
    return found
