"""A message on its way to a remote sink, as it waits in memory or on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

_OVERHEAD_BYTES = 64


@dataclass(frozen=True)
class Message:
    """What a remote sink delivers: made from a record at once, so that nothing of it changes while it waits.

    Attributes:
        topic: where it goes, in the sink's own terms: an MQTT topic, or the kind of record.
        source: label of the source that it tells of.
        payload: its bytes.
        properties: further texts that the sink needs to send it.
        number: place in the order of messages, given by the store; 0 before.
    """

    topic: str
    source: str
    payload: bytes
    properties: Mapping[str, str] = field(default_factory=dict)
    number: int = 0

    @property
    def size(self) -> int:
        """Bytes that the message counts for in the bounds of a store."""
        texts = sum(len(text) for pair in self.properties.items() for text in pair)
        return len(self.payload) + len(self.topic) + len(self.source) + texts + _OVERHEAD_BYTES
