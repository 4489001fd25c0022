"""Options that several verbs share, with the environment variables that stand in for them."""

from __future__ import annotations

import logging
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


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
SeedOption = Annotated[
    int | None,
    typer.Option(envvar="EDGE_AAC_SEED", help="Same sound, bundle and seed: same captions. Default: 0."),
]
ThreadsOption = Annotated[
    int | None, typer.Option(envvar="EDGE_AAC_THREADS", help="CPU threads; 0 = as many as pay. Default: 0.")
]
BackendOption = Annotated[
    str | None, typer.Option(envvar="EDGE_AAC_BACKEND", help="auto or onnxruntime. Default: auto.")
]
SilenceOption = Annotated[
    float | None,
    typer.Option(
        "--silence-dbfs", envvar="EDGE_AAC_SILENCE_DBFS", help="Windows below this level say nothing. Default: -70."
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
        help="TOML file. Default: /etc/edge-aac/config.toml, else ~/.config/edge-aac/config.toml.",
    ),
]
FormatOption = Annotated[
    Format,
    typer.Option(
        "--format", envvar="EDGE_AAC_FORMAT", help="json: JSON Lines; text: sentences; auto: text on a terminal."
    ),
]


def captioner_section(
    bundle: str | None, candidates: int | None, seed: int | None, threads: int | None, backend: str | None
) -> dict[str, object]:
    """The options of ``[captioner]`` as :func:`edge_aac.config.load_settings` takes them; None = not given."""
    return {"bundle": bundle, "candidates": candidates, "seed": seed, "threads": threads, "backend": backend}


def log_to_stderr() -> None:
    """Logs of a verb: warnings and notes on stderr, so that stdout holds records alone."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="edge-aac: %(message)s")
