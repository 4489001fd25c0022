"""The service: what it tells of itself; whether its unit is installed, enabled and running, and its restarts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from edge_aac.accounts import user_name
from edge_aac.doctor.contract import Context, Finding, Part
from edge_aac.errors import DeviceError
from edge_aac.service import systemd
from edge_aac.service.state_file import FILE_NAME, FILE_VARIABLE, read_state

UNITS = ("edge-aac.service", "edge-aac@*.service")
PROPERTIES = (
    *("Id", "LoadState", "ActiveState", "SubState", "UnitFileState", "NRestarts", "Result", "StatusText"),
    *("MainPID", "ActiveEnterTimestamp", "WatchdogUSec", "ExecMainStatus", "User"),
)

_TIMEOUT_S = 20.0


def check(context: Context) -> Sequence[Part]:
    """See :data:`edge_aac.doctor.contract.Check`."""
    return [Part(lambda: _service(context), limit_s=30.0)]


def _service(context: Context) -> Iterator[Finding]:
    for path in state_files(context):
        state = read_state(path)
        if faults := state.faults():
            yield Finding("failed", f"the service at work ({path}): {'; '.join(faults)}", "restart it, and see its log")
        else:
            yield Finding("ok", f"the service at work, process {state.pid}: {state.status}")
    if not (context.root / "run/systemd/system").is_dir():
        yield Finding("ok", "no systemd runs here")
        return
    units = unit_states()
    if units is None:
        yield Finding("warning", "systemd does not answer", "see `systemctl status edge-aac`")
        return
    loaded = [unit for unit in units if unit.get("LoadState") == "loaded"]
    if not loaded:
        yield Finding("ok", "no unit edge-aac.service is installed")
    for unit in loaded:
        yield from findings_of(unit)


def findings_of(unit: dict[str, str]) -> Iterator[Finding]:
    """What the properties of a unit tell, see :data:`PROPERTIES`."""
    name, state = unit.get("Id", "edge-aac.service"), unit.get("ActiveState", "unknown")
    status = f": {unit['StatusText']}" if unit.get("StatusText") else ""
    if state in {"active", "reloading"}:
        # What this process may do, the service's user may not, and the other way round.
        user = f" as the user {unit['User']}, this check as {user_name()}" if unit.get("User") else ""
        yield Finding("ok", f"{name} runs{user}{status}")
    elif state == "failed":
        why = f"{unit.get('Result', 'unknown')}, exit status {unit.get('ExecMainStatus', '?')}"
        yield Finding("failed", f"{name} has failed ({why}){status}", f"see `journalctl -u {name}`")
    else:
        yield Finding("warning", f"{name} is {state}{status}", f"start it: `sudo systemctl start {name}`")
    if (restarts := unit.get("NRestarts", "0")) not in {"", "0"}:
        yield Finding("warning", f"{name} was restarted {restarts} times", f"see `journalctl -u {name}` for why")
    if unit.get("UnitFileState") == "disabled":
        yield Finding("warning", f"{name} does not start at boot", f"`sudo systemctl enable {name}`")


def state_files(context: Context) -> list[Path]:
    """The files in which running services tell how they do."""
    named = context.environment.get(FILE_VARIABLE)
    runtime = context.environment.get("XDG_RUNTIME_DIR", "").lstrip("/")
    patterns = [f"run/edge-aac/{FILE_NAME}", f"run/edge-aac-*/{FILE_NAME}"]
    patterns += [f"{runtime}/edge-aac/{FILE_NAME}"] if runtime else []
    found = [Path(named)] if named else []
    return [path for path in [*found, *context.there(*patterns)] if path.is_file()]


def unit_states() -> list[dict[str, str]] | None:
    """Properties of all edge-aac units that systemd knows; None where it does not answer."""
    command = ["systemctl", "show", "--no-pager", f"--property={','.join(PROPERTIES)}", *UNITS]
    try:
        return systemd.properties_of(systemd.run(command, _TIMEOUT_S))
    except (OSError, DeviceError):
        return None


def is_running() -> bool:
    """Whether an edge-aac unit runs."""
    return systemd.runs_here() and any(unit.get("ActiveState") == "active" for unit in unit_states() or ())
