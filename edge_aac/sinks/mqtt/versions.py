"""Which version of MQTT is spoken with a broker, and what else the next try to connect does otherwise."""

from __future__ import annotations

from typing import Literal

from edge_aac.sinks.mqtt.client import V5, V311
from edge_aac.sinks.mqtt.faults import BAD_PROTOCOL, NO_RETAIN, Fault
from edge_aac.sinks.mqtt.link import Link

SILENT_TRIES = 2  # connections closed before the broker's answer, after which the other version of MQTT is tried


class Versions:
    """Follows what a broker understands.

    Args:
        wanted: the version that the settings give.

    Attributes:
        protocol: of the next connection: :data:`~edge_aac.sinks.mqtt.client.V5` or ``V311``.
        retained_will: whether the broker may be asked to retain the will.
    """

    def __init__(self, wanted: Literal["auto", "5", "3.1.1"]) -> None:
        self.protocol = V311 if wanted == "3.1.1" else V5
        self.retained_will = True
        self._fixed = wanted != "auto"
        self._unanswered = 0
        self._speaks_v5 = False

    @property
    def name(self) -> str:
        """The version: "5" or "3.1.1"."""
        return "5" if self.protocol == V5 else "3.1.1"

    def accepted(self, link: Link) -> None:
        """Note that the broker accepted a connection."""
        self._speaks_v5 |= link.protocol == V5

    def adapted(self, link: Link, fault: Fault) -> bool:
        """Whether the next try is made at once, in another way, after a connection that ended with a fault."""
        if fault.code == NO_RETAIN and self.retained_will:
            self.retained_will = False
            return True
        if self._fixed:
            return False
        if link.accepted:
            # A broker that was made new may speak MQTT 5.
            self.protocol, self._unanswered = V5, 0
            return False
        self._unanswered += link.made and not link.answered
        # A broker that knows no MQTT 5 refuses it by its code, or closes the connection without a word.
        silent = self._unanswered >= SILENT_TRIES and not self._speaks_v5
        if not silent and fault.code != BAD_PROTOCOL:
            return False
        self.protocol, self._unanswered = (V311 if self.protocol == V5 else V5), 0
        return self.protocol == V311
