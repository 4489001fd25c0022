"""The labelled recordings that a bundle of everyday sounds is measured with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_aac.bundle.hashes import file_sha256
from edge_aac.errors import UsageError
from quantize.data.clips import TABLE, Clip, load_labelled
from quantize.data.everyday.lexicon import Lexicon
from quantize.data.lexicon import LABELS
from quantize.evaluation.everyday.truth import Collection


@dataclass(frozen=True)
class Labelled:
    """A recording, and the sound that its label says it is."""

    clip: Clip
    sound: str
    collection: Collection


@dataclass(frozen=True)
class Folder:
    """What a folder of recordings holds of a fold.

    Attributes:
        path: the folder.
        recordings: those whose label is a sound's.
        skipped: label that is no sound's → number of recordings.
    """

    path: Path
    recordings: tuple[Labelled, ...]
    skipped: Counter[str]

    @property
    def facts(self) -> dict[str, object]:
        """What ``scores.json`` says of it."""
        return {
            "folder": self.path.resolve().name,
            "clips_csv_sha256": file_sha256(self.path / TABLE),
            "recordings": len(self.recordings),
            "skipped": dict(sorted(self.skipped.items())),
        }


def read_folders(
    lexicon: Lexicon, paths: Sequence[Path], folds: tuple[int, ...] | None, sounds: Container[str] | None = None
) -> list[Folder]:
    """The recordings of some folds (None: of all) in several folders, those of ``sounds`` alone (None: of all).

    A folder of ESC-10's ten classes and no others is a collection of its own.

    Raises:
        InputMissingError, DataError: as :func:`quantize.data.clips.load_labelled`.
    """
    wanted = {label for label, sound in lexicon.by_label.items() if sounds is None or sound in sounds}
    folders = []
    for path in paths:
        clips, skipped = load_labelled(path, folds, wanted)
        # By all that the table lists, so that it does not depend on the fold.
        _, listed = load_labelled(path, None, ())
        collection: Collection = "ten" if listed.keys() <= set(LABELS) else "everyday"
        recordings = tuple(Labelled(clip, lexicon.by_label[clip.label], collection) for clip in clips)
        folders.append(Folder(path, recordings, skipped))
    return folders


def absent_sounds(lexicon: Lexicon, asked: Sequence[str], trained_labels: Iterable[str]) -> frozenset[str]:
    """The sounds that ``asked`` (sounds or labels of recordings) name, and all that are examples of them.

    Raises:
        UsageError: there is no such sound or label, or the bundle was trained on it.
    """
    trained = {lexicon.by_label.get(label, label) for label in trained_labels}
    absent: set[str] = set()
    for name in asked:
        sound = lexicon.by_label.get(name, name)
        if sound not in lexicon.sounds:
            raise UsageError(
                f"there is no sound {name!r} for --absent: use a name or a label of quantize/data/everyday/english.toml"
            )
        family = {one for one in lexicon.sounds if one == sound or sound in lexicon.names.ancestors(one)}
        if heard := sorted(family & trained):
            raise UsageError(f"the bundle was trained on {heard[0]}: give --absent a sound that it never heard")
        absent |= family
    return frozenset(absent)
