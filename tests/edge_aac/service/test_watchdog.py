"""The watchdog is fed while everything is alive, and the manager told the truth in every phase."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_aac.records import Health
from edge_aac.service import watchdog as watchdog_module
from edge_aac.service.notify import ServiceManager
from edge_aac.service.state_file import StateFile, read_state
from edge_aac.service.watchdog import Watchdog
from tests.edge_aac.fakes import FakeModel, FakeSink, FakeSource
from tests.edge_aac.streaming.session_cases import blocks, session
from tests.system.service_manager import Manager

_PATIENCE_S = 30.0


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """A service manager that listens."""
    made = Manager(tmp_path)
    yield made
    made.close()


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_a_start_is_extended_until_it_is_done_and_the_watchdog_not_fed(manager: Manager) -> None:
    made = Watchdog("kitchen", ServiceManager(str(manager.address), watchdog_s=0.4))
    _wait_for(lambda: manager.count(EXTEND_TIMEOUT_USEC="30000000") > 0)
    time.sleep(0.5)
    made.close()
    assert [set(message) for message in manager.messages] == [{"EXTEND_TIMEOUT_USEC"}]


def test_a_start_that_never_ends_is_excused_no_more(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog_module, "MAX_START_S", 0.0)
    made = Watchdog("kitchen", ServiceManager(str(manager.address), watchdog_s=0.4))
    time.sleep(0.5)
    made.close()
    assert manager.messages == []


def test_what_does_not_move_ends_the_feeding_and_is_in_the_health_and_state(
    manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog_module, "INTERVAL_S", 0.05)
    stop, sink = threading.Event(), FakeSink()
    state = tmp_path / "health.json"
    made = Watchdog("kitchen", ServiceManager(str(manager.address), watchdog_s=1.0), StateFile(state))
    # Its first blocks are heard, then a read does not return.
    source = FakeSource(blocks(60), live=True, endless=True, pace_s=0.02, label="hall")
    running = session(source, sink, FakeModel(), stop=stop, health_interval_s=0.2)
    made.watch(running)
    thread = threading.Thread(target=running.run)
    thread.start()
    _wait_for(lambda: manager.count(WATCHDOG="1") >= 3)
    complaint = "the thread that captures hall has not come round"
    _wait_for(lambda: complaint in manager.status)
    fed = manager.count(WATCHDOG="1")
    _wait_for(
        lambda: any(
            complaint in warning for record in sink.records if isinstance(record, Health) for warning in record.warnings
        )
    )
    _wait_for(lambda: any(complaint in fault for fault in read_state(state).faults()))
    # Its seconds are counted on by the looks at which the watchdog would have been fed.
    before = manager.status
    _wait_for(lambda: complaint in manager.status and manager.status != before)
    assert manager.count(WATCHDOG="1") == fed
    stop.set()
    thread.join(_PATIENCE_S)
    made.close()
    assert manager.messages[-1] == {"STOPPING": "1", "STATUS": "stopping"}
    assert not state.exists()


def test_a_reload_that_ends_during_the_stop_does_not_make_it_ready_again(manager: Manager) -> None:
    made = Watchdog("kitchen", ServiceManager(str(manager.address), watchdog_s=0.4))
    stop = threading.Event()
    stop.set()
    running = session(FakeSource(blocks(3), live=True, endless=True), FakeSink(), FakeModel(), stop=stop)
    made.watch(running)
    running.run()
    _wait_for(lambda: manager.count(STOPPING="1") == 1)
    before = len(manager.messages)
    made.reloading()
    made.reloaded("the new settings are refused")
    time.sleep(0.5)
    assert manager.messages[before:] == []
    made.close()
