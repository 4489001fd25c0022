"""``report.html`` of a bundle of everyday sounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from quantize.data.everyday.lexicon import Lexicon
from quantize.evaluation.everyday.judging import right
from quantize.evaluation.everyday.truth import JudgedWindow
from quantize.evaluation.page import metrics_section, page, section, shown_of, table
from quantize.evaluation.plots import branches_plot, reliability_plot
from quantize.evaluation.report import SHOWN_WRONG, summary_table

_CLIPS = (("single_clips", "ESC-10"), ("everyday_clips", "everyday recordings"))


def sounds_report(scores: Mapping[str, Any], lexicon: Lexicon, judged: Sequence[JudgedWindow]) -> str:
    """The page of an evaluation by the lexicon of everyday sounds."""
    sections = [
        section("Summary", summary_table(scores), _left_out(scores)),
        _teacher(scores),
        section("Scenes of all labels", _scenes(scores.get("everyday_scenes", {})), "A coarser name counts half."),
        _absent(scores.get("absent_windows")),
        _reliability(scores["reliability"]),
        section(
            "Captions of single recordings",
            branches_plot(scores["confusion_of_single_clips"]) if "confusion_of_single_clips" in scores else "",
            "Rows are named, columns heard, in the order of AudioSet's tree; the right name is green. A caption that "
            "names two sounds counts in two rows.",
            large=True,
        ),
        section("Sounds", _sounds(scores.get("classes", {})), _about_sounds(scores)),
        section("Recordings", _recordings(scores["recordings"])),
        metrics_section(scores.get("caption_metrics")),
        _wrong(lexicon, judged),
    ]
    return page(scores, sections)


def _left_out(scores: Mapping[str, Any]) -> str:
    reason = scores.get("speech_windows", {}).get("left_out")
    return f"No windows of speech: {reason}." if reason else ""


def _teacher(scores: Mapping[str, Any]) -> str:
    """The bundle beside its teacher, on the same windows."""
    rows = []
    for group, words in _CLIPS:
        measured = scores.get(group, {})
        if answers := measured.get("teacher"):
            keys = ("right_sound_named", "right_or_coarser_named")
            top = f"{answers['most_probable_class_right_or_coarser']:.3f}"
            rows.append((f"{words}: the bundle", *(f"{measured[key]:.3f}" for key in keys), "", measured["count"]))
            rows.append(
                (f"{words}: {scores['tagger']}", *(f"{answers[key]:.3f}" for key in keys), top, measured["count"])
            )
    if not rows:
        return ""
    heads = ("", "right sound named", "right or coarser named", "by its most probable class", "of")
    note = (
        "The tagger answers with one sound, as exact as it is sure. Coarser names count but for the tops of AudioSet's "
        "tree."
    )
    return section("Beside the teacher", table(heads, rows, range(1, 5)), note)


def _scenes(measured: Mapping[str, Any]) -> str:
    keys = ("precision", "recall", "f1", "exact", "exact_or_coarser")
    rows = [
        (name, part["count"], *(f"{part[key]:.3f}" for key in keys))
        for name, part in measured.get("by_relation", {}).items()
    ]
    return table(("sounds", "scenes", "precision", "recall", "F1", "exact", "exact or coarser"), rows, range(1, 7))


def _absent(measured: Mapping[str, Any] | None) -> str:
    if not measured:
        return ""
    outcomes = table(("what is named", "windows"), measured["outcomes"].items(), (1,))
    sounds = table(("absent sound", "none other named"), measured["by_class"].items(), (1,))
    falsely = table(("named falsely", "captions"), measured["falsely_named"].items(), (1,))
    return section("Absent sounds", outcomes + sounds + falsely)


def _recalibrated(calibration: Mapping[str, float]) -> str:
    return (
        f"With sigmoid({calibration['scale']:.3f} · logit {calibration['bias']:+.3f}) the error would be "
        f"{calibration['expected_calibration_error']:.3f}, each half of the windows calibrated by the other."
    )


def _reliability(measured: Mapping[str, Any]) -> str:
    if "left_out" in measured:
        return section("How surely, how often right", "", f"Left out: {measured['left_out']}.")
    rows = [
        (
            f"{one['from']:.1f} – {one['to']:.1f}", one["names"], f"{one['mean_confidence']:.3f}",
            f"{one['right']:.3f}", f"{one['interval'][0]:.3f} – {one['interval'][1]:.3f}",
        )
        for one in measured["bins"]
    ]  # fmt: skip
    heads = ("confidence", "names", "mean confidence", "right", "95 % interval")
    note = (
        f"Expected calibration error {measured['expected_calibration_error']:.3f} over {measured['names']} names. A "
        f"name is right that is heard, or a coarser one of what is heard. {_recalibrated(measured['calibration'])}"
    )
    return section("How surely, how often right", reliability_plot(measured) + table(heads, rows, range(1, 5)), note)


def _about_sounds(scores: Mapping[str, Any]) -> str:
    known = "Falsely named: captions of recordings and scenes in which neither it nor an example of it is heard."
    if "tagger" not in scores:
        return known
    return (
        f"{known} Marked (†) are sounds that {scores['tagger']} itself names rightly in fewer than half of at least "
        "three recordings."
    )


def _sounds(classes: Mapping[str, Any]) -> str:
    rows = []
    for sound, row in classes.items():
        clips, scenes, teacher = row.get("single_clips"), row.get("scenes"), row.get("teacher")
        mark = " †" if teacher and teacher["can"] is False else ""
        cells: list[object] = [row["branch"], sound.replace("_", " ") + mark]
        if clips:
            keys = ("right_sound_named", "right_or_coarser_named", "no_wrong_name")
            cells += [clips["count"], *(f"{clips[key]:.2f}" for key in keys)]
        else:
            cells += [""] * 4
        cells += [scenes["count"], f"{scenes['mean_credit']:.2f}"] if scenes else ["", ""]
        cells += [row["falsely_named"], f"{teacher['right_or_coarser_named']:.2f}" if teacher else ""]
        rows.append(cells)
    heads = (
        "branch", "sound", "recordings", "named", "or coarser", "no wrong name", "in scenes", "mean credit",
        "falsely named", "teacher",
    )  # fmt: skip
    return table(heads, rows, range(2, 10))


def _recordings(folders: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            folder["folder"], folder["recordings"], sum(folder["skipped"].values()),
            ", ".join(f"{label} {count}" for label, count in folder["skipped"].items()),
        )
        for folder in folders
    ]  # fmt: skip
    return table(("folder", "recordings", "skipped", "labels that are no sound's"), rows, (1, 2))


def _wrong(lexicon: Lexicon, judged: Sequence[JudgedWindow]) -> str:
    wrong = [window for window in judged if not right(lexicon, window)]
    rows = [
        (
            window.kind, window.source, " then ".join(" + ".join(moment) for moment in window.moments) or "nothing",
            window.caption, " + ".join(window.named) or "nothing", f"{window.hybrid:.3f}",
        )
        for window in wrong[:SHOWN_WRONG]
    ]  # fmt: skip
    heads = ("kind", "window", "truth", "caption", "names", "hybrid")
    return section("Wrong captions", table(heads, rows), shown_of(SHOWN_WRONG, len(wrong), "wrong captions, the first"))
