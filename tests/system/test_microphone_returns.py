"""Microphones that come and go under a running stream, on a real sound server: nothing is lost without a record."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_aac.audio.sources.demo import synthesise_demo
from tests.system.command import TIMEOUT_S, started_edge_aac, write_wav
from tests.system.pulse import PulseMicrophone, pulse_microphone, running_pulse_microphone

__all__ = ["pulse_microphone"]

pytestmark = [pytest.mark.one_python, pytest.mark.waits]

_RETURNS = 5
_HOP_S = 2.0
Table = dict[str, Any]


class _Heard:
    """What a stream has written into its file of records so far."""

    def __init__(self, path: Path, process: subprocess.Popen[bytes]) -> None:
        self._path = path
        self._process = process

    def records(self, kind: str, source: str = "mic0") -> list[Table]:
        lines = self._path.read_text().splitlines(keepends=True) if self._path.exists() else []
        tables = [json.loads(line) for line in lines if line.endswith("\n")]
        return [table for table in tables if table["schema"].split("/")[1] == kind and table["source"] == source]

    def wait_for(self, what: Callable[[], Any]) -> Any:
        give_up_s = time.monotonic() + TIMEOUT_S
        while not (found := what()):
            assert self._process.poll() is None, self._process.stderr and self._process.stderr.read().decode()
            assert time.monotonic() < give_up_s, (self._path.read_text(), "it never came")
            time.sleep(0.05)
        return found

    def captions_after(self, time_s: float, source: str = "mic0") -> list[Table]:
        return [record for record in self.records("caption", source) if _unix_s(record["end"]) > time_s]

    def state(self, source: str = "mic0") -> str:
        health = self.records("health", source)
        return health[-1]["state"] if health else ""

    def open_things(self) -> tuple[int, int, int]:
        """Numbers of descriptors, threads and child processes of the stream."""
        proc = Path(f"/proc/{self._process.pid}")
        children = [task for path in proc.glob("task/*/children") for task in path.read_text().split()]
        return len(list((proc / "fd").iterdir())), len(list((proc / "task").iterdir())), len(children)


def _unix_s(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _ended(process: subprocess.Popen[bytes]) -> str:
    process.send_signal(signal.SIGTERM)
    process.wait(TIMEOUT_S)
    assert process.stderr is not None
    log = process.stderr.read().decode()
    assert process.returncode == 0, log
    assert "Traceback" not in log
    return log


def test_a_microphone_that_is_removed_and_recreated_five_times(
    pulse_microphone: PulseMicrophone, tmp_path: Path
) -> None:
    scene = write_wav(tmp_path / "scene.wav", np.tile(synthesise_demo(20), 6))
    pulse_microphone.play(scene)
    path = tmp_path / "heard.jsonl"
    words = ["stream", "--device", "mic0", "--hop", f"{_HOP_S:g}", "--every-window", "--threads", "1"]
    words += ["--health-interval", "0.5", "--sink", f"jsonl:{path}"]
    with started_edge_aac(*words, env=pulse_microphone.env) as process:
        heard = _Heard(path, process)
        heard.wait_for(lambda: heard.records("caption"))
        before = heard.open_things()
        assert before[2] == 1, "each microphone is captured by one process"
        for number in range(_RETURNS):
            pulse_microphone.unplug()
            pulse_microphone.stop_players()
            heard.wait_for(lambda: heard.state() != "listening")
            pulse_microphone.plug_in()
            pulse_microphone.play(scene)
            gap = heard.wait_for(lambda number=number: heard.records("gap")[number:])[0]
            back_s = _unix_s(gap["end"])
            (first, *_) = heard.wait_for(lambda back_s=back_s: heard.captions_after(back_s))
            # A hop of sound after the return, or two more where a machine under load skips windows; a window is five.
            assert _unix_s(first["end"]) - back_s <= 3 * _HOP_S + 0.1
        heard.wait_for(lambda: heard.state() == "listening")
        assert heard.open_things() == before
        log = _ended(process)

    gaps = heard.records("gap")
    assert [gap["reason"] in {"disconnected", "stalled"} for gap in gaps] == [True] * _RETURNS, gaps
    health, captions = heard.records("health"), heard.records("caption")
    lost_ms = sum(gap["lost_ms"] for gap in gaps)
    assert lost_ms > 0
    assert sum(record["dropped_ms"] for record in health) == lost_ms
    assert sum(record["dropped_ms"] for record in captions) == lost_ms
    assert f"{lost_ms} ms of sound lost" in log
    # Each outage is told as one, in the log too.
    assert any(record["state"] in {"waiting", "stalled"} and record.get("reason") for record in health)
    assert health[-1]["reconnects"] == _RETURNS
    assert sum(record["windows"] for record in health) == sum(
        record["captions"] + record["silent"] + record["unsure"] + record["failed"] + sum(record["skipped"].values())
        for record in health
    )
    for gap in gaps:
        assert abs(_unix_s(gap["end"]) - _unix_s(gap["start"]) - gap["lost_ms"] / 1e3) < 1.0


def test_one_of_two_microphones_is_pulled(pulse_microphone: PulseMicrophone, tmp_path: Path) -> None:
    scene = write_wav(tmp_path / "scene.wav", np.tile(synthesise_demo(20), 6))
    pulse_microphone.play(scene)
    path = tmp_path / "heard.jsonl"
    words = ["stream", "--device", "alsa:garden", "--device", "mic0", "--every-window", "--threads", "1"]
    words += ["--health-interval", "0.5", "--sink", f"jsonl:{path}"]
    with running_pulse_microphone() as garden:
        pulse_microphone.list_devices({"garden": garden})
        garden.play(scene)
        with started_edge_aac(*words, env=pulse_microphone.env) as process:
            heard = _Heard(path, process)
            heard.wait_for(lambda: heard.records("caption") and heard.records("caption", "alsa:garden"))
            garden.unplug()
            heard.wait_for(lambda: heard.state("alsa:garden") != "listening")
            pulled = len(heard.records("caption"))
            heard.wait_for(lambda: len(heard.records("caption")) > pulled)
            garden.plug_in()
            garden.play(scene)
            (gap,) = heard.wait_for(lambda: heard.records("gap", "alsa:garden"))
            heard.wait_for(lambda: heard.captions_after(_unix_s(gap["end"]), "alsa:garden"))
            _ended(process)
    assert heard.records("gap") == [], "the other one was never interrupted"
    assert sum(record["dropped_ms"] for record in heard.records("health")) == 0
    assert sum(record["dropped_ms"] for record in heard.records("health", "alsa:garden")) == gap["lost_ms"]
