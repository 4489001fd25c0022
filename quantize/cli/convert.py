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

  edge-aac convert pengi/configs/base.pth --output pengi

  edge-aac convert clapcap/ --output clapcap
"""


@convert.command(epilog=EXAMPLES)
def convert_verb(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH",
            help="Weights as published: a captioner's folder; CLAP of 2023, its file or folder, with gpt2/ beside it, "
            "or of 2022, with bert-base-uncased/; "
            "LAION's CLAP, a folder in the layout of transformers; Pengi or clapcap, file or folder.",
        ),
    ],
    output: OutputOption,
    instructor: Annotated[
        Path | None, typer.Option(help="Of a captioner: folder of the INSTRUCTOR that it was trained with.")
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="Of a captioner: folder or file of the decoder's tokenizer, where it does not lie beside the weights; "
            '"numbered" makes words of token numbers.'
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the bundle. Default: the output folder's.")] = None,
    int8: Annotated[
        bool,
        typer.Option("--int8", help="Of CLAP, clapcap and Pengi: INT8 forms for processors, too, where faithful."),
    ] = False,
) -> None:
    """Convert weights as they were published into a bundle: a captioner and its INSTRUCTOR, CLAP, clapcap or Pengi."""
    from quantize.bundles.convert import convert_published, provenance_of
    from quantize.bundles.convert_clap import convert_clap, looks_like_clap, provenance_of_clap
    from quantize.bundles.prompted import convert_prompted, prompted_provenance, prompted_source
    from quantize.models.decoder_tokenizer import NUMBERED

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)

    def log(line: str) -> None:
        typer.echo(line, err=True)

    bundle_name = name or output.resolve().name
    if not path.exists():
        raise InputMissingError(f"there is no {path}: give weights as published")
    prompted = prompted_source(path)
    if prompted is not None or (instructor is None and looks_like_clap(path)):
        if instructor is not None or tokenizer is not None:
            raise UsageError("--instructor and --tokenizer belong to a captioner's conversion: leave them out")
        if prompted is not None:
            convert_prompted(prompted, output, prompted_provenance(prompted, bundle_name), log, int8)
        else:
            convert_clap(path, output, provenance_of_clap(path, bundle_name), log, int8)
        log(f"bundle written to {output}")
        return
    if instructor is None:
        raise UsageError(f"{path} is converted as a captioner: name its INSTRUCTOR's folder with --instructor")
    if int8:
        raise UsageError("--int8 is not for a captioner: `edge-aac build-engine` makes the INT8 forms of its bundle")
    chosen: Path | Literal["numbered"] | None = NUMBERED
    if tokenizer != NUMBERED:
        chosen = None if tokenizer is None else Path(tokenizer)
    provenance = provenance_of(path, instructor, bundle_name)
    convert_published(path, instructor, chosen, output, provenance, log)
    log(f"bundle written to {output}")
