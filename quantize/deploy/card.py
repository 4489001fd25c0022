"""The model card and the list of attributions that travel with the weights."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from quantize.data.clips import Clip

CARD = "README.md"
ATTRIBUTIONS = "ATTRIBUTIONS.csv"


def write_attributions(path: Path, clips: Sequence[Clip]) -> None:
    """One row a recording: file, class, title, author, licence, source."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(["file", "label", "title", "author", "license", "source_url"])
        for clip in clips:
            rows.writerow([clip.path, clip.label, clip.title, clip.author, clip.license, clip.source_url])


def write_card(
    path: Path,
    manifest: Mapping[str, Any],
    recipe: Mapping[str, Any],
    clips: Sequence[Clip],
    parameters: Mapping[str, int],
) -> None:
    """A model card in Markdown: what it is, what it was trained on and how, what was measured, what it cannot do."""
    folds = ", ".join(str(fold) for fold in recipe["folds"]["train"])
    licences = ", ".join(f"{count} {name}" for name, count in Counter(clip.license for clip in clips).most_common())
    classes = sorted({clip.label.replace("_", " ") for clip in clips})
    labels, count = ", ".join(classes), len(classes)
    train = recipe["train"]
    sizes = "\n".join(
        f"| {role} | `{graph['file']}` | {graph['precision']} | {graph['max_abs_difference']:.1e} |"
        for role, forms in manifest["graphs"].items()
        for graph in forms
    )
    path.write_text(
        f"""# {manifest["name"]}, version {manifest["version"]}

A captioner for {count} classes of sound ({labels}), made to run on small devices:
{parameters["captioner"] / 1e6:.2f} M parameters, and {parameters["text_embedder"] / 1e6:.2f} M in the text embedder
that reranks its candidates. It hears 10 s at a time.

## What it cannot do
It knows these {count} classes and no others: of any other sound it says the nearest thing it knows, or that there is
nothing but noise. Its sentences follow the grammar that its training captions were made with
(`quantize/data/captions.py`). Do not use it where a missed or false caption can harm somebody.

## Data
{manifest["attributions"][0]}.
{len(clips)} recordings, folds {folds}: {licences}.
Each recording with its title, author, licence and source stands in [`{ATTRIBUTIONS}`]({ATTRIBUTIONS}).
The weights are passed on under {manifest["license"]}, as the recordings have it; the licences of the single
recordings stay as they are.

## Recipe
`quantize/recipes/{manifest["name"]}.toml`: scenes of up to two sounds are mixed on the fly
({train["epochs"]} epochs of {train["scenes_per_epoch"]} scenes, none drawn twice), each with
{train["captions_per_scene"]} captions made from its event list. Loss: cross-entropy with label smoothing
{train["label_smoothing"]}, InfoNCE ({train["contrastive_weight"]}) and when each class is heard
({train["activity_weight"]}). The weights are a moving average over the training steps.

## Scores
```json
{json.dumps(manifest["quality"], indent=1)}
```

## Graphs
| role | file | precision | max abs difference from torch |
|---|---|---|---|
{sizes}
""",
        encoding="utf-8",
    )
