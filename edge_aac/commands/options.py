"""Options that several verbs share, with the environment variables that stand in for them."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edge_aac.models.seq2seq import Captioner
    from edge_aac.settings.tree import CaptionerSettings


class Format(str, Enum):
    """How records are written."""

    AUTO = "auto"
    JSON = "json"
    TEXT = "text"


BundleOption = Annotated[
    str | None,
    typer.Option(envvar="EDGE_AAC_BUNDLE", help="Built-in bundle or folder of one. Default: esc10-tiny."),
]
CandidatesOption = Annotated[
    int | None,
    typer.Option(envvar="EDGE_AAC_CANDIDATES", help="Captions drawn for each window. Default: the bundle's own."),
]
MethodOption = Annotated[
    str | None,
    typer.Option(envvar="EDGE_AAC_METHOD", help="nucleus, greedy or beam. Default: the bundle's own."),
]
MaxLengthOption = Annotated[
    int | None,
    typer.Option(envvar="EDGE_AAC_MAX_LENGTH", help="Longest caption in tokens. Default: the bundle's own."),
]
LikelihoodWeightOption = Annotated[
    float | None,
    typer.Option(envvar="EDGE_AAC_LIKELIHOOD_WEIGHT", help="Of log-likelihood in the ranking. Default: the bundle's."),
]
SimilarityWeightOption = Annotated[
    float | None,
    typer.Option(
        envvar="EDGE_AAC_SIMILARITY_WEIGHT", help="Of audio-text similarity; 0: not computed. Default: the bundle's."
    ),
]
FluencyOption = Annotated[
    bool | None,
    typer.Option(
        "--fluency-check/--no-fluency-check",
        envvar="EDGE_AAC_FLUENCY_CHECK",
        help="Prefer captions that are whole sentences (English). Default: on.",
        show_default=False,
    ),
]
SeedOption = Annotated[
    int | None,
    typer.Option(envvar="EDGE_AAC_SEED", help="Same sound, bundle and seed: same captions. Default: 0."),
]
ThreadsOption = Annotated[
    int | None, typer.Option(envvar="EDGE_AAC_THREADS", help="CPU threads; 0 = as many as pay. Default: 0.")
]
BackendOption = Annotated[
    str | None, typer.Option(envvar="EDGE_AAC_BACKEND", help="auto, tensorrt or onnxruntime. Default: auto.")
]
SilenceOption = Annotated[
    float | None,
    typer.Option(
        "--silence-dbfs", envvar="EDGE_AAC_SILENCE_DBFS", help="Windows below this level say nothing. Default: -70."
    ),
]
LeastScoreOption = Annotated[
    float | None,
    typer.Option(
        "--least-score", envvar="EDGE_AAC_LEAST_SCORE", help="Captions with a lower hybrid score are not published."
    ),
]
LeastFamiliarityOption = Annotated[
    float | None,
    typer.Option(
        "--least-familiarity",
        envvar="EDGE_AAC_LEAST_FAMILIARITY",
        help="No class is named in windows that score lower. Default: the bundle's.",
    ),
]
FamiliarOnlyOption = Annotated[
    bool | None,
    typer.Option(
        "--familiar-only/--unfamiliar-too",
        envvar="EDGE_AAC_FAMILIAR_ONLY",
        help="Do not tell of unknown sounds. Default: told of.",
        show_default=False,
    ),
]
NodeOption = Annotated[
    str | None,
    typer.Option(envvar="EDGE_AAC_NODE", help="Name of this device in the records. Default: the host's name."),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        envvar="EDGE_AAC_CONFIG",
        help="TOML file. Default: ~/.config/edge-aac/config.toml over /etc/edge-aac/config.toml.",
    ),
]
FormatOption = Annotated[
    Format,
    typer.Option(
        "--format", envvar="EDGE_AAC_FORMAT", help="json: JSON Lines; text: sentences; auto: text on a terminal."
    ),
]


def captioner_section(given: Mapping[str, object]) -> dict[str, object]:
    """The settings of ``[captioner]`` among a verb's options, which bear their names; None = not given."""
    from edge_aac.settings.tree import CaptionerSettings

    return {name: given[name] for name in CaptionerSettings.model_fields}


def open_captioner(settings: CaptionerSettings) -> Captioner:
    """The captioner that the settings describe."""
    from edge_aac.engines.contract import EngineOptions
    from edge_aac.models.seq2seq import Captioner, Choices

    choices = Choices(
        method=settings.method,
        max_length=settings.max_length,
        likelihood_weight=settings.likelihood_weight,
        similarity_weight=settings.similarity_weight,
        fluency_check=settings.fluency_check,
        least_familiarity=settings.least_familiarity,
    )
    return Captioner.open(
        settings.bundle, EngineOptions(settings.backend, settings.threads), settings.candidates, choices
    )


def log_to_stderr() -> None:
    """Logs of a verb: warnings and notes on stderr, so that stdout holds records alone."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="edge-aac: %(message)s")
