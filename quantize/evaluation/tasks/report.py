"""The page and the tables of a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from quantize.evaluation.evaluate import write_results
from quantize.evaluation.page import page, section, shown_of, table
from quantize.evaluation.report import SHOWN_WRONG, summary_table
from quantize.evaluation.tasks.answer import AnsweredQuestion
from quantize.evaluation.tasks.classify import ClassifiedRecording
from quantize.evaluation.tasks.retrieve import RankedQuery

LABELS_FILE, RANKS_FILE, ANSWERS_FILE = "labels.csv", "ranks.csv", "answers.csv"


def write_classify(output: Path, scores: dict[str, Any], classified: Sequence[ClassifiedRecording]) -> None:
    """``scores.json``, ``labels.csv`` (every recording) and ``report.html``."""
    heads = ("file", "labels", "found", "score", "right", "caption")
    rows = [(c.name, " ".join(c.labels), c.found, f"{c.score:.5f}", int(c.right), c.caption) for c in classified]
    write_results(output, scores, heads, rows, lambda: classify_report(scores, classified), LABELS_FILE)


def write_retrieve(output: Path, scores: dict[str, Any], queries: Sequence[RankedQuery]) -> None:
    """``scores.json``, ``ranks.csv`` (every query) and ``report.html``."""
    heads = ("direction", "query", "rank", "relevant", "first")
    rows = [(q.direction, q.query, q.rank, q.relevant, q.first) for q in queries]
    write_results(output, scores, heads, rows, lambda: retrieve_report(scores, queries), RANKS_FILE)


def write_aqa(output: Path, scores: dict[str, Any], answered: Sequence[AnsweredQuestion]) -> None:
    """``scores.json``, ``answers.csv`` (every question) and ``report.html``."""
    heads = ("file", "question", "kind", "truth", "answer", "right")
    rows = [(a.recording, a.question, a.kind, " / ".join(a.truths), a.answer, int(a.right)) for a in answered]
    write_results(output, scores, heads, rows, lambda: aqa_report(scores, answered), ANSWERS_FILE)


def classify_report(scores: Mapping[str, Any], classified: Sequence[ClassifiedRecording]) -> str:
    """The page of zero-shot classification."""
    measured = scores["classification"]
    rows = [
        (label.replace("_", " "), row["count"], f"{row['found']:.3f}", f"{row['average_precision']:.3f}")
        for label, row in measured["by_label"].items()
    ]
    wrong = [recording for recording in classified if not recording.right]
    commonest = measured["commonest_label"]
    about = (
        f"{measured['labels']} labels, {measured['labels_without_recordings']} of them without a recording; always "
        f"“{commonest['label']}” would be right in {commonest['share']:.3f}. {_compared_by(scores)}"
    )
    heads = ("recording", "labels", "nearest label", "cosine", "caption")
    shown = [(w.name, " + ".join(w.labels), w.found, f"{w.score:.3f}", w.caption) for w in wrong[:SHOWN_WRONG]]
    return page(
        scores,
        [
            _summary(scores, about),
            section("Labels", table(("label", "recordings", "found first", "AP"), rows, (1, 2, 3))),
            section("Wrong labels", table(heads, shown, (3,)), shown_of(SHOWN_WRONG, len(wrong), "wrong, the first")),
            _skipped(scores),
        ],
    )


def _compared_by(scores: Mapping[str, Any]) -> str:
    """What stands for the labels."""
    several = scores.get("templates")
    words = f"Templates, whose mean counts: {' / '.join(several)}" if several else f"Template: {scores['template']}"
    own = len(scores["own_wordings"])
    return f"{words}. {own} labels are said in all of the bundle's wordings of their sound." if own else words


def retrieve_report(scores: Mapping[str, Any], queries: Sequence[RankedQuery]) -> str:
    """The page of retrieval: the queries whose first relevant thing comes latest."""
    latest = sorted((query for query in queries if query.rank > 1), key=lambda query: -query.rank)
    rows = [(q.direction.replace("_", " "), q.query, q.rank, q.first) for q in latest[:SHOWN_WRONG]]
    note = shown_of(SHOWN_WRONG, len(latest), "queries are not answered at once, the latest")
    return page(
        scores,
        [
            _summary(scores, ""),
            section("Found late", table(("direction", "query", "rank", "found first"), rows, (2,)), note),
            _skipped(scores),
        ],
    )


def aqa_report(scores: Mapping[str, Any], answered: Sequence[AnsweredQuestion]) -> str:
    """The page of question answering."""
    measured = scores["question_answering"]
    rows = [
        (
            kind, row["count"], f"{row['accuracy']:.3f}",
            "{:.3f} – {:.3f}".format(*row["intervals"]["accuracy"]), row["majority_answer"],
            f"{row['majority_accuracy']:.3f}",
        )
        for kind, row in measured["by_kind"].items()
    ]  # fmt: skip
    heads = ("kind of question", "questions", "right", "95 % interval", "majority answer", "right by it")
    wrong = [question for question in answered if not question.right]
    shown = [(w.recording, w.question, " / ".join(w.truths), w.answer) for w in wrong[:SHOWN_WRONG]]
    note = "The majority answer of each kind is chosen on the same questions: who does not listen can do no better."
    return page(
        scores,
        [
            _summary(scores, ""),
            section("Kinds of question", table(heads, rows, (1, 2, 5)), note),
            section(
                "Wrong answers",
                table(("recording", "question", "people say", "answer"), shown),
                shown_of(SHOWN_WRONG, len(wrong), "wrong answers, the first"),
            ),
            _skipped(scores),
        ],
    )


def _summary(scores: Mapping[str, Any], about: str) -> str:
    compared = scores.get("compared")
    words = f"Compared with {compared['with']}: {compared['what']}." if compared else ""
    return section(
        "Summary", summary_table(scores), " ".join(filter(None, (f"{scores['measured_on']}.", words, about)))
    )


def _skipped(scores: Mapping[str, Any]) -> str:
    return section("Skipped", table(("recording", "why"), scores["skipped"].items())) if scores["skipped"] else ""
