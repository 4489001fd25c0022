"""Name the sounds of files with words of your own: which of them fit, by a bundle that knows sounds and texts.

Every file is heard in windows (10 s, or the clips of the bundle: 7 s for Microsoft's CLAP), the last of which ends
where the file does. The similarities of a file's windows are averaged before they become scores; --pool max takes the
largest of each label, for sounds that are short in long files, and --pool none scores each window by itself.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_aac.commands import options
from edge_aac.commands.grouped_help import GroupedCommand
from edge_aac.commands.setting_options import GivenSettings, settings_options
from edge_aac.errors import UsageError

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_STANDARD_INPUT = "/dev/stdin"
_LABELS = "--labels"

EXAMPLES = """Examples:

  edge-aac label yard.wav --labels "a dog barks" "rain falls" "a car passes"

  edge-aac label *.flac --labels-file sounds.txt --bundle clap-2023 --format csv > found.csv

  edge-aac label night.ogg --labels owl fox --template "the sound of {}" --scores sigmoid --pool max

  edge-aac label yard.wav --labels dog rain --template "the sound of {}" --template "{} is heard" --bundle clap-2023
"""


class LabelFormat(str, Enum):
    """Formats of what is found."""

    AUTO = "auto"
    JSON = "json"
    TEXT = "text"
    CSV = "csv"


class Scores(str, Enum):
    """See :attr:`edge_aac.records.labels.Labels.scoring`."""

    SOFTMAX = "softmax"
    SIGMOID = "sigmoid"
    COSINE = "cosine"


class Pool(str, Enum):
    """See :attr:`edge_aac.records.labels.Labels.pooled`."""

    MEAN = "mean"
    MAX = "max"
    NONE = "none"


class LabelCommand(GroupedCommand):
    """A verb whose ``--labels`` takes all words up to the next option."""

    # Any: the classes are Click's, or since 0.29 Typer's own.
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Write ``--labels a b`` as ``--labels a --labels b``, which is parsed."""
        return super().parse_args(ctx, each_with_its_flag(args))


def each_with_its_flag(words: list[str]) -> list[str]:
    """Words of a command line, every label behind a ``--labels`` of its own."""
    given: list[str] = []
    within = fresh = False
    for number, word in enumerate(words):
        if word == "--":
            return [*given, *words[number:]]
        if word == _LABELS:
            within, fresh = True, True
            given.append(word)
        elif within and (fresh or not word.startswith("-")):
            given += [word] if fresh else [_LABELS, word]
            fresh = False
        else:
            within = False
            given.append(word)
    return given


@app.command(cls=LabelCommand, epilog=EXAMPLES)
@settings_options(
    "captioner",
    without={
        f"captioner.{name}"
        for name in (
            *("weights", "candidates", "first_candidates", "method", "max_length", "likelihood_weight"),
            *("similarity_weight", "fluency_check", "min_familiarity", "min_confidence", "labels", "prompt", "seed"),
            *("templates", "ask", "ask_every", "ask_bundle"),
        )
    },
    help_texts={
        "captioner.bundle": "Bundle that knows sounds and texts: a dual encoder such as clap-2023, or a captioner. "
        "Default: that of the configuration, else the one that comes with edge-aac."
    },
)
def label(
    # As text: of paths Typer would look at each, and end all of them for one that cannot be read.
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE", help="WAV, FLAC, OGG, MP3 …; - is standard input.", show_default=False),
    ],
    given: GivenSettings,
    labels: Annotated[
        list[str] | None,
        typer.Option(_LABELS, metavar="LABEL…", help="What may be heard, all words up to the next option."),
    ] = None,
    labels_file: Annotated[Path | None, typer.Option(help="File with one label a line, in UTF-8.")] = None,
    template: Annotated[
        list[str] | None,
        typer.Option(
            help="Text around each label, with {} in its place; of several the mean counts. Default: the bundle's, and "
            "all wordings of a sound that the bundle lists.",
            show_default=False,
        ),
    ] = None,
    scores: Annotated[
        Scores,
        typer.Option(
            help="softmax: shares of all labels; sigmoid: each label by itself, against the template with the word "
            '"sound" in its place; cosine: similarity alone.'
        ),
    ] = Scores.SOFTMAX,
    pool: Annotated[
        Pool, typer.Option(help="What becomes of a file's windows: mean or max of their similarities, or none.")
    ] = Pool.MEAN,
    top: Annotated[int, typer.Option(min=1, help="Labels shown of each file, the best ones.")] = 10,
    scale: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=10_000.0,
            help="Factor of the similarities before softmax and sigmoid. Default: what the bundle learnt, else 10.",
            show_default=False,
        ),
    ] = None,
    output_format: Annotated[
        LabelFormat,
        typer.Option(
            "--format",
            envvar="EDGE_AAC_FORMAT",
            help="json: JSON Lines; text: sentences; csv: a table; auto: text on a terminal.",
        ),
    ] = LabelFormat.AUTO,
) -> None:
    """Name the sounds of files with words of your own."""
    options.log_to_stderr()
    if files.count("-") + files.count(_STANDARD_INPUT) > 1:
        raise UsageError("standard input is named twice, and can be read once: name it once")
    from edge_aac.commands.labels_given import labels_given, templates_given

    wanted = labels_given(labels or (), labels_file)
    templates = templates_given(template or (), len(wanted))
    settings = given.load()

    from edge_aac.service.labelling import LabelOptions, label_files

    # A file of that name is ./-
    paths = [Path(_STANDARD_INPUT if file == "-" else file) for file in files]
    chosen = LabelOptions(tuple(wanted), templates, scores.value, pool.value, top, scale, output_format.value)
    if exit_code := label_files(paths, settings, chosen):
        raise typer.Exit(exit_code)
