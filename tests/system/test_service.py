"""``edge-aac stream`` under a service manager: what it is told, what hangs, and settings that are read anew."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.edge_aac.outside_package import NAME, OutsidePackage
from tests.system.command import TIMEOUT_S, started_edge_aac
from tests.system.service_manager import Manager, wait_for

pytestmark = [pytest.mark.one_python, pytest.mark.waits]

_CODE = '''
"""Live sources of noise, ten times as fast as they sound, that hang where a file tells them to."""
import os
import threading
import time
from pathlib import Path

import numpy as np

from edge_aac.audio.reconnect import Reconnecting
from edge_aac.audio.connection import Sound

FOLDER = Path(os.environ["ACME_FOLDER"])


class Noise:
    def __init__(self, label):
        self._label = label
        self._random = np.random.default_rng(0)
        with open(FOLDER / "opened", "a") as opened:
            opened.write(label + "\\n")

    def read(self, timeout_s):
        if (FOLDER / "hang-capture").exists():
            threading.Event().wait()  # as in a driver that does not answer
        if (FOLDER / "hang-model").exists():
            import edge_aac.streaming.scheduler as scheduler

            scheduler.describe_loud = lambda *_: threading.Event().wait()
        time.sleep(0.01)
        samples = self._random.normal(0, 0.1, 1600).astype(np.float32)
        return Sound(samples, 0.1, time.monotonic())

    def close(self):
        with open(FOLDER / "closed", "a") as closed:
            closed.write(self._label + "\\n")


def noise(address, context):
    label = context.label(address)
    return Reconnecting(label, lambda closed: Noise(label), wait_for_device=context.wait_for_device)
'''


class Service:
    """A running service, its manager, and its files.

    Args:
        folder: of everything.
        manager: started it.
        process: runs.
        config: its configuration.
        records: file that its records go to.
    """

    def __init__(self, folder: Path, manager: Manager, process: subprocess.Popen[bytes], config: Path) -> None:
        self.folder, self.manager, self.process, self.config = folder, manager, process, config

    @property
    def opened(self) -> list[str]:
        """Labels of the sources, one an opening."""
        return (self.folder / "opened").read_text().splitlines()

    @property
    def closed(self) -> list[str]:
        """Labels of the sources, one a closing."""
        path = self.folder / "closed"
        return path.read_text().splitlines() if path.exists() else []

    def records(self, name: str = "records.jsonl") -> list[dict[str, Any]]:
        """Whole lines of a file of records."""
        path = self.folder / name
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def captions(self, source: str, name: str = "records.jsonl") -> int:
        """How many captions of a source were published."""
        return sum(
            record["schema"] == "edge-aac/caption/1" and record["source"] == source for record in self.records(name)
        )

    def health(self, source: str) -> list[dict[str, Any]]:
        """Health records of a source."""
        return [each for each in self.records() if each["schema"] == "edge-aac/health/1" and each["source"] == source]

    def reload(self, text: str) -> str:
        """Have other settings read; gives the status line after it."""
        self.config.write_text(text)
        ready = self.manager.count(READY="1")
        self.process.send_signal(signal.SIGHUP)
        wait_for(lambda: self.manager.count(READY="1") > ready, "the reload is done")
        return self.manager.status

    def stop(self) -> str:
        """End the service; gives what it logged."""
        self.process.send_signal(signal.SIGTERM)
        _, err = self.process.communicate(timeout=TIMEOUT_S)
        assert self.process.returncode == 0, err.decode()
        return err.decode()

    def wait_for_captions(self, source: str, more: int = 2, name: str = "records.jsonl") -> None:
        """Wait for more captions of a source than there are."""
        before = self.captions(source, name)
        wait_for(lambda: self.captions(source, name) >= before + more, f"captions of {source}")


def config_text(
    folder: Path, *sources: str, sink: str = 'path = "{}/records.jsonl"', more: str = "", stream: str = ""
) -> str:
    """A configuration with sources of noise of these names, and one file of all records."""
    return "\n".join(
        [
            f'[stream]\nnode = "kitchen"\n{stream}\n[health]\ninterval_s = 1.0\n{more}',
            *(f'[[sources]]\nname = "{name}"\naddress = "noise:{name}"\n' for name in sources),
            f'[[sinks]]\nkind = "jsonl"\nrecords = ["caption", "event", "health"]\n{sink.format(folder)}\n',
        ]
    )


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """A service manager that listens."""
    made = Manager(tmp_path)
    yield made
    made.close()


@pytest.fixture
def watchdog_s() -> float | None:
    """Seconds of the manager's watchdog; None for none."""
    return None


@pytest.fixture
def service(
    outside_package: OutsidePackage, tmp_path: Path, manager: Manager, watchdog_s: float | None
) -> Iterator[Service]:
    """A service that captions the source ``hall``, every window."""
    outside_package.install(_CODE, {"edge_aac.sources": {"noise": f"{NAME}:noise"}})
    config, runtime = tmp_path / "config.toml", tmp_path / "run"
    runtime.mkdir()
    config.write_text(config_text(tmp_path, "hall"))
    env = {**manager.env(watchdog_s), "ACME_FOLDER": str(tmp_path), "RUNTIME_DIRECTORY": str(runtime)}
    with started_edge_aac("stream", "--every-window", "--config", str(config), env=env) as process:
        wait_for(lambda: manager.count(READY="1") == 1 or process.poll() is not None, "the service is ready")
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        yield Service(tmp_path, manager, process, config)


def test_the_manager_and_the_state_file_are_told_how_it_does(service: Service) -> None:
    service.wait_for_captions("hall")
    wait_for(lambda: "listening to hall; " in service.manager.status and "last " in service.manager.status, "a status")
    path = service.folder / "run" / "health.json"
    wait_for(lambda: json.loads(path.read_text())["captions"] > 0, "captions in the state file")
    state = json.loads(path.read_text())
    assert (state["phase"], state["missing"], state["node"]) == ("running", [], "kitchen")
    assert state["sources"]["hall"]["state"] == "listening"
    assert state["health"]["hall"]["schema"] == "edge-aac/health/1"
    environ = Path(f"/proc/{service.process.pid}/environ").read_bytes()
    assert b"NOTIFY_SOCKET" in environ, "or the test looks at nothing"
    service.stop()
    stopping = {"STOPPING": "1", "STATUS": "stopping"}
    wait_for(lambda: service.manager.messages[-1] == stopping, "the manager is told of the stop")
    assert not path.exists()


def test_a_bad_file_keeps_the_old_settings_and_says_so(service: Service) -> None:
    service.wait_for_captions("hall")
    status = service.reload('[stream]\nnode = "kitchen"\nhop_s = "often"\n')
    assert status.startswith("the new settings are refused, the old ones are in use: setting stream.hop_s")
    assert "config.toml:3" in status
    service.wait_for_captions("hall", more=3)
    assert service.opened == ["hall"]
    status = service.reload("[stream\n")
    assert "is not valid TOML" in status and "line 1" in status
    status = service.reload(config_text(service.folder, "hall", more='[[sources]]\naddress = "gramophone:"\n'))
    assert "no source 'gramophone'" in status
    missing = config_text(service.folder, "hall", sink='path = "{}/nowhere/records.jsonl"')
    assert "nowhere" in service.reload(missing)
    assert "bundle" in service.reload(config_text(service.folder, "hall", more='[captioner]\nbundle = "none-such"\n'))
    service.wait_for_captions("hall", more=3)
    assert service.opened == ["hall"]
    status = service.reload(config_text(service.folder, "hall"))
    assert status.startswith("listening to hall"), "the fault is mended"
    log = service.stop()
    assert log.count("the new settings are refused") == 5
    assert all(record.get("dropped_ms", 0) == 0 for record in service.records())


def test_sources_come_and_go_while_the_others_go_on(service: Service) -> None:
    service.wait_for_captions("hall")
    service.reload(config_text(service.folder, "hall", "attic", stream="hop_s = 1.0\nsilence_dbfs = -60.0"))
    service.wait_for_captions("attic")
    service.wait_for_captions("hall")
    assert service.opened == ["hall", "attic"], "the hop of an open source changes"
    service.reload(config_text(service.folder, "attic"))
    wait_for(lambda: service.closed == ["hall"], "the removed source is closed")
    wait_for(lambda: service.health("hall")[-1]["state"] == "ended", "its last record is written")
    before = service.captions("hall")
    service.wait_for_captions("attic")
    assert service.captions("hall") == before
    records = service.records()
    assert service.health("hall")[-1]["state"] == "ended"
    events = [record for record in records if record["source"] == "hall" and record["schema"] == "edge-aac/event/1"]
    assert {event["event"] for event in events if event["state"] == "start"} == {
        event["event"] for event in events if event["state"] == "end"
    }
    assert all(record.get("dropped_ms", 0) == 0 for record in records)
    sequence = [
        record["seq"] for record in records if record["source"] == "hall" and record["schema"] == "edge-aac/caption/1"
    ]
    assert sequence == list(range(len(sequence))), "nothing lost, nothing twice"
    service.stop()
    assert service.opened == ["hall", "attic"]


def test_sinks_and_model_are_changed_without_losing_a_record(service: Service) -> None:
    service.wait_for_captions("hall")
    status = service.reload(
        config_text(
            service.folder,
            "hall",
            sink='path = "{}/other.jsonl"',
            more="[captioner]\ncandidates = 3\nseed = 5\n",
        )
    )
    assert status.startswith("listening to hall"), status
    service.wait_for_captions("hall", name="other.jsonl")
    status = service.reload(config_text(service.folder, "hall", sink='path = "{}/other.jsonl"\nmax_mb = 5'))
    assert status.startswith("listening to hall"), "the same file again, that the old sink has to let go first"
    service.wait_for_captions("hall", name="other.jsonl")
    service.stop()
    records = service.records() + service.records("other.jsonl")
    sequence = [record["seq"] for record in records if record["schema"] == "edge-aac/caption/1"]
    assert sequence == list(range(len(sequence))), "nothing lost, nothing twice"
    events = [record for record in records if record["schema"] == "edge-aac/event/1"]
    starts = [event["event"] for event in events if event["state"] == "start"]
    assert sorted(set(starts)) == sorted(starts) == sorted(e["event"] for e in events if e["state"] == "end")


def test_what_needs_a_restart_is_said(service: Service) -> None:
    changed = config_text(service.folder, "hall").replace('"kitchen"', '"cellar"')
    for _ in range(2):
        status = service.reload(changed)
        assert status.startswith("a change of stream.node needs a restart; listening to hall")
    status = service.reload(config_text(service.folder, "hall"))
    assert status.startswith("listening to hall")


def test_a_stop_during_a_reload_is_a_stop(service: Service) -> None:
    service.config.write_text(config_text(service.folder, "hall", "attic", more="[captioner]\ncandidates = 3\n"))
    service.process.send_signal(signal.SIGHUP)
    wait_for(lambda: service.manager.count(RELOADING="1") == 1, "the reload has begun")
    service.stop()


@pytest.mark.parametrize("watchdog_s", [3.0])
@pytest.mark.parametrize(
    ("what", "complaint"),
    [
        ("hang-capture", "the thread that captures hall has not come round for "),
        ("hang-model", "describing has not come to an end for "),
    ],
)
def test_what_hangs_is_named_and_the_watchdog_fed_no_more(service: Service, what: str, complaint: str) -> None:
    wait_for(lambda: service.manager.count(WATCHDOG="1") >= 3, "the watchdog is fed")
    service.wait_for_captions("hall", more=1)
    (service.folder / what).touch()
    wait_for(lambda: complaint in service.manager.status, "the status names what hangs")
    state = service.folder / "run" / "health.json"

    def missing() -> str:
        return " ".join(json.loads(state.read_text())["missing"])

    wait_for(lambda: complaint in missing(), "the state file names it")
    # Its seconds are counted on by the looks at which the watchdog would have been fed. Before it hung it may have been
    # missing for a moment, too, on a machine under load.
    for _ in range(2):
        before, fed = missing(), service.manager.count(WATCHDOG="1")
        wait_for(lambda before=before: complaint in missing() and missing() != before, "the watchdog looks again")
    assert service.manager.count(WATCHDOG="1") == fed
    os.kill(service.process.pid, signal.SIGABRT)  # as the manager does now
    _, err = service.process.communicate(timeout=TIMEOUT_S)
    # Python's handler of SIGABRT reads the stacks of threads that run, at which it may fail itself.
    assert service.process.returncode in {-signal.SIGABRT, -signal.SIGSEGV}
    log = err.decode()
    assert complaint in log
    found, aborted = log.split("Fatal Python error: Aborted", 1)
    assert "in describe_loud" not in log
    assert found.count("hread 0x") > 2, "the stacks of all threads, as they were when what hangs was found"
    assert "hread 0x" in aborted, "and at the end"
