"""Write an example configuration, check a file, or show what is set and by what.

What ``stream`` takes as flags and from the environment, ``--show`` takes too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_aac.commands.grouped_help import GroupedCommand
from edge_aac.commands.setting_options import STREAM_SECTIONS, GivenSettings, settings_options
from edge_aac.errors import ConfigError, UsageError
from edge_aac.terminal import escaped, escaped_lines

app = typer.Typer(add_completion=False, rich_markup_mode=None)

EXAMPLES = """Examples:

  edge-aac config --example > config.toml

  edge-aac config --check config.toml

  edge-aac config --show

  edge-aac config --show --config config.toml --hop 5
"""


@app.command(cls=GroupedCommand, epilog=EXAMPLES)
@settings_options(*STREAM_SECTIONS, others=True)
def config(
    given: GivenSettings,
    example: Annotated[
        bool, typer.Option("--example", help="Print a file that holds every setting, commented.")
    ] = False,
    check: Annotated[
        Path | None,
        typer.Option(
            "--check",
            metavar="FILE",
            readable=False,
            help="Print every fault of a file with its line; exit code 78 if any.",
        ),
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Print the merged settings, and where each comes from.")] = False,
) -> None:
    """Write an example configuration, check a file, or show what is set and by what."""
    if [example, check is not None, show].count(True) != 1:
        raise UsageError("give one of --example, --check FILE and --show")
    if example:
        from edge_aac.settings.example import example as example_of
        from edge_aac.settings.sections import registered_sections

        typer.echo(example_of(registered_sections()), nl=False)
    elif check is not None:
        _check(check)
    else:
        from edge_aac.settings.show import show as shown

        typer.echo(escaped_lines(shown(given.load())), nl=False)


def _check(path: Path) -> None:
    from edge_aac.settings.tree import faults_of

    faults = faults_of(path)
    for fault in faults:
        typer.echo(escaped(f"{fault.origin or path}: {fault.key}: {fault.problem}"))
    if faults:
        raise typer.Exit(ConfigError.exit_code)
    typer.echo(escaped(f"{path}: no faults"))
