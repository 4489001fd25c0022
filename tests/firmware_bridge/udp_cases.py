"""A link over UDP on this machine, and a device's socket on the other side of it."""

from __future__ import annotations

import socket
import time

from edge_aac.audio.sources.address import Address
from firmware_bridge.address import BridgeAddress
from firmware_bridge.emulator import EmulatedDevice
from firmware_bridge.udp_link import UdpLink
from tests.firmware_bridge.worlds import KEY
from tests.waiting import PATIENCE_S

OTHER_KEY = bytes(reversed(KEY))
FRAME = [[0] * 320]


def free_port() -> int:
    """A port of UDP that nobody listens at."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def opened(address: str) -> UdpLink:
    return UdpLink(BridgeAddress.of(Address.parse(address)).endpoint, wait=False)


class Remote:
    """A device's socket on the other side."""

    def __init__(self, link: UdpLink, device: EmulatedDevice) -> None:
        self.device = device
        self.sent: list[bytes] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", link.port))
        self._socket.settimeout(PATIENCE_S)

    def send(self, packet: bytes) -> None:
        self.sent.append(packet)
        self._socket.send(packet)

    def receive(self) -> bytes:
        packet = self._socket.recv(2000)
        self.device.receive(packet)
        return packet

    def nothing_comes(self) -> bool:
        self._socket.settimeout(0.3)
        try:
            self._socket.recv(2000)
        except TimeoutError:
            return True
        return False

    def associate(self) -> None:
        """HELLO and TIME, and the first frame of the session."""
        for packet in self.device.packets_due(time.monotonic()):
            self.send(packet)
        self.receive()
        assert self.device.session
        self.send_audio()

    def send_audio(self) -> bytes:
        packet = self.device.audio(FRAME)
        assert packet is not None
        self.send(packet)
        return packet

    def close(self) -> None:
        self._socket.close()
