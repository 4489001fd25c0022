"""Labelled field recordings: decoded once, trimmed of silence, cut into bursts where single sounds can be counted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from edge_aac.audio.sources.file import load_waveform
from edge_aac.errors import DataError, InputMissingError
from edge_aac.timebase import SAMPLE_RATE
from quantize.data.lexicon import LEXICON
from quantize.data.tables import Row, RowFault, read_table, refusal

Waveform = npt.NDArray[np.float32]

TABLE = "clips.csv"
UNKNOWN_LABEL = "unknown"
"""Of a recording of no known class."""

COLUMNS = ("file", "label", "fold", "title", "author", "license", "source_url")
ENVELOPE_SAMPLES = 160
"""One envelope value every 10 ms."""

_WHOLE_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True)
class Burst:
    """One countable sound of a clip, from ``start`` up to ``end`` (samples)."""

    start: int
    end: int


@dataclass(frozen=True)
class Clip:
    """One recording and what must be said of it when weights trained on it are passed on."""

    path: str
    label: str
    fold: int
    title: str
    author: str
    license: str
    source_url: str
    waveform: Waveform
    bursts: tuple[Burst, ...]


def load_clips(folder: Path, folds: tuple[int, ...], absent: tuple[str, ...] = ()) -> list[Clip]:
    """Read ``clips.csv`` and the recordings of the given folds.

    Args:
        folder: holds ``clips.csv`` with the columns file, label, fold, title, author, license, source_url.
        folds: the folds to read; no other recording is opened.
        absent: classes that are left out.

    Raises:
        InputMissingError: no ``clips.csv`` in the folder, or a recording that it lists is missing.
        DataError: a column is missing, a label has no words, a recording cannot be decoded, or no clip lies in the
            folds.
    """

    def unfit(row: Row) -> str:
        if row.cells["label"] in LEXICON:
            return ""
        return (
            f"has no words for the class {row.cells['label']!r} of {row.cells['file']}: add it to "
            "quantize/data/lexicon.py, or give the recording a fold that is not used"
        )

    rows = _rows(folder, folds, absent, unfit)
    if not rows:
        raise DataError(f"{folder / TABLE} lists no clip in folds {folds}")
    return _clips(folder, rows)


def load_labelled(
    folder: Path, folds: tuple[int, ...] | None, labels: Container[str]
) -> tuple[list[Clip], Counter[str]]:
    """Read the recordings of the given folds (None: of all) whose label is one of ``labels``.

    Returns:
        The recordings, and how many of each other label were passed over; none of these is opened.

    Raises:
        InputMissingError: no ``clips.csv`` in the folder, or a recording is missing.
        DataError: a column is missing, a row cannot be used, or a recording cannot be decoded.
    """
    rows = _rows(folder, folds)
    known = [row for row in rows if row.cells["label"] in labels]
    return _clips(folder, known), Counter(row.cells["label"] for row in rows if row.cells["label"] not in labels)


def folds_of(folder: Path, labels: Sequence[str]) -> tuple[int, ...]:
    """The folds in which a ``clips.csv`` lists recordings of these classes, in order.

    Raises:
        InputMissingError: no ``clips.csv`` in the folder.
        DataError: a column is missing, or a row cannot be used.
    """
    rows = _rows(folder, None)
    return tuple(sorted({int(row.cells["fold"]) for row in rows if row.cells["label"] in labels}))


def load_outliers(folder: Path, folds: tuple[int, ...]) -> list[Clip]:
    """Read the recordings of no known class that a ``clips.csv`` lists, each with the label "unknown".

    Args:
        folder, folds: as of :func:`load_clips`.

    Raises:
        InputMissingError: no ``clips.csv`` in the folder, or a recording that it lists is missing.
        DataError: a column is missing, a label is another one, a recording cannot be decoded, or none lies in the
            folds.
    """
    return _clips(folder, _outliers(folder, folds))


def outlier_rows(folder: Path, folds: tuple[int, ...] | None = None) -> list[dict[str, str]]:
    """What the ``clips.csv`` says of the recordings of :func:`load_outliers`; none of these is opened.

    Raises:
        InputMissingError, DataError: as there, but for the recordings themselves.
    """
    return [row.cells for row in _outliers(folder, folds)]


def _outliers(folder: Path, folds: tuple[int, ...] | None) -> list[Row]:
    def unfit(row: Row) -> str:
        if row.cells["label"] == UNKNOWN_LABEL:
            return ""
        return (
            f"calls {row.cells['file']} {row.cells['label']!r}: recordings of no known class are labelled "
            f'"{UNKNOWN_LABEL}", those of known ones are given with --data'
        )

    rows = _rows(folder, folds, (), unfit)
    if not rows:
        raise DataError(f"{folder / TABLE} lists no recording in folds {folds}")
    return rows


def _rows(
    folder: Path,
    folds: tuple[int, ...] | None,
    absent: Sequence[str] = (),
    unfit: Callable[[Row], str] = lambda row: "",
) -> list[Row]:
    """Rows of the folder's table that lie in the folds and are of no absent class.

    Raises:
        DataError: one of these, or one of which this cannot be told, cannot be used; ``unfit`` gives why, or "".
    """
    path = folder / TABLE
    if not path.is_file():
        raise InputMissingError(f"no {TABLE} in {folder}: give a folder of recordings with --data or --outliers")
    table = read_table(path, COLUMNS)
    rows, faults = [], list(table.faults)
    for written in table.rows:
        row = Row(written.line, {**written.cells, **{name: written.cells[name].strip() for name in ("fold", "label")}})
        if not _WHOLE_NUMBER.fullmatch(row.cells["fold"]):
            fold = row.cells["fold"]
            faults.append(RowFault(row.line, f"gives {row.cells['file']} the fold {fold!r}: give a whole number"))
        elif (folds is None or int(row.cells["fold"]) in folds) and row.cells["label"] not in absent:
            reason = unfit(row) or _out_of_folder(row.cells["file"])
            rows += [] if reason else [row]
            faults += [RowFault(row.line, reason)] if reason else []
    if faults:
        raise refusal(path, sorted(faults, key=lambda fault: fault.line))
    return rows


def _out_of_folder(file: str) -> str:
    path = PurePosixPath(file)
    if path.is_absolute() or ".." in path.parts:
        return f"names {file}, which leads out of the folder of the table: put the recording into it"
    return "" if file else "names no file"


def _clips(folder: Path, rows: Sequence[Row]) -> list[Clip]:
    """The clips of the rows.

    Raises:
        InputMissingError: recordings are missing or cannot be opened, and no other fault was found.
        DataError: recordings cannot be decoded. Either message lists all faults.
    """
    clips: list[Clip] = []
    faults: list[RowFault] = []
    damaged = False
    for row in rows:
        try:
            clips.append(_clip(folder, row.cells))
        except (DataError, InputMissingError, OSError) as error:
            faults.append(RowFault(row.line, f"lists {row.cells['file']}: {str(error).rstrip('.')}"))
            damaged = damaged or isinstance(error, DataError)
    if faults:
        refused = refusal(folder / TABLE, faults)
        raise refused if damaged else InputMissingError(str(refused))
    return clips


def _clip(folder: Path, row: Mapping[str, str]) -> Clip:
    path = folder / row["file"]
    if path.exists() and not path.is_file():  # reading a pipe or a device may never end
        raise DataError(f"'{path}' is no file: give a sound file")
    waveform = trim_silence(load_waveform(path))
    return Clip(
        path=row["file"],
        label=row["label"],
        fold=int(row["fold"]),
        title=row["title"],
        author=row["author"],
        license=row["license"],
        source_url=row["source_url"],
        waveform=waveform,
        bursts=find_bursts(waveform),
    )


def trim_silence(waveform: Waveform, floor: float = 1e-4) -> Waveform:
    """Cut leading and trailing stretches below ``floor`` (ESC pads short sounds with digital silence)."""
    loud = np.flatnonzero(np.abs(waveform) > floor)
    return waveform[loud[0] : loud[-1] + 1] if loud.size else waveform


def envelope_db(waveform: Waveform) -> npt.NDArray[np.float64]:
    """Level of every 10 ms in dB relative to the loudest 10 ms; (ceil(samples / 160),)."""
    padded = np.pad(waveform.astype(np.float64), (0, -len(waveform) % ENVELOPE_SAMPLES))
    power = np.square(padded).reshape(-1, ENVELOPE_SAMPLES).mean(axis=1)
    levels: npt.NDArray[np.float64] = 10.0 * np.log10(np.maximum(power / max(power.max(), 1e-12), 1e-12))
    return levels


def find_bursts(
    waveform: Waveform, onset_db: float = -18.0, join_s: float = 0.22, shortest_s: float = 0.04
) -> tuple[Burst, ...]:
    """Find the separate sounds of a recording: stretches above ``onset_db`` of its peak.

    Stretches closer than ``join_s`` are one burst (the two halves of a bark, the catch of breath in a sneeze);
    shorter ones than ``shortest_s`` are dropped as clicks. Bursts get 50 ms of their surroundings on each side.
    """
    loud = envelope_db(waveform) > onset_db
    edges = np.flatnonzero(np.diff(np.concatenate([[False], loud, [False]]).astype(np.int8)))
    stretches = edges.reshape(-1, 2) * ENVELOPE_SAMPLES
    joined: list[list[int]] = []
    for start, end in stretches.tolist():
        if joined and start - joined[-1][1] < join_s * SAMPLE_RATE:
            joined[-1][1] = end
        else:
            joined.append([start, end])
    margin = round(0.05 * SAMPLE_RATE)
    return tuple(
        Burst(max(0, start - margin), min(len(waveform), end + margin))
        for start, end in joined
        if end - start >= shortest_s * SAMPLE_RATE
    )
