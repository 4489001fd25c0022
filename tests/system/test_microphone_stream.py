"""The whole way: a sound server's microphone in, caption records out."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_aac.audio.sources.demo import synthesise_demo
from edge_aac.bundle.store import DEFAULT_BUNDLE, open_bundle
from tests.edge_aac.demo_words import SYNTHESISED
from tests.system.command import CAPTION_FIELDS, CLOCK_TIMES, TIMEOUT_S, records, started_edge_aac, write_wav
from tests.system.pulse import PulseMicrophone, pulse_microphone

__all__ = ["pulse_microphone"]

pytestmark = [pytest.mark.one_python, pytest.mark.waits]

_FIRST_CAPTION_S = 120.0  # a window is 10 s of sound


def _time(text: str) -> datetime:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


@contextmanager
def _killed_after(process: subprocess.Popen[bytes], seconds: float) -> Iterator[None]:
    """A line that never comes must not hang the tests."""
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _record(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    assert process.stdout is not None
    (record,) = records(process.stdout.readline().decode())
    return record


def test_a_microphone_is_captioned(pulse_microphone: PulseMicrophone, tmp_path: Path) -> None:
    scene = write_wav(tmp_path / "scene.wav", np.tile(synthesise_demo(20), 3))
    pulse_microphone.play(scene)
    words = ["stream", "--device", "mic0", "--hop", "1", "--every-window", "--format", "json"]
    started = datetime.now(timezone.utc)
    with (
        started_edge_aac(*words, env=pulse_microphone.env) as process,
        _killed_after(process, _FIRST_CAPTION_S),
    ):
        assert process.stdout is not None and process.stderr is not None
        first = _record(process)
        heard = datetime.now(timezone.utc)
        second = _record(process)
        process.send_signal(signal.SIGTERM)
        process.wait(TIMEOUT_S)
        rest = records(process.stdout.read().decode())
        log = process.stderr.read().decode()

    assert process.returncode == 0, log
    assert "Traceback" not in log and "ALSA" not in log
    for record in (first, second, *rest):
        # A window whose sounds are not yet confirmed is of no event; one with two of them is of both.
        assert set(record) - {"event", "events"} == CAPTION_FIELDS | CLOCK_TIMES
        assert (record["source"], record["dropped_ms"]) == ("mic0", 0)
        assert -45 < record["rms_dbfs"] < -10
        # Both ends are placed by the clock as it is known then: on a machine that is busy sound arrives late at first.
        assert abs((_time(record["end"]) - _time(record["start"])).total_seconds() - 10) < 1.0
    assert (first["seq"], second["seq"]) == (0, 1)
    # The sound itself, not its publishing: it began after the start, and ended before the record came.
    assert started < _time(first["start"])
    assert 0 <= (heard - _time(first["end"])).total_seconds() < 30
    assert (_time(second["start"]) - _time(first["start"])).total_seconds() > 0.9

    # A bundle without measured quality has learnt nothing yet.
    if open_bundle(DEFAULT_BUNDLE).manifest.quality:
        captions = [record["caption"] for record in (first, second, *rest)]
        assert any(re.search("|".join(SYNTHESISED.values()), caption) for caption in captions), captions
