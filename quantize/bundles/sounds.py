"""The list of sounds in a bundle, by which a stream knows which phrases of its captions are of one sound."""

from __future__ import annotations

import json
from pathlib import Path

from edge_aac.bundle.hashes import file_sha256
from edge_aac.bundle.json_text import read_json
from edge_aac.bundle.manifest import MANIFEST
from edge_aac.fluency.sound_names import SoundNames
from edge_aac.models.sound_table import sounds_table
from quantize.bundles.bundle_writer import write_manifest

SOUNDS = "sounds.json"


def add_sounds(folder: Path, names: SoundNames) -> None:
    """Write the sounds that a bundle's captions name into it, and have its manifest vouch for them.

    Args:
        folder: of the bundle, whole.
        names: the sounds; those that are there are replaced.

    Raises:
        OSError: the folder cannot be read or written.
        DataError: its manifest cannot be used.
    """
    manifest = read_json(folder / MANIFEST)
    write_manifest(folder, {**manifest, "sounds": write_sounds(folder, names)})


def write_sounds(folder: Path, names: SoundNames) -> dict[str, str]:
    """Write the sounds that a bundle's captions name into its folder; the file as a manifest names it."""
    path = folder / SOUNDS
    path.write_text(json.dumps(sounds_table(names), separators=(",", ":")) + "\n", encoding="utf-8")
    return {"file": SOUNDS, "sha256": file_sha256(path)}
