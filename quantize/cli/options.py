"""Options that several verbs share, and what their values become."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_aac.errors import UsageError

if TYPE_CHECKING:
    from quantize.data.llm import LlmClient
    from quantize.training.recipe import Recipe

DataOption = Annotated[
    Path,
    typer.Option("--data", envvar="EDGE_AAC_DATA", help="Folder with clips.csv and the recordings that it lists."),
]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=1, help="CPU threads of torch; default: all cores.")
]
SentenceEmbedderOption = Annotated[
    Path | None,
    typer.Option(
        "--sentence-embedder",
        help="Folder of a sentence embedder (INSTRUCTOR, or any of sentence-transformers) that the audio embeddings "
        "are drawn to, where the recipe has it given.",
    ),
]
FoldsOption = Annotated[
    str | None,
    typer.Option("--folds", help='Folds to train on in place of the recipe\'s, as "1,2,3,4"; none of these validates.'),
]


class PrecisionChoice(str, Enum):
    """Of :class:`quantize.training.settings.TrainerSettings`."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"


PrecisionOption = Annotated[
    PrecisionChoice | None,
    typer.Option("--precision", help="In place of the recipe's; auto is bf16 on GPUs that have it."),
]
ExamplesOption = Annotated[
    Path | None,
    typer.Option(
        "--examples",
        help="Folder of examples that are made once and learnt from by many runs; what it lacks is made first.",
    ),
]
AbsentOption = Annotated[
    list[str] | None,
    typer.Option("--absent", metavar="CLASS", help="A class to leave out of all recordings; may be repeated."),
]
OutliersOption = Annotated[
    Path | None,
    typer.Option(
        "--outliers",
        envvar="EDGE_AAC_OUTLIERS",
        help='Folder with a clips.csv of sounds of no known class (label "unknown"): what is not to be named.',
    ),
]
LlmUrlOption = Annotated[
    str | None,
    typer.Option("--llm-url", help="OpenAI-compatible endpoint that merges captions of mix-ups, as https://HOST/v1."),
]
LlmModelOption = Annotated[str, typer.Option("--llm-model", help="Its model's name there.")]
OutputOption = Annotated[Path, typer.Option("--output", help="Folder of the bundle; an older one there is replaced.")]


def sentence_embedder_of(folder: Path | None) -> Any:
    """The embedder of ``--sentence-embedder``."""
    if folder is None:
        return None
    from quantize.models.sentence_embedder import load_sentence_embedder

    return load_sentence_embedder(folder)


def cache_folder() -> Path:
    """Where what can be made again is kept, as decoded clips."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edge-aac"


def llm_of(url: str | None, model: str) -> LlmClient | None:
    """The language model of ``--llm-url``; its answers are kept in the cache folder, so none is paid for twice."""
    if url is None:
        return None
    from quantize.data.answer_cache import AnswerCache
    from quantize.data.llm import LlmClient, LlmEndpoint

    return LlmClient(LlmEndpoint(url, model), AnswerCache(cache_folder() / "answers.sqlite"))


def recipe_of(
    name_or_path: str,
    epochs: int | None,
    seed: int | None,
    folds: str | None,
    absent: Sequence[str] | None,
    precision: PrecisionChoice | None,
) -> Recipe:
    """The recipe of ``--recipe`` with what other options change in it."""
    from quantize.training.recipe import load_recipe

    return load_recipe(name_or_path).changed(
        epochs, seed, folds_of(folds), tuple(absent or ()), precision.value if precision else None
    )


def folds_of(listed: str | None) -> tuple[int, ...] | None:
    """The numbers of ``--folds``.

    Raises:
        UsageError: they are none.
    """
    if listed is None:
        return None
    try:
        return tuple(int(part) for part in listed.split(","))
    except ValueError as error:
        raise UsageError(f"--folds {listed!r} is not a list of numbers: give it as 1,2,3") from error


def folders_of_kind(kind: str, folders: Mapping[str, Path | None], unused: Mapping[str, object]) -> list[Path]:
    """The folders that ``edge-aac distill --kind`` needs, in their order.

    Args:
        kind: as the option has it.
        folders: option → what was given.
        unused: options that mean nothing to this kind, with what was given.

    Raises:
        UsageError: such an option was given, or a folder was not.
    """
    if given := [name for name, value in unused.items() if value]:
        raise UsageError(f"{given[0]} is not for --kind {kind}: leave it out")
    if missing := [name for name, folder in folders.items() if folder is None]:
        raise UsageError(f"--kind {kind} needs {missing[0]} FOLDER: give it")
    return [folder for folder in folders.values() if folder is not None]
