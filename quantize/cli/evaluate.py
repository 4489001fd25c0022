"""`edge-aac evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_aac.commands.setting_options import option
from quantize.cli.options import OutliersOption, sentence_embedder_of
from quantize.evaluation.corpus import CorpusFormat

if TYPE_CHECKING:
    from quantize.evaluation.evaluate import MetricChoices

evaluate = typer.Typer(add_completion=False, rich_markup_mode=None)

EXAMPLES = """Examples:

  edge-aac evaluate --data esc10/ --fold 4 --output report/

  edge-aac evaluate --bundle without-rain --data esc10/ --fold 4 --absent rain

  edge-aac evaluate --bundle seed-1/,seed-2/ --weights 0.6,0.4 --data esc10/

  edge-aac evaluate --bundle dcase2023 --manifest clotho_captions_evaluation.csv --audio evaluation/ --format clotho
"""


@evaluate.command(epilog=EXAMPLES)
def evaluate_verb(
    context: typer.Context,
    bundle: Annotated[
        str,
        typer.Option(
            envvar="EDGE_AAC_BUNDLE", help="Name of a bundle or folder of one; several with commas: an ensemble."
        ),
    ] = "esc10-tiny",
    weights: Annotated[str | None, option("captioner.weights")] = None,
    data: Annotated[
        Path | None, typer.Option(envvar="EDGE_AAC_DATA", help="Folder with clips.csv, for events and scenes.")
    ] = None,
    fold: Annotated[int, typer.Option(help="Recordings that the bundle was not trained on.")] = 4,
    scenes: Annotated[int, typer.Option(min=1, help="Two-sound scenes, every second one a sequence.")] = 200,
    absent: Annotated[
        list[str] | None, typer.Option(metavar="CLASS", help="A class that the bundle never heard; may be repeated.")
    ] = None,
    outliers: OutliersOption = None,
    manifest: Annotated[Path | None, typer.Option(help="CSV of reference captions, in place of --data.")] = None,
    audio: Annotated[Path | None, typer.Option(help="Folder of the manifest's recordings.")] = None,
    manifest_format: Annotated[CorpusFormat, typer.Option("--format", help="Of the manifest.")] = CorpusFormat.FOLDER,
    seed: Annotated[int, typer.Option(min=0, help="Of the candidates; scenes are always the same.")] = 0,
    candidates: Annotated[int | None, typer.Option(min=1, help="A window. Default: the bundle's own.")] = None,
    min_familiarity: Annotated[
        float | None, typer.Option(help="No class is named in windows that score lower. Default: the bundle's own.")
    ] = None,
    min_confidence: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=1.0, help="No sound is named of which the bundle is less sure. Default: the bundle's own."
        ),
    ] = None,
    sentence_embedder: Annotated[
        Path | None, typer.Option(help="Folder of a sentence-transformers model, for sentence similarity.")
    ] = None,
    spice: Annotated[bool, typer.Option("--spice", help="SPICE and SPIDEr, where Java and its models are.")] = False,
    output: Annotated[Path | None, typer.Option(help="Folder for scores.json, captions.csv and report.html.")] = None,
) -> None:
    """Measure what a bundle says of recordings that it was not trained on."""
    from edge_aac.errors import UsageError
    from edge_aac.models.choices import Choices
    from edge_aac.models.opening import open_captioning
    from edge_aac.terminal import escaped
    from quantize.evaluation import evaluate as evaluation
    from quantize.evaluation.windows import attributions_of

    source = context.get_parameter_source("data")
    if manifest and source is not None and source.name == "ENVIRONMENT":
        data = None  # what is exported for all commands gives way to what is set for this one
    if (data is None) == (manifest is None):
        raise UsageError("give either --data (events and scenes) or --manifest (reference captions)")
    if output:
        evaluation.check_output(output)
    shares = _weights(weights)
    decided = Choices(min_familiarity=min_familiarity, min_confidence=min_confidence)
    if manifest is None:
        chosen, reason = _scene_metrics(sentence_embedder, spice)
        captioner = open_captioning(bundle, shares, candidates=candidates, choices=decided)
        assert data is not None
        for member in captioner.bundles:
            if attributions_of(member):
                continue
            typer.echo(
                f"{member.opened_as} does not say what it was trained on: fold {fold} may be part of it", err=True
            )
        scores, captioned = evaluation.evaluate_events(
            captioner, data, fold, scenes, seed, absent or (), outliers, chosen
        )
        if reason:
            typer.echo(f"no caption metrics: {reason}", err=True)
            scores["caption_metrics"] = {"left_out": {"all": reason}}
        if output:
            evaluation.write_events(output, scores, captioned)
    else:
        if audio is None:
            raise UsageError("--manifest needs the folder of its recordings: give --audio")
        if absent:
            raise UsageError("--absent goes with --data: a manifest's captions name no classes")
        from quantize.evaluation.caption_metrics import check_installed

        check_installed()
        choices = evaluation.MetricChoices(sentence_embedder_of(sentence_embedder), spice)
        captioner = open_captioning(bundle, shares, candidates=candidates, choices=decided)
        scores, corpus = evaluation.evaluate_corpus(
            captioner, manifest, audio, manifest_format, seed, choices, _count_aloud
        )
        for name, why in corpus.skipped.items():
            typer.echo(escaped(f"skipped {name}: {why}"), err=True)
        typer.echo(f"{len(corpus.recordings)} recordings, {len(corpus.skipped)} skipped")
        if output:
            evaluation.write_corpus(output, scores, corpus)
    _print(scores)
    if output:
        typer.echo(f"report written to {output}", err=True)


def _scene_metrics(sentence_embedder: Path | None, spice: bool) -> tuple[MetricChoices | None, str]:
    """Choices, or why there are none: of scenes the events are what counts, so a missing package is no error."""
    from edge_aac.errors import DeviceError
    from quantize.evaluation.caption_metrics import check_installed
    from quantize.evaluation.evaluate import MetricChoices

    try:
        check_installed()
    except DeviceError as error:
        if sentence_embedder or spice:
            raise
        return None, str(error)
    return MetricChoices(sentence_embedder_of(sentence_embedder), spice), ""


def _weights(text: str | None) -> tuple[float, ...] | None:
    """The numbers of ``--weights``."""
    from edge_aac.errors import UsageError
    from edge_aac.models.settings import check_weights, split_weights

    if text is None:
        return None
    try:
        return check_weights(tuple(float(part) for part in split_weights(text)))
    except ValueError as error:
        raise UsageError(f"--weights {text!r} are no weights of bundles: give numbers above 0, as 0.6,0.4") from error


def _count_aloud(done: int) -> None:
    if done % 100 == 0:
        typer.echo(f"{done} recordings", err=True)


def _print(scores: dict[str, Any]) -> None:
    from quantize.evaluation.report import summary_rows

    rows = []
    for words, value, interval, count in summary_rows(scores):
        within = f"{interval[0]:.3f} – {interval[1]:.3f}" if interval else ""
        rows.append((words, f"{value:.3f}", within, f"of {count}"))
    metrics = scores.get("caption_metrics", {})
    rows += [(name, f"{value:.3f}", "", "") for name, value in metrics.get("scores", {}).items()]
    width = max(len(row[0]) for row in rows)
    for name, share, within, of in rows:
        typer.echo(f"{name:<{width}}  {share:>6}  {within:<13}  {of}".rstrip())
    for score, gate in scores.get("gates", {}).items():
        kept = ", ".join(f"{share:.0%} of {group}" for group, share in gate["kept"].items())
        typer.echo(f"{score} ≥ {gate['threshold']}: passes {kept}")
    for name, why in metrics.get("left_out", {}).items():
        typer.echo(f"left out: {name}: {why}")
