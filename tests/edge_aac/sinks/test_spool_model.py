"""The store against a plain list, whatever is done to it in whatever order."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge_aac.sinks.message import Message
from edge_aac.sinks.spool import Spool
from edge_aac.sinks.spool_file import DiskFault, SpoolFile
from edge_aac.sinks.spool_settings import SpoolLimits
from tests.edge_aac.sinks.remote_cases import message, numbers


class _Faulty(SpoolFile):
    """A file on a disk that takes nothing while it is full."""

    full = False

    def write(self, *what: Any) -> None:
        if type(self).full:
            raise DiskFault("the disk is full")
        super().write(*what)


class SpoolMachine(RuleBasedStateMachine):
    """Puts, takes, delivers, restarts and fills the disk; the model is a list of numbers."""

    @initialize(
        limit=st.integers(1, 12),
        limit_bytes=st.sampled_from([600, 2000, 10**9]),
        on_disk=st.booleans(),
    )
    def begin(self, limit: int, limit_bytes: int, on_disk: bool) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "messages.sqlite" if on_disk else None
        self.now_s = 0.0
        self.limits = SpoolLimits(messages=limit, bytes=limit_bytes, age_s=100.0)
        self.waiting: list[tuple[int, int, float]] = []
        self.dropped = 0
        self.fresh = itertools.count()
        self.under_way: list[Message] = []
        _Faulty.full = False
        self.spool = self._open()

    def _open(self) -> Spool:
        return Spool(self.path, self.limits, clock=lambda: self.now_s, boot="a")

    @rule(sizes=st.lists(st.integers(10, 300), min_size=1, max_size=4))
    def put(self, sizes: list[int]) -> None:
        messages = [message(next(self.fresh), size) for size in sizes]
        self.spool.put(messages)
        self.waiting += [(int(each.payload), each.size, self.now_s) for each in messages]
        self._trim()

    def _trim(self) -> None:
        while self.waiting and (
            len(self.waiting) > self.limits.messages
            or sum(size for _, size, _ in self.waiting) > self.limits.bytes
            or self.waiting[0][2] < self.now_s - self.limits.age_s
        ):
            self.waiting.pop(0)
            self.dropped += 1

    @rule(limit=st.integers(1, 20))
    def take(self, limit: int) -> None:
        self.under_way = self.spool.first(limit)
        assert numbers(self.under_way) == [number for number, _, _ in self.waiting[:limit]]

    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        delivered = [each for each in self.under_way if data.draw(st.booleans())]
        self.spool.done(delivered)
        gone = set(numbers(delivered))
        self.waiting = [each for each in self.waiting if each[0] not in gone]

    @rule(seconds=st.sampled_from([0.5, 11.0, 60.0]))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        self.spool.tick()
        self._trim()

    @precondition(lambda self: self.path is not None)
    @rule()
    def fill_or_clear_the_disk(self) -> None:
        _Faulty.full = not _Faulty.full

    @precondition(lambda self: self.path is not None and not _Faulty.full)
    @rule()
    def restart(self) -> None:
        self.spool.close()
        self.dropped = 0
        self.under_way = []
        self.spool = self._open()

    @precondition(lambda self: self.path is not None and not _Faulty.full)
    @rule()
    def delete_the_file(self) -> None:
        assert self.path is not None
        self.path.unlink(missing_ok=True)
        # What was in it counts as new.
        self.spool.tick()
        self._trim()
        stored = {each[0]: each for each in self.waiting}
        self.waiting = [(stored[n][0], stored[n][1], self.now_s) for n in numbers(self.spool.first(10**6, 10**9))]

    @invariant()
    def agrees(self) -> None:
        assert numbers(self.spool.first(10**6, 10**9)) == [number for number, _, _ in self.waiting]
        assert (self.spool.queued, self.spool.dropped) == (len(self.waiting), self.dropped)

    def teardown(self) -> None:
        if hasattr(self, "spool"):
            self.spool.close()
            self.folder.cleanup()


@pytest.mark.one_python
def test_the_store_does_what_a_list_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_aac.sinks.spool.SpoolFile", _Faulty)
    machine = SpoolMachine.TestCase
    machine.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
    machine().runTest()
