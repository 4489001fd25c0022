"""`edge-aac pull`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from quantize.hub.registry import Source

pull = typer.Typer(add_completion=False, rich_markup_mode=None)

EXAMPLES = """Examples:

  edge-aac pull --list

  edge-aac pull dcase2023 && edge-aac stream --bundle dcase2023

  edge-aac pull instructor-base --cache weights/ --download-only
"""


@pull.command(epilog=EXAMPLES)
def pull_verb(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="What to fetch; see --list.")] = None,
    list_names: Annotated[bool, typer.Option("--list", help="Show the known names and end.")] = False,
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit of NAME's own repository. Default: the registry's, main.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder that what is fetched is kept in. Default: the hub's own (HF_HOME).")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder of the bundle. Default: your bundles, where --bundle NAME finds it.")
    ] = None,
    download_only: Annotated[bool, typer.Option("--download-only", help="Fetch and verify; convert nothing.")] = False,
) -> None:
    """Fetch published weights, verify them and make a bundle of them."""
    from quantize.hub.registry import BUNDLES, load_registry

    registry = load_registry()
    if name is None or list_names:
        typer.echo(_table(registry.sources))
        return
    source = registry.source(name)

    from quantize.hub.listing import Hub
    from quantize.hub.pull import pull as pull_name

    # The library, which sets its own level when it is imported, tells of each attempt; we say what comes of them.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    hub = Hub() if cache is None else Hub(cache=cache)
    place = pull_name(
        name,
        registry,
        hub,
        lambda line: typer.echo(line, err=True),
        revision=revision,
        output=output,
        download_only=download_only,
    )
    if source.kind in BUNDLES and not download_only:
        use = {"captioner": "stream", "clapcap": "ask FILE"}.get(source.kind, "label FILE --labels LABEL…")
        typer.echo(f"use it: edge-aac {use} --bundle {place if output else name}", err=True)
    typer.echo(place)


def _table(sources: dict[str, Source]) -> str:
    rows = [("NAME", "SIZE", "LICENCE", "WHAT")]
    rows += [(name, source.size or "?", source.license, source.about) for name, source in sources.items()]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join("  ".join([*(f"{row[i]:<{width}}" for i, width in enumerate(widths)), row[3]]) for row in rows)
