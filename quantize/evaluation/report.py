"""``report.html``: one file that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from quantize.evaluation.corpus import CaptionedCorpus
from quantize.evaluation.page import metrics_section, page, section, shown_of, table
from quantize.evaluation.plots import confusion_plot, histogram_plot
from quantize.evaluation.scenes import SCORES, outcome_groups, score_values
from quantize.evaluation.windows import CaptionedWindow

SHOWN_WRONG = 60
SHOWN_RECORDINGS = 30


def events_report(scores: Mapping[str, Any], captioned: Sequence[CaptionedWindow]) -> str:
    """The page of an evaluation on scenes."""
    gates = scores.get("gates", {})
    groups = outcome_groups(captioned)
    histograms = []
    for name in SCORES:
        values = {group: score_values(windows, name) for group, windows in groups.items()}
        if all(values.values()) and values:
            histograms.append(histogram_plot(name, values, gates.get(name, {}).get("threshold")))
    sections = [
        _summary(scores),
        section("Classes", _class_table(scores["classes"])),
        section(
            "Captions of single clips",
            confusion_plot(scores["confusion_of_single_clips"]),
            "A caption that names two classes counts in two rows.",
        ),
        section(
            "Scores of the captions",
            "".join(histograms) + _gate_table(gates),
            "The dashed line keeps 95 % of the right captions. A right caption of noise says that there is nothing, "
            "and may score as high as any.",
        ),
        metrics_section(scores.get("caption_metrics")),
        _wrong(captioned),
    ]
    return page(scores, sections)


def corpus_report(scores: Mapping[str, Any], corpus: CaptionedCorpus) -> str:
    """The page of an evaluation against reference captions."""
    rows = [(r.name, r.best.text, " / ".join(r.references), f"{r.best.hybrid:.3f}") for r in corpus.recordings]
    sections = [
        metrics_section(scores["caption_metrics"]),
        section(
            "Captions beside their references",
            table(("recording", "caption", "references", "hybrid"), rows[:SHOWN_RECORDINGS]),
            shown_of(SHOWN_RECORDINGS, len(rows), "recordings, the first"),
        ),
    ]
    if corpus.skipped:
        sections.append(section("Skipped", table(("recording", "why"), corpus.skipped.items())))
    return page(scores, sections)


def summary_rows(scores: Mapping[str, Any]) -> list[tuple[str, float, list[float] | None, int]]:
    """Rows of the summary: measure, value, 95 % interval, count; for the page and the terminal."""
    rows = []
    for group, name, words in _SUMMARY:
        measured = scores.get(group, {})
        if name in measured:
            rows.append((words, measured[name], measured["intervals"].get(name), _count(measured, name)))
    return rows


_SUMMARY = (
    ("single_clips", "right_sound_named", "single clips, right sound named"),
    ("single_clips", "right_and_no_other", "single clips, right sound and no other"),
    ("single_clips", "right_or_coarser_named", "single clips, right sound or coarser named"),
    ("everyday_clips", "right_sound_named", "everyday recordings, right sound named"),
    ("everyday_clips", "right_or_coarser_named", "everyday recordings, right sound or coarser named"),
    ("everyday_clips", "right_or_coarser_and_no_other", "everyday recordings, right or coarser and no other"),
    ("two_sound_scenes", "precision", "two-sound scenes, event precision"),
    ("two_sound_scenes", "recall", "two-sound scenes, event recall"),
    ("two_sound_scenes", "f1", "two-sound scenes, event F1"),
    ("two_sound_scenes", "exact", "two-sound scenes, both named and no other"),
    ("two_sound_scenes", "order_of_sequences_right", "two in sequence, named in order"),
    ("everyday_scenes", "f1", "everyday scenes, event F1, coarser half"),
    ("everyday_scenes", "order_of_sequences_right", "everyday sequences, named in order"),
    ("noise_windows", "no_class_named", "noise, no class named"),
    ("silent_windows", "no_class_named", "digital silence, no class named"),
    ("hum_windows", "no_class_named", "mains hum, no class named"),
    ("handling_windows", "no_class_named", "handling noise, no class named"),
    ("quiet_windows", "no_class_named", "all of these, no class named"),
    ("speech_windows", "somebody_speaks_and_no_thing", "speech, somebody speaks and no thing named"),
    ("outlier_windows", "no_class_named", "other sounds, no class named"),
    ("absent_windows", "no_known_class_named", "absent classes, no known class named"),
    ("absent_windows", "parent_unknown_or_nothing", "absent sounds, no other one named"),
    ("reliability", "expected_calibration_error", "expected calibration error of named sounds"),
    ("classification", "accuracy", "zero-shot labels, right one first"),
    ("classification", "top_label_right", "zero-shot labels, a right one first"),
    ("classification", "right_or_coarser", "zero-shot sounds, right one or a coarser one first"),
    ("classification", "map", "zero-shot labels, mAP"),
    ("text_to_audio", "r_at_1", "recordings by a text, R@1"),
    ("text_to_audio", "r_at_5", "recordings by a text, R@5"),
    ("text_to_audio", "r_at_10", "recordings by a text, R@10"),
    ("text_to_audio", "map_at_10", "recordings by a text, mAP@10"),
    ("audio_to_text", "r_at_1", "texts by a recording, R@1"),
    ("audio_to_text", "r_at_5", "texts by a recording, R@5"),
    ("audio_to_text", "r_at_10", "texts by a recording, R@10"),
    ("audio_to_text", "map_at_10", "texts by a recording, mAP@10"),
    ("question_answering", "accuracy", "questions, right answer"),
    ("question_answering", "majority_answers_by_kind", "questions, each kind's majority answer"),
)
"""Group and name of each measure, and its words."""


def _count(measured: Mapping[str, Any], name: str) -> int:
    """Number of windows, or of names, that a measure is of."""
    if name == "order_of_sequences_right":
        sequences: int = measured["sequences"] if "sequences" in measured else _sequences(measured)
        return sequences
    count: int = measured["names"] if "names" in measured else measured["count"]
    return count


def _sequences(measured: Mapping[str, Any]) -> int:
    count: int = measured.get("by_relation", {}).get("sequence", {}).get("count", 0)
    return count


def summary_table(scores: Mapping[str, Any]) -> str:
    """:func:`summary_rows` as a table of the page."""
    rows = [
        (words, f"{value:.3f}", f"{interval[0]:.3f} – {interval[1]:.3f}" if interval else "", count)
        for words, value, interval, count in summary_rows(scores)
    ]
    return table(("", "value", "95 % interval", "of"), rows, numbers=(1, 3))


def _summary(scores: Mapping[str, Any]) -> str:
    relations = [
        (name, group["count"], *(f"{group[key]:.3f}" for key in ("precision", "recall", "f1", "exact")))
        for name, group in scores["two_sound_scenes"]["by_relation"].items()
    ]
    heads = ("two sounds", "scenes", "precision", "recall", "F1", "exact")
    return section("Summary", summary_table(scores) + table(heads, relations, range(1, 6)))


def _class_table(classes: Mapping[str, Any]) -> str:
    rows = []
    for label, groups in classes.items():
        cells: list[object] = [label.replace("_", " ")]
        for group in ("single_clips", "two_sound_scenes"):
            if found := groups.get(group):
                cells += [f"{found[key]:.2f}" for key in ("precision", "recall", "f1")] + [found["support"]]
            else:
                cells += [""] * 4
        rows.append(cells)
    measures = ("precision", "recall", "F1", "there")
    heads = ("class", *(f"clips: {name}" for name in measures), *(f"scenes: {name}" for name in measures))
    return table(heads, rows, range(1, 9))


def _gate_table(gates: Mapping[str, Any]) -> str:
    rows = []
    for score, gate in gates.items():
        for group, kept in gate["kept"].items():
            auroc = gate["auroc_of_right_against"].get(group)
            rows.append((score, gate["threshold"], group, f"{kept:.3f}", "" if auroc is None else f"{auroc:.3f}"))
    return table(("score", "threshold", "group", "passes", "AUROC of right against it"), rows, (1, 3, 4))


def _wrong(captioned: Sequence[CaptionedWindow]) -> str:
    wrong = [window for window in captioned if not window.right]
    rows = [
        (
            w.source, w.relation, " + ".join(w.truth) or "nothing", w.caption, " + ".join(w.named) or "nothing",
            f"{w.hybrid:.3f}",
        )
        for w in wrong[:SHOWN_WRONG]
    ]  # fmt: skip
    heads = ("window", "relation", "truth", "caption", "names", "hybrid")
    return section("Wrong captions", table(heads, rows), shown_of(SHOWN_WRONG, len(wrong), "wrong captions, the first"))
