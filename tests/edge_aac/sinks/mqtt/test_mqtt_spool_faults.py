"""What waits for the broker while the disk is full, the file damaged, or the clock set: told once, and mended."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.edge_aac.audio.sources.network.servers import free_port
from tests.edge_aac.fakes import caption_record
from tests.edge_aac.sinks.mqtt.brokers import Mosquitto, Subscriber
from tests.edge_aac.sinks.mqtt.conftest import MakeSink
from tests.edge_aac.sinks.mqtt.test_mqtt_outages import numbers
from tests.edge_aac.sinks.mqtt.test_mqtt_sink import event
from tests.waiting import eventually

_ON_A_SMALL_DISK = """
import json, logging, os, subprocess, sys, time
from pathlib import Path
from edge_aac.sinks.mqtt.settings import MqttSettings
from edge_aac.sinks.mqtt.sink import MqttSink
from tests.edge_aac.sinks.mqtt.brokers import QUICK
from tests.edge_aac.sinks.mqtt.test_mqtt_sink import event

url, disk = sys.argv[1], Path(sys.argv[2])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)], check=True)
lines = []
handler = logging.Handler(logging.WARNING)
handler.emit = lambda record: lines.append(record.getMessage())
logging.getLogger("edge_aac").addHandler(handler)
sink, count = None, 0
for command in sys.stdin:
    if command.strip() == "fill":
        with (disk / "ballast").open("wb", buffering=0) as ballast:
            try:
                while ballast.write(bytes(4096)): pass
            except OSError: pass
    elif command.strip() == "free":
        (disk / "ballast").unlink()
    elif command.strip() == "open":
        sink = MqttSink(MqttSettings(url=url, node="kitchen", spool_path=disk / "s"), QUICK)
    elif command.strip() == "publish":
        for count in range(count, count + 100):
            sink.publish(event(count))
        count += 1
    elif command.strip() == "close":
        sink.close()
    status = sink and sink.status
    print(json.dumps({
        "state": status and status.state, "reason": status and status.reason, "queued": status and status.queued,
        "dropped": status and status.dropped, "lines": lines, "files": sorted(each.name for each in disk.iterdir()),
    }), flush=True)
"""


class SmallDisk:
    """A sink in a process whose spool is on a tmpfs of its own, which nobody else sees."""

    def __init__(self, url: str, folder: Path) -> None:
        folder.mkdir()
        words = ["unshare", "--map-root-user", "--mount", sys.executable, "-c", _ON_A_SMALL_DISK, url, str(folder)]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def do(self, command: str) -> dict[str, Any]:
        """Has a command carried out; gives the sink's status then, and what was logged."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the process has ended"
        state: dict[str, Any] = json.loads(line)
        return state

    def until(self, condition: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        eventually(lambda: condition(self.do("status")), what)
        return self.do("status")

    def end(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._process.kill()
        self._process.wait()


@pytest.fixture
def make_disk(tmp_path: Path) -> Iterator[Callable[[str], SmallDisk]]:
    words = ["unshare", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    probe = subprocess.run(words, check=False, capture_output=True, text=True)
    if probe.returncode != 0:
        reason = f"no tmpfs can be mounted here, not even in a user namespace: {probe.stderr.strip()}"
        if os.environ.get("EDGE_AAC_REQUIRE_REAL_PARTS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    made: list[SmallDisk] = []

    def make(url: str) -> SmallDisk:
        made.append(SmallDisk(url, tmp_path / "disk"))
        return made[-1]

    yield make
    for each in made:
        each.end()


def about(lines: list[str], word: str) -> list[str]:
    return [line for line in lines if word in line]


@pytest.mark.waits
@pytest.mark.parametrize("full_from_the_start", [False, True])
def test_a_disk_that_is_really_full(
    full_from_the_start: bool, tmp_path: Path, make_disk: Callable[[str], SmallDisk]
) -> None:
    port = free_port()
    broker = Mosquitto(tmp_path / "broker", port=port).start()
    watcher = Subscriber(port)  # with a session: it misses nothing
    broker.stop()
    disk = make_disk(f"mqtt://127.0.0.1:{port}")
    for command in ("fill", "open") if full_from_the_start else ("open", "publish", "fill"):
        disk.do(command)
    stored = 0 if full_from_the_start else 100
    for _ in range(3):
        state = disk.do("publish")
    assert (state["queued"], state["dropped"], state["state"]) == (stored + 300, 0, "retrying")
    assert len(about(state["lines"], "messages wait in memory")) == 1, state["lines"]
    broker.start()
    state = disk.until(lambda state: state["queued"] == 0, "all is delivered from memory")
    assert state["state"] == "delivering" and "cannot be used" in state["reason"], "the disk is still told of"
    disk.do("free")
    state = disk.until(lambda state: state["reason"] is None, "the disk is used again")
    assert len(about(state["lines"], "messages are kept in")) == 1, "and nobody had to ask for it"
    broker.stop()
    disk.do("publish")
    state = disk.do("close")
    assert about(state["lines"], "100 messages wait on disk") and state["dropped"] == 0
    broker.start()
    disk.do("open")
    disk.until(lambda state: state["queued"] == 0, "what waited on the disk is delivered")
    eventually(lambda: len(set(numbers(watcher))) == stored + 400, "and has arrived")
    assert list(dict.fromkeys(numbers(watcher))) == list(range(stored + 400)), "in order"
    watcher.close()
    broker.stop()


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]


@pytest.mark.parametrize("when", ["at the start", "while it runs"])
def test_a_damaged_file_costs_one_line(
    when: str,
    broker: Mosquitto,
    watcher: Subscriber,
    tmp_path: Path,
    make_sink: MakeSink,
    caplog: pytest.LogCaptureFixture,
) -> None:
    spool = tmp_path / "spool.sqlite"
    if when == "at the start":
        spool.write_bytes(b"these are no messages" * 500)
    else:
        broker.stop()
    sink = make_sink(f"mqtt://127.0.0.1:{broker.port}")
    for number in range(20):
        sink.publish(event(number))
    if when == "while it runs":
        for number in range(20, 400):  # larger than SQLite's cache, which would hide it
            sink.publish(event(number).model_copy(update={"caption": "a dog barks " * 250}))
        with spool.open("r+b") as file:
            file.seek(20 * 1024)
            file.write(os.urandom(spool.stat().st_size - 20 * 1024))
        broker.start()
    eventually(lambda: sink.status.queued == 0 and sink.status.state == "delivering", "it recovers")
    sink.publish(event(1000))
    eventually(lambda: 1000 in numbers(watcher), "the stream goes on")
    received = list(dict.fromkeys(numbers(watcher)))
    assert received == sorted(received)
    published = 21 if when == "at the start" else 401
    # What was under way when the damage showed is counted, and may have arrived all the same.
    assert 0 <= len(received) + sink.status.dropped - published <= 100, "what is lost is counted"
    assert when == "while it runs" or sink.status.dropped == 0
    assert len(about(warnings_of(caplog), "begun anew")) == 1, warnings_of(caplog)
    assert sink.status.reason is None


@pytest.mark.parametrize("step_s", [-3.0e7, 3.0e7])
def test_a_clock_that_is_set_in_an_outage(
    step_s: float,
    broker: Mosquitto,
    watcher: Subscriber,
    make_sink: MakeSink,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker.stop()
    sink = make_sink(f"mqtt://127.0.0.1:{broker.port}", spool_age_h=1.0)
    for number in range(5):
        sink.publish(event(number))
    sink.publish(caption_record(0, source="mic0"))
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + step_s)
    sink.publish(event(5))
    broker.start()
    eventually(lambda: sink.status.queued == 0 and sink.status.state == "delivering", "it recovers")
    watcher.await_messages("edge-aac/kitchen/mic0/caption")
    eventually(lambda: numbers(watcher) == list(range(6)), "all, in order")
    late = Subscriber(broker.port, "edge-aac/kitchen/mic0/caption", client="late")
    eventually(lambda: len(late.messages) == 1, "the caption is no older than before")
    assert 86_000 < late.messages[0].properties.MessageExpiryInterval <= 86_400
    assert sink.status.dropped == 0
    assert len(warnings_of(caplog)) == 2, "gone and back"
    late.close()
