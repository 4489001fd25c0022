"""List the inputs that can be captioned, with names that stay, or follow them as they come and go.

A person gets one line for each input; a program, or a pipe, gets JSON Lines.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from edge_aac import signals
from edge_aac.commands.options import Format
from edge_aac.standard_streams import standard_output
from edge_aac.terminal import escaped

if TYPE_CHECKING:
    from edge_aac.audio.device_watch import DeviceChange
    from edge_aac.audio.devices import InputDevice

ENDS_IN_GOOD_ORDER = True
"""See :data:`edge_aac.cli.OWN_SIGNALS`."""

app = typer.Typer(add_completion=False, rich_markup_mode=None, subcommand_metavar="")

_SIGNS = {"present": " ", "added": "+", "removed": "-", "changed": "~"}


@app.callback(
    invoke_without_command=True,
    help="List the inputs that can be captioned, with names that stay.",
    epilog="Examples: `edge-aac devices`; `edge-aac devices --format json | jq .id`; `edge-aac devices --watch` while "
    "you plug one in; then `edge-aac stream --device mic0`.",
)
def devices(
    output_format: Annotated[
        Format,
        typer.Option(
            "--format", help="text: a line for each input; json: JSON Lines; auto: text on a terminal, else json."
        ),
    ] = Format.AUTO,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="Then follow them until stopped: a line for each that is added (+), removed (-) or changed (~).",
        ),
    ] = False,
) -> None:
    """Lists inputs on standard output, or says on standard error that there are none."""
    stop = threading.Event()
    if watch:
        signals.end_by(stop.set)
    else:
        signals.end_by_exception()

    from dataclasses import asdict

    from edge_aac.audio.device_watch import watch_devices
    from edge_aac.audio.devices import list_inputs
    from edge_aac.audio.listings import listed_inputs

    output = standard_output()
    as_text = output_format is Format.TEXT or (output_format is Format.AUTO and output.isatty())
    if watch:

        def changed(change: DeviceChange) -> None:
            if as_text:
                print(escaped(f"{_SIGNS[change.change]} {_line(change.device)}"), flush=True)
            else:
                print(json.dumps({"change": change.change, **asdict(change.device)}, ensure_ascii=False), flush=True)

        watch_devices(stop, changed, list_inputs)
        return
    inputs = list_inputs()
    others = listed_inputs()
    if not inputs and not others:
        typer.echo(
            "No input was found: plug a microphone in, or see that this user is in the group 'audio' (`arecord -l`).",
            err=True,
        )
        return
    width = max((len(device.name) for device in inputs), default=0)
    for device in inputs:
        if as_text:
            typer.echo(escaped(_line(device, width)))
        else:
            typer.echo(json.dumps(asdict(device), ensure_ascii=False))
    for other in others:
        if as_text:
            typer.echo(escaped(f"{other.id}  {other.description}"))
        else:
            table = {"id": other.id, "description": other.description, **other.details}
            typer.echo(json.dumps(table, ensure_ascii=False))


def _line(device: InputDevice, width: int = 0) -> str:
    channels = f"{device.channels} channel{'s' if device.channels != 1 else ''}"
    return f"{device.name:<{width}}  {device.description}  {channels}  {device.default_rate} Hz  {device.id}"
