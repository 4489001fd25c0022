"""`edge-aac stream` hears emulated devices as it does a file, shows them what it heard, and tells who was there."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from edge_aac.audio.sources.demo import synthesise_demo
from edge_aac.errors import EdgeAacError
from firmware_bridge.carriers import Carrier, PtyCarrier, UdpCarrier
from firmware_bridge.commands import app
from firmware_bridge.emulation import Emulation, SampleFeed
from firmware_bridge.emulator import EmulatedDevice
from firmware_bridge.keys import Keys
from tests.firmware_bridge.udp_cases import free_port
from tests.system.command import run_edge_aac, started_edge_aac
from tests.waiting import PATIENCE_S, ended, until

pytestmark = [pytest.mark.waits, pytest.mark.one_python]
SECONDS = 14.0


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recording") / "scene.wav"
    soundfile.write(path, np.clip(synthesise_demo(SECONDS, 3), -1, 1), 16_000, subtype="PCM_16")
    return path


@pytest.fixture(scope="module")
def of_file(recording: Path) -> list[str]:
    """The captions of the whole windows of the file."""
    lines = run_edge_aac("caption", "--hop", "2", "--format", "json", recording).stdout.splitlines()
    captions = [json.loads(line) for line in lines]
    whole = [one["caption"] for one in captions if one["end_s"] - one["start_s"] == 10.0]
    assert len(whole) == 3
    return whole


def _play(device: EmulatedDevice, carrier: Carrier, recording: Path, stop: threading.Event) -> threading.Thread:
    samples, _ = soundfile.read(recording, dtype="float32")
    feed = SampleFeed(iter(np.split(samples, range(1600, len(samples), 1600))), device)
    # The host cuts its last window when it has its sound: the device stays until the test ends.
    emulation = Emulation(device, carrier, feed, linger_s=3600.0)
    thread = threading.Thread(target=emulation.run, args=(stop,), daemon=True)
    thread.start()
    return thread


def _captions(process: object, count: int) -> Iterator[dict[str, object]]:
    stdout = process.stdout  # type: ignore[attr-defined]
    for _ in range(count):
        yield json.loads(stdout.readline())


def _await_hello(port: int) -> None:
    """Wait until a device speaks to a port: a program may take long to start on a machine under load."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", port))
        listening.settimeout(PATIENCE_S)
        listening.recv(2000)


def _state(folder: Path) -> dict[str, str]:
    return {"XDG_STATE_HOME": str(folder), "EDGE_AAC_NODE": "house"}


def test_a_serial_device_is_captioned_as_the_file_is(recording: Path, of_file: list[str], tmp_path: Path) -> None:
    """Nothing is lost over a pseudo-terminal, and PCM is what the file holds: the captions are the same."""
    stop, port = threading.Event(), tmp_path / "ttyMic"
    device = EmulatedDevice(7, "kitchen", stream=True, caption_bytes=20)
    words = [
        "stream",
        "--device",
        f"serial:{port}?stall_s=60",
        "--hop",
        "2",
        "--every-window",
        "--format",
        "json",
        "--sink",
        "stdout",
    ]
    with started_edge_aac(*words, "--sink", "bridge", "--wait", env=_state(tmp_path)) as process:
        player = _play(device, PtyCarrier(port), recording, stop)
        try:
            records = list(_captions(process, len(of_file)))
            assert [record["caption"] for record in records] == of_file
            assert {record["source"] for record in records} == {"kitchen"}
            assert {record["dropped_ms"] for record in records} == {0}
            until(lambda: device.shown)
            assert of_file[0].startswith(device.shown[0].text.removesuffix("…"))
            assert len(device.shown[0].text.encode()) <= 20
        finally:
            process.terminate()
            stop.set()
            ended(player)
    listed = [json.loads(line) for line in run_edge_aac("devices", env=_state(tmp_path)).stdout.splitlines()]
    (kitchen,) = [one for one in listed if one.get("kind") == "bridge"]
    assert (kitchen["name"], kitchen["id"]) == ("kitchen", f"serial:{port}?device=000000000007")


def test_udp_devices_with_keys_are_captioned_as_the_file_is(
    recording: Path, of_file: list[str], tmp_path: Path
) -> None:
    keys, port = tmp_path / "keys", free_port()
    key = run_edge_aac("bridge", "keygen", "00:00:00:00:00:08", "--keys", keys).stdout.strip()
    assert oct(os.stat(keys).st_mode & 0o777) == "0o640"
    assert Keys.parse(keys.read_text(), "it").of(8) == bytes.fromhex(key)
    address = f"udp://127.0.0.1:{port}?keys=file:{keys}&stall_s=60"
    stop = threading.Event()
    device = EmulatedDevice(8, "hall", key=bytes.fromhex(key))
    with started_edge_aac(
        "stream", "--device", address, "--hop", "2", "--every-window", "--format", "json", env=_state(tmp_path)
    ) as process:
        player = _play(device, UdpCarrier("127.0.0.1", port), recording, stop)
        try:
            records = list(_captions(process, len(of_file)))
        finally:
            process.terminate()
            stop.set()
            ended(player)
        assert [record["caption"] for record in records] == of_file
        assert key not in "".join(Path(f"/proc/{os.getpid()}/cmdline").read_text().split("\0"))
    assert key not in (process.stderr.read().decode() if process.stderr and not process.stderr.closed else "")


def test_listen_send_and_emulate(tmp_path: Path) -> None:
    port, keys = free_port(), tmp_path / "keys"
    assert run_edge_aac("bridge", "keygen", "*", "--keys", keys).returncode == 0
    again = run_edge_aac("bridge", "keygen", "*", "--keys", keys)
    assert again.returncode == 78 and "has a key" in again.stderr
    device = ["bridge", "emulate", f"udp://127.0.0.1:{port}", "--keys", str(keys), "--name", "wrist", "--repeat"]
    address = f"udp://127.0.0.1:{port}?keys=file:{keys}"
    with started_edge_aac(*device, "--codec", "adpcm") as emulated:
        _await_hello(port)
        sent = run_edge_aac(
            "bridge", "send", address, "wrist", "a dog barks", "--pattern", "one-short", env=_state(tmp_path)
        )
        assert sent.stdout == "wrist answered: done, done\n", sent.stderr
        heard = run_edge_aac("bridge", "listen", address, "--seconds", "9", "--json", env=_state(tmp_path)).stdout
        emulated.terminate()
        shown = emulated.communicate(timeout=PATIENCE_S)[0].decode()
    assert "wrist: shows for 10 s: a dog barks" in shown and "wrist: plays one-short for 10 s" in shown
    lines = [json.loads(line) for line in heard.splitlines()]
    assert lines[0]["frame"] == "HELLO" and lines[0]["codec"] == "adpcm"
    assert lines[-1]["lost_samples"] == 0 and lines[-1]["frames"] > 10


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["keygen", "nonsense"], 2),
        (["keygen", "1", "--format", "pem"], 2),
        (["listen", "mic0"], 2),
        (["listen", "serial:/proc/nonexistent/tty"], 69),
        (["send", "serial:/proc/nonexistent/tty", "x"], 2),
        (["send", "serial:/proc/nonexistent/tty", "x", "hello", "--priority", "high"], 2),
        (["send", "serial:/proc/nonexistent/tty", "x", "--pattern", "loud"], 2),
        (["send", "serial:/proc/nonexistent/tty", "x", "hello"], 69),
        (["emulate", "mic0"], 2),
        (["emulate", "pty:/proc/nonexistent/tty", "--codec", "mp3"], 2),
        (["emulate", "pty:/proc/nonexistent/tty"], 2),
        (["emulate", "udp://127.0.0.1:9", "--plain", "--frame", "900"], 2),
        (["emulate", "udp://127.0.0.1:9", "--keys", "/proc/nonexistent/keys"], 66),
        (["emulate", "serial:/proc/nonexistent/tty"], 69),
    ],
)
def test_what_a_user_may_do_wrong(words: list[str], code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_aac.signals.end_by", lambda _stop: None)
    monkeypatch.setattr("edge_aac.signals.end_by_exception", lambda: None)
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, EdgeAacError), result.output
    assert result.exception.exit_code == code
    assert "\n" not in str(result.exception)


def test_a_device_without_a_key_is_told_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_aac.signals.end_by", lambda _stop: None)
    keys = tmp_path / "keys"
    keys.write_text(f"5 {'00' * 32}\n")
    result = CliRunner().invoke(app, ["emulate", "udp://127.0.0.1:9", "--device-id", "7", "--keys", str(keys)])
    assert "`edge-aac bridge keygen 000000000007` makes one, --device-id names another" in str(result.exception)
