"""Make the fastest faithful engines of a bundle for this machine.

The verb `build-engine`. It needs the packages of the ``build`` extra and no torch, so that it runs on a device.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_aac.bundle.store import DEFAULT_BUNDLE

build_engine = typer.Typer(add_completion=False, rich_markup_mode=None)

EXAMPLES = """Examples:

  edge-aac build-engine

  edge-aac build-engine --bundle my-bundle --recordings garden/ --output garden-bundle

  edge-aac build-engine --backend onnxruntime | jq .order
"""


class BuildBackend(str, Enum):
    """What engines are built for."""

    AUTO = "auto"
    TENSORRT = "tensorrt"
    ONNXRUNTIME = "onnxruntime"


class Precision(str, Enum):
    """What plans compute in, where a graph has a choice."""

    AUTO = "auto"
    FP16 = "fp16"
    INT8 = "int8"
    FP8 = "fp8"


class Role(str, Enum):
    """A graph of a bundle."""

    STEM = "stem"
    ENCODER = "encoder"
    DECODER = "decoder"
    TEXT_EMBEDDER = "text_embedder"
    PROMPT_ENCODER = "prompt_encoder"


@build_engine.command(epilog=EXAMPLES)
def build_engine_verb(
    bundle: Annotated[
        str, typer.Option(envvar="EDGE_AAC_BUNDLE", help="Name of a bundle or folder of one.")
    ] = DEFAULT_BUNDLE,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder to write. Default: the bundle's own; of a bundle that cannot be written, as a built-in one, "
            "a folder of its name among your bundles, which is then preferred to it."
        ),
    ] = None,
    backend: Annotated[
        BuildBackend, typer.Option(help="auto builds for ONNX Runtime, and for TensorRT where it is.")
    ] = BuildBackend.AUTO,
    recordings: Annotated[
        Path | None, typer.Option(help="Folder of your own sound (WAV, FLAC …) to calibrate and check with.")
    ] = None,
    leave: Annotated[
        list[Role] | None, typer.Option(help="A graph that stays as it was exported; may be repeated.")
    ] = None,
    threads: Annotated[
        int, typer.Option(min=0, envvar="EDGE_AAC_THREADS", help="CPU threads of a graph; 0 = as many as pay.")
    ] = 0,
    streams: Annotated[int, typer.Option(min=1, max=64, help="Windows that TensorRT may run at once.")] = 1,
    candidates: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=64,
            envvar="EDGE_AAC_CANDIDATES",
            help="Captions of a window, or beams of an answer, that TensorRT is tuned for: as many as you will draw. "
            "Default: the bundle's.",
        ),
    ] = None,
    precision: Annotated[
        Precision,
        typer.Option(
            help="What TensorRT's engines compute in: auto builds each form and keeps the fastest faithful one of each "
            "graph; any other is taken wherever a graph can have it, fast or slow."
        ),
    ] = Precision.AUTO,
) -> None:
    """Make the fastest faithful engines of a bundle for this machine.

    Every form is compared with the exported graph. One for processors that is not faithful gives way to fp32, one of
    TensorRT in INT8 or FP8 to FP16, as does one that is not faster; where that leaves none, nothing is written. The
    report goes to stderr as a table and to stdout as JSON, and says what lost and why.
    """
    from edge_aac.commands.options import log_to_stderr
    from edge_aac.errors import DataError, EdgeAacError
    from edge_aac.terminal import escaped, escaped_lines
    from quantize.device.build import BuildOptions, build_engines

    log_to_stderr(logging.WARNING)
    options = BuildOptions(
        bundle=bundle,
        output=output,
        backend=backend.value,
        recordings=recordings,
        leave=tuple(role.value for role in leave or ()),
        threads=threads,
        streams=streams,
        candidates=candidates,
        precision=precision.value,
    )
    kept_of = (bundle, str(output)) if output else (bundle,)
    with _noted(bundle) as note:

        def tell(line: str) -> None:
            note(line)
            typer.echo(escaped(line), err=True)

        try:
            report = build_engines(options, tell)
        except BaseException as error:
            known = isinstance(error, EdgeAacError)
            _keep(kept_of, {"failure": str(error) if known else f"it broke off ({type(error).__name__}: {error})"})
            raise
        _keep(kept_of, report.to_table())
    typer.echo(escaped_lines(report.to_text()), err=True)
    typer.echo(json.dumps(report.to_table(), indent=1))
    if report.failure:
        raise DataError(
            f"{report.failure}; nothing was written: keep a graph as it was exported with --leave, or name your own "
            "sound with --recordings"
        )
    typer.echo(escaped(report.outcome()), err=True)


@contextmanager
def _noted(bundle: str) -> Iterator[Callable[[str], None]]:
    """Note that a build has begun and what it says, where that can be noted: one that is killed leaves nothing else."""
    from edge_aac.bundle.build_reports import noted_build

    with ExitStack() as stack:
        try:
            note = stack.enter_context(noted_build(bundle))
        except (OSError, RuntimeError) as error:
            logging.getLogger(__name__).warning("that this build has begun cannot be noted (%s)", error)
            note = _nothing
        yield note


def _nothing(line: str) -> None:
    """Note nowhere."""


def _keep(bundles: Sequence[str], table: dict[str, Any]) -> None:
    """Keep the report for `edge-aac doctor --gpu`: a build that fails leaves nothing else behind."""
    from edge_aac.bundle.build_reports import keep_report

    try:
        for bundle in bundles:
            keep_report(bundle, table)
    except (OSError, RuntimeError) as error:
        logging.getLogger(__name__).warning("the report of this build cannot be kept (%s)", error)
