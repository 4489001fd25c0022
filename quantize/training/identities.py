"""What a run learns from besides its recipe, kept as hashes in its folder: one that goes on does so with the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_aac.errors import ConfigError
from quantize.models.sentence_embedder import SentenceEmbedder
from quantize.models.weight_files import read_json
from quantize.training.pretrain import FOLDER as PRETRAINING
from quantize.training.recipe import Recipe
from quantize.training.sources import ExampleSource
from quantize.training.stored import StoredExamples
from quantize.training.teacher_texts import teacher_fingerprint

IDENTITIES = "run.json"

_CALLED = {
    "clips": "recordings (--data)",
    "outliers": "outliers (--outliers)",
    "mixups": "mix-ups (--llm-model)",
    "examples": "examples (--examples)",
    "sentence_embedder": "sentence embedder (--sentence-embedder)",
    "heard": "table of what the tagger heard",
    "lexicon": "lexicon",
    "masks": "masks",
    "mixtures": "mixtures",
    "stem": "stem of the encoder (another tagging run)",
    "teacher": "teacher (--teacher)",
}


def identities_of(
    recipe: Recipe, source: ExampleSource, sentence_embedder: SentenceEmbedder | None, stored: StoredExamples | None
) -> dict[str, str]:
    """SHA-256 of each; what a run does not use has none."""
    table = {"recipe": sha256_of(asdict(recipe))}
    table.update({name: sha256_of(part) for name, part in source.fingerprint().items()})
    if stored is not None:
        table["examples"] = sha256_of(stored.reader.metadata)
    train = recipe.train
    uses_embedder = train.contrastive_target == "given" and train.contrastive_weight
    if sentence_embedder is not None and uses_embedder and not (stored is not None and stored.has_text_embeddings):
        table["sentence_embedder"] = teacher_fingerprint(sentence_embedder)
    return table


def note_identities(now: Mapping[str, str], folder: Path) -> None:
    """Keep the table in the folder of its run, or compare it with the one that is kept.

    A run that began before there were such tables goes on without one.

    Raises:
        ConfigError: the run in the folder learns from something else.
        DataError: the table that is kept is damaged.
    """
    path = folder / IDENTITIES
    if path.is_file():
        kept = read_json(path)
        other = [name for name in {**kept, **now} if kept.get(name) != now.get(name)]
        if "recipe" in other:  # which may be why the rest differs
            raise ConfigError(f"{folder} holds a run of another recipe; give a new folder with --run")
        if other:
            called = ", ".join(_CALLED.get(name, name) for name in other)
            raise ConfigError(f"{folder} holds a run with other {called}: give the same, or a new folder with --run")
    elif not any((place / "last.pt").is_file() for place in (folder, folder / PRETRAINING)):
        path.write_text(json.dumps(now, indent=1), encoding="utf-8")


def sha256_of(part: Any) -> str:
    return hashlib.sha256(json.dumps(part, sort_keys=True).encode()).hexdigest()
