"""Messages that are sent in order, several at once, and confirmed by the broker."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError

from edge_aac.sinks.mqtt.faults import BrokerError, Fault, fault_of_silence
from edge_aac.sinks.mqtt.link import Link
from edge_aac.sinks.mqtt.messages import Message
from edge_aac.sinks.mqtt.settings import MqttSettings


def deliver(
    link: Link, messages: Sequence[Message], settings: MqttSettings, settled: Callable[[int, Fault | None], None]
) -> None:
    """Send messages by one connection and wait for their confirmation.

    No more are unconfirmed at once than settings and broker allow. A connection on which nothing is confirmed any more
    is dropped.

    Args:
        link: the connection.
        messages: in order.
        settings: of the broker.
        settled: called with the place of each message, and None where it was confirmed, else why it was not.
    """
    under_way: deque[tuple[int, Future[None]]] = deque()
    window = max(1, min(settings.in_flight, link.limits.in_flight))

    def confirm() -> None:
        place, future = under_way.popleft()
        try:
            future.result(settings.confirm_s)
        except BrokerError as error:
            settled(place, error.fault)
        except FutureTimeoutError:
            fault = fault_of_silence(settings.broker)
            link.drop(fault)
            settled(place, fault)
        else:
            settled(place, None)

    for place, message in enumerate(messages):
        if len(under_way) >= window:
            confirm()
        under_way.append((place, link.publish(message)))
    while under_way:
        confirm()
