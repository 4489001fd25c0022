"""The real path from a sound server to samples: PortAudio, ALSA's pulse plug-in, PulseAudio."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from tests.system.pulse import PulseMicrophone, pulse_microphone, running_pulse_microphone
from tests.waiting import PATIENCE_S

__all__ = ["pulse_microphone"]

_ROOT = Path(__file__).parents[2]
_RECORD = """
import json, sys, threading, time
import numpy as np
from edge_aac.audio.sources.address import open_source

source = open_source("mic0")
blocks = []
while sum(map(len, blocks)) < 16_000 * float(sys.argv[2]):
    blocks.append(source.read())
np.save(sys.argv[1], np.concatenate(blocks))

ended = threading.Event()
def drain():
    while source.read() is not None:
        pass
    ended.set()
threading.Thread(target=drain, daemon=True).start()
time.sleep(0.3)
source.close()
report = {"ended": ended.wait(120), "name": source.label, "live": source.live, "lost": source.lost_samples()}
source.close()
print(json.dumps(report))
"""


def _run(microphone: PulseMicrophone, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env={**microphone.env, "PYTHONPATH": _python_path(microphone)},
        cwd=_ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )


def _python_path(microphone: PulseMicrophone) -> str:
    return ":".join(filter(None, (str(_ROOT), microphone.env.get("PYTHONPATH"))))


def test_mic0_records_what_is_played(pulse_microphone: PulseMicrophone, tmp_path: Path) -> None:
    frequency, amplitude = 997.0, 0.25
    times = np.arange(48_000 * 60) / 48_000
    soundfile.write(tmp_path / "sine.wav", amplitude * np.sin(2 * np.pi * frequency * times), 48_000)
    pulse_microphone.play(tmp_path / "sine.wav")

    recorded = tmp_path / "recorded.npy"
    result = _run(pulse_microphone, "-c", _RECORD, str(recorded), "3")

    assert result.returncode == 0, result.stderr
    assert result.stderr == "", "ALSA's and JACK's chatter must not reach the user"
    report = json.loads(result.stdout)
    assert report["name"] == "mic0"
    assert report["live"] is True
    assert report["ended"] is True
    samples = np.load(recorded)
    assert samples.dtype == np.float32
    steady = samples[-16_000:]
    spectrum = np.abs(np.fft.rfft(steady * np.hanning(16_000)))
    assert abs(int(np.argmax(spectrum)) - frequency) <= 1, "bins are 1 Hz wide at 16 kHz"
    assert np.isclose(np.sqrt(np.mean(np.square(steady))), amplitude / np.sqrt(2), rtol=0.02)


def test_an_unplugged_input_is_waited_for_and_its_time_counted(
    pulse_microphone: PulseMicrophone, tmp_path: Path
) -> None:
    script = """
import sys, time
from edge_aac.audio.sources.address import open_source

source = open_source("mic0")
source.read()
print("recording", flush=True)
sys.stdin.readline()
read_until = time.monotonic() + 120
while source.lost_samples() == 0 and time.monotonic() < read_until:
    source.read()
print("back" if source.read() is not None else "ended", source.lost_samples(), flush=True)
source.close()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script],
        env={**pulse_microphone.env, "PYTHONPATH": _python_path(pulse_microphone)},
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == "recording\n"
        pulse_microphone.unplug()
        pulse_microphone.plug_in()
        output, errors = process.communicate("go\n", timeout=300)
    assert process.returncode == 0, errors
    state, lost = output.split()
    assert state == "back", errors
    assert int(lost) > 0


_TWO = """
import json, sys, threading, time
import numpy as np
from edge_aac.audio.sources.address import open_source

FREQUENCIES = {"mic0": 700, "alsa:garden": 1300}
heard = dict.fromkeys(FREQUENCIES, 0)

def listen(source):
    recent = np.zeros(0, np.float32)
    while (block := source.read()) is not None:
        recent = np.concatenate((recent, block))[-8_000:]
        power = np.abs(np.fft.rfft(recent, 16_000))
        if len(recent) == 8_000 and power.max() > 100:
            # How often its own tone was the loudest; None once another one was.
            name = source.label
            tone = abs(int(power.argmax()) - FREQUENCIES[name]) <= 10
            heard[name] = heard[name] + 1 if tone and heard[name] is not None else None

sources = {}
for line in sys.stdin:
    verb, name = line.split()
    if verb == "open":
        sources[name] = open_source(name)
        threading.Thread(target=listen, args=[sources[name]], daemon=True).start()
    deadline = time.monotonic() + 120
    before = dict(heard)
    reached = {
        "open": lambda: heard[name],
        "gone": lambda: sources[name].state != "listening",
        "back": lambda: sources[name].reconnects == 1 and heard[name] != before[name],
    }[verb]
    while not reached() and time.monotonic() < deadline:
        time.sleep(0.05)
    print(json.dumps({"reached": bool(reached()), "heard": heard, "sources": {
        name: [source.state, source.reconnects, source.lost_samples()] for name, source in sources.items()
    }}), flush=True)
for source in sources.values():
    source.close()
"""


def test_one_of_two_microphones_is_unplugged_and_found_again(pulse_microphone: PulseMicrophone, tmp_path: Path) -> None:
    times = np.arange(16_000 * 180) / 16_000

    def play(microphone: PulseMicrophone, frequency: float) -> None:
        path = tmp_path / f"{frequency:.0f}.wav"
        soundfile.write(path, 0.25 * np.sin(2 * np.pi * frequency * times), 16_000)
        microphone.play(path)

    play(pulse_microphone, 700.0)
    with (
        running_pulse_microphone() as garden,
        (tmp_path / "stderr").open("w+") as errors,
        subprocess.Popen(
            [sys.executable, "-c", _TWO],
            env={**pulse_microphone.env, "PYTHONPATH": _python_path(pulse_microphone)},
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):

        def send(line: str) -> dict[str, Any]:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(f"{line}\n")
            process.stdin.flush()
            answer = process.stdout.readline()
            assert answer, (tmp_path / "stderr").read_text()
            report: dict[str, Any] = json.loads(answer)
            assert report["reached"], (line, report, (tmp_path / "stderr").read_text())
            return report

        send("open mic0")
        # PortAudio listed the devices for the first one before this one was there.
        pulse_microphone.list_devices({"garden": garden})
        play(garden, 1_300.0)
        send("open alsa:garden")
        garden.unplug()
        pulse_microphone.list_devices({})
        send("gone alsa:garden")
        garden.plug_in()
        play(garden, 1_300.0)
        pulse_microphone.list_devices({"garden": garden})
        report = send("back alsa:garden")
        process.communicate(timeout=PATIENCE_S)
    state, reconnects, lost = report["sources"]["alsa:garden"]
    assert (state, reconnects) == ("listening", 1)
    assert lost > 0
    assert report["sources"]["mic0"] == ["listening", 0, 0], "the other one was never interrupted"
    assert report["heard"]["alsa:garden"] > 0 and report["heard"]["mic0"] > 0
    assert process.returncode == 0
