"""A link's own thread: what it keeps of those who say HELLO, and how it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from firmware_bridge import link as link_module
from firmware_bridge.address import Endpoint
from firmware_bridge.device import Device
from firmware_bridge.frame import Frame
from firmware_bridge.link import Link
from firmware_bridge.seen import SeenDevices
from tests.firmware_bridge.worlds import hello
from tests.waiting import PATIENCE_S, until


class _Port(Link):
    """A port that opens when the test says so, and on which one device says HELLO with ever new names."""

    def __init__(self, seen: SeenDevices | None = None) -> None:
        self.opening, self.may_open = threading.Event(), threading.Event()
        self.port_is_open = False
        self.hellos = 0
        super().__init__(Endpoint("serial", "none", 9600, None), wait=True, seen=seen)

    def send(self, frame: Frame) -> None:
        return

    def _connect(self) -> None:
        self.opening.set()
        self.may_open.wait(PATIENCE_S)
        self.port_is_open = True

    def _disconnect(self) -> None:
        self.port_is_open = False

    def _read(self) -> None:
        self._closed.wait(0.001)
        self.hellos += 1
        self._take(replace(hello(), name=f"kitchen {self.hellos}"), time.monotonic(), None)

    def _answer(self, frame: Frame, reply_to: tuple[str, int] | None) -> None:
        return


def test_a_port_that_opens_after_the_close_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "_JOIN_S", 0.05)
    port = _Port()
    assert port.opening.wait(PATIENCE_S)
    port.close()
    port.may_open.set()
    port._thread.join(PATIENCE_S)  # noqa: SLF001 - nobody else can see its end
    assert not port.port_is_open


def test_who_says_hello_often_costs_few_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[list[str]] = []

    def write(self: SeenDevices, link: str, devices: Sequence[Device]) -> None:
        written.append([device.label for device in devices])

    monkeypatch.setattr(SeenDevices, "write", write)
    monkeypatch.setattr(link_module, "_KEEP_EVERY_S", 600.0)
    monkeypatch.setattr(link_module, "_JOIN_S", PATIENCE_S)
    port = _Port(SeenDevices(tmp_path / "seen.json"))
    port.may_open.set()
    until(lambda: port.hellos >= 100)
    assert written == [["kitchen 1"]], "the first at once"
    port.close()
    assert written[1:] == [[f"kitchen {port.hellos}"]], "and the newest at the end"


def test_a_device_for_which_there_is_no_place_is_named(caplog: pytest.LogCaptureFixture) -> None:
    port = _Port()
    try:
        for device in range(1, link_module.MAX_DEVICES + 3):
            port._take(hello(device=device), 0.0, None)  # noqa: SLF001 - as the link's thread does
    finally:
        port.may_open.set()
        port.close()
    assert len(port.devices) == link_module.MAX_DEVICES
    assert caplog.text.count("kitchen is not heard, since 64 devices speak there already") == 1
