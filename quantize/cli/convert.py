"""`edge-aac convert`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Literal

import typer

from edge_aac.errors import InputMissingError, UsageError
from quantize.cli.options import OutputOption

convert = typer.Typer(add_completion=False, rich_markup_mode=None)


EXAMPLES = """Examples:

  edge-aac convert captioner/ --instructor instructor-xl/ --output my-bundle

  edge-aac convert clap/CLAP_weights_2023.pth --int8 --output clap-2023
"""


@convert.command(epilog=EXAMPLES)
def convert_verb(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH",
            help="Folder of a captioner as published; or CLAP: Microsoft's file of 2023 or its folder, with gpt2/ "
            "beside it, or LAION's folder in the layout of transformers.",
        ),
    ],
    output: OutputOption,
    instructor: Annotated[
        Path | None, typer.Option(help="Of a captioner: folder of the INSTRUCTOR that it was trained with.")
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="Folder or file of the decoder's tokenizer, where it does not lie beside the weights; "
            '"numbered" makes words of token numbers.'
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the bundle. Default: the output folder's.")] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Of CLAP: an INT8 form for processors beside each graph, where faithful.")
    ] = False,
) -> None:
    """Convert a captioner and INSTRUCTOR, or CLAP, from their published layouts into a bundle."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    if instructor is None:
        _convert_clap(path, output, name or output.resolve().name, int8)
        return
    if int8:
        raise UsageError("--int8 is for CLAP: of a captioner's bundle `edge-aac build-engine` makes INT8 forms")
    from quantize.bundles.convert import convert_published, provenance_of
    from quantize.models.decoder_tokenizer import NUMBERED

    chosen: Path | Literal["numbered"] | None = NUMBERED
    if tokenizer != NUMBERED:
        chosen = None if tokenizer is None else Path(tokenizer)
    provenance = provenance_of(path, instructor, name or output.resolve().name)
    convert_published(path, instructor, chosen, output, provenance, lambda line: typer.echo(line, err=True))
    typer.echo(f"bundle written to {output}", err=True)


def _convert_clap(path: Path, output: Path, name: str, int8: bool) -> None:
    from quantize.bundles.convert_clap import convert_clap, looks_like_clap, provenance_of_clap

    if not path.exists():
        raise InputMissingError(f"there is no {path}: give weights as published")
    if not looks_like_clap(path):
        raise UsageError(
            f"{path} is no CLAP; a captioner is converted with the INSTRUCTOR that it was trained with: --instructor "
            "FOLDER"
        )
    convert_clap(path, output, provenance_of_clap(path, name), lambda line: typer.echo(line, err=True), int8)
    typer.echo(f"bundle written to {output}", err=True)
