"""What a set of recordings holds for a task, whatever its layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from edge_aac.errors import InputMissingError, UsageError
from quantize.data.manifest_tables import AudioFolder
from quantize.data.manifests import Manifest
from quantize.data.tables import counted


@dataclass(frozen=True)
class ChosenPart:
    """The part of a set that a user asks for.

    Attributes:
        fold: number of a fold; None is all of them.
        split: name of a split; None is the one that the set's authors test on.
    """

    fold: int | None = None
    split: str | None = None

    def only_fold(self, name: str) -> int | None:
        """The fold, of a set that has folds.

        Raises:
            UsageError: a split was asked for.
        """
        if self.split is not None:
            raise UsageError(f"{name} has folds, no splits: give --fold in place of --split {self.split}")
        return self.fold

    def only_split(self, name: str) -> str | None:
        """The split, of a set that has splits.

        Raises:
            UsageError: a fold was asked for.
        """
        if self.fold is not None:
            raise UsageError(f"{name} has splits, no folds: give --split in place of --fold {self.fold}")
        return self.split


@dataclass(frozen=True)
class SetPart:
    """Which part of which set it is.

    Attributes:
        name: of the set, as its authors write it.
        part: in words: "fold 1", "all folds", "split evaluation".
        tables: files that were read.
        others: recordings of the set that are not of this part, named as the tables name them; empty where that is not
            known.
    """

    name: str
    part: str
    tables: tuple[Path, ...]
    others: frozenset[str] = frozenset()


@dataclass(frozen=True)
class TaskRecording:
    """A recording that is heard.

    Attributes:
        name: unique within its set.
        path: the sound file.
        aliases: names under which lists of training recordings may have it, too.
    """

    name: str
    path: Path
    aliases: tuple[str, ...] = ()

    @property
    def stems(self) -> frozenset[str]:
        """Its names without folders and suffixes, as lists of training recordings are searched for them."""
        return frozenset(PurePosixPath(name).stem for name in (self.name, *self.aliases))


@dataclass(frozen=True)
class LabelledRecording:
    """A recording and its labels, at least one."""

    recording: TaskRecording
    labels: tuple[str, ...]


@dataclass(frozen=True)
class LabelledSet:
    """Recordings with labels.

    Attributes:
        about: which part of which set.
        labels: all labels of the set, from A to Z, as its tables write them; also those that the part has no
            recording of.
        multi_label: whether a recording may have several.
        recordings: those of the part, in the table's order.
    """

    about: SetPart
    labels: tuple[str, ...]
    multi_label: bool
    recordings: tuple[LabelledRecording, ...]


@dataclass(frozen=True)
class CaptionedSet:
    """Recordings with reference captions; those that cannot be used are among ``manifest.broken``."""

    about: SetPart
    manifest: Manifest


@dataclass(frozen=True)
class Question:
    """A question about a recording.

    Attributes:
        recording: what is asked about.
        text: the question.
        answers: of people, one each; at least one.
        kind: kind of question, as the table says; "" where it says nothing.
    """

    recording: TaskRecording
    text: str
    answers: tuple[str, ...]
    kind: str = ""


@dataclass(frozen=True)
class QuestionSet:
    """Questions with their answers, in the table's order."""

    about: SetPart
    questions: tuple[Question, ...]


@dataclass
class Files:
    """The sound files of a set whose tables must all be there.

    Args:
        table: names of files come from here.
    """

    table: Path
    _folders: dict[Path, AudioFolder] = field(default_factory=dict)
    _missing: list[str] = field(default_factory=list)

    def find(self, folder: Path, name: str) -> Path:
        """The file of that name; a missing one is told by :meth:`check`.

        Raises:
            InputMissingError: there is no such folder.
        """
        if folder not in self._folders:
            self._folders[folder] = AudioFolder(folder)
        found = self._folders[folder].find(name)
        if isinstance(found, Path):
            return found
        self._missing.append(f"{folder / name} ({found})")
        return folder / name

    def check(self) -> None:
        """Refuse a set of which recordings are missing.

        Raises:
            InputMissingError: some are.
        """
        if self._missing:
            missing = counted(len(self._missing), "recording")
            raise InputMissingError(
                f"{missing} of {self.table} cannot be found, {self._missing[0]} for one: put all recordings there"
            )


def first_table(folder: Path, places: Sequence[str]) -> Path | None:
    """The first of the places in a folder that holds a file; None where none does."""
    return next((folder / place for place in places if (folder / place).is_file()), None)


def first_folder(folder: Path, places: Sequence[str], what: str) -> Path:
    """The first of the places in a folder that is a folder itself.

    Raises:
        InputMissingError: none is.
    """
    for place in places:
        if (folder / place).is_dir():
            return folder / place
    raise InputMissingError(f"{folder} has no folder of {what}: it is looked for as {', '.join(places)}")


def chosen_split(folder: Path, name: str, there: Sequence[str], asked: str | None, tested: str) -> str:
    """The split that was asked for, or that the set's authors test on.

    Args:
        folder: of the set, for the message.
        name: of the set.
        there: splits whose tables lie in the folder.
        asked: split that was asked for; None for none.
        tested: split that the authors test on.

    Raises:
        UsageError: there is no such split.
    """
    wanted = asked or tested
    if wanted not in there:
        raise UsageError(f"{name} in {folder} has no split {wanted!r}: choose one with --split, of {', '.join(there)}")
    return wanted
