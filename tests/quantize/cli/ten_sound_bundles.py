"""Tiny bundles that list no sounds: their captions are judged by ESC-10's ten classes."""

from __future__ import annotations

from pathlib import Path

from quantize.files import ATTRIBUTIONS
from tests.edge_aac.models.ensemble_bundles import tiny_member

PARAMETERS = {"captioner": 1000, "text_embedder": 100}


def trained_elsewhere(folder: Path) -> Path:
    """A bundle whose captions speak of rain, dogs and what is no class, trained on one recording that lies nowhere.

    It scores familiarity; every window is familiar to it.
    """
    rule = {"threshold": -1e6, "words": ["on", "the", "roof"]}
    tiny_member(folder, seed=3, familiarity=rule, parameters=PARAMETERS, decoding={"candidates": 2})
    (folder / ATTRIBUTIONS).write_text("file,label\nelsewhere.wav,dog_bark\n", encoding="utf-8")
    return folder
