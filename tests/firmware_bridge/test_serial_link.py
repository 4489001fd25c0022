"""A serial port that is a pseudo-terminal: sound comes in, captions go back, and the cable is pulled."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_aac.audio.sources.address import Address, SourceContext
from edge_aac.errors import DeviceError, UsageError
from firmware_bridge.address import BridgeAddress
from firmware_bridge.carriers import PtyCarrier
from firmware_bridge.emulator import EmulatedDevice
from firmware_bridge.fields import Priority
from firmware_bridge.frame import Caption
from firmware_bridge.registry import registry
from firmware_bridge.source import BridgeDiscovery, DeviceSource, LinkDiscovery, open_device
from tests.firmware_bridge.worlds import DEVICE, counted_samples
from tests.waiting import ended, until

pytestmark = pytest.mark.waits
PULLS = 5


class Board:
    """A device on a pseudo-terminal that goes on counting while its cable is pulled, as one with a battery does."""

    def __init__(self, path: Path) -> None:
        self.device = EmulatedDevice(DEVICE, "kitchen", stream=True)
        self.path = path
        self.frames = counted_samples(1_000_000)
        self.sent: list[int] = []
        self._carrier: PtyCarrier | None = PtyCarrier(path)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def pull(self) -> None:
        with self._lock:
            carrier, self._carrier = self._carrier, None
        assert carrier is not None
        carrier.close()

    def plug(self) -> None:
        with self._lock:
            self._carrier = PtyCarrier(self.path)

    def close(self) -> None:
        self._stop.set()
        ended(self._thread)
        if self._carrier is not None:
            self.pull()

    def _run(self) -> None:
        while not self._stop.wait(0.005):
            with self._lock:
                packets = self.device.packets_due(time.monotonic())
                if self.device.session:
                    number, values = next(self.frames)
                    packet = self.device.audio([values.tolist()])
                    assert packet is not None
                    packets.append(packet)
                    if self._carrier is not None:
                        self.sent.append(number)
                if self._carrier is None:
                    continue
                for packet in packets:
                    self._carrier.send(packet)
                for data in self._carrier.receive(0.0):
                    self.device.receive(data)


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    one = Board(tmp_path / "tty")
    yield one
    one.close()


def _opened(text: str, *, wait: bool = False) -> DeviceSource:
    return open_device(Address.parse(text), SourceContext(wait_for_device=wait))


@pytest.mark.parametrize(("stall_s", "outage"), [(100.0, False), (0.5, True)])
def test_a_cable_that_is_pulled_again_and_again(board: Board, stall_s: float, outage: bool) -> None:
    """Each sample is where the device's own count has it, and what was lost meanwhile is counted to the sample."""
    source = _opened(f"serial:{board.path}?stall_s={stall_s}")
    blocks: list[np.ndarray] = []
    positions: list[int] = []
    lost = 0

    def read() -> None:
        nonlocal lost
        while (block := source.read()) is not None:
            lost += sum(loss.samples for loss in source.take_losses())
            positions.append(lost + sum(map(len, blocks)))
            blocks.append(block)

    def heard(count: int) -> None:
        before = len(blocks)
        until(lambda: len(blocks) >= before + count)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        heard(20)
        for _ in range(PULLS):
            reconnects = source.reconnects
            board.pull()
            if outage:
                until(lambda: source.outage is not None)
            else:
                time.sleep(0.1)
            board.plug()
            heard(20)
            assert not outage or source.reconnects > reconnects
        assert outage or source.reconnects == 0
    finally:
        source.close()
        ended(reader)
    assert source.read() is None
    assert lost == source.lost_samples() > PULLS * 320
    first = int(round(float(blocks[0][0]) * 32_768))
    for position, block in zip(positions, blocks, strict=True):
        expected = (first + position + np.arange(len(block))) % 30_011
        np.testing.assert_array_equal(np.rint(block * 32_768).astype(int), expected)


def test_captions_go_back(board: Board) -> None:
    source = _opened(f"serial:{board.path}")
    try:
        link, device = registry.named(source.label) or (None, 0)
        assert link is not None
        link.send(Caption(device, 1, Priority.NORMAL, 5, "a dog barks"))
        until(lambda: board.device.shown)
        assert board.device.shown[0].text == "a dog barks"
    finally:
        source.close()
    assert registry.links() == [], "the last who uses a link closes it"


def test_the_state_while_a_device_is_away(board: Board) -> None:
    source = _opened(f"serial:{board.path}?stall_s=0.5")

    def read_on() -> None:
        while source.read() is not None:
            pass

    reader = threading.Thread(target=read_on, daemon=True)
    reader.start()
    try:
        until(lambda: (source.state, source.reason, source.outage) == ("listening", None, None))
        board.pull()
        until(lambda: source.outage is not None and source.outage.reason == "disconnected")
        until(lambda: source.state == "waiting")
        until(lambda: any(words in str(source.reason) for words in ("was lost", "cannot be opened")))
        board.plug()
        until(lambda: source.state == "listening" and source.outage is None)
    finally:
        source.close()
        ended(reader)


def test_a_port_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="plug the device in"):
        _opened(f"serial:{tmp_path / 'none'}")
    source = _opened(f"serial:{tmp_path / 'none'}", wait=True)
    try:
        until(lambda: source.reason is not None and "cannot be opened" in source.reason)
    finally:
        source.close()


@pytest.mark.parametrize("path", ["/dev/null", "/etc", __file__])
def test_what_is_no_serial_port(path: str) -> None:
    with pytest.raises(DeviceError, match="cannot be opened .*: it is no serial port"):
        registry.open(BridgeAddress.of(Address.parse(f"serial:{path}")).endpoint, wait=False)


def test_a_port_that_another_group_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    import serial

    def refused(*_: object, **__: object) -> None:
        raise serial.SerialException(13, "could not open port")

    monkeypatch.setattr(serial, "Serial", refused)
    endpoint = BridgeAddress.of(Address.parse("serial:/dev/null")).endpoint
    for group, named in (("uucp", "uucp"), ("root", "dialout")):  # root's alone: a port whose rule has not run yet
        monkeypatch.setattr(Path, "group", lambda _, group=group: group)
        with pytest.raises(DeviceError, match=f"Permission denied.*: add this user to the group '{named}'"):
            registry.open(endpoint, wait=False)


def test_a_discovery_finds_what_has_no_source_of_its_own(board: Board) -> None:
    discovery = BridgeDiscovery.open(Address.parse(f"serial:{board.path}"), SourceContext(wait_for_device=True))
    assert isinstance(discovery, LinkDiscovery)
    try:
        until(discovery.found)
        (found,) = discovery.found()
        assert (found.address, found.label) == (f"serial:{board.path}?device=found:{DEVICE:012x}", "kitchen")
        member = _opened(found.address)
        assert len(discovery.found()) == 1
        own = ["mic0", f"serial:{board.path}?device=kitchen&jitter_ms=0"]
        assert discovery.found(own) == [], "though it is not open: it may be paused"
        assert len(discovery.found(["udp://0.0.0.0:5005?auth=none&device=kitchen"])) == 1, "that is another one"
        member.close()
        assert len(discovery.found()) == 1
    finally:
        discovery.close()
    assert registry.links() == []


def test_a_link_on_which_nobody_speaks_is_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    now_s = [0.0]
    address = BridgeAddress.of(Address.parse(f"serial:{tmp_path / 'none'}"))
    discovery = LinkDiscovery(address, wait=True, now_s=lambda: now_s[0])
    try:
        for now_s[0] in (0.0, 29.0, 31.0, 60.0):
            assert discovery.found() == []
    finally:
        discovery.close()
    assert caplog.text.count("no device has said HELLO in 30 s") == 1


def test_a_device_that_says_nothing_for_long_is_gone(board: Board) -> None:
    address = Address.parse(f"serial:{board.path}?gone_s=1")
    discovery = BridgeDiscovery.open(address, SourceContext(wait_for_device=True))
    try:
        until(discovery.found)
        board.pull()
        until(lambda: not discovery.found())
        board.plug()
        until(discovery.found)
    finally:
        discovery.close()


@pytest.mark.parametrize(
    ("text", "several"),
    [
        ("serial:/dev/ttyACM0", True),
        ("serial:/dev/ttyACM0?baud=460800", True),
        ("serial:/dev/ttyACM0?device=kitchen", False),
        ("udp://0.0.0.0:5005?auth=none", True),
        ("udp://[::]:5005?auth=none&device=24:0a:c4:12:34:56", False),
    ],
)
def test_addresses(text: str, several: bool) -> None:
    assert BridgeDiscovery.covers(Address.parse(text)) is several


@pytest.mark.parametrize(
    "text",
    [
        "serial:",
        "serial:/dev/ttyACM0?baud=12",
        "serial:/dev/ttyACM0?keys=file:x",
        "udp:5005",
        "udp://host:0",
        "udp://host:70000",
        "udp://host:5005?auth=maybe",
        "udp://host:5005?auth=none&keys=file:x",
        "udp://host:5005?keys=00112233",
        "udp://host:5005?jitter_ms=3000",
    ],
)
def test_addresses_that_are_unusable(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        BridgeDiscovery.covers(Address.parse(text))
    assert "00112233" not in str(refused.value), "what may be a key is not shown"
