"""Copies of the shipped bundle that say they were trained on nothing that tests make."""

from __future__ import annotations

import shutil
from pathlib import Path

from edge_aac.bundle.store import open_bundle


def copy_trained_elsewhere(folder: Path) -> Path:
    """The shipped bundle in a new folder, trained on one recording that lies nowhere."""
    shutil.copytree(open_bundle("esc10-tiny").folder, folder)
    (folder / "ATTRIBUTIONS.csv").write_text("file,label\nelsewhere.wav,dog_bark\n", encoding="utf-8")
    return folder
