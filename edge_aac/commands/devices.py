"""List the inputs that can be captioned, with names that stay.

A person gets one line for each input; a program, or a pipe, gets JSON Lines.
"""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from edge_aac.commands.options import Format
from edge_aac.terminal import escaped

app = typer.Typer(add_completion=False, rich_markup_mode=None, subcommand_metavar="")


@app.callback(
    invoke_without_command=True,
    help="List the inputs that can be captioned, with names that stay.",
    epilog="Examples: `edge-aac devices`; `edge-aac devices --format json | jq .id`; "
    "then `edge-aac stream --device mic0`.",
)
def devices(
    output_format: Annotated[
        Format,
        typer.Option(
            "--format", help="text: a line for each input; json: JSON Lines; auto: text on a terminal, else json."
        ),
    ] = Format.AUTO,
) -> None:
    """Lists inputs on standard output, or says on standard error that there are none."""
    from dataclasses import asdict

    from edge_aac.audio.devices import list_inputs

    inputs = list_inputs()
    if not inputs:
        typer.echo(
            "No input was found: plug a microphone in, or see that this user is in the group 'audio' (`arecord -l`).",
            err=True,
        )
        return
    as_text = output_format is Format.TEXT or (output_format is Format.AUTO and sys.stdout.isatty())
    if not as_text:
        for device in inputs:
            typer.echo(json.dumps(asdict(device), ensure_ascii=False))
        return
    width = max(len(device.name) for device in inputs)
    for device in inputs:
        channels = f"{device.channels} channel{'s' if device.channels != 1 else ''}"
        line = f"{device.name:<{width}}  {device.description}  {channels}  {device.default_rate} Hz  {device.id}"
        typer.echo(escaped(line))
