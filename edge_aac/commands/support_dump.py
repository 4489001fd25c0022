"""Pack what a bug report needs into one archive, without secrets, sound or anything that was heard.

It holds what `edge-aac doctor` finds, the settings with their secrets hidden, versions, the bundle's manifest, the
inputs, facts of the machine, and what the service logged last. What is inside is listed; the archive is readable for
you alone.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from edge_aac.commands.doctor import context_of
from edge_aac.commands.grouped_help import GroupedCommand
from edge_aac.commands.setting_options import STREAM_SECTIONS, GivenSettings, settings_options
from edge_aac.terminal import escaped

app = typer.Typer(add_completion=False, rich_markup_mode=None)

EXAMPLES = """Examples:

  edge-aac support-dump

  sudo edge-aac support-dump --output /tmp/edge-aac.tar.gz

  edge-aac support-dump --config /etc/edge-aac/config.toml
"""


@app.command(cls=GroupedCommand, epilog=EXAMPLES)
@settings_options(*STREAM_SECTIONS, others=True)
def support_dump(
    given: GivenSettings,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="FILE",
            help="Archive to make. Default: edge-aac-support-TIME.tar.gz in this folder.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Pack what a bug report needs into one archive, without secrets, sound or anything that was heard."""
    from edge_aac.doctor.dump import Dump, pack

    path = output or Path(time.strftime("edge-aac-support-%Y%m%dT%H%M%SZ.tar.gz", time.gmtime()))
    typer.echo("this takes some seconds: everything is checked as `edge-aac doctor` does it", err=True)
    names = pack(Dump(context_of(given)), path)
    typer.echo(escaped(f"{path} holds, without secrets, sound or anything that was heard:"))
    for name in names:
        typer.echo(escaped(f"  {name}"))
    typer.echo("Look through it before you send it.")
