"""`edge-aac evaluate`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_aac.bundle.store import DEFAULT_BUNDLE
from edge_aac.commands.setting_options import option
from edge_aac.terminal import escaped
from quantize.cli.evaluate_tasks import Asked, Task, check_options, count_aloud, evaluate_task, task_run
from quantize.cli.options import OutliersOption, sentence_embedder_of
from quantize.evaluation.corpus import CorpusFormat
from quantize.evaluation.tasks.listening import Compared

if TYPE_CHECKING:
    from edge_aac.models.opening import CaptioningModel
    from quantize.evaluation.corpus import CaptionedCorpus
    from quantize.evaluation.evaluate import MetricChoices
    from quantize.evaluation.everyday.evaluate import SoundsAsked

evaluate = typer.Typer(add_completion=False, rich_markup_mode=None)

EXAMPLES = """Examples:

  edge-aac evaluate --data esc10/ --fold 4 --output report/

  edge-aac evaluate --bundle without-rain --data esc10/ --fold 4 --absent rain

  edge-aac evaluate --bundle everyday --data esc10/ --data everyday/ --tagger mn04_as_mAP_432.pt --output report/

  edge-aac evaluate --bundle seed-1/,seed-2/ --weights 0.6,0.4 --data esc10/

  edge-aac evaluate --bundle dcase2023 --manifest clotho_captions_evaluation.csv --audio evaluation/ --format clotho

  edge-aac evaluate --task classify --bundle my-labels --data ESC-50/ --fold 1 --template "this is a sound of {}"

  edge-aac evaluate --task retrieve --bundle dcase2023 --data clotho/ --split evaluation --output report/
"""

FOLD = 4


@evaluate.command(epilog=EXAMPLES)
def evaluate_verb(
    context: typer.Context,
    bundle: Annotated[
        str,
        typer.Option(
            envvar="EDGE_AAC_BUNDLE", help="Name of a bundle or folder of one; several with commas: an ensemble."
        ),
    ] = DEFAULT_BUNDLE,
    weights: Annotated[str | None, option("captioner.weights")] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            envvar="EDGE_AAC_DATA",
            help="Folder with clips.csv, for events and scenes; may be repeated for a bundle of everyday sounds.",
        ),
    ] = None,
    task: Annotated[
        Task | None,
        typer.Option(help="Measure a task on a published set in --data, in place of events and scenes."),
    ] = None,
    fold: Annotated[
        int | None,
        typer.Option(
            help="Recordings that the bundle was not trained on; of a task all folds, where none is given.",
            show_default=str(FOLD),
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Part of a set with splits; default: what its authors test on.")
    ] = None,
    template: Annotated[
        list[str] | None,
        typer.Option(
            help='Makes a text of a label, as "this is a sound of {}"; may be repeated: the mean counts. Default: the '
            'bundle\'s, or "{}", and all wordings of a sound that the bundle lists.'
        ),
    ] = None,
    sounds: Annotated[
        bool,
        typer.Option("--sounds", help="Choose from the everyday sounds that the set's labels mean, not from these."),
    ] = False,
    listed_sounds: Annotated[
        bool,
        typer.Option("--listed-sounds", help="The same, from all sounds that the bundle lists, as its captions do."),
    ] = False,
    compare: Annotated[
        Compared | None,
        typer.Option(
            help="What of a recording is compared with texts: its sound, or its caption. Default: its sound, where the "
            "bundle compares sounds with texts."
        ),
    ] = None,
    scenes: Annotated[int, typer.Option(min=1, help="Two-sound scenes, every second one a sequence.")] = 200,
    absent: Annotated[
        list[str] | None,
        typer.Option(metavar="CLASS", help="A class, or everyday sound, that the bundle never heard; may be repeated."),
    ] = None,
    outliers: OutliersOption = None,
    tagger: Annotated[
        Path | None,
        typer.Option(help="Tagger of AudioSet's classes that names the same recordings, for comparison."),
    ] = None,
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
    from quantize.evaluation import evaluate as evaluation
    from quantize.evaluation.everyday.evaluate import SoundsAsked

    folders = tuple(data or ())
    check_options(task, lambda name: _from(context, name, "COMMANDLINE"))
    if task is not None:
        overruled = {"candidates": candidates, "min_familiarity": min_familiarity, "min_confidence": min_confidence}
        run = task_run(task, bundle, folders, fold, split)
        run = replace(run, weights=_weights(weights), choices=overruled, seed=seed, compared=compare)
        run = replace(run, templates=tuple(template or ()), sounds=sounds, listed_sounds=listed_sounds)
        _print(evaluate_task(task, run, Asked(output, sentence_embedder, spice)))
        return
    if manifest and _exported(context, "data"):
        folders = ()  # what is exported for all commands gives way to what is set for this one
    fold = FOLD if fold is None else fold
    if bool(folders) == (manifest is not None):
        raise UsageError("give either --data (events and scenes) or --manifest (reference captions)")
    if output:
        evaluation.check_output(output)
    shares = _weights(weights)
    decided = Choices(min_familiarity=min_familiarity, min_confidence=min_confidence)
    if manifest is None:
        chosen, reason = _scene_metrics(sentence_embedder, spice)
        captioner = open_captioning(bundle, shares, candidates=candidates, choices=decided)
        _tell_unattributed(captioner, fold)
        asked = SoundsAsked(folders, fold, scenes, seed, tuple(absent or ()), tagger)
        if captioner.sound_names is None:
            scores = _evaluate_classes(captioner, asked, outliers, chosen, reason, output)
        else:
            if outliers and not _exported(context, "outliers"):
                raise UsageError("--outliers is for bundles of ten classes: this one knows many of these sounds")
            scores = _evaluate_sounds(captioner, asked, chosen, reason, output)
    else:
        if audio is None:
            raise UsageError("--manifest needs the folder of its recordings: give --audio")
        if absent or tagger:
            flag = "--absent" if absent else "--tagger"
            raise UsageError(f"{flag} goes with --data: a manifest's captions name no classes")
        from quantize.evaluation.caption_metrics import check_installed

        check_installed()
        metrics = evaluation.MetricChoices(sentence_embedder_of(sentence_embedder), spice)
        captioner = open_captioning(bundle, shares, candidates=candidates, choices=decided)
        corpus = evaluation.evaluate_corpus(captioner, manifest, audio, manifest_format, seed, metrics, count_aloud)
        scores = _told_corpus(*corpus, output)
    _print(scores)
    if output:
        typer.echo(f"report written to {output}", err=True)


def _told_corpus(scores: dict[str, Any], corpus: CaptionedCorpus, output: Path | None) -> dict[str, Any]:
    """The scores of a corpus, after what was skipped is told and the report is written."""
    from quantize.evaluation.evaluate import write_corpus

    for name, why in corpus.skipped.items():
        typer.echo(escaped(f"skipped {name}: {why}"), err=True)
    typer.echo(f"{len(corpus.recordings)} recordings, {len(corpus.skipped)} skipped")
    if output:
        write_corpus(output, scores, corpus)
    return scores


def _exported(context: typer.Context, name: str) -> bool:
    """Whether an option was set for all commands, in the environment."""
    return _from(context, name, "ENVIRONMENT")


def _from(context: typer.Context, name: str, origin: str) -> bool:
    """Whether an option's value comes from there."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == origin


def _tell_unattributed(captioner: CaptioningModel, fold: int) -> None:
    from quantize.evaluation.windows import attributions_of

    for member in captioner.bundles:
        if not attributions_of(member):
            typer.echo(
                f"{member.opened_as} does not say what it was trained on: fold {fold} may be part of it", err=True
            )


def _tell_metrics(scores: dict[str, Any], reason: str) -> None:
    """Why there are no caption metrics, where there are none."""
    if reason:
        typer.echo(f"no caption metrics: {reason}", err=True)
        scores["caption_metrics"] = {"left_out": {"all": reason}}


def _evaluate_classes(
    captioner: CaptioningModel,
    asked: SoundsAsked,
    outliers: Path | None,
    chosen: MetricChoices | None,
    reason: str,
    output: Path | None,
) -> dict[str, Any]:
    """Measure a bundle of ten classes."""
    from edge_aac.errors import UsageError
    from quantize.evaluation import evaluate as evaluation

    if len(asked.data) > 1 or asked.tagger:
        raise UsageError(
            "several --data, and --tagger, are for bundles that list everyday sounds: give one --data alone"
        )
    scores, captioned = evaluation.evaluate_events(
        captioner, asked.data[0], asked.fold, asked.scenes, asked.seed, asked.absent, outliers, chosen
    )
    _tell_metrics(scores, reason)
    if output:
        evaluation.write_events(output, scores, captioned)
    return scores


def _evaluate_sounds(
    captioner: CaptioningModel, asked: SoundsAsked, chosen: MetricChoices | None, reason: str, output: Path | None
) -> dict[str, Any]:
    """Measure a bundle that lists everyday sounds."""
    from quantize.evaluation.everyday import evaluate as everyday

    scores, judged = everyday.evaluate_sounds(captioner, asked, chosen)
    for sentence in everyday.skipped_recordings(scores):
        typer.echo(escaped(sentence), err=True)
    for group, words in (("speech_windows", "windows of speech"), ("reliability", "reliability")):
        if left_out := scores[group].get("left_out"):
            typer.echo(f"no {words}: {left_out}", err=True)
    _tell_metrics(scores, reason)
    if output:
        everyday.write_sounds(output, scores, judged)
    return scores


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
