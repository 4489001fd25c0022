"""A real mosquitto for tests, certificates for it, a subscriber with a session, and a wire that fails on demand."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_aac.backoff import Backoff
from tests.edge_aac.audio.sources.network.servers import free_port, require_parts
from tests.waiting import PATIENCE_S, eventually

QUICK = Backoff(first_s=0.02, longest_s=0.2, refused_s=1.0, jitter=0.5, steady_s=0.5)
CONNECT, PUBLISH, PUBACK = 1, 3, 4


class Mosquitto:
    """A mosquitto that keeps its sessions and messages on disk.

    Args:
        folder: for its files.
        lines: of its configuration, beside the listener's.
        anonymous: whether clients need no name.
    """

    def __init__(self, folder: Path, *lines: str, anonymous: bool = True, port: int | None = None) -> None:
        require_parts("mosquitto")
        self.port = port or free_port()
        self.folder = folder
        folder.mkdir(exist_ok=True, parents=True)
        self._process: subprocess.Popen[bytes] | None = None
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            "\n".join(
                [
                    # mosquitto 2.0.11 ends where it has listeners for WebSocket alone.
                    *([f"listener {free_port()} 127.0.0.1"] if "protocol websockets" in lines else []),
                    f"listener {self.port} 127.0.0.1",
                    *lines,
                    f"allow_anonymous {'true' if anonymous else 'false'}",
                    "persistence true",
                    f"persistence_location {folder}/",
                    "max_queued_messages 0",
                    *(["user root"] if os.geteuid() == 0 else []),
                ]
            )
            + "\n"
        )

    def start(self) -> Mosquitto:
        program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
        assert program is not None
        log = (self.folder / "mosquitto.log").open("ab")
        self._process = subprocess.Popen([program, "-v", "-c", str(self._config)], stdout=log, stderr=log)
        log.close()
        eventually(self._listens, f"mosquitto does not listen: {(self.folder / 'mosquitto.log').read_text()}")
        return self

    def stop(self) -> None:
        """Ends it in good order: it writes down its sessions first."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE_S)
            self._process = None

    def read_again(self) -> None:
        """Has it read its ACLs and passwords anew."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """It takes connections, which the kernel does, and says nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    @property
    def log(self) -> str:
        return (self.folder / "mosquitto.log").read_text(errors="replace")

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


class Subscriber:
    """A client with a persistent session, which comes back by itself.

    Args:
        port: of the broker.
        topics: what it subscribes to.
        client: its name.
    """

    def __init__(
        self, port: int, topics: str = "#", client: str = "watcher", login: tuple[str, str] | None = None
    ) -> None:
        self.messages: list[MQTTMessage] = []
        self._subscribed = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=client, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.reconnect_delay_set(1, 1)
        if login is not None:
            self._client.username_pw_set(*login)
        properties: Any = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = 3600
        self._client.on_connect = lambda client, *_: client.subscribe(topics, qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = lambda _client, _data, message: self.messages.append(message)
        self._client.connect("127.0.0.1", port, clean_start=False, properties=properties)
        self._client.loop_start()
        assert self._subscribed.wait(PATIENCE_S)

    def of(self, topic: str) -> list[MQTTMessage]:
        """Messages of a topic so far, in order."""
        return [message for message in list(self.messages) if message.topic == topic]

    def await_messages(self, topic: str, count: int = 1) -> None:
        """Waits until so many messages of a topic have come."""
        eventually(lambda: len(self.of(topic)) >= count, f"{count} messages of {topic}")

    def texts(self, topic: str) -> list[str]:
        return [message.payload.decode() for message in self.of(topic)]

    def records(self, topic: str) -> list[dict[str, Any]]:
        return [json.loads(message.payload) for message in self.of(topic)]

    def publish(self, topic: str, payload: str | bytes, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(PATIENCE_S)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def packets(buffer: bytearray) -> Iterator[bytes]:
    """Takes whole packets of MQTT off the front of a buffer."""
    while len(buffer) > 1:
        length, shift, at = 0, 0, 1
        while True:
            if at >= len(buffer):
                return
            byte = buffer[at]
            length |= (byte & 127) << shift
            shift, at = shift + 7, at + 1
            if not byte & 128:
                break
        if len(buffer) < at + length:
            return
        packet = bytes(buffer[: at + length])
        del buffer[: at + length]
        yield packet


class Wire:
    """A proxy before a broker, whose ``pass_on`` decides of each packet.

    It is given the packet and whether it comes from the client, and gives what is to be passed on: less than the packet
    and the connection is cut after it, nothing (``b""``) and it is as if lost, None and the connection is cut.

    Args:
        port: of the broker.
    """

    def __init__(self, port: int) -> None:
        self.port = free_port()
        self.pass_on: Callable[[bytes, bool], bytes | None] = lambda packet, _from_client: packet
        self.answer: bytes | None = None
        """Sent to the client when ``pass_on`` cuts the connection."""
        self.connections = 0
        self._broker = port
        self._server = socket.create_server(("127.0.0.1", self.port))
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Cuts all connections."""
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def close(self) -> None:
        self._server.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            self.connections += 1
            try:
                broker = socket.create_connection(("127.0.0.1", self._broker), PATIENCE_S)
            except OSError:
                client.close()
                continue
            broker.settimeout(None)
            self._open += [client, broker]
            for one, other, from_client in ((client, broker, True), (broker, client, False)):
                threading.Thread(target=self._carry, args=(one, other, from_client), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket, from_client: bool) -> None:
        buffer = bytearray()
        with contextlib.suppress(OSError):
            while data := one.recv(65_536):
                buffer += data
                for packet in packets(buffer):
                    passed = self.pass_on(packet, from_client)
                    if passed is None:
                        if self.answer is not None:
                            (one if from_client else other).sendall(self.answer)
                        raise OSError
                    other.sendall(passed)
                    if passed and len(passed) < len(packet):
                        raise OSError
        for each in (one, other):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def kind_of(packet: bytes) -> int:
    """Type of a packet."""
    return packet[0] >> 4


class Certificates:
    """An authority, and what it signs, made by openssl.

    Args:
        folder: for the files.
    """

    def __init__(self, folder: Path) -> None:
        require_parts("openssl")
        self.folder = folder
        folder.mkdir(exist_ok=True, parents=True)
        self.ca = self.authority("ca")

    def authority(self, name: str) -> Path:
        self._openssl(
            "req", "-x509", *_NEW_KEY, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}"
        )
        return self.folder / f"{name}.pem"

    def signed(self, name: str, host: str = "localhost", days: int = 2, ca: str = "ca") -> tuple[Path, Path]:
        """A certificate and its key."""
        (self.folder / f"{name}.ext").write_text(f"subjectAltName=DNS:{host}\n")
        self._openssl("req", *_NEW_KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        self._openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-CAcreateserial"),
            *("-out", f"{name}.pem", "-days", str(days), "-extfile", f"{name}.ext"),
        )
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def listener(self, name: str) -> tuple[str, ...]:
        """Lines of mosquitto's configuration."""
        return f"certfile {self.folder}/{name}.pem", f"keyfile {self.folder}/{name}.key", f"cafile {self.folder}/ca.pem"

    def _openssl(self, *words: str) -> None:
        subprocess.run(["openssl", *words], cwd=self.folder, check=True, capture_output=True, timeout=PATIENCE_S)


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
