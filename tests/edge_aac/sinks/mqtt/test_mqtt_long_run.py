"""Everything that can go wrong at once, for as long as wanted.

By default it is a short form for each commit. The whole one, with its figures:

    EDGE_AAC_MQTT_EVENTS=10000 python -m pytest -s tests/edge_aac/sinks/mqtt/test_mqtt_long_run.py
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

from tests.edge_aac.sinks.mqtt.brokers import PUBACK, PUBLISH, Mosquitto, Subscriber, Wire, kind_of
from tests.edge_aac.sinks.mqtt.test_mqtt_outages import TOPIC, numbers
from tests.waiting import eventually

EVENTS = int(os.environ.get("EDGE_AAC_MQTT_EVENTS", "400"))
RESTARTS = max(1, EVENTS // 500)
KILLS = max(1, EVENTS // 1000)

PUBLISHER = """
import sys, time
from pathlib import Path
from edge_aac.backoff import Backoff
from edge_aac.sinks.mqtt.settings import MqttSettings
from edge_aac.sinks.mqtt.sink import MqttSink
from tests.edge_aac.sinks.mqtt.test_mqtt_sink import event

url, spool, first, end = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
settings = MqttSettings(url=url, node="kitchen", spool_path=spool, confirm_s=1.0, keepalive_s=5)
sink = MqttSink(settings, Backoff(first_s=0.02, longest_s=0.2, refused_s=1.0, jitter=0.5, steady_s=0.5))
for number in range(first, end):
    sink.publish(event(number))
    print(number, flush=True)
    time.sleep(0.01)
while sink.status.queued:
    time.sleep(0.01)
sink.close()
"""


class Faults:
    """Cuts a wire now and then, in each of four ways."""

    def __init__(self, wire: Wire) -> None:
        self.counts = dict.fromkeys(("before PUBACK", "after PUBACK", "within a packet", "half open"), 0)
        self._wire = wire
        self._next: str | None = None
        self._deaf: set[int] = set()
        self._random = random.Random(1)
        wire.pass_on = self._pass_on

    def due(self) -> None:
        self._next = self._random.choice(sorted(self.counts, key=lambda kind: self.counts[kind])[:2])

    def _pass_on(self, packet: bytes, from_client: bool) -> bytes | None:
        if self._wire.connections in self._deaf:
            return b""
        kind, fault = kind_of(packet), self._next
        at_answer = fault in {"before PUBACK", "after PUBACK"} and kind == PUBACK and not from_client
        at_message = fault in {"within a packet", "half open"} and kind == PUBLISH and from_client
        if fault is None or not (at_answer or at_message):
            return packet
        self._next = None
        self.counts[fault] += 1
        if fault == "before PUBACK":
            return None
        if fault == "after PUBACK":
            threading.Timer(0.002, self._wire.cut).start()
            return packet
        if fault == "within a packet":
            return packet[: len(packet) // 2]
        self._deaf.add(self._wire.connections)
        return b""


def test_every_event_arrives_in_order(broker: Mosquitto, wire: Wire, watcher: Subscriber, tmp_path: Path) -> None:
    faults = Faults(wire)
    began_s = time.monotonic()
    over = threading.Event()
    restarts = 0

    def trouble() -> None:
        nonlocal restarts
        turn = 0
        while not over.wait(0.4):
            turn += 1
            faults.due()
            if turn % 6 == 0 and restarts < RESTARTS:
                broker.stop()
                over.wait(0.2)
                broker.start()
                restarts += 1

    troublemaker = threading.Thread(target=trouble)
    troublemaker.start()
    first = kills = 0
    try:
        while first < EVENTS:
            words = [sys.executable, "-c", PUBLISHER, f"mqtt://127.0.0.1:{wire.port}", str(tmp_path / "spool")]
            with subprocess.Popen([*words, str(first), str(EVENTS)], stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None
                for line in process.stdout:
                    first = int(line) + 1
                    if kills < KILLS and first >= (kills + 1) * EVENTS // (KILLS + 1):
                        process.kill()
                        kills += 1
                assert process.wait(600) in (0, -9)
    finally:
        over.set()
        troublemaker.join()
    eventually(lambda: len(set(numbers(watcher))) == EVENTS, f"{EVENTS - len(set(numbers(watcher)))} are missing")
    received = numbers(watcher)
    firsts = list(dict.fromkeys(received))
    assert firsts == list(range(EVENTS)), "in order"
    duplicates = len(received) - EVENTS
    print(
        f"\n{EVENTS} events of {TOPIC} in {time.monotonic() - began_s:.0f} s: all in order, {duplicates} twice; "
        f"{restarts} restarts of the broker, {kills} kills of the process, wire cut {faults.counts}, "
        f"{wire.connections} connections"
    )
    cuts = sum(faults.counts.values()) + restarts + kills
    assert kills == KILLS
    assert all(faults.counts.values()) or EVENTS < 1000
    assert duplicates <= cuts * 100
