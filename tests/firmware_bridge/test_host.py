"""What a person meets: keys, the list of devices, the checks of `edge-aac doctor`, ids and names."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge_aac.audio.listings import listed_inputs
from edge_aac.audio.sources.address import Address
from edge_aac.doctor.contract import Context, Finding
from edge_aac.errors import ConfigError, InputMissingError, UsageError
from edge_aac.settings.layers import Layer
from edge_aac.settings.tree import load_settings
from firmware_bridge import check
from firmware_bridge.address import BridgeAddress
from firmware_bridge.carriers import PtyCarrier
from firmware_bridge.device import Device
from firmware_bridge.device_ids import id_of, id_text, label_of
from firmware_bridge.emulator import EmulatedDevice
from firmware_bridge.fleet import Wanted, emulate
from firmware_bridge.impairments import Chances
from firmware_bridge.keys import Keyring, Keys, add_key, checked_place, default_key_file, new_key
from firmware_bridge.seen import SeenDevices, read_seen, seen_file
from tests.edge_aac.outside_package import NAME, OutsidePackage
from tests.firmware_bridge.worlds import DEVICE, KEY, hello, pcm
from tests.waiting import PATIENCE_S, ended

HEX = KEY.hex()


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_ids() -> None:
    assert id_text(1) == "000000000001" and id_text(2**64 - 1) == "f" * 16
    for text in ("24:0A:C4:12:34:56", "24-0a-c4-12-34-56", "240ac4123456"):
        assert id_of(text) == DEVICE
    for text in ("", "0", "kitchen", "1" * 17):
        assert id_of(text) is None


@pytest.mark.parametrize(
    ("name", "label"),
    [("kitchen", "kitchen"), ("", id_text(5)), ("a\nb\x1b[2J\u202e", "ab[2J"), ("  ", id_text(5)), (" a  b ", "a b")],
)
def test_labels_have_no_control_characters(name: str, label: str) -> None:
    assert label_of(name, 5) == label


def test_keys_of_a_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# ours\n\n24:0a:c4:12:34:56 {HEX}\n*\t{HEX[::-1]}\n")
    path.chmod(0o604)
    keyring = Keyring(f"file:{path}")
    assert keyring.of(DEVICE) == KEY and keyring.of(1) == bytes.fromhex(HEX[::-1])
    assert "chmod o=" in caplog.text and HEX not in caplog.text
    assert HEX not in repr(Keys.parse(path.read_text(), "it"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        f"kitchen {HEX}",
        f"1 {HEX[1:]}",
        f"1 {HEX}\n01 {HEX}",
        f"* {HEX}\n* {HEX}",
        f"{HEX}",
        f"1 {HEX} x",
    ],
)
def test_keys_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Keys.parse(text, "it")
    assert HEX not in str(refused.value)


def test_keys_of_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputMissingError, match="EDGE_AAC_TEST_KEYS"):
        Keyring("env:EDGE_AAC_TEST_KEYS")
    monkeypatch.setenv("EDGE_AAC_TEST_KEYS", f"* {HEX}")
    assert Keyring("env:EDGE_AAC_TEST_KEYS").of(9) == KEY


def test_places_of_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert checked_place("env:KEYS") == "env:KEYS" and checked_place("file:/a") == "file:/a"
    for text in (HEX, "file:", "env:1", "http://x"):
        with pytest.raises(UsageError) as refused:
            checked_place(text)
        assert HEX not in str(refused.value)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert default_key_file() == tmp_path / "edge-aac" / "bridge-keys"


def test_a_key_is_added_once_for_its_owner_and_group_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "keys"
    first = new_key()
    add_key(path, DEVICE, first)
    add_key(path, None, KEY)
    assert path.stat().st_mode & 0o777 == 0o640
    keys = Keys.parse(path.read_text(), "it")
    assert (keys.of(DEVICE), keys.of(1)) == (first, KEY)
    for device in (DEVICE, None):
        with pytest.raises(ConfigError, match="has a key of that device"):
            add_key(path, device, KEY)
    with pytest.raises(InputMissingError, match="cannot be written"):
        add_key(tmp_path, 1, KEY)


def test_a_file_of_keys_that_an_editor_marked_or_spoilt(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_bytes(b"\xef\xbb\xbf" + f"1 {HEX}".encode())
    add_key(path, 2, KEY)
    assert Keyring(f"file:{path}").of(2) == KEY and path.read_bytes().count(b"\xef\xbb\xbf") == 1
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is no text"):
        add_key(path, 3, KEY)


def test_whoever_takes_the_last_key_away_shuts_that_device_out(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    add_key(path, 1, KEY)
    keyring = Keyring(f"file:{path}")
    path.write_text("# nobody\n")
    keyring.look()
    assert keyring.of(1) == KEY, "an editor may be half done"
    keyring.look()
    assert keyring.of(1) is None
    add_key(path, 2, KEY)
    keyring.look()
    assert keyring.of(2) == KEY


def test_keys_that_are_made_at_once_are_one_a_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keys"
    parse, both_read = Keys.parse, threading.Barrier(2)
    results: list[str] = []

    def parse_slowly(text: str, where: str, *, may_be_empty: bool) -> Keys:
        with suppress(threading.BrokenBarrierError):
            both_read.wait(0.5)
        return parse(text, where, may_be_empty=may_be_empty)

    def add(key: bytes) -> None:
        try:
            add_key(path, 1, key)
            results.append("added")
        except ConfigError:
            results.append("refused")

    add_key(path, 5, KEY)
    monkeypatch.setattr(Keys, "parse", parse_slowly)
    threads = [threading.Thread(target=add, args=(new_key(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    ended(*threads)
    assert sorted(results) == ["added", "refused"]


def test_what_was_said_before_anybody_listened_is_not_kept_for_long() -> None:
    """So whoever ends the pause of a device that was never heard does not hear what was said in it."""
    device = Device(hello())
    for number in range(100):
        device.take_audio(pcm(number, 320 * number), 0.02 * number)
    inbox = device.listen(0.0, lambda: 2.0)
    assert inbox.take(0.0) is not None, "that is how a device is heard from its first sample on"
    device = Device(hello())
    for number in range(400):
        device.take_audio(pcm(number, 320 * number), 0.02 * number)
    inbox = device.listen(0.0, lambda: 8.0)
    assert inbox.take(0.0) is None


def test_an_emulated_device_takes_the_keys_of_its_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_AAC_TEST_KEYS", f"1 {HEX}")

    def emulated(address: str, keys: Path | None = None) -> None:
        wanted = Wanted(
            address, "file:none.wav", False, 2, "", 1, keys, False, "pcm", 16_000, 320, None, Chances(), 0.0, 0
        )
        emulate(wanted, threading.Event(), lambda _: None)

    with pytest.raises(ConfigError, match=f"no key of {id_text(2)}"):
        emulated("udp://127.0.0.1:9?keys=env:EDGE_AAC_TEST_KEYS")
    with pytest.raises(InputMissingError, match="mine"):
        emulated("udp://127.0.0.1:9?keys=env:EDGE_AAC_TEST_KEYS", tmp_path / "mine")
    with pytest.raises(InputMissingError, match=r"none\.wav"):
        emulated("udp://127.0.0.1:9?auth=none")


def test_an_emulated_port_takes_no_file_away(tmp_path: Path) -> None:
    path = tmp_path / "recording.wav"
    path.write_bytes(b"dear")
    with pytest.raises(UsageError, match="cannot be made"):
        PtyCarrier(path)
    assert path.read_bytes() == b"dear"
    (tmp_path / "left").symlink_to("/nowhere")
    PtyCarrier(tmp_path / "left").close()


def test_nobody_passes_for_another_by_its_name() -> None:
    text = f"udp://0.0.0.0:5005?auth=none&device={{}}{id_text(DEVICE)}"
    for mark in ("", "found:"):
        address = BridgeAddress.of(Address.parse(text.format(mark)))
        assert address.names(DEVICE, "") and not address.names(5, id_text(DEVICE))
    address = BridgeAddress.of(Address.parse("udp://0.0.0.0:5005?auth=none&device=24:0a:c4:12:34:56"))
    assert address.names(DEVICE, "") and not address.names(5, "24:0a:c4:12:34:56")
    address = BridgeAddress.of(Address.parse("udp://0.0.0.0:5005?auth=none&device=cafe"))
    assert address.names(5, "cafe") and address.names(0xCAFE, "")


def test_who_said_hello_is_kept_for_others(tmp_path: Path) -> None:
    path = tmp_path / "seen.json"
    assert read_seen(path) == []
    seen = SeenDevices(path)
    seen.write("udp://a:1", [Device(hello()), Device(hello(device=5))])
    seen.write("serial:/dev/x", [Device(hello(device=5))])
    assert [(one.link, one.id) for one in read_seen(path)] == [
        ("udp://a:1", id_text(DEVICE)),
        ("udp://a:1", id_text(5)),
        ("serial:/dev/x", id_text(5)),
    ]
    for text in ("", "{}", '{"schema": "x"}', "[" * 100_000):
        path.write_text(text)
        assert read_seen(path) == []
    seen.write("udp://a:1", [Device(hello())])
    assert len(read_seen(path)) == 1


def test_a_list_that_cannot_be_written_is_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    seen = SeenDevices(tmp_path)
    for _ in range(3):
        seen.write("udp://a:1", [Device(hello())])
    told = [record for record in caplog.records if "cannot be kept" in record.getMessage()]
    assert [record.levelno for record in told if record.levelno >= logging.WARNING] == [logging.WARNING]


def test_devices_lists_ports_and_who_said_hello(monkeypatch: pytest.MonkeyPatch) -> None:
    port = SimpleNamespace(device="/dev/ttyACM7", description="Pico", vid=0x2E8A)
    onboard = SimpleNamespace(device="/dev/ttyS0", description="n/a", vid=None)
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: [port])
    SeenDevices(seen_file()).write("udp://0.0.0.0:5005", [Device(hello())])
    listed = {one.id: one for one in listed_inputs()}
    assert listed["serial:/dev/ttyACM7"].details["kind"] == "serial"
    kitchen = listed[f"udp://0.0.0.0:5005?device={id_text(DEVICE)}"]
    assert kitchen.details["name"] == "kitchen" and kitchen.description.startswith("kitchen  pcm  16000 Hz  HELLO ")
    json.dumps(dict(kitchen.details))
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: [onboard])
    assert "serial:/dev/ttyS0" not in {one.id for one in listed_inputs()}


def test_a_listing_that_fails_keeps_the_others(
    outside_package: OutsidePackage, caplog: pytest.LogCaptureFixture
) -> None:
    outside_package.install("def listed():\n    return 1 / 0\n", {"edge_aac.listings": {"acme": f"{NAME}:listed"}})
    SeenDevices(seen_file()).write("udp://0.0.0.0:5005", [Device(hello())])
    assert any(one.details["kind"] == "bridge" for one in listed_inputs())
    assert "'acme' cannot be listed" in caplog.text


@pytest.fixture
def findings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], list[Finding]]]:
    monkeypatch.setattr("edge_aac.settings.tree.default_files", lambda: [])
    monkeypatch.setattr(check, "_HELLO_S", 0.3)

    def run(text: str) -> list[Finding]:
        path = tmp_path / "config.toml"
        path.write_text(text)
        context = Context(load_settings(path, Layer()))
        return [finding for part in check.check(context) for finding in part.run()]

    yield run


def test_doctor_without_a_bridge(findings: Callable[[str], list[Finding]]) -> None:
    assert [finding.status for finding in findings('[[sources]]\naddress = "demo:"\n')] == ["ok"]


def test_doctor_names_who_says_hello(
    findings: Callable[[str], list[Finding]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "_HELLO_S", PATIENCE_S)  # it waits no longer than for the device of the address
    device, carrier, stop = (
        EmulatedDevice(DEVICE, "kitchen", stream=True),
        PtyCarrier(tmp_path / "tty"),
        threading.Event(),
    )

    def run() -> None:
        while not stop.wait(0.01):
            for packet in device.packets_due(time.monotonic()):
                carrier.send(packet)
            for data in carrier.receive(0.0):
                device.receive(data)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        (found,) = findings(f'[[sources]]\naddress = "serial:{tmp_path / "tty"}?device=kitchen"\n')
    finally:
        stop.set()
        ended(thread)
        carrier.close()
    assert (found.status, found.text) == ("ok", "kitchen (240ac4123456) said HELLO")


def test_doctor_hears_nobody_and_warns_of_no_keys(findings: Callable[[str], list[Finding]]) -> None:
    from tests.firmware_bridge.udp_cases import free_port

    found = findings(f'[[sources]]\naddress = "udp://127.0.0.1:{free_port()}?auth=none"\n')
    assert [one.status for one in found] == ["warning", "warning"]
    assert "no device said HELLO" in found[0].text and "auth=none" in found[1].text


def test_doctor_says_why_a_link_cannot_be_opened(
    findings: Callable[[str], list[Finding]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge_aac.errors import DeviceError

    text = '[[sources]]\naddress = "serial:/proc/nonexistent/tty"\n'
    with pytest.raises(DeviceError, match="plug the device in"):
        findings(text)
    monkeypatch.setattr("edge_aac.doctor.service.is_running", lambda: True)
    (found,) = findings(text)
    assert (found.status, "the service, which runs, has the link" in found.text) == ("ok", True)


def test_units_are_what_udev_and_systemd_read() -> None:
    folder = Path(check.__file__).parent / "units"
    rules = (folder / "70-edge-aac-bridge.rules").read_text().splitlines()
    keys: list[Any] = [line.split(",") for line in rules if line and not line.startswith("#")]
    assert len(keys) >= 6 and all("==" in part or "=" in part for line in keys for part in line)
    lines = [line for line in (folder / "bridge.conf").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "[Service]" and all(line.startswith("DeviceAllow=char-tty") for line in lines[1:])
