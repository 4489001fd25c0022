"""`edge-aac convert`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Literal

import typer

from quantize.cli.options import OutputOption

convert = typer.Typer(add_completion=False, rich_markup_mode=None)


@convert.command(epilog="Example: edge-aac convert captioner/ --instructor instructor-xl/ --output my-bundle")
def convert_verb(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Folder of a captioner as published.")],
    instructor: Annotated[Path, typer.Option(help="Folder of the INSTRUCTOR that it was trained with.")],
    output: OutputOption,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="Folder or file of the decoder's tokenizer, where it does not lie beside the weights; "
            '"numbered" makes words of token numbers.'
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the bundle. Default: the output folder's.")] = None,
) -> None:
    """Convert a captioner and INSTRUCTOR from their published layouts into a bundle."""
    from quantize.bundles.convert import convert_published, provenance_of
    from quantize.models.decoder_tokenizer import NUMBERED

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    chosen: Path | Literal["numbered"] | None = NUMBERED
    if tokenizer != NUMBERED:
        chosen = None if tokenizer is None else Path(tokenizer)
    provenance = provenance_of(path, instructor, name or output.resolve().name)
    convert_published(path, instructor, chosen, output, provenance, lambda line: typer.echo(line, err=True))
    typer.echo(f"bundle written to {output}", err=True)
