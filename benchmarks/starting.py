"""How long the start takes: imports, help, and a stream until it listens."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from edge_aac.errors import DeviceError
from edge_aac.service.notify import SOCKET_VARIABLE

PROGRAM = (sys.executable, "-m", "edge_aac.cli")
_LISTENING = b"listening to "
_PATIENCE_S = 120.0

COMMANDS = {
    "bare interpreter": (sys.executable, "-c", "pass"),
    "import edge_aac": (sys.executable, "-c", "import edge_aac"),
    "import numpy, onnxruntime": (sys.executable, "-c", "import edge_aac, numpy, onnxruntime"),
    "edge-aac --help": (*PROGRAM, "--help"),
    "edge-aac stream --help": (*PROGRAM, "stream", "--help"),
}
"""What is timed from the start of its process to its end."""


def seconds_of(command: tuple[str, ...]) -> float:
    """Seconds from the start of a process to its end."""
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def seconds_to_listening(bundle: str, device: str) -> float:
    """Seconds from the start of `edge-aac stream` until it tells a service manager that it listens.

    Args:
        bundle: name or folder.
        device: a source that is there at once and lasts.

    Raises:
        DeviceError: it ended before, or did not listen in two minutes.
    """
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        address = Path(folder) / "notify"
        manager.bind(str(address))
        manager.settimeout(1.0)
        begun = time.perf_counter()
        process = subprocess.Popen(
            [*PROGRAM, "stream", "--bundle", bundle, "--device", device, "--format", "json"],
            stdout=subprocess.DEVNULL,
            env={**os.environ, SOCKET_VARIABLE: str(address)},
        )
        try:
            while True:
                try:
                    told = manager.recv(4096)
                except TimeoutError:
                    told = b""
                taken = time.perf_counter() - begun
                if _LISTENING in told:
                    return taken
                if process.poll() is not None or taken > _PATIENCE_S:
                    raise DeviceError(
                        f"`edge-aac stream --bundle {bundle} --device {device}` did not listen within {taken:.0f} s: "
                        "start it by hand to see why"
                    )
        finally:
            process.terminate()
            process.wait()
