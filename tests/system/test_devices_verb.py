"""``edge-aac devices --watch`` on a real sound server that goes away."""

from __future__ import annotations

import json
import signal
import threading

import pytest

from tests.system.command import TIMEOUT_S, started_edge_aac
from tests.system.pulse import PulseMicrophone, pulse_microphone

__all__ = ["pulse_microphone"]

pytestmark = [pytest.mark.one_python, pytest.mark.waits]


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_inputs_are_followed_until_a_signal(pulse_microphone: PulseMicrophone, ending: signal.Signals) -> None:
    with started_edge_aac("devices", "--watch", env=pulse_microphone.env) as process:
        timer = threading.Timer(TIMEOUT_S, process.kill)
        timer.start()
        assert process.stdout is not None and process.stderr is not None
        first = json.loads(process.stdout.readline())
        assert (first["change"], first["name"], first["id"]) == ("present", "mic0", "alsa:pulse")
        if ending == signal.SIGINT:
            pulse_microphone.control("exit")
            second = json.loads(process.stdout.readline())
            assert (second["change"], second["id"]) == ("removed", "alsa:pulse")
        process.send_signal(ending)
        process.wait(TIMEOUT_S)
        timer.cancel()
        assert process.returncode == 0, process.stderr.read().decode()
        assert (process.stdout.read(), process.stderr.read()) == (b"", b"")
