"""Install the captioner as a service of systemd, ask after it, read its log.

`install` is for an edge-aac that pip installed; the Debian package installs its service itself.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from edge_aac.errors import ConfigError, DeviceError, EdgeAacError, InputMissingError, UsageError
from edge_aac.terminal import escaped

NOT_RUNNING = 3
UNHEALTHY = 1

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Install the captioner as a service of systemd, ask after it, read its log.",
    epilog="Examples: `sudo edge-aac service install`; `edge-aac service install --user`; `edge-aac service status`; "
    "`edge-aac service logs -f`; `sudo edge-aac service uninstall --purge`.",
)

_Name = Annotated[
    str | None,
    typer.Argument(metavar="[NAME]", help="Instance: edge-aac@NAME, which reads /etc/edge-aac/NAME.toml."),
]
_User = Annotated[
    bool, typer.Option("--user", help="A service of your session, which hears PulseAudio's or PipeWire's microphones.")
]
_Root = Annotated[
    Path, typer.Option("--root", metavar="DIR", help="Work on the files of another machine, as an image's.")
]


@app.command("install", short_help="Install, enable and start the service.")
def install_verb(
    name: _Name = None,
    user: _User = False,
    root: _Root = Path("/"),
    start: Annotated[bool, typer.Option("--start/--no-start", help="Start it now.")] = True,
    command: Annotated[
        Path | None, typer.Option("--command", metavar="PATH", help="Command to start. Default: this edge-aac.")
    ] = None,
    tensorrt: Annotated[
        bool | None,
        typer.Option(
            "--tensorrt/--no-tensorrt", help="Let CUDA and TensorRT out of a part of the sandbox. Default: on a Jetson."
        ),
    ] = None,
) -> None:
    """Write the units, enable the service and start it; a configuration that is there is kept."""
    from edge_aac.service.install import install
    from edge_aac.service.places import Place

    place = Place(user, name, root)
    _needs_root(user, "install")
    try:
        done = install(place, command=command, start=start, tensorrt=tensorrt)
    except ConfigError as error:
        raise ConfigError(
            f"{error}, or give --command or --user" if command is None and not user else str(error)
        ) from error
    except DeviceError as error:
        raise DeviceError(f"{error}; see `edge-aac service logs`") from error
    _show(done)


@app.command("uninstall", short_help="Stop and remove the service.")
def uninstall_verb(
    name: _Name = None,
    user: _User = False,
    root: _Root = Path("/"),
    purge: Annotated[
        bool, typer.Option("--purge", help="Settings, bundles, captions, clips and the service's user go, too.")
    ] = False,
) -> None:
    """Stop the service and remove what `install` wrote; settings and state stay, unless --purge is given."""
    from edge_aac.service.install import uninstall
    from edge_aac.service.places import Place

    place = Place(user, name, root)
    _needs_root(user, "uninstall")
    done = uninstall(place, purge=purge)
    _show(done or ["nothing was installed"])


@app.command("status", short_help="Tell whether the service runs and hears.")
def status_verb(name: _Name = None, user: _User = False) -> None:
    """Tell whether the service runs and hears: exit code 0; 1 where a part does not work; 3 where it is down."""
    from edge_aac.service.places import Place
    from edge_aac.service.state_file import read_state
    from edge_aac.service.systemd import status_of

    place = Place(user, name)
    unit = status_of(place.unit, user)
    if unit.load == "not-found":
        _show([f"{place.unit} is not installed"])
        raise typer.Exit(NOT_RUNNING)
    lines = [f"{place.unit}: {unit.active} ({unit.sub}), {unit.enabled or 'not enabled'}"]
    if unit.pid:
        lines.append(f"process: {unit.pid}")
    lines.append(f"restarts: {unit.restarts}")
    if unit.result not in {"", "success"}:
        lines.append(f"last run: {unit.result}")
    if unit.text:
        lines.append(f"status: {unit.text}")
    faults: list[str] = []
    if unit.active in {"active", "reloading"}:
        try:
            state = read_state(place.state_file)
            faults = state.faults()
            lines += [f"captions: {state.captions}"]
            lines += [f"source {label}: {_described(table)}" for label, table in state.sources.items()]
            lines += [f"sink {label}: {_described(table)}" for label, table in state.sinks.items()]
        except EdgeAacError as error:
            faults = [str(error)]
    _show(lines + [f"fault: {fault}" for fault in faults])
    if unit.active not in {"active", "reloading"}:
        raise typer.Exit(NOT_RUNNING)
    if faults:
        raise typer.Exit(UNHEALTHY)


@app.command("health", short_help="One sentence and an exit code, for monitors.")
def health_verb(
    name: _Name = None,
    user: _User = False,
    file: Annotated[
        Path | None,
        typer.Option("--file", metavar="FILE", help="State file. Default: EDGE_AAC_STATE_FILE, or the service's."),
    ] = None,
) -> None:
    """For a container's health check: exit code 0 while the stream does its work, else 1 and one sentence."""
    from edge_aac.service.places import Place
    from edge_aac.service.state_file import path_of_environment, read_state

    path = file or path_of_environment() or Place(user, name).state_file
    try:
        state = read_state(path)
        faults = state.faults() if state.phase != "starting" else [f"it is starting: {state.status}"]
    except EdgeAacError as error:
        faults = [str(error)]
    _show(faults or [state.status])
    if faults:
        raise typer.Exit(UNHEALTHY)


@app.command(
    "logs",
    short_help="Show the service's log.",
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
def logs_verb(
    context: typer.Context,
    user: _User = False,
    name: Annotated[str | None, typer.Option("--instance", metavar="NAME", help="Instance edge-aac@NAME.")] = None,
) -> None:
    """Show the service's log; what follows goes to journalctl, as in `edge-aac service logs -f -n 50`."""
    from edge_aac.service.places import Place

    unit = Place(user, name).unit
    which = ["--user-unit", unit] if user else ["--unit", unit]
    try:
        os.execvp("journalctl", ["journalctl", *which, *context.args])
    except FileNotFoundError as error:
        raise InputMissingError(
            "there is no program journalctl: this machine does not keep its log with systemd"
        ) from error


def _described(table: object) -> str:
    """A source's or sink's figures in a line."""
    if not isinstance(table, dict):
        return str(table)
    return ", ".join(f"{key} {value}" for key, value in table.items() if value not in (None, "", [], {}))


def _needs_root(user: bool, verb: str) -> None:
    if not user and os.geteuid() != 0:
        raise UsageError(f"a service of the machine needs root: run it with sudo, or `edge-aac service {verb} --user`")


def _show(lines: list[str]) -> None:
    for line in lines:
        typer.echo(escaped(line))
