"""Labelled sets: ESC-50, UrbanSound8K, FSD50K, and a ``clips.csv`` of one's own."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from edge_aac.errors import DataError, UsageError
from quantize.data.clips import TABLE, UNKNOWN_LABEL
from quantize.data.tables import Row, RowFault, read_table, refusal
from quantize.data.task_sets.contract import (
    ChosenPart,
    Files,
    LabelledRecording,
    LabelledSet,
    SetPart,
    TaskRecording,
    chosen_split,
    first_table,
)

ESC50_TABLES = ("meta/esc50.csv", "esc50.csv")
URBANSOUND_TABLES = ("metadata/UrbanSound8K.csv", "UrbanSound8K.csv")
FSD50K_FOLDER = "FSD50K.ground_truth"

_WHOLE_NUMBER = re.compile(r"[0-9]{1,9}")


def esc50(folder: Path, part: ChosenPart) -> LabelledSet | None:
    """ESC-50 (Piczak, 2015): ``meta/esc50.csv`` (filename, fold, category) and ``audio/``; None where it is not there.

    Raises:
        UsageError: there is no such part.
        InputMissingError: a recording of the part is missing.
        DataError: the table has no such column, or a row that cannot be used.
    """
    table = first_table(folder, ESC50_TABLES)
    if table is None:
        return None
    files, audio = Files(table), folder / "audio"
    rows = _Rows.read(table, "ESC-50", "filename", "category")

    def recording(row: Row) -> TaskRecording:
        name = row.cells["filename"].strip()
        # 1-100032-A-0.wav: ESC-10 as others cut and list it has no number of the class.
        return TaskRecording(name, files.find(audio, name), (PurePosixPath(name).stem.rpartition("-")[0],))

    found = [LabelledRecording(recording(row), (row.cells["category"],)) for row in rows.of(part)]
    files.check()
    return rows.labelled_set(found, part)


def urbansound8k(folder: Path, part: ChosenPart) -> LabelledSet | None:
    """UrbanSound8K (Salamon et al., 2014): ``metadata/UrbanSound8K.csv`` (slice_file_name, fold, class) and
    ``audio/fold1/`` …; None where it is not there.

    Raises:
        UsageError, InputMissingError, DataError: as :func:`esc50`.
    """
    table = first_table(folder, URBANSOUND_TABLES)
    if table is None:
        return None
    files = Files(table)
    rows = _Rows.read(table, "UrbanSound8K", "slice_file_name", "class")
    found = []
    for row in rows.of(part):
        name, fold = row.cells["slice_file_name"].strip(), row.cells["fold"]
        path = files.find(folder / "audio" / f"fold{int(fold)}", name)
        found.append(LabelledRecording(TaskRecording(name, path), (row.cells["class"],)))
    files.check()
    return rows.labelled_set(found, part)


def own_clips(folder: Path, part: ChosenPart) -> LabelledSet | None:
    """A folder as edge-aac trains on: ``clips.csv`` (file, label, fold), recordings of no known class left out; None
    where it is not there.

    Raises:
        UsageError, InputMissingError, DataError: as :func:`esc50`.
    """
    table = first_table(folder, (TABLE,))
    if table is None:
        return None
    files = Files(table)
    rows = _Rows.read(table, f"{folder.name}/{TABLE}", "file", "label")
    found = []
    for row in rows.of(part):
        name = row.cells["file"].strip()
        found.append(LabelledRecording(TaskRecording(name, files.find(folder, name)), (row.cells["label"],)))
    files.check()
    return rows.labelled_set(found, part, "file")


def fsd50k(folder: Path, part: ChosenPart) -> LabelledSet | None:
    """FSD50K (Fonseca et al., 2022): ``FSD50K.ground_truth/dev.csv`` and ``eval.csv`` (fname, labels between commas;
    of dev also split), ``FSD50K.dev_audio/`` and ``FSD50K.eval_audio/``; None where it is not there.

    Its splits are "eval", "dev", and "train" and "val", which are parts of dev.

    Raises:
        UsageError, InputMissingError, DataError: as :func:`esc50`.
    """
    tables = {name: folder / FSD50K_FOLDER / f"{name}.csv" for name in ("dev", "eval")}
    tables = {name: table for name, table in tables.items() if table.is_file()}
    if not tables:
        return None
    there = [*tables, *(("train", "val") if "dev" in tables else ())]
    split = chosen_split(folder, "FSD50K", there, part.only_split("FSD50K"), "eval")
    section = "eval" if split == "eval" else "dev"
    columns = ("fname", "labels", "split") if split in {"train", "val"} else ("fname", "labels")
    files, audio = Files(tables[section]), folder / f"FSD50K.{section}_audio"
    found: list[LabelledRecording] = []
    for row in read_table(tables[section], columns).whole():
        if split in {"train", "val"} and row.cells["split"].strip() != split:
            continue
        labels = _several(row)
        if not labels:
            raise refusal(tables[section], [RowFault(row.line, "has no label")])
        name = f"{row.cells['fname'].strip()}.wav"
        found.append(LabelledRecording(TaskRecording(name, files.find(audio, name)), labels))
    if not found:
        raise DataError(f"{tables[section]} lists no recording of the split {split!r}: choose another --split")
    files.check()
    everywhere = (
        label for table in tables.values() for row in read_table(table, ("labels",)).rows for label in _several(row)
    )
    about = SetPart("FSD50K", f"split {split}", tuple(tables.values()))
    return LabelledSet(about, _sorted(everywhere), True, tuple(found))


def _several(row: Row) -> tuple[str, ...]:
    return tuple(dict.fromkeys(label.strip() for label in row.cells["labels"].split(",") if label.strip()))


def _sorted(labels: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(labels)))


@dataclass(frozen=True)
class _Rows:
    """The rows of a table with folds and one label a recording."""

    table: Path
    name: str
    label_column: str
    rows: tuple[Row, ...]

    @classmethod
    def read(cls, table: Path, name: str, file_column: str, label_column: str) -> _Rows:
        """Read them; folds are whole numbers, labels are there, and :data:`UNKNOWN_LABEL` is none.

        Raises:
            DataError: a column is missing, a row cannot be used, or none is left.
        """
        rows, faults = [], []
        for row in read_table(table, (file_column, "fold", label_column)).whole():
            cells = {**row.cells, **{column: row.cells[column].strip() for column in ("fold", label_column)}}
            if not _WHOLE_NUMBER.fullmatch(cells["fold"]):
                faults.append(RowFault(row.line, f"has the fold {cells['fold']!r}, which is no whole number"))
            elif not cells[label_column]:
                faults.append(RowFault(row.line, f"has no {label_column}"))
            elif cells[label_column] != UNKNOWN_LABEL:
                rows.append(Row(row.line, cells))
        if faults:
            raise refusal(table, faults)
        if not rows:
            raise DataError(f"{table} lists no recording with a label: give another folder")
        return cls(table, name, label_column, tuple(rows))

    def of(self, part: ChosenPart) -> list[Row]:
        """The rows of a part.

        Raises:
            UsageError: there is no such part.
        """
        fold = part.only_fold(self.name)
        folds = sorted({int(row.cells["fold"]) for row in self.rows})
        if fold is not None and fold not in folds:
            raise UsageError(
                f"{self.table} has no fold {fold}: choose one with --fold, of {', '.join(map(str, folds))}"
            )
        return [row for row in self.rows if fold is None or int(row.cells["fold"]) == fold]

    def labelled_set(
        self, recordings: list[LabelledRecording], part: ChosenPart, path_column: str | None = None
    ) -> LabelledSet:
        """The set of these recordings, with the labels of all rows.

        Args:
            recordings: those of the part.
            part: the part.
            path_column: column with a path that is a recording's own; None where names are compared without folders.
        """
        own = {each.recording.name for each in recordings}
        listed = {row.cells[path_column].strip() for row in self.rows} if path_column else set()
        which = "all folds" if part.fold is None else f"fold {part.fold}"
        about = SetPart(self.name, which, (self.table,), frozenset(listed - own))
        labels = _sorted(row.cells[self.label_column] for row in self.rows)
        return LabelledSet(about, labels, False, tuple(recordings))
