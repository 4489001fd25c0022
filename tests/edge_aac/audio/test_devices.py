"""Names of inputs: stable over reboots and replugging, without the duplicates."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from edge_aac.audio.devices import (
    InputDevice,
    cards,
    cards_are_hidden,
    find_input,
    list_inputs,
    missing_input,
    order_inputs,
    silenced_stderr,
)
from edge_aac.commands.devices import app
from edge_aac.errors import DeviceError


class FakeAudio:
    """PortAudio's host API of ALSA, with the given devices."""

    def __init__(self, devices: list[dict[str, Any]]) -> None:
        self._devices = devices

    def get_host_api_info_by_type(self, kind: int) -> dict[str, Any]:
        assert kind == 8
        return {"index": 0, "deviceCount": len(self._devices)}

    def get_device_info_by_host_api_device_index(self, host: int, number: int) -> dict[str, Any]:
        assert host == 0
        return self._devices[number]


def _device(index: int, name: str, channels: int = 1, rate: float = 44_100.0) -> dict[str, Any]:
    return {"index": index, "name": name, "maxInputChannels": channels, "defaultSampleRate": rate}


def _card(root: Path, number: int, card_id: str, plugged: str, usb_id: str | None = None) -> None:
    proc = root / f"proc/asound/card{number}"
    proc.mkdir(parents=True)
    (proc / "id").write_text(f"{card_id}\n")
    if usb_id:
        (proc / "usbid").write_text(f"{usb_id}\n")
    target = root / "sys/devices" / plugged
    target.mkdir(parents=True, exist_ok=True)
    card = root / f"sys/class/sound/card{number}"
    card.mkdir(parents=True)
    (card / "device").symlink_to(target)


@pytest.fixture
def before_reboot(tmp_path: Path) -> tuple[Path, list[dict[str, Any]]]:
    root = tmp_path / "before"
    _card(root, 0, "PCH", "0000:00:1f.3")
    _card(root, 1, "Device", "1-1.2:1.0", "0d8c:0014")
    _card(root, 2, "Device_1", "1-1.4:1.0", "0d8c:0014")
    devices = [
        _device(0, "HDA Intel PCH: ALC257 Analog (hw:0,0)", 2),
        _device(1, "USB PnP Sound Device: Audio (hw:1,0)"),
        _device(2, "USB PnP Sound Device: Audio (hw:2,0)"),
        _device(3, "HDA Intel PCH: HDMI 0 (hw:0,3)", 0),
        _device(4, "sysdefault", 128),
        _device(5, "front", 2),
        _device(6, "dmix", 0),
        _device(7, "pulse", 32),
        _device(8, "default", 32),
    ]
    return root, devices


@pytest.fixture
def after_reboot(tmp_path: Path) -> tuple[Path, list[dict[str, Any]]]:
    root = tmp_path / "after"
    _card(root, 2, "PCH", "0000:00:1f.3")
    _card(root, 1, "Device", "1-1.4:1.0", "0d8c:0014")
    _card(root, 0, "Device_1", "1-1.2:1.0", "0d8c:0014")
    devices = [
        _device(0, "USB PnP Sound Device: Audio (hw:0,0)"),
        _device(1, "USB PnP Sound Device: Audio (hw:1,0)"),
        _device(2, "HDA Intel PCH: ALC257 Analog (hw:2,0)", 2),
        _device(3, "pulse", 32),
        _device(4, "default", 32),
    ]
    return root, devices


def test_order_and_ids(before_reboot: tuple[Path, list[dict[str, Any]]]) -> None:
    root, devices = before_reboot
    inputs = order_inputs(devices, root)
    assert [(item.name, item.index, item.id) for item in inputs] == [
        ("mic0", 7, "alsa:pulse"),
        ("mic1", 1, "usb-id:0d8c:0014@1-1.2"),
        ("mic2", 2, "usb-id:0d8c:0014@1-1.4"),
        ("mic3", 0, "alsa:hw:PCH,0"),
    ]
    assert inputs[1] == InputDevice("mic1", 1, "USB PnP Sound Device: Audio", 1, 44_100, "usb-id:0d8c:0014@1-1.2")


def test_a_reboot_changes_the_cards_not_the_names(
    before_reboot: tuple[Path, list[dict[str, Any]]], after_reboot: tuple[Path, list[dict[str, Any]]]
) -> None:
    before = order_inputs(before_reboot[1], before_reboot[0])
    after = order_inputs(after_reboot[1], after_reboot[0])
    assert [(item.name, item.id) for item in after] == [(item.name, item.id) for item in before]
    assert [item.index for item in after] == [3, 0, 1, 2]


def test_the_order_of_enumeration_does_not_matter(before_reboot: tuple[Path, list[dict[str, Any]]]) -> None:
    root, devices = before_reboot
    assert order_inputs(devices[::-1], root) == order_inputs(devices, root)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["default", "pipewire"], ["alsa:pipewire"]),
        (["default"], ["alsa:default"]),
        (["default", "pulse", "pipewire"], ["alsa:pulse"]),
        (["sysdefault", "front", "samplerate"], []),
        ([], []),
    ],
)
def test_sound_servers(names: list[str], expected: list[str], tmp_path: Path) -> None:
    devices = [_device(index, name, 2) for index, name in enumerate(names)]
    assert [item.id for item in order_inputs(devices, tmp_path)] == expected


def test_a_sound_server_without_inputs_is_none(tmp_path: Path) -> None:
    assert order_inputs([_device(0, "pulse", 0)], tmp_path) == []


def test_machines_without_sysfs(tmp_path: Path) -> None:
    (item,) = order_inputs([_device(0, "Thing (hw:3,1)")], tmp_path)
    assert (item.name, item.id) == ("mic0", "alsa:hw:3,1")


@pytest.fixture
def in_a_container(tmp_path: Path) -> tuple[Path, FakeAudio]:
    """Docker puts an empty folder over /proc/asound; /sys shows the host's devices."""
    root = tmp_path / "container"
    (root / "proc/asound").mkdir(parents=True)
    sound = root / "sys/class/sound"
    built_in, on_usb = "pci0/0000:00:1f.3", "usb1/1-1.2/1-1.2:1.0"
    for number, card_id, plugged, usb in ((0, "PCH", built_in, ""), (1, "Device", on_usb, "0d8c")):
        device = root / "sys/devices" / plugged
        (device / f"sound/card{number}").mkdir(parents=True)
        (device / f"sound/card{number}/id").write_text(f"{card_id}\n")
        (device / f"sound/card{number}/device").symlink_to(device)
        if usb:
            (device.parent / "idVendor").write_text(f"{usb}\n")
            (device.parent / "idProduct").write_text("0014\n")
        sound.mkdir(parents=True, exist_ok=True)
        (sound / f"card{number}").symlink_to(device / f"sound/card{number}")
    return root, FakeAudio([_device(0, "HDA Intel PCH (hw:0,0)"), _device(1, "USB PnP Sound Device (hw:1,0)")])


@pytest.mark.parametrize(
    ("uri", "index"),
    [("usb-id:0d8c:0014", 1), ("usb-id:0d8c:0014@1-1.2", 1), ("usb-path:1-1.2", 1), ("alsa:hw:PCH,0", 0), ("mic1", 0)],
)
def test_a_container_that_hides_the_cards(uri: str, index: int, in_a_container: tuple[Path, FakeAudio]) -> None:
    root, audio = in_a_container
    found = find_input(audio, uri, root)
    assert found is not None and found.index == index
    before = cards(root)
    (root / "sys/class/sound/card1").unlink()
    assert cards(root) != before, "a card that goes is seen"
    assert not cards_are_hidden(root)


def test_a_container_that_shows_no_cards_at_all(tmp_path: Path) -> None:
    (tmp_path / "proc/asound").mkdir(parents=True)
    assert cards_are_hidden(tmp_path)
    audio = FakeAudio([_device(0, "USB PnP Sound Device (hw:1,0)")])
    assert find_input(audio, "usb-id:0d8c:0014", tmp_path) is None
    assert re.search("hidden here.*alsa:hw:1,0", str(missing_input(audio, "usb-id:0d8c:0014", tmp_path)))
    assert "hidden" not in str(missing_input(audio, "mic4", tmp_path))
    _card(tmp_path, 1, "Device", "1-1.2:1.0", "0d8c:0014")
    assert "hidden" not in str(missing_input(audio, "usb-id:ffff:ffff", tmp_path))


def test_second_input_of_a_usb_card(tmp_path: Path) -> None:
    _card(tmp_path, 1, "Interface", "2-1:1.0", "1235:8210")
    inputs = order_inputs([_device(0, "Line (hw:1,1)"), _device(1, "Mic (hw:1,0)")], tmp_path)
    assert [item.id for item in inputs] == ["usb-id:1235:8210@2-1", "usb-id:1235:8210@2-1#1"]
    audio = FakeAudio([_device(0, "Line (hw:1,1)"), _device(1, "Mic (hw:1,0)")])
    found = [find_input(audio, uri, tmp_path) for uri in ("usb-path:2-1", "usb-path:2-1#1")]
    assert [item.index for item in found if item] == [1, 0]


@pytest.mark.parametrize(
    ("uri", "index"),
    [
        ("mic0", 7),
        ("mic3", 0),
        ("mic4", None),
        ("usb-id:0d8c:0014", 1),
        ("usb-id:0d8c:0014@1-1.4", 2),
        ("usb-id:0d8c", None),
        ("usb-path:1-1.4", 2),
        ("usb-path:1-1.2", 1),
        ("usb-path:1-1", None),
        ("usb-path:1-1.2#1", None),
        ("usb-path:", None),
        ("usb-id:ffff:ffff", None),
        ("alsa:hw:1,0", 1),
        ("alsa:hw:1", 1),
        ("alsa:hw:PCH,0", 0),
        ("alsa:hw:CARD=PCH,DEV=0", 0),
        ("alsa:plughw:2,0", 2),
        ("alsa:hw:0,3", None),
        ("alsa:hw:9,0", None),
        ("alsa:hw:Nothing,0", None),
        ("alsa:front", 5),
        ("alsa:default", 8),
        ("alsa:", None),
        ("alsa:0)", None),
    ],
)
def test_find_input(uri: str, index: int | None, before_reboot: tuple[Path, list[dict[str, Any]]]) -> None:
    root, devices = before_reboot
    found = find_input(FakeAudio(devices), uri, root)
    assert (found.index if found else None) == index


def test_without_pyaudio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyaudio", None)
    with pytest.raises(DeviceError, match=r"portaudio19-dev.*edge-aac\[mic\]"):
        list_inputs()


def test_stderr_is_silenced_and_comes_back(capfd: pytest.CaptureFixture[str]) -> None:
    with silenced_stderr():
        os.write(2, b"ALSA lib confmisc.c: chatter\n")
    os.write(2, b"a word for the user\n")
    assert capfd.readouterr().err == "a word for the user\n"


def test_stderr_comes_back_after_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(OSError, match="gone"), silenced_stderr():
        raise OSError("gone")
    os.write(2, b"still here\n")
    assert capfd.readouterr().err == "still here\n"


@pytest.fixture
def two_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = [
        InputDevice("mic0", 7, "sound server (pulse)", 32, 44_100, "alsa:pulse"),
        InputDevice("mic1", 1, "Mikrofon für Vögel", 1, 48_000, "usb-id:0d8c:0014@1-1.2"),
    ]
    monkeypatch.setattr("edge_aac.audio.devices.list_inputs", lambda: inputs)


@pytest.mark.usefixtures("two_inputs")
@pytest.mark.parametrize("arguments", [[], ["--format", "json"], ["--format", "auto"]])
def test_verb_gives_json_lines_to_programs(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0
    first, second = map(json.loads, result.stdout.splitlines())
    assert first["name"] == "mic0"
    assert second == {
        "name": "mic1",
        "index": 1,
        "description": "Mikrofon für Vögel",
        "channels": 1,
        "default_rate": 48_000,
        "id": "usb-id:0d8c:0014@1-1.2",
    }


@pytest.mark.usefixtures("two_inputs")
def test_verb_gives_lines_to_people() -> None:
    result = CliRunner().invoke(app, ["--format", "text"])
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "mic0  sound server (pulse)  32 channels  44100 Hz  alsa:pulse",
        "mic1  Mikrofon für Vögel  1 channel  48000 Hz  usb-id:0d8c:0014@1-1.2",
    ]


def test_verb_without_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_aac.audio.devices.list_inputs", lambda: [])
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 0
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "No input" in result.stderr


def test_verb_usage() -> None:
    assert CliRunner().invoke(app, ["--format", "xml"]).exit_code == 2
    help_text = CliRunner().invoke(app, ["--help"]).stdout
    assert "edge-aac devices --format json" in help_text
