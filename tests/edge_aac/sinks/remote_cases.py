"""A remote place of the test, which fails when it is told to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from edge_aac.records import Record
from edge_aac.sinks.message import Message
from edge_aac.sinks.remote import Receipts
from tests.waiting import PATIENCE_S


class Clock:
    """Seconds since boot, as the test wants them."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def message(number: int, size: int = 20) -> Message:
    """A message that tells its number."""
    return Message("caption", "mic0", str(number).encode().ljust(size), {"number": str(number)})


def numbers(messages: Sequence[Message]) -> list[int]:
    """What :func:`message` was called with."""
    return [int(each.payload) for each in messages]


class FakeRemote:
    """Keeps what arrives.

    Attributes:
        plan: what each call of ``send`` does: an error that is raised after so many messages; then all arrive.
        refuse: reason for which a message is never taken.
    """

    def __init__(self, *plan: tuple[int, BaseException]) -> None:
        self.plan = list(plan)
        self.arrived: list[Message] = []
        self.refuse: Callable[[Message], str | None] = lambda message: None
        self.closed = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def messages(self, record: Record) -> Sequence[Message]:
        return [Message(record.kind, record.source, record.to_json().encode())]

    def send(self, messages: Sequence[Message], receipts: Receipts) -> None:
        self.gate.wait(PATIENCE_S)
        count, error = self.plan.pop(0) if self.plan else (len(messages), None)
        for each in messages[:count]:
            if (reason := self.refuse(each)) is not None:
                receipts.refused(each, reason)
                continue
            self.arrived.append(each)
            receipts.acknowledged(each)
        if error is not None:
            raise error

    def close(self) -> None:
        self.closed.set()
        self.gate.set()
