"""A broker, a Home Assistant, radios and edge-aac, each a process that can be ended and started again."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as mqtt

from tests.home_assistant.home_files import AUTOMATIONS, CONFIGURATION, ENTRY
from tests.home_assistant.process import Process
from tests.system.command import COMMAND

PATIENCE_S = 180.0
VARIABLE = "EDGE_AAC_HOME_ASSISTANT"
"""Folder of the environment that Home Assistant is installed in."""


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def eventually(condition: Callable[[], Any], what: str) -> Any:
    """Wait until a condition holds, and give what it gave."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < deadline_s, what
        time.sleep(0.25)
    return found


class Radio:
    """Endless sound over HTTP, at the pace at which it is heard."""

    def __init__(self) -> None:
        self.listeners: dict[str, int] = {}
        lock = threading.Lock()
        radio = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with lock:
                    radio.listeners[self.path] = radio.listeners.get(self.path, 0) + 1
                try:
                    self._play()
                except OSError:
                    pass
                finally:
                    with lock:
                        radio.listeners[self.path] -= 1

            def _play(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "audio/wav")
                self.end_headers()
                long = (2**31).to_bytes(4, "little")
                head = b"RIFF" + long + b"WAVEfmt " + bytes.fromhex("1000000001000100803e0000007d000002001000")
                self.wfile.write(head + b"data" + long)
                random, began_s, sent = np.random.default_rng(0), time.monotonic(), 0
                while True:
                    # 10 s of sound and 14 s of silence in turns: each sound is an event, and has a caption.
                    loud = 9000.0 if sent % 384_000 < 160_000 else 0.0
                    tone = np.sin(np.arange(sent, sent + 1600) * (0.05 + 0.1 * (sent // 384_000 % 3)))
                    self.wfile.write((loud * (tone + random.normal(0, 0.3, 1600))).astype("<i2").tobytes())
                    self.wfile.flush()
                    sent += 1600
                    time.sleep(max(0.0, began_s + sent / 16_000 - time.monotonic()))

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()


class Home:
    """A broker and a Home Assistant that knows nothing yet.

    Args:
        folder: of their files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.broker_port = free_port()
        (folder / "mosquitto").mkdir()
        (folder / "mosquitto.conf").write_text(
            f"listener {self.broker_port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
            f"persistence_location {folder}/mosquitto/\nlog_type all\nuser root\n"
        )
        mosquitto = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
        assert mosquitto is not None, "apt install mosquitto"
        self.broker = Process([mosquitto, "-c", str(folder / "mosquitto.conf")], folder / "mosquitto.log")
        config = folder / "hass"
        (config / ".storage").mkdir(parents=True)
        (config / "configuration.yaml").write_text(CONFIGURATION.format(port=free_port()))
        (config / "automations.yaml").write_text(AUTOMATIONS)
        entry = json.loads(json.dumps(ENTRY))
        entry["data"]["entries"][0]["data"]["port"] = self.broker_port
        (config / ".storage/core.config_entries").write_text(json.dumps(entry))
        hass = Path(os.environ[VARIABLE]) / "bin/hass"
        self.hass = Process([str(hass), "-c", str(config), "--skip-pip"], folder / "hass.log")
        self.client: mqtt.Client | None = None
        self._answers: dict[str, dict[str, Any]] = {}
        self.received: dict[str, list[bytes]] = {}
        self.automations: dict[str, str] = {}
        """When each automation ran last, by its name, at the last :meth:`told`."""
        self._asked = 0

    def add_automations(self, text: str) -> None:
        """Add what a user would write; before Home Assistant starts."""
        with (self.folder / "hass/automations.yaml").open("a") as file:
            file.write(text)

    def start_broker(self) -> None:
        self.broker.start()
        eventually(self._broker_answers, "the broker does not start")
        if self.client is None:
            self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="test")
            self.client.on_connect = self._connected
            self.client.on_message = self._received
            self.client.reconnect_delay_set(1, 1)
            self.client.connect("127.0.0.1", self.broker_port)
            self.client.loop_start()
        client = self.client
        eventually(client.is_connected, "the test is not connected")

    def close(self) -> None:
        self.hass.end()
        if self.client is not None:
            self.client.disconnect()
            self.client.loop_stop()
        self.broker.end()

    def publish(self, topic: str, payload: str, *, retain: bool = False) -> None:
        assert self.client is not None
        self.client.publish(topic, payload, qos=1, retain=retain)

    def call(self, action: str, entity: str, **data: object) -> None:
        """Have Home Assistant do something with an entity, as a person does by its buttons."""
        self.publish("test/call", json.dumps({"action": action, "entity_id": entity, "data": data}))

    def told(self) -> dict[str, Any]:
        """All that Home Assistant knows of MQTT entities, by entity, and the lamp."""
        self._asked += 1
        ask = str(self._asked)
        deadline_s = time.monotonic() + PATIENCE_S
        while ask not in self._answers:
            assert time.monotonic() < deadline_s, "Home Assistant does not answer"
            self.publish("test/tell", ask)
            for _ in range(20):
                if ask in self._answers:
                    break
                time.sleep(0.1)
        answer = self._answers.pop(ask)
        self.automations = answer["automations"]
        return {"lamp": answer["lamp"], **{entity["id"]: entity for entity in answer["entities"]}}

    def eventually(self, condition: Callable[[dict[str, Any]], Any], what: str) -> dict[str, Any]:
        """Wait until what Home Assistant knows fits a condition, and give it."""
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            told = self.told()
            try:
                if condition(told):
                    return told
            except KeyError:
                pass
            assert time.monotonic() < deadline_s, (what, told)
            time.sleep(0.5)

    def _broker_answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.broker_port)) == 0

    def _connected(self, client: mqtt.Client, *_rest: object) -> None:
        client.subscribe([("test/told", 1), ("edge-aac/#", 1), ("homeassistant/#", 1)])

    def _received(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        if message.topic == "test/told":
            answer = json.loads(message.payload)
            self._answers[str(answer["ask"])] = answer
        else:
            self.received.setdefault(message.topic, []).append(message.payload)


def node(home: Home, radio: Radio, name: str, sources: list[str], more: str = "") -> Process:
    """An edge-aac of a node, whose sources are radios.

    Args:
        home: has the broker.
        radio: plays.
        name: of the node.
        sources: names of the sources.
        more: settings of the sink, and sections after it.
    """
    write_configuration(home, radio, name, sources, more)
    folder = home.folder / name
    words = [*COMMAND, "stream", "--every-window", "--config", str(folder / "config.toml")]
    return Process(words, folder / "log", {"XDG_STATE_HOME": str(folder / "state")})


def write_configuration(home: Home, radio: Radio, name: str, sources: list[str], more: str = "") -> None:
    """Write a node's configuration."""
    (folder := home.folder / name).mkdir(exist_ok=True)
    tables = "".join(
        f'[[sources]]\naddress = "http://127.0.0.1:{radio.port}/{name}-{source}"\nname = "{source}"\n'
        for source in sources
    )
    (folder / "config.toml").write_text(
        f'[stream]\nnode = "{name}"\nhop_s = 3.0\n[health]\ninterval_s = 2.0\n{tables}'
        f'[[sinks]]\nkind = "mqtt"\nurl = "mqtt://127.0.0.1:{home.broker_port}"\nnode = "{name}"\n'
        f"commands = true\n{more}"
    )
