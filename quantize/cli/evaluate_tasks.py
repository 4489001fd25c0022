"""``edge-aac evaluate --task``: one of the closed tasks in place of events and scenes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from edge_aac.terminal import escaped

if TYPE_CHECKING:
    from quantize.evaluation.tasks.run import TaskRun


class Task(str, Enum):
    """What is asked of a bundle."""

    CLASSIFY = "classify"
    RETRIEVE = "retrieve"
    CAPTION = "caption"
    AQA = "aqa"


TASK_OPTIONS: Mapping[str, tuple[Task, ...]] = {
    "split": tuple(Task),
    "template": (Task.CLASSIFY,),
    "sounds": (Task.CLASSIFY,),
    "listed_sounds": (Task.CLASSIFY,),
    "compare": (Task.CLASSIFY, Task.RETRIEVE),
    "sentence_embedder": (Task.CAPTION,),
    "spice": (Task.CAPTION,),
}
"""Options that only some tasks take."""
OTHER_OPTIONS = ("scenes", "absent", "outliers", "tagger", "manifest", "audio", "manifest_format")
"""Options that no task takes."""


@dataclass(frozen=True)
class Asked:
    """What a task's call gives beside what it runs with.

    Attributes:
        output: folder of the report; None writes none.
        sentence_embedder, spice: choices of caption metrics.
    """

    output: Path | None
    sentence_embedder: Path | None
    spice: bool


def check_options(task: Task | None, given: Callable[[str], bool]) -> None:
    """Refuse options that do not go with a task.

    Args:
        task: the task; None for none.
        given: whether an option stands on the command line, by the name of its parameter.

    Raises:
        UsageError: one does.
    """
    from edge_aac.errors import UsageError

    flags = {"manifest_format": "--format"}
    if task is None:
        for name in ("split", "template", "sounds", "listed_sounds", "compare"):
            if given(name):
                raise UsageError(f"--{name.replace('_', '-')} goes with --task")
        return
    refused = (*OTHER_OPTIONS, *(name for name, tasks in TASK_OPTIONS.items() if task not in tasks))
    for name in refused:
        if given(name):
            flag = flags.get(name, f"--{name.replace('_', '-')}")
            raise UsageError(f"{flag} does not go with --task {task.value}: leave one of them out")


def task_run(task: Task, bundle: str, data: Sequence[Path], fold: int | None, split: str | None) -> TaskRun:
    """What a task is run with, before all other options.

    Raises:
        UsageError: there is not one folder.
    """
    from edge_aac.errors import UsageError
    from quantize.data.task_sets.contract import ChosenPart
    from quantize.evaluation.tasks.run import TaskRun

    if len(data) != 1:
        raise UsageError(f"--task {task.value} needs the folder of one set: give one --data")
    return TaskRun(bundle, data[0], ChosenPart(fold, split), progress=count_aloud)


def count_aloud(done: int) -> None:
    """Tell every hundredth recording."""
    if done % 100 == 0:
        typer.echo(f"{done} recordings", err=True)


def evaluate_task(task: Task, run: TaskRun, asked: Asked) -> dict[str, Any]:
    """Run a task, tell what was skipped, and write its report.

    Raises:
        EdgeAacError: see :mod:`quantize.evaluation.tasks.run`.
    """
    from quantize.evaluation import evaluate as evaluation
    from quantize.evaluation.tasks import report
    from quantize.evaluation.tasks import run as tasks
    from quantize.evaluation.windows import attributions_of

    if asked.output:
        evaluation.check_output(asked.output, plots=False)
    for bundle in run.bundles():
        if not attributions_of(bundle):
            typer.echo(
                f"{bundle.opened_as} does not say what it was trained on: what it is measured on may be part of it",
                err=True,
            )
    if task is Task.CAPTION:
        scores = _caption(run, asked)
    elif task is Task.CLASSIFY:
        scores, classified = tasks.evaluate_classify(run)
        if asked.output:
            report.write_classify(asked.output, scores, classified)
    elif task is Task.RETRIEVE:
        scores, queries = tasks.evaluate_retrieve(run)
        if asked.output:
            report.write_retrieve(asked.output, scores, queries)
    else:
        scores, answered = tasks.evaluate_aqa(run)
        if asked.output:
            report.write_aqa(asked.output, scores, answered)
    _tell(scores)
    if asked.output:
        typer.echo(f"report written to {asked.output}", err=True)
    return scores


def _caption(run: TaskRun, asked: Asked) -> dict[str, Any]:
    from quantize.cli.options import sentence_embedder_of
    from quantize.evaluation import evaluate as evaluation
    from quantize.evaluation.caption_metrics import check_installed
    from quantize.evaluation.tasks.run import evaluate_caption

    check_installed()
    choices = evaluation.MetricChoices(sentence_embedder_of(asked.sentence_embedder), asked.spice)
    scores, corpus = evaluate_caption(run, choices)
    if asked.output:
        evaluation.write_corpus(asked.output, scores, corpus)
    return scores


def _tell(scores: Mapping[str, Any]) -> None:
    """What was measured on what, and what was left out."""
    skipped = scores["corpus"]["skipped"] if "corpus" in scores else scores["skipped"]
    for name, why in skipped.items():
        typer.echo(escaped(f"skipped {name}: {why}"), err=True)
    left_out = f", {len(skipped)} recordings skipped" if skipped else ""
    typer.echo(escaped(f"{scores['measured_on']}{left_out}"))
    if no_sound := scores.get("no_sound"):
        typer.echo(f"{len(no_sound)} recordings have labels that mean no everyday sound, and are left out")
    if own := scores.get("own_wordings"):
        typer.echo(f"{len(own)} labels are said in all of the bundle's wordings of their sound; --template ends that")
    if "compared" in scores:
        typer.echo(f"compared with {scores['compared']['with']}: {scores['compared']['what']}")
    for kind, row in scores.get("question_answering", {}).get("by_kind", {}).items():
        typer.echo(
            escaped(
                f"{kind}: {row['accuracy']:.3f} of {row['count']}; always {row['majority_answer']!r}: "
                f"{row['majority_accuracy']:.3f}"
            )
        )
