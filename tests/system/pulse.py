"""A sound server of its own for a test, whose microphone hears what the test plays.

Use it as a fixture (``from tests.system.pulse import pulse_microphone``) or as a context manager
(:func:`running_pulse_microphone`).
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.waiting import PATIENCE_S

# Only some distributions define the PCM, and a container may have no sound configuration at all.
_ALSA_DEVICES = "pcm.pulse { type pulse }\nctl.pulse { type pulse }\n"


class PulseMicrophone:
    """A running sound server.

    Attributes:
        env: environment for programs that shall use it: in it, ``mic0`` is the virtual microphone.
    """

    def __init__(self, env: dict[str, str]) -> None:
        self.env = env
        self._players: list[subprocess.Popen[bytes]] = []

    def play(self, path: str | os.PathLike[str]) -> subprocess.Popen[bytes]:
        """Plays a sound file into the microphone, in the background."""
        player = subprocess.Popen(["paplay", "--device=edge_aac_test", os.fspath(path)], env=self.env)
        self._players.append(player)
        return player

    def control(self, *arguments: str) -> str:
        """Runs ``pactl`` against the server and gives what it prints, such as for unloading a module."""
        command = ["pactl", *arguments]
        return subprocess.run(
            command, env=self.env, check=True, capture_output=True, text=True, timeout=PATIENCE_S
        ).stdout

    def unplug(self) -> None:
        """Takes the microphone away. The server moves nothing, since it has no other input."""
        for line in self.control("list", "short", "modules").splitlines():
            if "module-null-sink" in line:
                self.control("unload-module", line.split()[0])

    def plug_in(self) -> None:
        """Puts the microphone back."""
        self.control("load-module", "module-null-sink", "sink_name=edge_aac_test", "rate=48000")
        self.control("set-default-source", "edge_aac_test.monitor")

    def list_devices(self, others: Mapping[str, PulseMicrophone]) -> None:
        """Has ALSA list the microphones of other servers from now on, as ``alsa:NAME``, besides this one's."""
        lines = [
            f'pcm.{name} {{ type pulse server "{other.env["PULSE_SERVER"]}" device edge_aac_test.monitor }}\n'
            for name, other in others.items()
        ]
        Path(self.env["HOME"], ".asoundrc").write_text(_ALSA_DEVICES + "".join(lines))

    def stop_players(self) -> None:
        """Ends whatever still plays."""
        for player in self._players:
            player.kill()
            player.wait()
        self._players.clear()


def missing_parts() -> str | None:
    """Says what keeps the virtual microphone from running here, or None."""
    for program in ("pulseaudio", "paplay", "pactl"):
        if shutil.which(program) is None:
            return f"the program {program} is not installed (apt install pulseaudio pulseaudio-utils)"
    if importlib.util.find_spec("pyaudio") is None:
        return "PyAudio is not installed (pip install 'edge-aac[mic]')"
    return None


@contextmanager
def running_pulse_microphone() -> Iterator[PulseMicrophone]:
    """Runs a private PulseAudio with a null sink whose monitor is the default input."""
    # Short, since a socket's path may have 107 characters at most.
    folder = Path(tempfile.mkdtemp(prefix="pulse-"))
    log_path = folder / "pulseaudio.log"
    server: subprocess.Popen[bytes] | None = None
    microphone: PulseMicrophone | None = None
    try:
        env, socket = _environment(folder)
        with log_path.open("wb") as log:
            server = subprocess.Popen(_command(socket), env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        _wait_until_ready(server, env, log_path)
        microphone = PulseMicrophone(env)
        yield microphone
    finally:
        if microphone is not None:
            microphone.stop_players()
        if server is not None:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def pulse_microphone() -> Iterator[PulseMicrophone]:
    """A :class:`PulseMicrophone`; skips where a part is missing, fails with EDGE_AAC_REQUIRE_REAL_PARTS=1."""
    missing = missing_parts()
    if missing is not None:
        if os.environ.get("EDGE_AAC_REQUIRE_REAL_PARTS") == "1":
            pytest.fail(f"the virtual microphone is required here, but {missing}")
        pytest.skip(f"no virtual microphone: {missing}")
    with running_pulse_microphone() as microphone:
        yield microphone


def _environment(folder: Path) -> tuple[dict[str, str], Path]:
    runtime = folder / "run"
    runtime.mkdir(mode=0o700)
    socket = runtime / "native"
    (folder / ".asoundrc").write_text(_ALSA_DEVICES)
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PULSE_", "ALSA_", "DBUS_", "JACK_"))}
    env |= {
        "HOME": str(folder),
        "XDG_RUNTIME_DIR": str(runtime),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "PULSE_RUNTIME_PATH": str(runtime),
        "PULSE_SERVER": f"unix:{socket}",
        "JACK_NO_START_SERVER": "1",
    }
    return env, socket


def _command(socket: Path) -> list[str]:
    return [
        "pulseaudio",
        "-n",
        "--daemonize=no",
        "--use-pid-file=no",
        "--exit-idle-time=-1",
        "--disable-shm=yes",
        "--log-target=stderr",
        f"--load=module-native-protocol-unix auth-anonymous=1 socket={socket}",
        "--load=module-null-sink sink_name=edge_aac_test rate=48000 channels=2",
    ]


def _wait_until_ready(server: subprocess.Popen[bytes], env: dict[str, str], log_path: Path) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s and server.poll() is None:
        command = ["pactl", "set-default-source", "edge_aac_test.monitor"]
        if subprocess.run(command, env=env, check=False, capture_output=True, timeout=PATIENCE_S).returncode == 0:
            return
        time.sleep(0.1)
    raise RuntimeError(f"PulseAudio did not start:\n{log_path.read_text(errors='replace')}")
