"""Authenticated UDP: what is forged, replayed, cut or turned around changes nothing, and memory stays bounded."""

from __future__ import annotations

import gc
import os
import random
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_aac.errors import DeviceError
from firmware_bridge.emulator import EmulatedDevice
from firmware_bridge.fields import Codec, Priority
from firmware_bridge.frame import Caption, Hello, Status, encode
from firmware_bridge.packets import Direction, seal, with_crc
from firmware_bridge.sessions import MAX_DEVICES, MAX_OFFERS, HostSessions, UnknownSessionError
from firmware_bridge.udp_link import UdpLink
from tests.firmware_bridge.udp_cases import OTHER_KEY, Remote, free_port, opened
from tests.firmware_bridge.worlds import DEVICE, KEY, pcm
from tests.waiting import PATIENCE_S, until

FORGED = int(os.environ.get("EDGE_AAC_BRIDGE_FORGED", "8000"))
"""Datagrams that are forged; the promise speaks of a million."""


@pytest.fixture
def remote(link: UdpLink) -> Iterator[Remote]:
    one = Remote(link, EmulatedDevice(DEVICE, "kitchen", key=KEY))
    yield one
    one.close()


def test_a_device_is_known_from_its_first_frame_in_a_session_on(link: UdpLink, remote: Remote) -> None:
    (hello,) = remote.device.packets_due(time.monotonic())
    remote.send(hello)
    remote.receive()
    assert link.devices == [], "a HELLO alone may be a recorded one"
    remote.send_audio()
    until(lambda: link.devices and link.devices[0].counters.audio_frames == 1)
    assert link.devices[0].label == "kitchen"
    assert remote.device.unix_ms == pytest.approx(time.time() * 1000, abs=60_000)


def test_captions_reach_the_device_and_only_in_its_session(link: UdpLink, remote: Remote) -> None:
    with pytest.raises(DeviceError):
        link.send(Caption(DEVICE, 1, Priority.NORMAL, 5, "too early"))
    remote.associate()
    until(lambda: link.devices)
    link.send(Caption(DEVICE, 1, Priority.NORMAL, 5, "a dog barks"))
    packet = remote.receive()
    assert [caption.text for caption in remote.device.shown] == ["a dog barks"]
    remote.device.receive(packet)
    assert len(remote.device.shown) == 1, "a recorded caption is not shown again"
    restarted = EmulatedDevice(DEVICE, "kitchen", key=KEY)
    restarted.receive(packet)
    assert restarted.shown == [], "nor after the device was started anew"


def _hostile(remote: Remote, generator: random.Random) -> bytes:
    """A datagram as somebody in the network may send it who has recorded all, and has no key."""
    recorded = bytearray(generator.choice(remote.sent))
    kind = generator.randrange(7)
    if kind == 0:
        return bytes(recorded)
    if kind == 1:
        return bytes(recorded[: generator.randrange(len(recorded))])
    if kind == 2:
        recorded[generator.randrange(len(recorded))] ^= generator.randint(1, 255)
        return bytes(recorded)
    if kind == 3:
        session, counter = generator.getrandbits(64), generator.getrandbits(32)
        return seal(encode(pcm(generator.getrandbits(32), 0)), OTHER_KEY, Direction.UP, session, counter)
    if kind == 4:
        return generator.randbytes(generator.randrange(1200))
    if kind == 5:
        return with_crc(encode(pcm(generator.getrandbits(32), 0)))
    frame = Hello(
        generator.getrandbits(48) or 1, 1, 1, 16_000, 1, Codec.PCM, 320, remote.device.hello.abilities, 9, "x", ""
    )
    return seal(encode(frame), OTHER_KEY, Direction.UP, 0, 0)


def test_hostile_datagrams_change_nothing(link: UdpLink, remote: Remote, caplog: pytest.LogCaptureFixture) -> None:
    remote.associate()
    for _ in range(50):
        remote.send_audio()
    until(lambda: link.devices and link.devices[0].counters.audio_frames == 51)
    device = link.devices[0]
    inbox = device.listen(0.06)
    while inbox.take(0.0) is not None:
        pass
    origin = ("127.0.0.1", 9)
    generator = random.Random(19)
    before = (vars(device.counters).copy(), device.hello, device.heard_s, device.reply_to)
    for _ in range(min(FORGED, 2000)):  # what is made once and kept
        link.take_datagram(_hostile(remote, generator), origin)
    gc.collect()
    tracemalloc.start()
    held = tracemalloc.get_traced_memory()[0]
    for _ in range(FORGED):
        link.take_datagram(_hostile(remote, generator), origin)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - held
    tracemalloc.stop()
    print(f"{FORGED} hostile datagrams: {link.refused} refused, memory grew by {grown} bytes")
    assert grown < 200_000
    assert (vars(device.counters), device.hello, device.heard_s, device.reply_to) == before
    assert inbox.take(0.0) is None
    assert link.devices == [device]
    assert link.unauthenticated > 0
    assert caplog.text.count("has no key here") <= 2, "nobody fills the log"
    assert "has no key here: `edge-aac bridge keygen`" in caplog.text
    # The device itself is heard as before.
    remote.send_audio()
    until(lambda: device.counters.audio_frames == 52)
    assert inbox.take(PATIENCE_S) is not None


def test_a_recorded_conversation_is_nothing_to_a_host_that_was_started_anew(
    keys: Path, link: UdpLink, remote: Remote
) -> None:
    remote.associate()
    for _ in range(20):
        remote.send_audio()
    until(lambda: link.devices and link.devices[0].counters.audio_frames == 21)
    again = opened(f"udp://127.0.0.1:{free_port()}?keys=file:{keys}")
    try:
        other = Remote(again, EmulatedDevice(DEVICE, key=KEY))
        for packet in remote.sent:
            other.send(packet)
        until(lambda: again.refused >= 21)
        assert again.devices == []
        other.close()
    finally:
        again.close()


def test_a_host_that_was_started_anew_asks_for_hello(keys: Path, link: UdpLink, remote: Remote) -> None:
    remote.associate()
    until(lambda: link.devices)
    address = link.endpoint
    link.close()
    again = UdpLink(address, wait=False)
    try:
        remote.send_audio()
        remote.receive()  # HELLO wanted
        session = remote.device.session
        for packet in remote.device.packets_due(time.monotonic() + 1.5):
            remote.send(packet)
        remote.receive()
        assert remote.device.session not in {0, session}
        remote.send_audio()
        until(lambda: again.devices)
    finally:
        again.close()


def test_a_device_that_was_started_anew_is_heard_at_once(link: UdpLink, remote: Remote) -> None:
    remote.associate()
    until(lambda: link.devices)
    inbox = link.devices[0].listen(0.0)
    before = remote.device.session
    remote.device.restart()
    remote.associate()
    assert remote.device.session != before
    until(lambda: link.devices[0].hello.boot == remote.device.boot)
    until(lambda: link.devices[0].counters.audio_frames == 2)
    boots = [received.hello.boot for _ in range(2) if (received := inbox.take(PATIENCE_S)) is not None]
    assert boots[-1] == remote.device.boot


def test_a_session_that_begins_ends_all_others() -> None:
    sessions, device = HostSessions(), EmulatedDevice(DEVICE, boot=1)
    before = sessions.offer(device.hello)
    sessions.accept(DEVICE, before, 1)
    device.boot = 2
    offered = sessions.offer(device.hello)
    device.boot = 3
    begins = sessions.offer(device.hello)
    assert len({before, offered, begins}) == 3
    sessions.accept(DEVICE, begins, 1)
    for over in (before, offered):
        with pytest.raises(UnknownSessionError):
            sessions.accept(DEVICE, over, 2)


def test_offers_are_bounded_and_the_same_boot_gets_the_same() -> None:
    sessions, device = HostSessions(), EmulatedDevice(DEVICE, boot=1)
    first = sessions.offer(device.hello)
    assert sessions.offer(device.hello) == first
    for boot in range(2, MAX_OFFERS + 2):
        device.boot = boot
        sessions.offer(device.hello)
    with pytest.raises(UnknownSessionError):
        sessions.accept(DEVICE, first, 1)


def test_devices_without_a_running_session_are_bounded() -> None:
    sessions = HostSessions()
    running = sessions.offer(EmulatedDevice(DEVICE).hello)
    sessions.accept(DEVICE, running, 1)
    for number in range(1, 4 * MAX_DEVICES):
        sessions.offer(EmulatedDevice(number).hello)
    assert len(sessions) == MAX_DEVICES
    sessions.accept(DEVICE, running, 2)  # the one that is there is not forgotten


def test_plain_datagrams_are_taken_where_that_was_chosen(caplog: pytest.LogCaptureFixture) -> None:
    link = opened(f"udp://127.0.0.1:{free_port()}?auth=none")
    try:
        assert "anybody in the network" in caplog.text
        remote = Remote(link, EmulatedDevice(DEVICE, "plain"))
        for packet in remote.device.packets_due(time.monotonic()):
            remote.send(packet)
        remote.receive()
        remote.send_audio()
        until(lambda: link.devices and link.devices[0].counters.audio_frames == 1)
        link.send(Caption(DEVICE, 1, Priority.NORMAL, 5, "ö"))
        remote.receive()
        assert remote.device.shown[0].text == "ö"
        remote.close()
    finally:
        link.close()


def test_a_status_counts_as_a_sign_of_the_device(link: UdpLink, remote: Remote) -> None:
    remote.associate()
    until(lambda: link.devices)
    for packet in remote.device.packets_due(time.monotonic() + 11):
        remote.send(packet)
    until(lambda: link.devices[0].status is not None)
    assert isinstance(link.devices[0].status, Status)
