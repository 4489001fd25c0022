"""Inputs that come and go: one change each, whatever the listing's order and numbers."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_aac.audio import device_watch
from edge_aac.audio.device_watch import DeviceChange, changes_between, watch_devices
from edge_aac.audio.devices import InputDevice
from edge_aac.commands import devices
from edge_aac.errors import DeviceError
from tests.waiting import ended, until


def _input(name: str, identity: str, index: int = 0, channels: int = 1) -> InputDevice:
    return InputDevice(name, index, "Microphone", channels, 48_000, identity)


_SERVER, _USB = _input("mic0", "alsa:pulse"), _input("mic1", "usb-id:0d8c:0014@1-1.2")


def _told(changes: list[DeviceChange]) -> list[tuple[str, str]]:
    return [(change.change, change.device.name) for change in changes]


def test_changes() -> None:
    assert changes_between([_SERVER, _USB], [_SERVER, _input("mic1", _USB.id, index=7)]) == []
    assert _told(changes_between([_SERVER], [_SERVER, _USB])) == [("added", "mic1")]
    moved = _input("mic0", _USB.id)
    assert _told(changes_between([_SERVER, _USB], [moved])) == [("removed", "mic0"), ("changed", "mic0")]
    assert _told(changes_between([_SERVER], [_input("mic0", "alsa:pulse", channels=2)])) == [("changed", "mic0")]
    assert changes_between([], []) == []


class _Machine:
    """Inputs that a test plugs in, and the kernel's list of cards."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.inputs = [_SERVER]
        self.listings = 0
        (root / "proc/asound").mkdir(parents=True)

    def listed(self) -> list[InputDevice]:
        self.listings += 1
        return list(self.inputs)

    def plug_in(self, *inputs: InputDevice) -> None:
        self.inputs = list(inputs)
        # At once, as the kernel changes its list: a look between is of the old one or the new one.
        (self.root / "cards").write_text(repr(inputs))
        (self.root / "cards").replace(self.root / "proc/asound/cards")


def test_a_card_that_comes_is_told_at_once_and_nothing_is_listed_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_watch, "_CARDS_EVERY_S", 0.01)
    monkeypatch.setattr(device_watch, "_LIST_EVERY_S", 1e6)
    machine, stop, told = _Machine(tmp_path), threading.Event(), []
    watching = threading.Thread(target=watch_devices, args=(stop, told.append, machine.listed, tmp_path))
    watching.start()
    until(lambda: len(told) == 1)
    machine.plug_in(_SERVER, _USB)
    until(lambda: len(told) == 2)
    machine.plug_in(_SERVER)
    until(lambda: len(told) == 3)
    stop.set()
    ended(watching)
    assert _told(told) == [("present", "mic0"), ("added", "mic1"), ("removed", "mic1")]
    assert machine.listings == 3, "an idle machine's inputs are not listed again and again"


def test_what_a_sound_server_offers_is_listed_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_watch, "_CARDS_EVERY_S", 0.01)
    monkeypatch.setattr(device_watch, "_LIST_EVERY_S", 0.05)
    machine, stop, told = _Machine(tmp_path), threading.Event(), []
    watching = threading.Thread(target=watch_devices, args=(stop, told.append, machine.listed, tmp_path))
    watching.start()
    until(lambda: len(told) == 1)
    machine.inputs = []
    until(lambda: len(told) == 2)
    stop.set()
    ended(watching)
    assert _told(told)[1:] == [("removed", "mic0")]


def test_a_driver_that_hangs_keeps_nobody_from_stopping(tmp_path: Path) -> None:
    stop, hanging = threading.Event(), threading.Event()

    def listed() -> list[InputDevice]:
        stop.set()
        hanging.wait()
        return []

    watch_devices(stop, lambda _change: None, listed, tmp_path)
    hanging.set()


def test_a_change_that_is_just_given_is_given_to_the_end_and_none_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that prints while Python ends has it abort."""
    monkeypatch.setattr(device_watch, "_LAST_CHANGE_S", 60.0)
    stop = threading.Event()
    given: list[str] = []

    def changed(change: DeviceChange) -> None:
        stop.set()
        time.sleep(0.3)
        given.append(change.device.id)

    watch_devices(stop, changed, lambda: [_SERVER, _USB], tmp_path)
    assert given == [_SERVER.id]
    time.sleep(0.3)
    assert given == [_SERVER.id]


def test_a_failure_is_raised_where_it_is_seen(tmp_path: Path) -> None:
    def listed() -> list[InputDevice]:
        raise DeviceError("PortAudio does not start.")

    with pytest.raises(DeviceError, match="PortAudio"):
        watch_devices(threading.Event(), lambda _change: None, listed, tmp_path)


@pytest.mark.parametrize("text", [False, True])
def test_the_verb_writes_a_line_a_change(text: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def watch(_stop: threading.Event, changed: Callable[[DeviceChange], None], _listed: object) -> None:
        changed(DeviceChange("present", _SERVER))
        changed(DeviceChange("removed", _USB))

    monkeypatch.setattr(device_watch, "watch_devices", watch)
    result = CliRunner().invoke(devices.app, ["--watch", "--format", "text" if text else "json"])
    assert result.exit_code == 0
    first, second = result.stdout.splitlines()
    if text:
        assert first == "  mic0  Microphone  1 channel  48000 Hz  alsa:pulse"
        assert second == "- mic1  Microphone  1 channel  48000 Hz  usb-id:0d8c:0014@1-1.2"
    else:
        assert (json.loads(first)["change"], json.loads(second)["change"]) == ("present", "removed")
        assert json.loads(second)["id"] == _USB.id
