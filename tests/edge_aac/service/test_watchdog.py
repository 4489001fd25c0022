"""The watchdog is fed while everything is alive, and the manager told the truth in every phase."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_aac.records import Health
from edge_aac.service import watchdog as watchdog_module
from edge_aac.service.notify import ServiceManager
from edge_aac.service.state_file import StateFile, read_state
from edge_aac.service.watchdog import Watchdog
from tests.edge_aac.fakes import Array, FakeModel, FakeSink, FakeSource
from tests.edge_aac.streaming.session_cases import blocks, session
from tests.system.service_manager import Manager
from tests.waiting import PATIENCE_S, ended, until


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """A service manager that listens."""
    made = Manager(tmp_path)
    yield made
    made.close()


def test_a_start_is_extended_until_it_is_done_and_the_watchdog_not_fed(manager: Manager) -> None:
    made = Watchdog("kitchen", ServiceManager(str(manager.address), watchdog_s=0.4))
    until(lambda: manager.count(EXTEND_TIMEOUT_USEC="30000000") > 0)
    time.sleep(0.5)
    made.close()
    assert {name for message in manager.messages for name in message} == {"EXTEND_TIMEOUT_USEC"}


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
    monkeypatch.setattr(watchdog_module, "CLOSE_TIMEOUT_S", PATIENCE_S)
    stop, sink = threading.Event(), FakeSink()
    state = tmp_path / "health.json"
    made = Watchdog("kitchen", ServiceManager(str(manager.address), watchdog_s=1.0), StateFile(state))
    hangs = threading.Event()

    class _Hanging(FakeSource):
        """Blocks are heard, until a read does not return."""

        def read(self) -> Array | None:
            if hangs.is_set():
                self.closed.wait()
            return super().read()

    source = _Hanging(blocks(1) * 20_000, live=True, pace_s=0.02, label="hall")
    running = session(source, sink, FakeModel(), stop=stop, health_interval_s=0.2)
    made.watch(running)
    thread = threading.Thread(target=running.run)
    thread.start()
    until(lambda: manager.count(WATCHDOG="1") >= 3)
    hangs.set()
    complaint = "the thread that captures hall has not come round"
    until(lambda: complaint in manager.status)
    # Its seconds are counted on by the looks at which the watchdog would have been fed. Before it hung it may have been
    # missing for a moment, too, on a machine under load.
    before = manager.status
    until(lambda: complaint in manager.status and manager.status != before)
    fed = manager.count(WATCHDOG="1")
    until(
        lambda: any(
            complaint in warning for record in sink.records if isinstance(record, Health) for warning in record.warnings
        )
    )
    until(lambda: any(complaint in fault for fault in read_state(state).faults()))
    before = manager.status
    until(lambda: complaint in manager.status and manager.status != before)
    assert manager.count(WATCHDOG="1") == fed
    stop.set()
    ended(thread)
    made.close()
    until(lambda: manager.messages[-1] == {"STOPPING": "1", "STATUS": "stopping"}, lambda: manager.messages)
    assert not state.exists()


def test_a_reload_that_ends_during_the_stop_does_not_make_it_ready_again(manager: Manager) -> None:
    made = Watchdog("kitchen", ServiceManager(str(manager.address), watchdog_s=0.4))
    stop = threading.Event()
    stop.set()
    running = session(FakeSource(blocks(3), live=True, endless=True), FakeSink(), FakeModel(), stop=stop)
    made.watch(running)
    running.run()
    until(lambda: manager.count(STOPPING="1") == 1)
    before = len(manager.messages)
    made.reloading()
    made.reloaded("the new settings are refused")
    time.sleep(0.5)
    assert not [message for message in manager.messages[before:] if message.keys() & {"READY", "RELOADING", "STATUS"}]
    made.close()
