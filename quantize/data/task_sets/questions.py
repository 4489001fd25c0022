"""Sets of questions about recordings: ClothoAQA, and a ``questions.csv`` of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_aac.errors import DataError, UsageError
from quantize.data.tables import Row, RowFault, read_table, refusal
from quantize.data.task_sets.contract import (
    ChosenPart,
    Files,
    Question,
    QuestionSet,
    SetPart,
    TaskRecording,
    chosen_split,
    first_folder,
    first_table,
)

OWN_QUESTIONS = "questions.csv"
_SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class _Columns:
    """Names of a table's columns."""

    file: str
    question: str
    answer: str

    @property
    def needed(self) -> tuple[str, str, str]:
        return self.file, self.question, self.answer


def clotho_aqa(folder: Path, part: ChosenPart) -> QuestionSet | None:
    """ClothoAQA (Lipping et al., 2022): ``clotho_aqa_test.csv`` (file_name, QuestionText, answer; a row an answer, so
    that a question has several) and ``audio_files/``; None where it is not there.

    Raises:
        UsageError: there is no such split.
        InputMissingError: the folder of recordings, or one of them, is missing.
        DataError: the table has no such column, or a row that cannot be used.
    """
    tables = {split: folder / f"clotho_aqa_{split}.csv" for split in _SPLITS}
    there = [split for split, table in tables.items() if table.is_file()]
    if not there:
        return None
    split = chosen_split(folder, "ClothoAQA", there, part.only_split("ClothoAQA"), "test")
    columns = _Columns("file_name", "QuestionText", "answer")
    rows = read_table(tables[split], columns.needed).whole()
    audio = first_folder(folder, ("audio_files", f"audio_files/{split}", split, "audio"), "ClothoAQA's recordings")
    questions = _questions(tables[split], rows, audio, columns)
    return QuestionSet(SetPart("ClothoAQA", f"split {split}", (tables[split],)), questions)


def own_questions(folder: Path, part: ChosenPart) -> QuestionSet | None:
    """A folder of one's own: ``questions.csv`` (file, question, answer; also kind and split) beside the recordings;
    None where it is not there. Without a split all are taken.

    Raises:
        UsageError, InputMissingError, DataError: as :func:`clotho_aqa`.
    """
    table = first_table(folder, (OWN_QUESTIONS,))
    if table is None:
        return None
    name = f"{folder.name}/{OWN_QUESTIONS}"
    split = part.only_split(name)
    columns = _Columns("file", "question", "answer")
    rows = read_table(table, columns.needed).whole()
    if split is not None:
        splits = sorted({row.cells.get("split", "").strip() for row in rows} - {""})
        rows = tuple(row for row in rows if row.cells.get("split", "").strip() == split)
        if not rows:
            listed = f"choose one with --split, of {', '.join(splits)}" if splits else "leave --split out"
            raise UsageError(f"{table} has no split {split!r}: {listed}")
    about = SetPart(name, "all" if split is None else f"split {split}", (table,))
    return QuestionSet(about, _questions(table, rows, folder, columns))


def _questions(table: Path, rows: Sequence[Row], audio: Path, columns: _Columns) -> tuple[Question, ...]:
    """The questions of rows; rows of the same question about the same recording are its answers."""
    files, faults = Files(table), []
    recordings: dict[str, TaskRecording] = {}
    answers: dict[tuple[str, str], list[str]] = {}
    kinds: dict[tuple[str, str], str] = {}
    for row in rows:
        name, question, answer = (row.cells[column].strip() for column in columns.needed)
        if not (name and question and answer):
            faults.append(RowFault(row.line, "lacks a file, a question or an answer"))
            continue
        if name not in recordings:
            recordings[name] = TaskRecording(name, files.find(audio, name))
        answers.setdefault((name, question), []).append(answer)
        kinds.setdefault((name, question), row.cells.get("kind", "").strip())
    if faults:
        raise refusal(table, faults)
    if not answers:
        raise DataError(f"{table} holds no question: give another folder")
    files.check()
    return tuple(
        Question(recordings[name], question, tuple(given), kinds[name, question])
        for (name, question), given in answers.items()
    )
