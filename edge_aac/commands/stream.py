"""Caption microphones, files or a pipe until they end or you stop it.

Publishes a caption when a sound begins; one that goes on is one event, whatever its wording.
Stops with Ctrl-C, SIGTERM or SIGHUP (its terminal is closed) within a second; ``nohup`` keeps it from the last. As a
service it reads its configuration anew at SIGHUP.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import Annotated

import typer

from edge_aac import signals
from edge_aac.commands import options
from edge_aac.commands.grouped_help import GroupedCommand
from edge_aac.commands.setting_options import STREAM_SECTIONS, GivenSettings, settings_options
from edge_aac.errors import EdgeAacError
from edge_aac.service.notify import ServiceManager
from edge_aac.service.reload_request import ReloadRequest

ENDS_IN_GOOD_ORDER = True
"""See :data:`edge_aac.cli.OWN_SIGNALS`."""

app = typer.Typer(add_completion=False, rich_markup_mode=None)

EXAMPLES = """Examples:

  edge-aac stream --device mic0

  edge-aac stream --device mic0 --device mic1 --sink stdout --sink jsonl:heard.jsonl

  edge-aac stream --device mic0 --mqtt mqtts://broker:8883

  edge-aac stream --device file:garden.flac --format json

  arecord -q -f S16_LE -r 16000 -t raw | edge-aac stream --device stdin:

  edge-aac stream --device demo:

  edge-aac stream --device mic0 --ask "is a baby crying?" --ask-every window
"""


@app.command(cls=GroupedCommand, epilog=EXAMPLES)
@settings_options(*STREAM_SECTIONS, others=True)
def stream(
    given: GivenSettings,
    mqtt: options.MqttOption = None,
    every_window: Annotated[
        bool, typer.Option("--every-window", help="Print a caption for every window, not for every event.")
    ] = False,
    events: Annotated[bool, typer.Option("--events", help="Print event records (start, update, end) as well.")] = False,
    output_format: options.FormatOption = options.Format.AUTO,
    log_level: options.LogLevelOption = options.LogLevel.INFO,
) -> None:
    """Caption microphones, files or a pipe until they end or you stop it."""
    given = given.with_sinks("mqtt", mqtt or (), "--mqtt")
    try:
        _run(given, every_window, events, output_format, log_level)
    finally:
        signals.ended()


def _run(
    given: GivenSettings, every_window: bool, events: bool, output_format: options.Format, log_level: options.LogLevel
) -> None:
    stop, reload = threading.Event(), ReloadRequest(given.load)
    manager = ServiceManager.of_environment()
    # First of all: a stop during the imports below must end the stream as politely as a later one.
    signals.end_by(stop.set, reload.make if manager.listens else None)
    options.log_to_stderr(log_level, endless=True)
    try:
        settings = given.load()
    except EdgeAacError as error:
        manager.failed(str(error))
        raise

    from edge_aac.app import Output, run_stream

    output = Output(output_format.value, events, every_window)
    run_stream(settings, output, stop, manager=manager, reload=reload if manager.listens else None)
    if reload.left_behind:
        for stream_ in (sys.stdout, sys.stderr):
            if stream_ is not None:  # closed
                stream_.flush()
        os._exit(0)
