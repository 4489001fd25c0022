"""What was sent to a broker and waits for its answer, and how much more may be sent before one comes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from edge_aac.sinks.mqtt.faults import FAILURE, BrokerError, Fault


@dataclass(frozen=True)
class _Sent:
    future: Future[None]
    why: Callable[[int, str], Fault]
    counts: bool


class Answers:
    """The answers that one connection waits for, by the numbers of its packets. Any thread may use it.

    Args:
        lost: gives the fault of an answer that does not come, since the connection has ended.
    """

    def __init__(self, lost: Callable[[], Fault]) -> None:
        self._lost = lost
        self._changed = threading.Condition()
        self._waiting: dict[int, _Sent] = {}
        self._early: dict[int, tuple[int, str]] = {}
        self._unconfirmed = 0
        self._ended = False
        self.newest_s: float | None = None
        """Monotonic time of the newest answer to what was waited for."""

    def take_room(self, limit: int, timeout_s: float) -> bool:
        """Wait until less than ``limit`` messages are unconfirmed, and count one more; False after the timeout.

        After the end of the connection there is room: the message is answered by :meth:`expect` then.
        """
        with self._changed:
            found = self._changed.wait_for(lambda: self._ended or self._unconfirmed < limit, timeout_s)
            self._unconfirmed += found
            return found

    def expect(
        self, number: int | None, future: Future[None], why: Callable[[int, str], Fault], *, counts: bool = False
    ) -> None:
        """Have a future settled by the answer to a packet, which may have come already.

        Args:
            number: of the packet; None where it was not sent.
            future: raises a :class:`BrokerError` where the broker refuses, or the connection has ended before.
            why: gives the fault of a refusal, from its reason code and name.
            counts: whether room was taken for it.
        """
        sent = _Sent(future, why, counts)
        with self._changed:
            early = None if number is None else self._early.pop(number, None)
            if early is None and number is not None and not self._ended:
                self._waiting[number] = sent
                return
            self._give_room(sent)
        if early is None:
            future.set_exception(BrokerError(self._lost()))
        else:
            _settle(sent, *early)

    def come(self, number: int, code: int, name: str) -> None:
        """Note the answer to a packet: its reason code, and the code's name."""
        with self._changed:
            sent = self._waiting.pop(number, None)
            if sent is None:  # it was confirmed before the number was known
                self._early[number] = code, name
                return
            self._give_room(sent)
        _settle(sent, code, name)

    def end(self) -> None:
        """No answer comes any more."""
        with self._changed:
            self._ended = True
            waiting, self._waiting = self._waiting, {}
            self._changed.notify_all()
        for sent in waiting.values():
            sent.future.set_exception(BrokerError(self._lost()))

    def _give_room(self, sent: _Sent) -> None:
        if not self._ended:
            self.newest_s = time.monotonic()
        self._unconfirmed -= sent.counts
        self._changed.notify_all()


def _settle(sent: _Sent, code: int, name: str) -> None:
    if code >= FAILURE:
        sent.future.set_exception(BrokerError(sent.why(code, name)))
    else:
        sent.future.set_result(None)
