"""Addresses that name several sources, which come and go while a stream runs: the devices behind one port."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from edge_aac.audio.sources.address import Address, SourceContext
from edge_aac.plugins import load, registered

ENTRY_POINT_GROUP = "edge_aac.discoveries"


@dataclass(frozen=True)
class FoundSource:
    """A source that is there now.

    Attributes:
        address: opens it (:func:`~edge_aac.audio.sources.address.open_source`); another one than that of the discovery,
            and always the same for the same source.
        label: its name in records and messages.
    """

    address: str
    label: str


class Discovery(Protocol):
    """Finds sources for as long as it is open. Any thread may ask it."""

    def found(self, own: Collection[str]) -> Sequence[FoundSource]:
        """The sources that are there now, without waiting.

        One that is only silent for a while stays: its channel accounts for what is lost meanwhile. One that is gone for
        good is left out, and its channel ends.

        Args:
            own: addresses of all sources that are configured themselves, those of other schemes included. What they
                name is left out, whether it is open now or not: one that is paused must not be heard.
        """

    def close(self) -> None:
        """Stop looking. May be called again."""


class DiscoveryKind(Protocol):
    """What the entry-point group ``edge_aac.discoveries`` registers under a scheme.

    The scheme is among those of ``edge_aac.sources`` too: these open the sources that are found.
    """

    def covers(self, address: Address) -> bool:
        """Whether an address names several sources, not one.

        Raises:
            UsageError: it has an unusable option.
        """

    def open(self, address: Address, context: SourceContext) -> Discovery:
        """Begin to look.

        Args:
            address: one that :meth:`covers` is true of.
            context: its name, which stands before those of the sources; whether to wait for what it looks at.

        Raises:
            DeviceError: it cannot look now, and is not to wait.
            EdgeAacError: it never can.
        """


def covers_several(uri: str) -> bool:
    """Whether an address names several sources that are to be discovered.

    Raises:
        UsageError: it has an unusable option.
        ConfigError: a package registers the scheme, but its code cannot be loaded.
    """
    kind = _kind_of(Address.parse(uri))
    return kind is not None and kind.covers(Address.parse(uri))


def open_discovery(uri: str, context: SourceContext | None = None) -> Discovery:
    """Begin to look for the sources of an address that :func:`covers_several` is true of.

    Raises:
        EdgeAacError: see :meth:`DiscoveryKind.open`.
    """
    address = Address.parse(uri)
    kind = _kind_of(address)
    if kind is None:
        raise ValueError(f"'{address.label}' names one source")
    return kind.open(address, context or SourceContext())


def _kind_of(address: Address) -> DiscoveryKind | None:
    point = registered(ENTRY_POINT_GROUP).get(address.scheme)
    return None if point is None else cast(DiscoveryKind, load(point, f"The discovery of '{address.scheme}:'"))
