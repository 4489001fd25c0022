"""Commands of systemd that install and ask after a service."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_aac.errors import DeviceError

_TIMEOUT_S = 300.0  # a start may build or read large engines
_PROPERTIES = ("LoadState", "ActiveState", "SubState", "Result", "MainPID", "NRestarts", "StatusText", "UnitFileState")


def runs_here() -> bool:
    """Whether this machine was started by systemd."""
    return Path("/run/systemd/system").is_dir()


def run(words: Sequence[str], timeout_s: float = _TIMEOUT_S) -> str:
    """Run one of systemd's programs and give what it prints.

    Args:
        words: the program and its words.
        timeout_s: seconds after which it is ended.

    Raises:
        DeviceError: it is not there, fails, or does not end.
    """
    if shutil.which(words[0]) is None:
        raise DeviceError(f"there is no program {words[0]}: this machine lacks systemd, or a part of it")
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=True,
            timeout=timeout_s,
        )
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or error.stdout or "").split("\n")
        reason = next((line.strip() for line in lines if line.strip()), f"exit code {error.returncode}")
        raise DeviceError(f"`{' '.join(words)}` failed: {reason.rstrip('.')}") from error
    except subprocess.TimeoutExpired as error:
        raise DeviceError(f"`{' '.join(words)}` does not end: look at `systemctl list-jobs`") from error
    return done.stdout


def systemctl(*words: str, user: bool = False) -> str:
    """Run systemctl; see :func:`run`."""
    return run(["systemctl", *(["--user"] if user else []), *words])


def properties_of(text: str) -> list[dict[str, str]]:
    """Properties of each unit, as ``systemctl show`` prints them: a line each, and an empty line between units."""
    blocks = [block for block in text.split("\n\n") if block.strip()]
    return [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in blocks]


@dataclass(frozen=True)
class UnitStatus:
    """What systemd knows of a unit; the names are those of its properties.

    Attributes:
        load: "loaded", or "not-found" where it is not installed.
        active: "active", "activating", "failed", "inactive" …
        sub: "running", "auto-restart" …
        result: "success", or how the last run failed: "watchdog", "signal", "exit-code" …
        pid: of the main process; 0 where none runs.
        restarts: automatic restarts since it was started by hand or at boot.
        text: what the service last told of itself.
        enabled: "enabled" where it starts with the machine.
    """

    load: str
    active: str
    sub: str
    result: str
    pid: int
    restarts: int
    text: str
    enabled: str


def status_of(unit: str, user: bool = False) -> UnitStatus:
    """Ask systemd after a unit.

    Raises:
        DeviceError: systemd does not answer.
    """
    units = properties_of(systemctl("show", unit, f"--property={','.join(_PROPERTIES)}", user=user))
    found = units[0] if units else {}
    return UnitStatus(
        load=found.get("LoadState", ""),
        active=found.get("ActiveState", ""),
        sub=found.get("SubState", ""),
        result=found.get("Result", ""),
        pid=int(found.get("MainPID") or 0),
        restarts=int(found.get("NRestarts") or 0),
        text=found.get("StatusText", ""),
        enabled=found.get("UnitFileState", ""),
    )
