"""A whole machine with systemd, in a container: a real one starts, watches and stops what is installed on it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BOOT_TIMEOUT_S = 120.0
TIMEOUT_S = 180.0
"""Limit of everything that is waited for: ten times what it takes, for other work may have the cores."""


class Machine:
    """A machine that runs.

    Args:
        pid: its systemd's number among this machine's processes.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def run(self, *words: str, check: bool = True, env: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        """Run a command on it, as root, to its end."""
        inside = ["nsenter", "-t", str(self._pid), "-a", "env", "-i"]
        variables = ["PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8", *env]
        done = subprocess.run(
            [*inside, *variables, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=TIMEOUT_S,
        )
        assert not check or done.returncode == 0, f"{' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def output(self, *words: str) -> str:
        """What a command prints."""
        return self.run(*words).stdout

    def path(self, inside: str) -> Path:
        """A file of the machine, as this one sees it; of a link to an absolute path, this one's file."""
        return Path(f"/proc/{self._pid}/root") / inside.lstrip("/")

    def write(self, inside: str, text: str) -> None:
        """Write a file of the machine."""
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def property(self, name: str, unit: str = "edge-aac") -> str:
        """A property of a unit, as systemd knows it."""
        return self.output("systemctl", "show", unit, "--property", name, "--value").strip()

    def pid(self, unit: str = "edge-aac") -> int:
        """Number of a service's main process; 0 where there is none."""
        return int(self.property("MainPID", unit))

    def log(self, unit: str = "edge-aac") -> str:
        """The messages of a unit, and of systemd about it."""
        return self.output("journalctl", "--unit", unit, "--output", "cat", "--no-pager")

    def captions(self, path: str) -> list[dict[str, Any]]:
        """The captions in a file of JSON Lines; every line must be whole."""
        file = self.path(path)
        if not file.exists():
            return []
        text = file.read_text(encoding="utf-8")
        records = [json.loads(line) for line in text.splitlines()]
        return [record for record in records if record["schema"] == "edge-aac/caption/1"]

    def wait_for(self, what: str, condition: Callable[[], object], units: Sequence[str] = ("edge-aac",)) -> None:
        """Wait until something holds."""
        deadline_s = time.monotonic() + TIMEOUT_S
        while not condition():
            if time.monotonic() > deadline_s:
                logs = "\n".join(self.log(unit)[-4000:] for unit in units)
                raise AssertionError(f"{what}: that does not come\n{logs}")
            time.sleep(0.1)

    def files(self) -> set[str]:
        """All files of the machine but its volatile ones and what it writes whatever is installed."""
        pruned = (
            "proc",
            "sys",
            "dev",
            "run",
            "tmp",
            "var/tmp",
            "var/log/journal",
            "root",
            "var/cache/man",
            "var/lib/systemd",
        )
        found, root = set(), self.path("/")
        for folder, folders, names in os.walk(root):
            inside = os.path.relpath(folder, root)
            folders[:] = [name for name in folders if os.path.normpath(f"{inside}/{name}") not in pruned]
            found |= {os.path.normpath(f"{inside}/{name}") for name in (*folders, *names)}
        return found


@contextmanager
def running_machine(base: Path, log_path: Path) -> Iterator[Machine]:
    """Start a machine. What is changed on it is in memory, and gone with it.

    Args:
        base: its files, which stay as they are.
        log_path: where its console goes.
    """
    command = ["systemd-nspawn", "--quiet", f"--directory={base}", "--volatile=overlay", "--machine=edge-aac-test"]
    with log_path.open("wb") as log:
        container = subprocess.Popen(
            [*command, "--register=no", "--keep-unit", "--private-network", "--console=read-only", "--boot"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    # script/test ends what it runs in the background by SIGTERM: no machine is left then.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield Machine(_wait_for_systemd(container, log_path))
    finally:
        signal.signal(signal.SIGTERM, before)
        # With its systemd everything in the container ends, and the container with it.
        for inside in _children(container.pid):
            os.kill(inside, signal.SIGKILL)
        container.wait(TIMEOUT_S)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _wait_for_systemd(container: subprocess.Popen[bytes], log_path: Path) -> int:
    deadline_s = time.monotonic() + BOOT_TIMEOUT_S
    while time.monotonic() < deadline_s and container.poll() is None:
        for child in _children(container.pid):
            inside = ["nsenter", "-t", str(child), "-a", "systemctl", "is-system-running"]
            state = subprocess.run(
                inside, check=False, capture_output=True, text=True, timeout=TIMEOUT_S
            ).stdout.strip()
            if state in {"running", "degraded"}:
                return child
        time.sleep(0.2)
    raise AssertionError(f"the machine does not start:\n{log_path.read_text(errors='replace')[-4000:]}")
