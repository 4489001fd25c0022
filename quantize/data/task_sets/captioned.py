"""Sets with reference captions: Clotho, AudioCaps, and a ``captions.csv`` of one's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edge_aac.errors import DataError, InputMissingError, UsageError
from quantize.data.manifests import Manifest, audiocaps_manifest, clotho_manifest, folder_manifest
from quantize.data.task_sets.contract import (
    CaptionedSet,
    ChosenPart,
    SetPart,
    chosen_split,
    first_folder,
    first_table,
)

OWN_TABLE = "captions.csv"
_CLOTHO_SPLITS = ("development", "validation", "evaluation")
_AUDIOCAPS_SPLITS = ("train", "val", "test")


def clotho(folder: Path, part: ChosenPart) -> CaptionedSet | None:
    """Clotho (Drossos et al., 2020): ``clotho_captions_evaluation.csv`` and a folder ``evaluation/``, or both as
    archives unpack them; None where it is not there.

    Raises:
        UsageError: there is no such split.
        InputMissingError: the folder of recordings is missing.
        DataError: the table has no such column, or no recording can be used.
    """
    found = {
        split: table
        for split in _CLOTHO_SPLITS
        if (
            table := first_table(folder, [f"{below}clotho_captions_{split}.csv" for below in ("", "clotho_csv_files/")])
        )
    }
    if not found:
        return None
    split = chosen_split(folder, "Clotho", list(found), part.only_split("Clotho"), "evaluation")
    places = (split, *(f"{below}{split}" for below in ("clotho_audio_", "clotho_audio_files/", "audio/")), "audio")
    audio = first_folder(folder, places, f"Clotho's {split} recordings")
    manifest = clotho_manifest(audio, found[split], split=split)
    return CaptionedSet(SetPart("Clotho", f"split {split}", (found[split],)), manifest)


def audiocaps(folder: Path, part: ChosenPart) -> CaptionedSet | None:
    """AudioCaps (Kim et al., 2019): ``test.csv`` (audiocap_id, youtube_id, start_time, caption) and the recordings in
    ``audio/test/``, ``test/``, ``audio/`` or beside it; None where it is not there.

    Raises:
        UsageError, InputMissingError, DataError: as :func:`clotho`.
    """
    found = {}
    for split in _AUDIOCAPS_SPLITS:
        names = [f"{below}{start}{split}.csv" for below in ("", "dataset/") for start in ("", "audiocaps_")]
        table = first_table(folder, names)
        if table and _is_audiocaps(table):
            found[split] = table
    if not found:
        return None
    split = chosen_split(folder, "AudioCaps", list(found), part.only_split("AudioCaps"), "test")
    places = (f"audio/{split}", split, f"audiocaps_{split}", "audio", ".")
    manifest = audiocaps_manifest(found[split], first_folder(folder, places, "AudioCaps' recordings"), split)
    return CaptionedSet(SetPart("AudioCaps", f"split {split}", (found[split],)), manifest)


def _is_audiocaps(table: Path) -> bool:
    """Whether the line of columns names one that no other set has; many sets have a ``test.csv``."""
    try:
        with table.open("rb") as stream:
            head = stream.readline(4096)
    except OSError as error:
        raise InputMissingError(f"{table} cannot be read ({error.strerror}): check its permissions") from error
    return b"audiocap_id" in head or b"youtube_id" in head


def own_captions(folder: Path, part: ChosenPart) -> CaptionedSet | None:
    """A folder of one's own: ``captions.csv`` as :func:`quantize.data.manifests.folder_manifest` reads it, beside the
    recordings; None where it is not there. Without a split all are taken.

    Raises:
        UsageError, InputMissingError, DataError: as :func:`clotho`.
    """
    table = first_table(folder, (OWN_TABLE,))
    if table is None:
        return None
    split = part.only_split(f"{folder.name}/{OWN_TABLE}")
    manifest = folder_manifest(table, folder)
    about = SetPart(f"{folder.name}/{OWN_TABLE}", "all" if split is None else f"split {split}", (table,))
    return CaptionedSet(about, manifest if split is None else _of_split(manifest, table, split))


def _of_split(manifest: Manifest, table: Path, split: str) -> Manifest:
    clips = tuple(clip for clip in manifest.clips if clip.split == split)
    if clips:
        return replace(manifest, clips=clips)
    there = sorted({clip.split for clip in manifest.clips if clip.split})
    if not there:
        raise DataError(f"{table} has no splits in a column 'split': leave --split {split} out")
    raise UsageError(f"{table} has no split {split!r}: choose one with --split, of {', '.join(there)}")
