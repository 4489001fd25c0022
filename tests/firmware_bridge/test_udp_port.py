"""What a link over UDP tells of its port, its keys and its devices, and from when on a device can be sent to."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from edge_aac.audio.sources.address import Address
from edge_aac.errors import DeviceError, InputMissingError
from firmware_bridge.address import BridgeAddress
from firmware_bridge.device import Device
from firmware_bridge.emulator import EmulatedDevice
from firmware_bridge.fields import Priority
from firmware_bridge.frame import Caption
from firmware_bridge.keys import Keyring, add_key
from firmware_bridge.seen import SeenDevices
from firmware_bridge.udp_link import UdpLink
from tests.firmware_bridge.udp_cases import OTHER_KEY, Remote, free_port, opened
from tests.firmware_bridge.worlds import DEVICE, KEY
from tests.waiting import until


def test_a_device_can_be_sent_to_from_the_moment_that_it_is_known(keys: Path, tmp_path: Path) -> None:
    """Another thread may wait for the device, as `edge-aac bridge send` does, and send at once."""
    caption = Caption(DEVICE, 1, Priority.NORMAL, 5, "at once")

    class Waiting(SeenDevices):
        def write(self, link: str, devices: Sequence[Device]) -> None:
            if not sent:
                sent.append(caption)
                waiting.send(caption)

    sent: list[Caption] = []
    endpoint = BridgeAddress.of(Address.parse(f"udp://127.0.0.1:{free_port()}?keys=file:{keys}")).endpoint
    waiting = UdpLink(endpoint, wait=False, seen=Waiting(tmp_path / "seen.json"))
    remote = Remote(waiting, EmulatedDevice(DEVICE, "kitchen", key=KEY))
    try:
        remote.associate()
        remote.receive()
        assert remote.device.shown[0].text == "at once"
    finally:
        remote.close()
        waiting.close()


def test_a_device_with_another_key_is_named_once(link: UdpLink, caplog: pytest.LogCaptureFixture) -> None:
    other = Remote(link, EmulatedDevice(DEVICE, "kitchen", key=OTHER_KEY))
    try:
        for due_s in (0.0, 2.0, 4.0):
            for packet in other.device.packets_due(time.monotonic() + due_s):
                other.send(packet)
        until(lambda: link.refused >= 2)
    finally:
        other.close()
    assert link.devices == []
    assert caplog.text.count("its key is not the one that is here") == 1


def test_keys_are_read_anew_when_their_file_changes(keys: Path) -> None:
    keyring = Keyring(f"file:{keys}")
    assert keyring.of(5) is None
    add_key(keys, 5, OTHER_KEY)
    keyring.look()
    assert keyring.of(5) == OTHER_KEY
    keys.write_text("nonsense")
    keyring.look()
    assert keyring.of(5) == OTHER_KEY, "keys that cannot be read leave the old ones in use"


def test_there_is_no_link_without_keys(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError, match="keygen"):
        opened(f"udp://127.0.0.1:{free_port()}?keys=file:{tmp_path / 'none'}")


def test_a_port_that_is_taken(link: UdpLink, keys: Path) -> None:
    with pytest.raises(DeviceError, match="cannot be listened at .*: end what listens there"):
        opened(f"udp://127.0.0.1:{link.port}?keys=file:{keys}")


def test_an_address_of_another_machine(keys: Path) -> None:
    with pytest.raises(DeviceError, match="cannot be listened at .*: name an address of this machine, or 0.0.0.0"):
        opened(f"udp://192.0.2.7:{free_port()}?keys=file:{keys}")  # RFC 5737: nobody has it
