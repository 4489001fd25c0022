"""One packed store of sound: 16 kHz, 16-bit, mono, read through a memory map, and a table of what lies where.

``sound.npy`` is a one-dimensional int16 array in NumPy's own format, so that ``np.load(path, mmap_mode="r")`` reads it;
``rows.csv`` says of every stretch of it where it came from and under which licence; ``sources.csv`` lists the sources
that are complete. Sources are appended one after another. A run that was broken off leaves at most the sound of one
source behind, which the next one cuts off again.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge_aac.errors import DataError, DeviceError, InputMissingError
from edge_aac.timebase import SAMPLE_RATE
from quantize.data.clips import Waveform

SOUND, ROWS, SOURCES, COPIES = "sound.npy", "rows.csv", "sources.csv", "copies.csv"
OURS = "edge-aac"
"""Author of what is spoken and computed."""

FULL_SCALE = 32767
HEADER_BYTES = 128

Samples = npt.NDArray[np.int16]


@dataclass(frozen=True)
class StoredSound:
    """One stretch of the store.

    Attributes:
        source: name of what it was collected from, as ``esc10``, ``debian:hedgewars-data`` or ``voices``.
        title: path or description within the source.
        label: what is heard, in the source's own word, or "" where nobody said.
        fold: number by which sound is held out; sounds of one hand share a fold.
        license, author, source_url: what must be said of it when weights trained on it are passed on.
        start, length: place in the store, in samples.
        work: what its author calls it, where that is another name than ``title``.
    """

    source: str
    title: str
    label: str
    fold: int
    license: str
    author: str
    source_url: str
    start: int = 0
    length: int = 0
    work: str = ""


_COLUMNS = tuple(entry.name for entry in fields(StoredSound))


class StoreWriter:
    """Appends whole sources to a store.

    Args:
        folder: is made if need be; what a broken-off run left of an incomplete source is removed.

    Raises:
        DataError: the folder holds a store that was changed by other hands.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._samples_of = _read_sources(folder / SOURCES)
        self.samples = sum(self._samples_of.values())
        sound = folder / SOUND
        if not sound.exists():
            sound.write_bytes(_header(0))
        if sound.stat().st_size < HEADER_BYTES + 2 * self.samples:
            raise DataError(f"{sound} is shorter than {SOURCES} says: remove {folder} and collect again")
        os.truncate(sound, HEADER_BYTES + 2 * self.samples)
        self._write_header()
        rows = _read_rows(folder / ROWS) if (folder / ROWS).exists() else []
        kept = [row for row in rows if row.source in self._samples_of]
        if len(kept) < len(rows) or not (folder / ROWS).exists():
            (folder / ROWS).write_text(_csv(kept, head=True), encoding="utf-8")

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the complete sources."""
        return tuple(self._samples_of)

    def append(self, source: str, sounds: Iterable[tuple[StoredSound, Samples]]) -> int:
        """Append all sounds of a source, which is complete then.

        Args:
            source: its name, not yet in the store.
            sounds: description (``start`` and ``length`` are filled in here) and samples, drawn one by one.

        Returns:
            How many sounds there were.

        Raises:
            DataError: the source is in the store already.
            DeviceError: the store cannot be written.
        """
        if source in self._samples_of:
            raise DataError(f"{source} is in {self.folder} already")
        rows: list[StoredSound] = []
        position = self.samples
        try:
            with (self.folder / SOUND).open("r+b") as stream:
                stream.seek(HEADER_BYTES + 2 * self.samples)
                for described, samples in sounds:
                    stream.write(np.ascontiguousarray(samples, dtype="<i2").tobytes())
                    rows.append(replace(described, source=source, start=position, length=len(samples)))
                    position += len(samples)
                stream.truncate()
                stream.flush()
                os.fsync(stream.fileno())
            _appended(self.folder / ROWS, _csv(rows, head=False))
            _appended(self.folder / SOURCES, f"{source},{len(rows)},{position - self.samples}\n")
            self._samples_of[source] = position - self.samples
            self.samples = position
            self._write_header()
        except OSError as error:
            raise DeviceError(
                f"{self.folder} cannot be written ({error.strerror}): make room and run it again"
            ) from error
        return len(rows)

    def _write_header(self) -> None:
        with (self.folder / SOUND).open("r+b") as stream:
            stream.write(_header(self.samples))


@dataclass(frozen=True)
class SoundStore:
    """A store for reading.

    Attributes:
        sound: (samples,) int16, memory-mapped.
        rows: its table.
        copies: source and title of sounds that are copies of labelled ones, with the folds of these.
    """

    sound: Samples
    rows: tuple[StoredSound, ...]
    copies: Mapping[tuple[str, str], frozenset[int]] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path) -> SoundStore:
        """Open a folder that :class:`StoreWriter` filled.

        Raises:
            InputMissingError: there is no store in the folder.
            DataError: its table names sound that is not there.
        """
        if not (folder / SOUND).is_file() or not (folder / ROWS).is_file():
            raise InputMissingError(f"no store of sound in {folder}: python -m quantize.data.sounds makes one")
        sound = np.load(folder / SOUND, mmap_mode="r")
        complete = _read_sources(folder / SOURCES)
        rows = tuple(row for row in _read_rows(folder / ROWS) if row.source in complete)
        if any(row.start + row.length > len(sound) for row in rows):
            raise DataError(f"{folder / ROWS} lists sound that {SOUND} does not hold: collect it again")
        return cls(sound, rows, _read_copies(folder / COPIES))

    def folds_but(self, folds: Collection[int]) -> tuple[int, ...]:
        """The folds that the store has besides these, in order."""
        return tuple(sorted({row.fold for row in self.rows} - {*folds}))

    def training_rows(self, held_out: Collection[int]) -> list[StoredSound]:
        """The rows of all folds but those that are held out, without copies of what lies in these."""
        return [
            row
            for row in self.rows
            if row.fold not in held_out and not self.copies.get((row.source, row.title), frozenset()) & set(held_out)
        ]

    def waveform(self, row: StoredSound) -> Waveform:
        """The sound of a row; (length,) float32 in −1 … 1."""
        return self.sound[row.start : row.start + row.length].astype(np.float32) / np.float32(FULL_SCALE)

    def hours(self) -> dict[str, float]:
        """Hours of sound by source."""
        total: dict[str, float] = {}
        for row in self.rows:
            total[row.source] = total.get(row.source, 0.0) + row.length / SAMPLE_RATE / 3600.0
        return total


def sixteen_bit(waveform: npt.NDArray[np.floating]) -> Samples:
    """A waveform in −1 … 1 as 16-bit samples; what exceeds full scale is scaled down as a whole, not clipped."""
    peak = float(np.abs(waveform).max(initial=0.0))
    steps: Samples = np.rint(waveform * (FULL_SCALE / max(peak, 1.0))).astype(np.int16)
    return steps


def _header(samples: int) -> bytes:
    written = io.BytesIO()
    # The same number of bytes whatever the length, so that it can be written over.
    text = f"{{'descr': '<i2', 'fortran_order': False, 'shape': ({samples},), }}"
    written.write(b"\x93NUMPY\x01\x00" + (HEADER_BYTES - 10).to_bytes(2, "little"))
    written.write(text.encode().ljust(HEADER_BYTES - 11) + b"\n")
    return written.getvalue()


def _csv(rows: Sequence[StoredSound], head: bool) -> str:
    written = io.StringIO()
    table = csv.DictWriter(written, _COLUMNS, lineterminator="\n")
    if head:
        table.writeheader()
    table.writerows(asdict(row) for row in rows)
    return written.getvalue()


def _appended(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8", newline="") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def _read_rows(path: Path) -> list[StoredSound]:
    rows = []
    with path.open(newline="", encoding="utf-8") as stream:
        for cells in csv.DictReader(stream):
            said = (cells["source"], cells["title"], cells["label"], int(cells["fold"]))
            due = (cells["license"], cells["author"], cells["source_url"])
            place = int(cells["start"]), int(cells["length"])
            # Stores that were filled before have no such column.
            rows.append(StoredSound(*said, *due, *place, cells.get("work") or ""))
    return rows


def _read_copies(path: Path) -> dict[tuple[str, str], frozenset[int]]:
    if not path.exists():
        return {}
    copies: dict[tuple[str, str], frozenset[int]] = {}
    with path.open(newline="", encoding="utf-8") as stream:
        for cells in csv.DictReader(stream):
            named = (cells["source"], cells["title"])
            copies[named] = copies.get(named, frozenset()) | {int(cells["fold"])}
    return copies


def _read_sources(path: Path) -> dict[str, int]:
    if not path.exists():
        return {}
    samples_of = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        source, _, samples = line.rsplit(",", 2)
        samples_of[source] = int(samples)
    return samples_of
