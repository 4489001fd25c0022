"""The state file: how the running service does, for ``edge-aac service status`` and a container's health check.

It holds the text of one JSON object, see :class:`State`, and is replaced as a whole. It is written only where there is
a place for it: in the folder that a service manager made (RUNTIME_DIRECTORY), or where EDGE_AAC_STATE_FILE says.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_aac.errors import DataError, InputMissingError
from edge_aac.json_files import write_table

FILE_VARIABLE = "EDGE_AAC_STATE_FILE"
FOLDER_VARIABLE = "RUNTIME_DIRECTORY"
FILE_NAME = "health.json"
STALE_S = 30.0
"""A state older than this was written by a process that hangs or has gone."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class State:
    """What a state file holds.

    Attributes:
        node: name of the device.
        version: version of edge-aac.
        pid: number of the process that wrote it.
        phase: "starting", "running", "reloading" or "stopping".
        status: what it does, in one line.
        missing: parts that do not work, one sentence each; empty where everything is alive.
        written_s: when it was written, in seconds since the epoch.
        monotonic_s: the same in seconds of CLOCK_MONOTONIC, which all processes of a machine share: whoever sets the
            clock makes no state old.
        captions: number of captions so far.
        sources, sinks, health: see :func:`edge_aac.streaming.overview.table`.
    """

    node: str
    version: str
    pid: int
    phase: str
    status: str
    missing: tuple[str, ...]
    written_s: float
    monotonic_s: float
    captions: int
    sources: Mapping[str, Mapping[str, Any]]
    sinks: Mapping[str, Mapping[str, Any]]
    health: Mapping[str, Mapping[str, Any]]

    def faults(self, now_s: float | None = None) -> list[str]:
        """What is wrong, one sentence each; none where the service does its work.

        A source that waits for its device is no fault of the service: it is among the sources, with its reason.

        Args:
            now_s: seconds of CLOCK_MONOTONIC; None for now.
        """
        age_s = (time.monotonic() if now_s is None else now_s) - self.monotonic_s
        if not 0 <= age_s <= STALE_S:
            return [f"the state is {age_s:.0f} s old: the process {self.pid} hangs or has gone"]
        return list(self.missing)


def path_of_environment(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Where the state file is; None where there is no place for one."""
    if named := environment.get(FILE_VARIABLE):
        return Path(named)
    # Several folders are separated by colons, as systemd.exec(5) has it.
    folder = environment.get(FOLDER_VARIABLE, "").partition(":")[0]
    return Path(folder) / FILE_NAME if folder else None


class StateFile:
    """Writes a state file. A failure is logged once, and tried again at the next write.

    Args:
        path: of the file; its folder exists.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._failed = False

    def write(self, state: Mapping[str, Any]) -> None:
        """Replace what the file holds."""
        try:
            # Others may read it, whatever the service's umask keeps from them: a health check runs as another user. It
            # holds no secret, and no sound.
            write_table(self._path, state, mode=0o644)
        except (OSError, ValueError) as error:  # ValueError: a path that names no file, as /
            level = logging.DEBUG if self._failed else logging.WARNING
            self._failed = True
            reason = error.strerror if isinstance(error, OSError) else error
            log.log(level, "the state file '%s' cannot be written (%s)", self._path, reason)
        else:
            self._failed = False

    def remove(self) -> None:
        """Remove the file: the service has ended."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            log.debug("the state file '%s' cannot be removed (%s)", self._path, error.strerror)


def read_state(path: Path) -> State:
    """Read a state file.

    Raises:
        InputMissingError: there is none, or it cannot be read: the service does not run, or has no place for one.
        DataError: it holds something else.
    """
    try:
        table = json.loads(path.read_bytes())
        return State(
            node=str(table["node"]),
            version=str(table["version"]),
            pid=int(table["pid"]),
            phase=str(table["phase"]),
            status=str(table["status"]),
            missing=tuple(map(str, table["missing"])),
            written_s=float(table["written_s"]),
            monotonic_s=float(table["monotonic_s"]),
            captions=int(table["captions"]),
            sources=dict(table["sources"]),
            sinks=dict(table["sinks"]),
            health=dict(table["health"]),
        )
    except OSError as error:
        raise InputMissingError(f"there is no state in '{path}' ({error.strerror}): is the service running?") from error
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"'{path}' holds no state of edge-aac: remove it and restart the service") from error
