"""Check everything that a bug report needs, by doing it: record, caption, publish, look at the machine.

One line for each check: ok, warning or failed, and what mends it. The exit code is 1 where one has failed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from edge_aac.commands import options
from edge_aac.commands.grouped_help import GroupedCommand
from edge_aac.commands.setting_options import STREAM_SECTIONS, GivenSettings, settings_options
from edge_aac.errors import EdgeAacError
from edge_aac.terminal import escaped

if TYPE_CHECKING:
    from edge_aac.doctor.contract import Context

app = typer.Typer(add_completion=False, rich_markup_mode=None)

EXAMPLES = """Examples:

  edge-aac doctor

  edge-aac doctor --config /etc/edge-aac/config.toml

  edge-aac doctor --device mic0 --sink jsonl:heard.jsonl

  edge-aac doctor --mqtt mqtts://broker:8883

  edge-aac doctor --json | jq -r 'select(.status != "ok")'

  edge-aac doctor --gpu > board.txt
"""

FAILED = 1
"""The exit code where a check has failed."""


def context_of(given: GivenSettings) -> Context:
    """What the checks are given: settings with a fault are no end of the checks, but one of their findings."""
    from edge_aac.doctor.contract import Context
    from edge_aac.settings.layers import default_files

    files = [given.config] if given.config else default_files()
    try:
        return Context(given.load(), files=files, given=given.given.table)
    except EdgeAacError as error:
        return Context(None, str(error), files, given.given.table)


@app.command(cls=GroupedCommand, epilog=EXAMPLES)
@settings_options(*STREAM_SECTIONS, others=True)
def doctor(
    given: GivenSettings,
    mqtt: options.MqttOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print each finding as a line of JSON.")] = False,
    gpu: Annotated[
        bool,
        typer.Option(
            "--gpu",
            help="Report on the GPU and the TensorRT engines on it alone: what the first user of a board sends.",
        ),
    ] = False,
) -> None:
    """Check everything that a bug report needs, by doing it: record, caption, publish, look at the machine."""
    import logging
    from collections import Counter

    from edge_aac.doctor.running import run_checks

    debug = logging.getLogger("edge_aac").level == logging.DEBUG
    counts: Counter[str] = Counter()
    given = given.with_sinks("mqtt", mqtt or (), "--mqtt")
    for result in run_checks(context_of(given), debug, gpu):
        counts[result.finding.status] += 1
        typer.echo(json.dumps(result.table(), ensure_ascii=False) if as_json else escaped(result.line()))
    if not as_json:
        warnings = "1 warning" if counts["warning"] == 1 else f"{counts['warning']} warnings"
        typer.echo(f"{counts['ok']} ok, {warnings}, {counts['failed']} failed")
    if counts["failed"]:
        raise typer.Exit(FAILED)
