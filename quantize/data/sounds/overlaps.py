"""Recordings that are held out and lie in what is trained on all the same, under another name.

Games and sound themes pass the same open recordings on to each other. Each 16 ms of a sound gives 32 bits: whether the
difference between neighbouring bands grows or shrinks (Haitsma and Kalker, *A Highly Robust Audio Fingerprinting
System*, 2002). They survive another level, another codec and a cut, so that a copy is found wherever a stretch of half
a second agrees; another speed is not.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge_aac.timebase import SAMPLE_RATE
from quantize.data.sounds.store import COPIES, OURS, SoundStore, StoredSound
from quantize.data.waveform_cache import write_atomically

FRAME, HOP = 2048, 256
_BANDS = 33
_SHORTEST_FRAMES = 24
"""Frames that must agree: 0.38 s and the length of a frame."""
_DIFFERING_BITS = 0.2
_QUIET = 1e-3
_CANDIDATES = 64

_Words = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class Overlap:
    """A sound that holds a stretch of a held-out one.

    Attributes:
        held_out, found: rows of the two.
        seconds: length of the stretch in which their bits were compared.
        differing: share of the bits that differ; of unrelated sounds half do.
    """

    held_out: StoredSound
    found: StoredSound
    seconds: float
    differing: float


def overlaps(store: SoundStore, held_out: Sequence[StoredSound], others: Sequence[StoredSound]) -> list[Overlap]:
    """The sounds among others that share a stretch with a held-out one, at most one finding for each."""
    prints = [fingerprints(store, row) for row in held_out]
    words = np.concatenate([own for own, _ in prints] or [np.zeros(0, np.uint32)])
    owner = np.repeat(np.arange(len(prints)), [len(own) for own, _ in prints])
    place = np.concatenate([np.arange(len(own)) for own, _ in prints] or [np.zeros(0, np.int64)])
    usable = np.concatenate([heard for _, heard in prints] or [np.zeros(0, bool)])
    words, owner, place = words[usable], owner[usable], place[usable]
    order = np.argsort(words)
    words, owner, place = words[order], owner[order], place[order]
    found = []
    for row in others:
        own, heard = fingerprints(store, row)
        frames = np.flatnonzero(heard)
        first, last = np.searchsorted(words, own[frames], "left"), np.searchsorted(words, own[frames], "right")
        tried: dict[tuple[int, int], int] = {}
        for frame, start, end in zip(frames.tolist(), first.tolist(), last.tolist(), strict=True):
            for match in range(start, min(end, start + _CANDIDATES)):
                shift = (int(owner[match]), frame - int(place[match]))
                tried[shift] = tried.get(shift, 0) + 1
        for (index, offset), _ in sorted(tried.items(), key=lambda item: -item[1])[:_CANDIDATES]:
            compared = _compared(prints[index], (own, heard), offset)
            if compared is not None and compared[1] < _DIFFERING_BITS:
                found.append(Overlap(held_out[index], row, *compared))
                break
    return found


def copies_of_labelled(store: SoundStore) -> list[Overlap]:
    """The sounds out of packages that hold a labelled recording, of whatever fold."""
    labelled = [row for row in store.rows if row.label and ":" not in row.source and row.author != OURS]
    return overlaps(store, labelled, [row for row in store.rows if ":" in row.source])


def write_copies(folder: Path, copies: Sequence[Overlap]) -> None:
    """Note copies in a store, which from then on counts them to the fold of what they are copies of, too."""
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    table.writerow(("source", "title", "fold", "copy_of", "seconds", "differing_bits"))
    for copy in copies:
        said = (copy.found.source, copy.found.title, copy.held_out.fold, copy.held_out.title)
        table.writerow((*said, f"{copy.seconds:.2f}", f"{copy.differing:.3f}"))
    write_atomically(folder / COPIES, written.getvalue().encode())


def fingerprints(store: SoundStore, row: StoredSound) -> tuple[_Words, npt.NDArray[np.bool_]]:
    """The 32 bits of each 16 ms, and where there is sound enough for them to mean something."""
    waveform = store.waveform(row)
    if len(waveform) < FRAME + HOP:
        return np.zeros(0, np.uint32), np.zeros(0, bool)
    frames = np.lib.stride_tricks.sliding_window_view(waveform, FRAME)[::HOP]
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(FRAME).astype(np.float32), axis=1)) ** 2
    edges = np.round(np.geomspace(200.0, 6000.0, _BANDS + 1) * FRAME / SAMPLE_RATE).astype(int)
    bands = np.log(np.add.reduceat(spectrum, edges, axis=1)[:, :_BANDS] + 1e-9)
    slope = np.diff(bands, axis=1)
    bits = np.diff(slope, axis=0) > 0.0
    words = (bits << np.arange(_BANDS - 1, dtype=np.uint64)).sum(axis=1).astype(np.uint32)
    level = np.sqrt(np.square(frames).mean(axis=1))
    heard = level[1:] > max(_QUIET, 0.01 * float(level.max()))
    return words, heard


def _compared(
    one: tuple[_Words, npt.NDArray[np.bool_]], other: tuple[_Words, npt.NDArray[np.bool_]], offset: int
) -> tuple[float, float] | None:
    """Seconds in which both are heard and the share of bits that differ there, the second shifted by the offset."""
    start, end = max(0, -offset), min(len(one[0]), len(other[0]) - offset)
    if end - start < _SHORTEST_FRAMES:
        return None
    both = one[1][start:end] & other[1][start + offset : end + offset]
    if both.sum() < _SHORTEST_FRAMES:
        return None
    differing = (one[0][start:end] ^ other[0][start + offset : end + offset])[both]
    return float(both.sum()) * HOP / SAMPLE_RATE, float(np.unpackbits(differing.view(np.uint8)).mean())
