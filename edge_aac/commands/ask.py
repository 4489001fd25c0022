"""Ask a bundle about the sound of a file, in your own words or by a task that it knows.

A file is heard in clips of the bundle's length (10 s for everyday-ask, 7 s for Pengi and clapcap), the last of which
ends where the file does; one record a clip. Words that end in a question mark are put as the bundle's task
"question", all others are its prompt as they stand.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_aac.bundle.store import ASKED_BUNDLE
from edge_aac.commands import options
from edge_aac.commands.grouped_help import GroupedCommand
from edge_aac.commands.setting_options import GivenSettings, settings_options

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_STANDARD_INPUT = "/dev/stdin"
_OTHER_KINDS = (
    *("weights", "candidates", "first_candidates", "method", "likelihood_weight", "similarity_weight"),
    *("fluency_check", "min_familiarity", "min_confidence", "labels", "prompt", "templates", "seed"),
    *("ask", "ask_every", "ask_bundle"),
)

EXAMPLES = """Examples:

  edge-aac ask night.wav "is there a baby crying?"

  edge-aac ask night.wav "a dog barking, rain falling, a bell ringing" --task which

  edge-aac ask street.flac --task event --bundle pengi --format json | jq -r .answer

  edge-aac ask street.flac "this is a sound of" --bundle pengi --beams 3 --max-length 30
"""


@app.command(cls=GroupedCommand, epilog=EXAMPLES)
@settings_options(
    "captioner",
    "privacy",
    without={f"captioner.{name}" for name in _OTHER_KINDS},
    help_texts={
        "captioner.bundle": "Bundle of the kind prompted: built-in, pulled, or a folder of one. Default: everyday-ask.",
        "captioner.max_length": "Longest answer in tokens, its end counted.",
    },
    defaults={"captioner": {"bundle": ASKED_BUNDLE}},
)
def ask(
    # As text: a path that cannot be read is an input that is missing, not a wrong use.
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="WAV, FLAC, OGG, MP3 …; - is standard input.", show_default=False)
    ],
    given: GivenSettings,
    prompt: Annotated[
        str | None,
        typer.Argument(
            metavar="PROMPT", help="What to ask. Default: the bundle's, a caption as a rule.", show_default=False
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A prompt that the bundle knows by name, as caption, events, count, presence, which, question.",
            show_default=False,
        ),
    ] = None,
    beams: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="Answers that are kept while searching; 1 is fastest. Default: the bundle's."),
    ] = None,
    output_format: options.FormatOption = options.Format.AUTO,
) -> None:
    """Ask a bundle about the sound of a file."""
    options.log_to_stderr()
    settings = given.load()

    from edge_aac.service.asking import ask_file

    # A file of that name is ./-
    path = Path(_STANDARD_INPUT if file == "-" else file)
    ask_file(path, prompt, task, beams, settings, given.flags("captioner"), output_format.value)
