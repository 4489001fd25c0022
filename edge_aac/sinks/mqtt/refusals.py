"""What a broker refuses although it is connected, topic by topic, and when each is tried again.

Some brokers (mosquitto 2.0.11 is one) end the connection with each refusal. So a topic that was refused rests, and all
others go on meanwhile.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from edge_aac.sinks.mqtt.faults import Fault

FIRST_REST_S = 30.0
CONSEQUENCE_S = 1.0
"""A connection that is lost within this time after a refusal is lost because of it."""


@dataclass
class _Refusal:
    fault: Fault
    count: int
    since_s: float
    until_s: float


class Refusals:
    """The topics that a broker refuses. Any thread may use it.

    Args:
        longest_s: seconds that a topic rests at most; each refusal in a row doubles its rest.
    """

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._lock = threading.Lock()
        self._by_topic: dict[str, _Refusal] = {}

    def add(self, topic: str, fault: Fault) -> bool:
        """Note a refusal; True where it is the first in a row."""
        now_s = time.monotonic()
        with self._lock:
            before = self._by_topic.get(topic)
            count = 1 if before is None else before.count + 1
            rest_s = min(self._longest_s, FIRST_REST_S * 2.0 ** min(count - 1, 16))
            self._by_topic[topic] = _Refusal(fault, count, now_s, now_s + rest_s)
        return before is None

    def accepted(self, topic: str) -> bool:
        """Note that a topic is taken; True where it was refused before."""
        with self._lock:
            return self._by_topic.pop(topic, None) is not None

    def resting(self, topic: str) -> Fault | None:
        """Why a topic is not to be tried now; None where it may be."""
        with self._lock:
            refusal = self._by_topic.get(topic)
        return None if refusal is None or time.monotonic() >= refusal.until_s else refusal.fault

    def known(self, topic: str) -> bool:
        """Whether a topic was refused when it was last tried."""
        with self._lock:
            return topic in self._by_topic

    @property
    def fault(self) -> Fault | None:
        """The refusal that has lasted longest; None where nothing is refused."""
        with self._lock:
            return next((refusal.fault for refusal in self._by_topic.values()), None)

    @property
    def cause_of_loss(self) -> Fault | None:
        """The refusal that the connection may just have been lost for."""
        newest = time.monotonic() - CONSEQUENCE_S
        with self._lock:
            return next((each.fault for each in self._by_topic.values() if each.since_s > newest), None)
