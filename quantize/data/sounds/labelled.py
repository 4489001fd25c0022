"""Folders of labelled recordings, with the ``clips.csv`` that ``--data`` reads, as a source of the store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edge_aac.errors import DataError, InputMissingError
from edge_aac.timebase import SAMPLE_RATE
from quantize.data.clips import COLUMNS, TABLE
from quantize.data.sounds.store import Samples, StoredSound, sixteen_bit
from quantize.data.tables import read_table, refusal
from quantize.data.waveform_cache import decoded_stretch

LONGEST_S, SHORTEST_S = 10.0, 0.05


def labelled_sounds(folder: Path) -> Iterator[tuple[StoredSound, Samples]]:
    """The recordings of a folder, each at most 10 s, under the labels and in the folds of its table.

    The labels need no words in a lexicon: a teacher tells what is heard.

    Raises:
        InputMissingError: the folder has no ``clips.csv``, or a recording is missing.
        DataError: the table or a recording cannot be used.
    """
    if not (folder / TABLE).is_file():
        raise InputMissingError(f"no {TABLE} in {folder}: give a folder of labelled recordings")
    table = read_table(folder / TABLE, COLUMNS)
    if table.faults:
        raise refusal(folder / TABLE, table.faults)
    for row in table.rows:
        cells = row.cells
        if not cells["fold"].strip().isdigit():
            raise DataError(f"{folder / TABLE} gives {cells['file']} the fold {cells['fold']!r}: give a whole number")
        waveform = decoded_stretch(folder / cells["file"], 0.0, LONGEST_S)
        if len(waveform) < SHORTEST_S * SAMPLE_RATE or not np.any(waveform):
            continue
        said = (cells["file"], cells["label"].strip(), int(cells["fold"]), cells["license"], cells["author"])
        yield StoredSound("", *said, cells["source_url"], work=cells["title"].strip()), sixteen_bit(waveform)
