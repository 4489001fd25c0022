"""Labelled field recordings: decoded once, trimmed of silence, cut into bursts where single sounds can be counted."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge_aac.audio.sources.file import load_waveform
from edge_aac.errors import DataError, InputMissingError
from edge_aac.timebase import SAMPLE_RATE
from quantize.data.lexicon import LEXICON

Waveform = npt.NDArray[np.float32]

TABLE = "clips.csv"
UNKNOWN_LABEL = "unknown"
"""Of a recording of no known class."""

COLUMNS = ("file", "label", "fold", "title", "author", "license", "source_url")
ENVELOPE_SAMPLES = 160
"""One envelope value every 10 ms."""


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
    clips = []
    for row in _rows(folder, folds):
        if row["label"] in absent:
            continue
        if row["label"] not in LEXICON:
            raise DataError(
                f"{folder / TABLE}: there are no words for the class {row['label']!r} of {row['file']}: "
                "add it to quantize/data/lexicon.py, or give the recording a fold that is not used"
            )
        clips.append(_clip(folder, row))
    if not clips:
        raise DataError(f"{folder / TABLE} lists no clip in folds {folds}")
    return clips


def load_outliers(folder: Path, folds: tuple[int, ...]) -> list[Clip]:
    """Read the recordings of no known class that a ``clips.csv`` lists, each with the label "unknown".

    Args:
        folder, folds: as of :func:`load_clips`.

    Raises:
        InputMissingError: no ``clips.csv`` in the folder, or a recording that it lists is missing.
        DataError: a column is missing, a label is another one, a recording cannot be decoded, or none lies in the
            folds.
    """
    return [_clip(folder, row) for row in outlier_rows(folder, folds)]


def outlier_rows(folder: Path, folds: tuple[int, ...] | None = None) -> list[dict[str, str]]:
    """What the ``clips.csv`` says of the recordings of :func:`load_outliers`; none of these is opened.

    Raises:
        InputMissingError, DataError: as there, but for the recordings themselves.
    """
    rows = list(_rows(folder, folds))
    for row in rows:
        if row["label"] != UNKNOWN_LABEL:
            raise DataError(
                f"{folder / TABLE} calls {row['file']} {row['label']!r}: recordings of no known class are "
                f'labelled "{UNKNOWN_LABEL}", those of known ones are given with --data'
            )
    if not rows:
        raise DataError(f"{folder / TABLE} lists no recording in folds {folds}")
    return rows


def _rows(folder: Path, folds: tuple[int, ...] | None) -> Iterator[dict[str, str]]:
    """Rows of the folder's table that lie in the folds."""
    table = folder / TABLE
    if not table.is_file():
        raise InputMissingError(f"no {TABLE} in {folder}: give a folder of recordings with --data or --outliers")
    with table.open(newline="", encoding="utf-8") as stream:
        rows = csv.DictReader(stream)
        if missing := [name for name in COLUMNS if name not in (rows.fieldnames or ())]:
            raise DataError(f"{table} has no column {missing[0]!r}; it needs {', '.join(COLUMNS)}")
        for row in rows:
            if not row["fold"].isdecimal():
                raise DataError(f"{table}: the fold of {row['file']} is {row['fold']!r}; give a whole number")
            if folds is None or int(row["fold"]) in folds:
                yield row


def _clip(folder: Path, row: dict[str, str]) -> Clip:
    waveform = trim_silence(load_waveform(folder / row["file"]))
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
