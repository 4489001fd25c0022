"""The model card and the list of attributions that travel with the weights."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from edge_aac.errors import DataError
from quantize.data.clips import UNKNOWN_LABEL
from quantize.data.tables import read_table
from quantize.files import ATTRIBUTIONS


@dataclass(frozen=True)
class Attribution:
    """A recording that weights were trained on, and what must be said of it when they are passed on."""

    file: str
    label: str
    title: str
    author: str
    license: str
    source_url: str


def write_attributions(path: Path, recordings: Sequence[Attribution]) -> None:
    """One row a recording; those of no known class that are alike in all but file and title, as out of one package,
    share a row, with a line each in these two fields: thousands would repeat the same licences."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow([entry.name for entry in fields(Attribution)])
        for _, group in groupby(recordings, key=_shared):
            first, *others = group
            files = "\n".join(recording.file for recording in (first, *others))
            titles = "\n".join(recording.title for recording in (first, *others))
            rows.writerow(astuple(replace(first, file=files, title=titles)))


def read_attributions(path: Path) -> dict[str, str]:
    """Recording → class, of a list as :func:`write_attributions` writes it.

    Raises:
        InputMissingError: there is no such list, or it cannot be read.
        DataError: the list lacks a column, or a row of it is damaged.
    """
    # A row may hold thousands of files.
    try:
        rows = read_table(path, ("file", "label"), max_cell_chars=None).whole()
    except DataError as error:
        raise DataError(f"{error}: export the bundle again") from error
    return {file: row.cells["label"] for row in rows for file in row.cells["file"].split("\n")}


def _shared(recording: Attribution) -> tuple[str, ...]:
    """The facts that recordings in one row have in common."""
    alone = "" if recording.label == UNKNOWN_LABEL else recording.file
    return alone, recording.label, recording.author, recording.license, recording.source_url


def write_card(
    path: Path,
    manifest: Mapping[str, Any],
    recipe: Mapping[str, Any],
    recordings: Sequence[Attribution],
) -> None:
    """A model card in Markdown: what it is, what it was trained on and how, what was measured, what it cannot do."""
    outliers: list[Attribution] = []
    if not recipe.get("everyday"):
        outliers = [recording for recording in recordings if recording.label == UNKNOWN_LABEL]
        recordings = [recording for recording in recordings if recording.label != UNKNOWN_LABEL]
    licences = Counter(recording.license or "no licence stated" for recording in recordings)
    licensed = ", ".join(f"{count} {name}" for name, count in licences.most_common())
    if recipe.get("corpus"):
        heard, limits, used = _of_corpus()
    elif recipe.get("everyday"):
        heard, limits, used = _of_everyday(recipe, recordings)
    else:
        heard, limits, used = _of_classes(recipe, recordings, len(outliers))
    train, parameters, quality = recipe["train"], manifest["parameters"], dict(manifest["quality"])
    compared = quality.pop("compared", {})
    of_whom = ""
    if quality.get("held_out_fold") in recipe["folds"]["train"]:
        of_whom = (
            "These are the scores of the same recipe trained without fold "
            f"{quality['held_out_fold']}; these weights were then trained with it, too, and no recording is left to\n"
            "measure them with.\n\n"
        )
    sizes = graph_rows(manifest)
    path.write_text(
        f"""# {manifest["name"]}, version {manifest["version"]}

{heard}, made to run on small devices:
{parameters["captioner"] / 1e6:.2f} M parameters, and {parameters["text_embedder"] / 1e6:.2f} M in the text embedder
that reranks its candidates. It hears 10 s at a time.

## What it cannot do
{limits}
{_of_naming_rules(manifest)}Do not use it where a missed or false caption can harm somebody.

## Data
{manifest["attributions"][0]}.
{len(recordings)} {used}: {licensed.rstrip(".")}.
Each recording with its title, author, licence and source stands in [`{ATTRIBUTIONS}`]({ATTRIBUTIONS}).
The weights are passed on under {manifest["license"]}, as the recordings have it; the licences of the single
recordings stay as they are.
{_of_outliers(outliers)}
## Recipe
`quantize/recipes/{manifest["name"]}.toml`: {train["epochs"]} epochs of {train["scenes_per_epoch"]} windows, each with
{train["captions_per_scene"]} captions. Loss: cross-entropy with label
smoothing {train["label_smoothing"]}, InfoNCE ({train["contrastive_weight"]}), when each class is heard
({train["activity_weight"]}), and what a teacher gives where there is one. The weights are a moving average over the
training steps.

## Scores
{of_whom}{_compared_table(compared)}{everyday_table(quality)}```json
{json.dumps(quality, indent=1)}
```

## Graphs
| role | file | precision | max abs difference from torch |
|---|---|---|---|
{sizes}
""",
        encoding="utf-8",
    )


def _of_naming_rules(manifest: Mapping[str, Any]) -> str:
    """The paragraph about familiarity and sureness; empty for a bundle without either."""
    text = ""
    if manifest.get("familiarity"):
        text += (
            f"In a window whose familiarity lies below {manifest['familiarity']['threshold']:g} it names no class; "
            "`--min-familiarity` sets another\nthreshold.\n"
        )
    if manifest.get("sureness"):
        text += (
            "No word of its captions names only sounds of which it is less sure than "
            f"{manifest['sureness']['threshold']:g} (0 to 1);\n`--min-confidence` sets another threshold.\n"
        )
    return text


def _of_outliers(outliers: Sequence[Attribution]) -> str:
    """What is to be known of recordings of no known class; nothing where there are none."""
    if not outliers:
        return ""
    sources = len({recording.source_url for recording in outliers})
    return f"""
{len(outliers)} recordings of other sounds, from {sources} sources, taught it what not to name. They are listed with the
rest, each with the licences that its source states for all it holds, share-alike ones among them. No caption speaks of
them and nothing of them can be heard from the weights; who wants none in their making trains without `--outliers`.
"""


def _of_classes(recipe: Mapping[str, Any], recordings: Sequence[Attribution], outliers: int) -> tuple[str, str, str]:
    """What it hears, what it cannot do, and which recordings taught it: a captioner of labelled sounds."""
    classes = sorted({recording.label.replace("_", " ") for recording in recordings})
    folds = ", ".join(str(fold) for fold in recipe["folds"]["train"])
    if not recipe["scenes"].get("unknown_probability"):
        unknown = "of any other sound it says\nthe nearest thing it knows, or that there is nothing but noise."
    elif outliers:
        unknown = (
            f"{outliers} recordings of others\ntaught it to say that a sound is unknown; it still calls many by the "
            "nearest thing it knows (below)."
        )
    else:
        unknown = (
            "made-up sounds alone\ntaught it to say that a sound is unknown, so it calls many others by the nearest "
            "thing it knows."
        )
    return (
        f"A captioner for {len(classes)} classes of sound ({', '.join(classes)})",
        f"It knows these {len(classes)} classes and no others: {unknown}\nIts sentences follow the grammar that its "
        "training captions were made with (`quantize/data/captions.py`).",
        f"recordings, folds {folds}",
    )


def _of_everyday(recipe: Mapping[str, Any], recordings: Sequence[Attribution]) -> tuple[str, str, str]:
    """The same of one of everyday sounds."""
    folds = ", ".join(str(fold) for fold in recipe["folds"]["train"])
    heard = {recording.label for recording in recordings} - {UNKNOWN_LABEL}
    return (
        f"A captioner of everyday sounds, with words for {recipe['model']['sounds']} of them",
        f"{len(heard)} kinds of sound were labelled in what it heard; the others it knows as far as the audio tagger\n"
        "that taught it found them in sounds without a label. Its sentences follow the lexicon that its training\n"
        "captions were made with (`quantize/data/everyday/`).",
        f"recordings and groups of computed sounds, folds {folds}",
    )


def _of_corpus() -> tuple[str, str, str]:
    """The same of one that learnt from captions that people wrote."""
    return (
        "A captioner trained on a corpus of captions",
        "It says what its corpus speaks of, in the words of its corpus; what that leaves out it does not know.",
        "recordings",
    )


_EVERYDAY = (
    ("single_clips", "right_sound_named", "ESC-10 recordings, right sound named"),
    ("single_clips", "right_and_no_other", "ESC-10 recordings, right sound and no wrong one"),
    ("two_sound_scenes", "f1", "two-sound scenes of ESC-10, event F1"),
    ("two_sound_scenes", "order_of_sequences_right", "two-sound scenes of ESC-10, order"),
    ("everyday_scenes", "f1", "scenes of two and three sounds of all labels, event F1, a coarser name counting half"),
    ("everyday_clips", "right_or_coarser_named", "everyday recordings, the sound or a coarser one named"),
    ("absent_windows", "parent_unknown_or_nothing", "sounds it was never taught, no false one named"),
    ("quiet_windows", "no_class_named", "noise, silence, hum, handling noise, nothing named"),
    ("speech_windows", "somebody_speaks_and_no_thing", "speech, somebody speaks and nothing else named"),
    ("reliability", "expected_calibration_error", "expected calibration error of named sounds"),
)
"""Group and measure of a bundle of everyday sounds, in words."""


def everyday_table(quality: Mapping[str, Any]) -> str:
    """What a bundle of everyday sounds was measured at, as Markdown, beside its teacher; nothing for any other."""
    if not {"everyday_clips", "everyday_scenes"} & quality.keys():
        return ""
    lines = ["| measured on recordings that it never heard | it | its teacher | of |", "|---|---|---|---|"]
    for group, name, words in _EVERYDAY:
        measured = quality.get(group, {})
        if name in measured:
            teacher = measured.get("teacher", {}).get(name)
            beside = "" if teacher is None else f"{teacher:.3f}"
            of = measured.get("count", measured.get("names", ""))
            lines.append(f"| {words} | {measured[name]:.3f} | {beside} | {of} |")
    return "\n".join(lines) + "\n\n"


def _compared_table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Models measured alike, as Markdown; nothing where there are none."""
    if not rows:
        return ""
    lines = [
        "| model | single clips, right sound named | two-sound scenes, event F1 | order of two, right "
        "| parameters | size |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        shares = (row["single_clips_right"], row["two_sound_scenes_f1"], row["order_right"])
        measured = " | ".join(share if isinstance(share, str) else f"{share:.3f}" for share in shares)
        size = f"{row['parameters'] / 1e6:.2f} M | {row['graph_bytes'] / 1e6:.1f} MB"
        lines.append(f"| {name} | {measured} | {size} |")
    return "\n".join(lines) + "\n\n"


def graph_rows(manifest: Mapping[str, Any]) -> str:
    """The rows of a card's table of graphs: role, file, precision and difference from torch of each form."""
    return "\n".join(
        f"| {role} | `{form['file']}` | {form['precision']} | {form['max_abs_difference']:.1e} |"
        for role, forms in manifest["graphs"].items()
        for form in forms
    )
