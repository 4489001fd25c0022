"""`edge-aac export`."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from quantize.cli.options import DataOption, OutliersOption, OutputOption, SentenceEmbedderOption, sentence_embedder_of

export = typer.Typer(add_completion=False, rich_markup_mode=None)


@export.command(epilog="Example: edge-aac export --run runs/a --data esc10/ --output my-bundle")
def export_verb(
    run: Annotated[Path, typer.Option(help="Folder of a training run.")],
    data: DataOption,
    output: OutputOption,
    quality: Annotated[Path | None, typer.Option(help="scores.json of `edge-aac evaluate`, for the card.")] = None,
    compared: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE",
            help="A row of the card's table of models: scores.json of a bundle that was measured alike; may be "
            "repeated, and several of one name (seeds) give their mean and range.",
        ),
    ] = None,
    sentence_embedder: SentenceEmbedderOption = None,
    calibrate: Annotated[
        int, typer.Option(min=0, metavar="WINDOWS", help="Calibrate INT8 with so many windows of the recordings.")
    ] = 0,
    outliers: OutliersOption = None,
    sounds: Annotated[
        bool,
        typer.Option(
            "--everyday-sounds",
            help="List the everyday sounds in the bundle: events then go by what phrases name.",
        ),
    ] = False,
) -> None:
    """Export a trained run as a bundle; every graph is compared with torch first.

    With --sentence-embedder the bundle reranks with that model itself, in place of the run's own text embedder.
    """
    export_run(run, data, output, quality, sentence_embedder_of(sentence_embedder), compared or [], calibrate, outliers)
    if sounds:
        from quantize.bundles.sounds import add_sounds
        from quantize.data.everyday.lexicon import english

        add_sounds(output, english().names)


def export_run(  # noqa: PLR0913, PLR0917
    run: Path,
    data: Path,
    output: Path,
    quality: Path | None,
    sentence_embedder: Any = None,
    compared: Sequence[str] = (),
    calibrate: int = 0,
    outliers: Path | None = None,
) -> None:
    """Export a run, telling of each graph on stderr."""
    from quantize.bundles.export import export_bundle
    from quantize.evaluation.scenes import compared_rows, manifest_quality

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    scores = manifest_quality(_read_scores(quality, "--quality")) if quality else {}
    if compared:
        named = [
            (name, _read_scores(Path(file), "--compared")) for name, _, file in (x.partition("=") for x in compared)
        ]
        scores["compared"] = compared_rows(named)
    export_bundle(
        run, data, output, scores, lambda line: typer.echo(line, err=True), sentence_embedder, calibrate, outliers
    )
    typer.echo(f"bundle written to {output}", err=True)


def _read_scores(path: Path, option: str) -> dict[str, Any]:
    from edge_aac.errors import DataError, InputMissingError
    from edge_aac.text_files import EncodingError, utf8_text

    if not path.is_file():
        raise InputMissingError(f"no file {path}: correct {option} or leave it out")
    try:
        table = json.loads(utf8_text(path.read_bytes()))
    except OSError as error:
        raise InputMissingError(f"{path} of {option} cannot be read ({error.strerror})") from error
    except EncodingError as error:
        raise DataError(f"{path} is not JSON: {error}; save it as UTF-8") from error
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    except RecursionError as error:
        raise DataError(f"{path} is not JSON of scores: its values are nested too deep") from error
    if not isinstance(table, dict):
        raise DataError(f"{path} holds no table of scores: give the scores.json of `edge-aac evaluate` with {option}")
    return table
