"""Events at a rate that no house makes, to a real broker: what arrives, and what they cost the stream's latency.

    python -m benchmarks.mqtt --rate 200 --seconds 60

One stream of live sound with the shipped bundle runs all the time. In turns of some seconds its hub has, beside a sink
that keeps all, an MQTT sink or none; at each turn the same number of events a second is published to the hub. The MQTT
sink delivers them through its spool to a mosquitto of its own, and `mosquitto_sub`, another process, counts what comes.
``ratio`` compares the captions' latency (from the end of a window's sound to its record) of the turns with the MQTT
sink to those without. ``ratio_without`` compares every other turn without it to the rest of those: what chance makes of
the same stream. Broker and subscriber share the machine's cores with the stream, as on a board that is its own broker.
Exit code 1 where an event is missing or out of order.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.command_line import at_least, run
from edge_aac.audio.sources.demo import DemoSource, synthesise_demo
from edge_aac.audio.windows import WINDOW_SAMPLES, WindowSlicer
from edge_aac.bundle.store import DEFAULT_BUNDLE
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import DeviceError
from edge_aac.models.seq2seq import Captioner
from edge_aac.records import Caption, Event, Record
from edge_aac.sinks.mqtt.settings import MqttSettings
from edge_aac.sinks.mqtt.sink import MqttSink
from edge_aac.streaming.channel import ChannelSettings
from edge_aac.streaming.gate import EnergyGate
from edge_aac.streaming.hub import Delivery, Hub, Outlet
from edge_aac.streaming.session import Session
from edge_aac.timebase import SAMPLE_RATE

HOP_S = 0.5
LEAD_S = WINDOW_SAMPLES / SAMPLE_RATE + 2.0
"""From the beginning of the sound to the first windows, which allocate."""

SETTLE_S = 1.0
"""After each turn begins, in which captions count for none."""

PATIENCE_S = 60.0
QUEUE_RECORDS = 4096
TOPIC = "edge-aac/benchmark/rate/event"


class _Kept:
    """A sink that keeps the latency of each caption for the turn that goes on."""

    def __init__(self) -> None:
        self.turn: list[float] | None = None

    def publish(self, record: Record) -> None:
        turn = self.turn
        if isinstance(record, Caption) and turn is not None:
            turn.append(record.latency_ms.total)

    def close(self) -> None:
        """Nothing is held back."""


def main() -> None:
    """Measure, print the figures, and say by the exit code whether all has arrived."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default=DEFAULT_BUNDLE)
    parser.add_argument("--rate", type=at_least(1), default=200, help="events a second")
    parser.add_argument("--seconds", type=at_least(2), default=60, help="of events to the broker, all turns together")
    parser.add_argument("--turns", type=at_least(2), default=6, help="with the MQTT sink, and as many without")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, started_broker(Path(folder)) as port:
        seconds = arguments.seconds / arguments.turns
        figures = measure(arguments.bundle, arguments.rate, seconds, arguments.turns, Path(folder), port)
    print(json.dumps(figures, indent=1))
    sys.exit(1 if figures["lost"] or not figures["in_order"] else 0)


def measure(bundle: str, rate: int, turn_s: float, turns: int, folder: Path, port: int) -> dict[str, Any]:
    """Run the stream.

    Args:
        bundle: name or path.
        rate: events a second.
        turn_s: seconds of a turn.
        turns: turns with the MQTT sink, and without.
        folder: for the spool and what arrives.
        port: of the broker.

    Returns:
        The figures; latencies in milliseconds.
    """
    model = Captioner.open(bundle, EngineOptions(threads=1))
    stop, kept = threading.Event(), _Kept()
    collector = Outlet("collector", kept, ("caption", "event"), QUEUE_RECORDS, stop)
    session = Session(model=model, hub=Hub([collector]), node="benchmark", stop=stop, health_interval_s=0.0)
    sound = synthesise_demo(LEAD_S + 2 * turns * (turn_s + SETTLE_S) + PATIENCE_S, 0)
    session.add(
        DemoSource(sound, 1.0, label="mic0"),
        WindowSlicer(WINDOW_SAMPLES, round(HOP_S * SAMPLE_RATE)),
        ChannelSettings(EnergyGate(-70.0), every_window=True),
    )
    running = threading.Thread(target=session.run, name="stream")
    running.start()
    arrived = folder / "arrived"
    latencies: dict[bool, list[list[float]]] = {True: [], False: []}
    events = 0
    try:
        with subscribed(port, arrived):
            time.sleep(LEAD_S)
            for number in range(2 * turns):
                session.between_rounds(lambda: session.hub.replace([collector])).result()
                # A drift of the machine falls on both alike: with, without, without, with …
                with_mqtt = number % 4 in {0, 3}
                outlets, sink = [collector], None
                if with_mqtt:
                    sink = _opened(folder, port)
                    outlets.append(Outlet("mqtt", sink, ("event",), QUEUE_RECORDS, stop))
                session.between_rounds(lambda outlets=outlets: session.hub.replace(outlets)).result()  # type: ignore[misc]
                time.sleep(SETTLE_S)
                kept.turn = []
                latencies[with_mqtt].append(kept.turn)
                sent = _publish(session.hub, rate, turn_s, events if with_mqtt else 0)
                kept.turn = None
                if sink is not None:
                    events += sent
                    _await(lambda sink=sink, events=events: _lines(arrived) >= events or sink.status.state == "failed")  # type: ignore[misc]
            received = [json.loads(line)["event"] for line in arrived.read_text().splitlines()]
    finally:
        stop.set()
        running.join(PATIENCE_S)
    return _figures(latencies, events, received, rate)


def _opened(folder: Path, port: int) -> MqttSink:
    settings = MqttSettings(
        url=f"mqtt://127.0.0.1:{port}", node="benchmark", records=("event",), spool_path=folder / "spool.sqlite"
    )
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            return MqttSink.open(settings)
        except DeviceError:
            raise
        except Exception:  # the one of the turn before is still being closed
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.1)


def _publish(hub: Hub, rate: int, seconds: float, first: int) -> int:
    """Publish events at a steady rate; gives their number."""
    count, began_s = round(rate * seconds), time.monotonic()
    for number in range(count):
        if (wait_s := began_s + number / rate - time.monotonic()) > 0:
            time.sleep(wait_s)
        event = Event.model_validate(
            {
                "schema": "edge-aac/event/1",
                "node": "benchmark",
                "source": "rate",
                "event": first + number,
                "state": "start",
                "caption": "a dog barks twice while rain falls on a roof of tin",
                "windows": 1,
            }
        )
        hub.publish(Delivery(event))
    return count


def _figures(
    latencies: dict[bool, list[list[float]]], events: int, received: Sequence[int], rate: int
) -> dict[str, Any]:
    firsts = list(dict.fromkeys(received))
    whole = {key: [latency for turn in turns for latency in turn] for key, turns in latencies.items()}
    halves = [[latency for turn in latencies[False][start::2] for latency in turn] for start in (0, 1)]
    return {
        "events": events,
        "events_a_second": rate,
        "arrived": len(firsts),
        "lost": events - len(firsts),
        "twice": len(received) - len(firsts),
        "in_order": firsts == sorted(firsts),
        "windows": {"with": len(whole[True]), "without": len(whole[False])},
        "median_ms": {"with": _median(whole[True]), "without": _median(whole[False])},
        "p90_ms": {"with": _p90(whole[True]), "without": _p90(whole[False])},
        "ratio": round(_median(whole[True]) / _median(whole[False]), 3),
        "ratio_p90": round(_p90(whole[True]) / _p90(whole[False]), 3),
        "ratio_without": round(_median(halves[1]) / _median(halves[0]), 3),
    }


def _median(values: Sequence[float]) -> float:
    return round(statistics.median(values), 2)


def _p90(values: Sequence[float]) -> float:
    return round(statistics.quantiles(values, n=10)[-1], 2)


@contextlib.contextmanager
def started_broker(folder: Path) -> Iterator[int]:
    """A mosquitto of its own; gives its port.

    Raises:
        DeviceError: it is not installed, or does not start.
    """
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None or shutil.which("mosquitto_sub") is None:
        raise DeviceError("mosquitto and mosquitto_sub are needed: apt install mosquitto mosquitto-clients")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    configuration = folder / "mosquitto.conf"
    user = "user root\n" if os.geteuid() == 0 else ""
    configuration.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n{user}")
    with subprocess.Popen([program, "-c", str(configuration)], stderr=subprocess.DEVNULL) as process:
        try:
            _await(lambda: process.poll() is not None or _listens(port))
            if process.poll() is not None:
                raise DeviceError("mosquitto does not start: try again")
            yield port
        finally:
            process.terminate()


@contextlib.contextmanager
def subscribed(port: int, path: Path) -> Iterator[None]:
    """A mosquitto_sub that writes each event to a file, a line each."""
    words = ["mosquitto_sub", "-p", str(port), "-t", TOPIC, "-q", "1", "-V", "5", "-i", "counter", "-c", "-x", "3600"]
    subprocess.run([*words, "-E"], check=True, timeout=PATIENCE_S)  # the broker keeps all from here on
    with path.open("wb") as lines, subprocess.Popen(words, stdout=lines) as process:
        try:
            yield
        finally:
            process.terminate()


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def _await(condition: Any) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition() and time.monotonic() < deadline_s:
        time.sleep(0.05)


if __name__ == "__main__":
    run(main)
