"""A broker of the test that speaks just enough MQTT to do what no good broker does."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

from tests.edge_aac.audio.sources.network.servers import free_port
from tests.edge_aac.sinks.mqtt.brokers import CONNECT, PUBACK, PUBLISH, kind_of, packets

CONNACK, SUBSCRIBE, SUBACK, PINGREQ, PINGRESP, DISCONNECT = 2, 8, 9, 12, 13, 14


def packet(kind: int, body: bytes, flags: int = 0) -> bytes:
    """A packet of MQTT: its header, and its body."""
    header, left = bytearray([kind << 4 | flags]), len(body)
    while True:
        header.append(left % 128 | (128 if left > 127 else 0))
        left //= 128
        if not left:
            return bytes(header) + body


def publish(topic: bytes, payload: bytes, flags: int = 0, properties: bytes = b"") -> bytes:
    """A PUBLISH of MQTT 5 with QoS 0."""
    body = len(topic).to_bytes(2, "big") + topic + bytes([len(properties)]) + properties + payload
    return packet(PUBLISH, body, flags)


class HostileBroker:
    """Answers each packet by what ``answer`` gives of it: bytes, or None for the answer of a good broker.

    Args:
        connack: properties of its CONNACK (MQTT 5).
    """

    def __init__(self, connack: bytes = b"") -> None:
        self.port = free_port()
        self.answer: Callable[[bytes], bytes | None] = lambda _packet: None
        self.seen: list[bytes] = []
        """All packets that came."""
        self.connections = 0
        self._connack = b"\0\0" + bytes([len(connack)]) + connack
        self._server = socket.create_server(("127.0.0.1", self.port))
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def send(self, data: bytes) -> None:
        """Send something to the client that came last."""
        self._open[-1].sendall(data)

    def of(self, kind: int) -> list[bytes]:
        """Packets of a kind that came, in order."""
        return [each for each in list(self.seen) if kind_of(each) == kind]

    def close(self) -> None:
        self._server.close()
        self.drop()

    def drop(self) -> None:
        """End all connections; it takes new ones."""
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                self._open.append(client)
                self.connections += 1
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        buffer = bytearray()
        with contextlib.suppress(OSError):
            while data := client.recv(65_536):
                buffer += data
                for each in packets(buffer):
                    self.seen.append(each)
                    answer = self.answer(each)
                    client.sendall(self._good(each) if answer is None else answer)
        with contextlib.suppress(OSError):
            client.close()

    def _good(self, each: bytes) -> bytes:
        kind = kind_of(each)
        if kind == CONNECT:
            return packet(CONNACK, self._connack)
        if kind == SUBSCRIBE:
            return packet(SUBACK, number_of(each) + b"\0\1")
        if kind == PUBLISH and each[0] & 6:
            return packet(PUBACK, number_of(each))
        return packet(PINGRESP, b"") if kind == PINGREQ else b""


def _body(each: bytes) -> bytes:
    start = 1
    while each[start] & 128:
        start += 1
    return each[start + 1 :]


def topic_of(each: bytes) -> str:
    """Topic of a PUBLISH."""
    body = _body(each)
    return body[2 : 2 + int.from_bytes(body[:2], "big")].decode()


def number_of(each: bytes) -> bytes:
    """Packet identifier of a SUBSCRIBE, or of a PUBLISH with QoS 1."""
    body = _body(each)
    start = 2 + int.from_bytes(body[:2], "big") if kind_of(each) == PUBLISH else 0
    return body[start : start + 2]
