"""What the service manager is told, over a real datagram socket."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_aac.service.notify import ServiceManager
from tests.waiting import PATIENCE_S


@pytest.fixture(params=["path", "abstract"])
def manager_socket(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """A manager's socket as NOTIFY_SOCKET names it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.settimeout(PATIENCE_S)
        if request.param == "path":
            address = str(tmp_path / "notify")
            listening.bind(address)
        else:
            address = f"@edge-aac-test-{os.getpid()}"
            listening.bind("\0" + address[1:])
        yield address, listening


def test_messages_reach_the_manager(manager_socket: tuple[str, socket.socket]) -> None:
    address, listening = manager_socket
    manager = ServiceManager(address)
    assert manager.listens
    manager.ready("listening to\nmic0")
    assert listening.recv(4096) == b"READY=1\nSTATUS=listening to mic0"
    before_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    manager.reloading()
    first, second = listening.recv(4096).decode().split("\n")
    assert first == "RELOADING=1"
    name, value = second.split("=")
    assert name == "MONOTONIC_USEC"
    assert before_us <= int(value) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    manager.feed_watchdog()
    assert listening.recv(4096) == b"WATCHDOG=1"
    manager.extend_timeout(2.5)
    assert listening.recv(4096) == b"EXTEND_TIMEOUT_USEC=2500000"
    manager.stopping()
    assert listening.recv(4096) == b"STOPPING=1\nSTATUS=stopping"
    manager.failed("no disk", 28)
    assert listening.recv(4096) == b"STATUS=no disk\nERRNO=28"


def test_systemd_reads_a_long_status_to_its_end(manager_socket: tuple[str, socket.socket]) -> None:
    address, listening = manager_socket
    ServiceManager(address).ready("ü" * 10_000)
    message = listening.recv(1 << 20)
    assert len(message) < 4096, "systemd ignores longer ones"
    assert message.startswith(b"READY=1\nSTATUS=") and message.decode().endswith("ü…")


def test_what_children_must_not_inherit_is_taken_out_of_the_environment() -> None:
    environment = {
        "NOTIFY_SOCKET": "/run/x",
        "WATCHDOG_USEC": "60000000",
        "WATCHDOG_PID": str(os.getpid()),
        "HOME": "/",
    }
    manager = ServiceManager.of_environment(environment)
    assert environment == {"HOME": "/"}
    assert (manager.listens, manager.watchdog_s) == (True, 60.0)


@pytest.mark.parametrize(
    ("changes", "watchdog_s"),
    [
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "5000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "5000000"}, 5.0),
        ({"WATCHDOG_USEC": "5000000", "NOTIFY_SOCKET": ""}, None),
    ],
)
def test_a_watchdog_that_is_meant_for_this_process(changes: dict[str, str], watchdog_s: float | None) -> None:
    manager = ServiceManager.of_environment({"NOTIFY_SOCKET": "/run/x", **changes})
    assert manager.watchdog_s == watchdog_s


def test_without_a_manager_nothing_is_sent() -> None:
    manager = ServiceManager.of_environment({})
    assert not manager.listens
    manager.ready("listening")


def test_a_manager_that_has_gone_disturbs_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    manager = ServiceManager(str(tmp_path / "nowhere"))
    manager.ready("listening")
    manager.feed_watchdog()
    assert [record.levelname for record in caplog.records] == ["WARNING"], "once, not at every message"
