"""A sink with a store: what the remote place has not confirmed is sent again, in order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_aac.backoff import Backoff
from edge_aac.errors import ConfigError
from edge_aac.records import Record
from edge_aac.sinks.message import Message
from edge_aac.sinks.remote import RemoteFault, Spooled, Window
from edge_aac.sinks.spool import Spool
from edge_aac.sinks.spool_settings import SpoolLimits
from tests.edge_aac.fakes import caption_record
from tests.edge_aac.sinks.remote_cases import FakeRemote, message, numbers
from tests.waiting import PATIENCE_S, until

_FAST = Backoff(0.001, 0.002, refused_s=3600.0)
_NEVER = Backoff(3600.0, 3600.0)
_NONE = 0.0
"""Patience of a sink that is closed while nothing can arrive."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool" / "messages.sqlite"


def _sink(
    remote: FakeRemote, path: Path | None, backoff: Backoff = _FAST, window: int = 3, patience_s: float = PATIENCE_S
) -> Spooled:
    spool = Spool(path, SpoolLimits())
    return Spooled(remote, spool, "the broker", backoff=backoff, window=Window(window), patience_s=patience_s)


@pytest.fixture
def failing() -> Iterator[FakeRemote]:
    remote = FakeRemote(*[(0, RemoteFault("it is away"))] * 10_000)
    yield remote


def test_messages_arrive_in_order_whatever_fails_in_between(path: Path) -> None:
    away = RemoteFault("it is away")
    remote = FakeRemote((0, away), (1, away), (2, away), (0, away), (3, away))
    sink = _sink(remote, path)
    for seq in range(50):
        sink.publish(caption_record(seq))
    sink.close()
    until(remote.closed.is_set)
    if sink.status.queued:  # it was closed within an outage: the rest waits on disk
        sink = _sink(remote, path)
        until(lambda: sink.status.queued == 0)
        sink.close()
    assert [each.payload for each in remote.arrived] == [caption_record(seq).to_json().encode() for seq in range(50)]
    assert remote.closed.is_set()


def test_what_was_not_confirmed_arrives_after_the_next_start(path: Path, failing: FakeRemote) -> None:
    sink = _sink(failing, path, _NEVER, patience_s=_NONE)
    sink.store([message(number) for number in range(5)])
    until(lambda: sink.status.state == "retrying")
    status = sink.status
    assert (status.queued, status.delivered, status.reason) == (5, 0, "it is away")
    assert status.retries >= 1
    sink.close()
    after = FakeRemote()
    sink = _sink(after, path)
    sink.store([message(5)])
    sink.close()
    assert numbers(after.arrived) == [0, 1, 2, 3, 4, 5]
    assert (sink.status.delivered, sink.status.dropped, sink.status.queued) == (6, 0, 0)


def test_an_outage_is_logged_once_and_so_is_its_end(
    path: Path, failing: FakeRemote, caplog: pytest.LogCaptureFixture
) -> None:
    sink = _sink(failing, path)
    sink.store([message(0), message(1)])
    until(lambda: sink.status.retries >= 5)
    failing.plan.clear()
    until(lambda: sink.status.queued == 0)
    sink.close()
    lines = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(lines) == 2, lines
    assert lines[0].startswith("the broker: it is away; it is tried again")
    assert lines[1] == "the broker: messages arrive again"
    assert sink.status.state == "delivering"


def test_a_pause_ends_when_the_remote_place_is_back(path: Path, failing: FakeRemote) -> None:
    sink = _sink(failing, path, _NEVER)
    sink.store([message(0)])
    until(lambda: sink.status.state == "retrying")
    failing.plan.clear()
    sink.retry_now()
    until(lambda: sink.status.delivered == 1)
    sink.close()


@pytest.mark.parametrize("fault", [RemoteFault("later", wait_s=3600.0), RemoteFault("who are you", refused=True)])
def test_a_wait_that_is_asked_for_is_kept(path: Path, fault: RemoteFault) -> None:
    remote = FakeRemote((0, fault))
    sink = _sink(remote, path, patience_s=_NONE)
    sink.store([message(0)])
    until(lambda: sink.status.state == "retrying")
    assert not remote.closed.wait(0.3)  # the usual pauses are a hundredth of that
    assert (sink.status.delivered, sink.status.retries) == (0, 1)
    sink.close()


def test_a_message_that_is_refused_for_good_holds_up_no_other(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    remote = FakeRemote()
    remote.refuse = lambda each: "too large" if int(each.payload) % 2 else None
    sink = _sink(remote, path)
    sink.store([message(number) for number in range(6)])
    sink.close()
    assert numbers(remote.arrived) == [0, 2, 4]
    assert (sink.status.dropped, sink.status.queued, sink.status.state) == (3, 0, "delivering")
    assert caplog.text.count("it is refused: too large") == 1


def test_a_remote_place_that_confirms_nothing_is_not_taken_at_its_word(path: Path) -> None:
    class Silent(FakeRemote):
        def send(self, messages: object, receipts: object) -> None:
            """Say nothing."""

    sink = _sink(Silent(), path, _NEVER, patience_s=_NONE)
    sink.store([message(0)])
    until(lambda: sink.status.state == "retrying")
    assert (sink.status.queued, sink.status.reason) == (1, "nothing was confirmed")
    sink.close()


def test_a_fault_of_the_program_fails_the_sink_and_is_told(path: Path) -> None:
    remote = FakeRemote((0, ConfigError("the key is no key")))
    sink = _sink(remote, path)
    sink.store([message(0)])
    until(lambda: sink.status.state == "failed")
    with pytest.raises(ConfigError, match="the key is no key"):
        sink.publish(caption_record(1))
    sink.close()
    after = FakeRemote()
    _sink(after, path).close()
    assert numbers(after.arrived) == [0]


def test_a_record_that_cannot_be_told_is_counted(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Speechless(FakeRemote):
        def messages(self, record: Record) -> list[Message]:
            raise KeyError("caption")

    sink = _sink(Speechless(), path)
    sink.publish(caption_record(0))
    assert (sink.status.dropped, sink.status.state) == (1, "delivering")
    assert "cannot be told" in caplog.text
    sink.close()


def test_without_a_disk_the_rest_is_lost_with_a_word(failing: FakeRemote, caplog: pytest.LogCaptureFixture) -> None:
    sink = Spooled(failing, Spool(None, SpoolLimits()), "the broker", backoff=_NEVER, patience_s=0.1)
    sink.store([message(0), message(1)])
    until(lambda: sink.status.state == "retrying")
    sink.close()
    assert sink.status.dropped == 2
    assert "2 messages that were kept in memory are lost" in caplog.text


def test_closing_ends_a_send_that_is_stuck(path: Path) -> None:
    remote = FakeRemote()
    remote.gate.clear()
    sink = Spooled(remote, Spool(path, SpoolLimits()), "the broker", patience_s=0.1)
    sink.store([message(0)])
    sink.close()
    assert remote.closed.is_set()
