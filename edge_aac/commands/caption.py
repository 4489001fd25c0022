"""Caption sound files: one record for each 10 s window.

A file shorter than 10 s is padded with silence, a longer one is cut into windows. A bad file among good ones is
reported on stderr and does not stop the others; the exit code at the end tells.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_aac.commands import options
from edge_aac.commands.grouped_help import GroupedCommand
from edge_aac.commands.setting_options import GivenSettings, settings_options
from edge_aac.errors import UsageError

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_STANDARD_INPUT = "/dev/stdin"

EXAMPLES = """Examples:

  edge-aac caption dog.wav

  edge-aac caption --format json *.flac | jq -r .caption

  edge-aac caption --hop 2 an-hour.ogg

  ffmpeg -loglevel error -i film.mkv -f wav - | edge-aac caption -
"""


@app.command(cls=GroupedCommand, epilog=EXAMPLES)
@settings_options(
    "stream",
    "captioner",
    "privacy",
    without={
        "stream.same_similarity",
        "stream.wait_for_device",
        "captioner.ask",
        "captioner.ask_every",
        "captioner.ask_bundle",
    },
    env={"stream.hop_s": "EDGE_AAC_CAPTION_HOP"},
    help_texts={
        "stream.hop_s": "Seconds from one 10 s window to the next. "
        "Default: hop_s of the configuration's [stream], else 10."
    },
    # A file is captioned once through; a stream looks more often, so that it says soon what it hears.
    defaults={"stream": {"hop_s": 10.0}},
)
def caption(
    # As text: of paths Typer would look at each, and end all of them for one that cannot be read.
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE", help="WAV, FLAC, OGG, MP3 …; - is standard input.", show_default=False),
    ],
    given: GivenSettings,
    output_format: options.FormatOption = options.Format.AUTO,
) -> None:
    """Caption sound files: one record for each 10 s window."""
    options.log_to_stderr()
    if files.count("-") + files.count(_STANDARD_INPUT) > 1:
        raise UsageError("standard input is named twice, and can be read once: name it once")
    settings = given.load()

    from edge_aac.app import Output, caption_files

    # A file of that name is ./-
    paths = [Path(_STANDARD_INPUT if file == "-" else file) for file in files]
    if exit_code := caption_files(paths, settings, Output(output_format.value)):
        raise typer.Exit(exit_code)
