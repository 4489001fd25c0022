"""A microphone and the real process that captures it; only PyAudio is a stand-in. The real one is in tests/system."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_aac.audio.capture import Opened
from edge_aac.audio.connection import PermanentDeviceError
from edge_aac.audio.reconnect import Reconnecting
from edge_aac.audio.sources import microphone
from edge_aac.audio.sources.address import Address, SourceContext
from edge_aac.audio.sources.microphone import open_microphone
from edge_aac.errors import DeviceError, UsageError
from tests.edge_aac.fakes import read_until_closed
from tests.waiting import PATIENCE_S, ended, until


class SoundSystem:
    """What the stand-in for PyAudio finds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.opened: list[Reconnecting] = []
        self.plug("pulse")

    def plug(self, *names: str, **world: Any) -> None:
        written = self._path.with_suffix(".new")
        written.write_text(json.dumps({"names": names, **world}))
        written.replace(self._path)

    def microphone(self, uri: str = "mic0", **context: Any) -> Reconnecting:
        source = open_microphone(Address.parse(uri), SourceContext(**context))
        self.opened.append(source)
        return source


@pytest.fixture
def sound_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SoundSystem]:
    path = tmp_path / "sound.json"
    monkeypatch.setenv("EDGE_AAC_TEST_SOUND", str(path))
    monkeypatch.syspath_prepend(Path(__file__).parent / "sound_system")
    system = SoundSystem(path)
    yield system
    for source in system.opened:
        source.close()


class _Ended:
    """A microphone that was opened."""

    def __init__(self, _request: object) -> None:
        self.opened = Opened("alsa:pulse", (), 48_000, 2)


def _heard_until(source: Reconnecting, condition: Callable[[np.ndarray], bool]) -> None:
    give_up_s = time.monotonic() + PATIENCE_S
    while True:
        block = source.read()
        assert block is not None
        assert time.monotonic() < give_up_s
        if condition(block):
            return


def _children() -> set[int]:
    result = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(os.getpid())], capture_output=True, check=False)
    return {int(line.split()[0]) for line in result.stdout.splitlines() if b"edge_aac.audio.capture" in line}


def test_samples_arrive(sound_system: SoundSystem) -> None:
    source = sound_system.microphone()
    assert (source.label, source.live, source.state, source.lost_samples()) == ("mic0", True, "waiting", 0)
    blocks = [source.read() for _ in range(5)]
    assert all(block is not None and block.dtype == np.float32 for block in blocks)
    heard = np.concatenate([block for block in blocks if block is not None])
    assert 1_600 * 4 < len(heard) <= 1_600 * 5
    assert np.abs(heard[800:] - 0.5).max() < 1e-3, "from 48 kHz"
    assert source.state == "listening"
    assert len(_children()) == 1
    source.close()
    source.close()
    assert source.read() is None
    assert _children() == set()


@pytest.mark.parametrize(("option", "value"), [("channel=1", -0.4), ("channel=2", 0.2), ("mix=mean", -0.1)])
def test_a_channel_of_a_stereo_microphone(sound_system: SoundSystem, option: str, value: float) -> None:
    sound_system.plug("pulse", values=[-0.4, 0.2])
    source = sound_system.microphone(f"mic0?{option}")
    assert source.label == "mic0"
    _heard_until(source, lambda block: abs(float(block[-1]) - value) < 1e-3)


@pytest.mark.parametrize("uri", ["mic0?channel=0", "mic0?loud=1", "alsa:hw:1,0?mix=sum", "mic0?channel=1&mix=mean"])
def test_wrong_options(sound_system: SoundSystem, uri: str) -> None:
    with pytest.raises(UsageError):
        sound_system.microphone(uri)


def test_a_channel_that_the_microphone_lacks(sound_system: SoundSystem) -> None:
    with pytest.raises(PermanentDeviceError, match="'mic0' has no channel 2: it has only one channel"):
        sound_system.microphone("mic0?channel=2")


def test_a_dead_channel_is_told_once_however_often_it_is_opened(
    sound_system: SoundSystem, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    watches: list[object] = []
    monkeypatch.setattr(
        microphone,
        "CapturedMicrophone",
        lambda request, closed, mixing, watch: watches.append(watch) or _Ended(request),
    )
    opener = microphone.MicrophoneOpener(Address.parse("mic0"), "mic0")
    for _ in range(2):
        opener(threading.Event())
    assert len(watches) == 2 and watches[0] is watches[1]


def test_close_ends_a_waiting_read(sound_system: SoundSystem) -> None:
    sound_system.plug("pulse", mute=True)
    assert read_until_closed(sound_system.microphone()) == [None]
    until(lambda: _children() == set())


def test_no_such_microphone(sound_system: SoundSystem) -> None:
    with pytest.raises(DeviceError, match="There is no input 'mic1'; there are mic0: .*edge-aac devices"):
        sound_system.microphone("mic1")
    with pytest.raises(DeviceError, match="garden: There is no input 'mic1'"):
        sound_system.microphone("mic1", name="garden")
    with pytest.raises(DeviceError) as caught:
        sound_system.microphone("alsa://me:hunter2@host")
    assert "hunter2" not in str(caught.value)
    assert _children() == set()


def test_without_pyaudio_nobody_waits(
    sound_system: SoundSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "missing").mkdir()
    (tmp_path / "missing/pyaudio.py").write_text("raise ImportError('No module named pyaudio')\n")
    monkeypatch.syspath_prepend(tmp_path / "missing")
    source = sound_system.microphone(wait_for_device=True)
    with pytest.raises(PermanentDeviceError, match=r"edge-aac\[mic\]"):
        source.read()
    assert source.state == "failed"


def test_a_fault_of_the_capture_is_a_device_error(sound_system: SoundSystem) -> None:
    sound_system.plug(names=None)
    with pytest.raises(DeviceError, match=r"The capture failed \(TypeError"):
        sound_system.microphone()


def test_a_sound_system_that_hangs_is_given_up(sound_system: SoundSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    sound_system.plug("pulse", hangs=True)
    monkeypatch.setattr(microphone, "_OPEN_TIMEOUT_S", 0.3)
    with pytest.raises(DeviceError, match=r"does not answer for 0\.3 s"):
        sound_system.microphone()
    assert _children() == set()


def test_close_gives_an_opening_up(sound_system: SoundSystem) -> None:
    sound_system.plug("pulse", hangs=True)
    assert read_until_closed(sound_system.microphone(wait_for_device=True)) == [None]
    until(lambda: _children() == set())


@pytest.mark.parametrize("end", ["unplugged", "killed", "crashed"])
def test_a_vanished_device_is_waited_for(end: str, sound_system: SoundSystem, caplog: pytest.LogCaptureFixture) -> None:
    source = sound_system.microphone()
    assert source.read() is not None
    with caplog.at_level(logging.WARNING):
        if end == "killed":
            (child,) = _children()
            os.kill(child, signal.SIGKILL)
        else:
            sound_system.plug(*(["pulse"] if end == "crashed" else []), crashes=True)

            def plug_in_again() -> None:
                until(lambda: source.state == "waiting")
                sound_system.plug("pulse", value=0.25)

            threading.Thread(target=plug_in_again, daemon=True).start()
        _heard_until(source, lambda block: source.reconnects > 0)
    assert source.lost_samples() > 0
    assert source.state == "listening"
    assert caplog.messages[0].startswith("mic0 cannot be heard and is waited for: ")
    assert caplog.messages[-1] == "mic0 is back"


def test_one_is_found_again_while_another_is_open(sound_system: SoundSystem) -> None:
    sound_system.plug("pulse", "Yard (hw:1,0)")
    first = sound_system.microphone("mic0")
    second = sound_system.microphone("alsa:hw:1,0", name="yard")
    assert second.read() is not None
    sound_system.plug("pulse")
    reading = threading.Thread(target=_heard_until, args=[second, lambda block: second.reconnects == 1], daemon=True)
    reading.start()
    until(lambda: second.state == "waiting")
    sound_system.plug("pulse", "New (hw:0,0)", "Yard (hw:1,0)")
    ended(reading)
    assert (second.reconnects, second.state) == (1, "listening")
    assert first.read() is not None
    assert (first.reconnects, first.state) == (0, "listening")


_PARENT = """
import os, sys
from edge_aac.audio.sources.address import open_source

source = open_source("mic0")
assert source.read() is not None
print(open(f"/proc/self/task/{os.getpid()}/children").read().split()[0], flush=True)
sys.stdin.readline()
"""


@pytest.mark.usefixtures("sound_system")
def test_the_process_ends_with_its_parent() -> None:
    paths = os.pathsep.join(path for path in sys.path if path)
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT],
        env={**os.environ, "PYTHONPATH": paths},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        os.kill(child, signal.SIGTERM)
        os.kill(child, signal.SIGINT)
        assert _runs(child), "only its parent ends it"
        parent.kill()
    until(lambda: not _runs(child))


def _runs(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
