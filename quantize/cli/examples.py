"""What `edge-aac train` and `edge-aac distill` do with their examples before training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from edge_aac.terminal import escaped

if TYPE_CHECKING:
    from quantize.training.recipe import Recipe
    from quantize.training.sources import ExampleSource


def report_corpus(source: ExampleSource, folder: Path | None) -> None:
    """Which clips of a corpus are left out, and what came of its mix-ups: told, and written into the run's folder."""
    from quantize.training.sources import CorpusSource

    if not isinstance(source, CorpusSource):
        return
    for clip in source.report.broken:
        typer.echo(escaped(f"left out: {clip.name}: {clip.reason}"), err=True)
    typer.echo(f"{len(source.report.ready)} clips can be used, {len(source.report.broken)} cannot", err=True)
    if source.merges:
        typer.echo(f"{source.merges.merged} of {source.merges.pairs} mix-ups have a usable caption", err=True)
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        source.report.write(folder)
        if source.merges:
            (folder / "mixups.json").write_text(source.merges.to_json() + "\n", encoding="utf-8")


def store(chosen: Recipe, source: ExampleSource, embedder: Any, folder: Path) -> None:
    """Make stored examples, or what is left to make of them."""
    from quantize.training.progress import counting
    from quantize.training.train import store_examples

    with counting("examples", chosen.stored.count) as on_progress:
        outcomes = store_examples(chosen, source, embedder, folder, on_progress)
    if outcomes:
        typer.echo(
            "mix-ups: " + ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items())), err=True
        )
