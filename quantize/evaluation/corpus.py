"""Corpora with reference captions: what is said of each recording, and what people said of it."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from edge_aac.audio.windows import WINDOW_SAMPLES, file_windows
from edge_aac.captioner.captioner import Captioner, window_rng
from edge_aac.captioner.rerank import ScoredCaption
from edge_aac.errors import DataError, InputMissingError

CLOTHO_CAPTIONS = tuple(f"caption_{number}" for number in range(1, 6))
AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")


class CorpusFormat(str, Enum):
    """Columns of the manifest.

    clotho: file_name, caption_1 … caption_5. audiocaps: youtube_id, start_time, caption, a row a caption. folder: file,
    caption, a row a caption.
    """

    CLOTHO = "clotho"
    AUDIOCAPS = "audiocaps"
    FOLDER = "folder"


@dataclass(frozen=True)
class ReferencedRecording:
    """A recording and its reference captions; ``candidates`` are the file names it may have."""

    name: str
    candidates: tuple[str, ...]
    references: tuple[str, ...]


@dataclass(frozen=True)
class SaidRecording:
    """What was said of a recording: the caption of the 10 s window with the highest hybrid score."""

    name: str
    references: tuple[str, ...]
    windows: int
    best: ScoredCaption


@dataclass
class SaidCorpus:
    """What was said of a corpus; ``skipped`` holds each recording that could not be used, and why."""

    recordings: list[SaidRecording] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


def read_references(manifest: Path, kind: CorpusFormat) -> list[ReferencedRecording]:
    """Read the manifest; rows of the same recording are joined, in the order of their first row.

    Raises:
        InputMissingError: there is no such file.
        DataError: a column is missing, or it lists nothing.
    """
    if not manifest.is_file():
        raise InputMissingError(f"no file {manifest}: correct --manifest")
    grouped: dict[tuple[str, ...], list[str]] = {}
    for candidates, texts in _rows(manifest, kind):
        grouped.setdefault(candidates, []).extend(text for text in texts if text and text.strip())
    if not grouped:
        raise DataError(f"{manifest} lists no recording: give a manifest with a row for each")
    return [ReferencedRecording(names[0], names, tuple(texts)) for names, texts in grouped.items()]


def say_corpus(
    captioner: Captioner,
    recordings: list[ReferencedRecording],
    audio: Path,
    seed: int,
    progress: Callable[[int], None] = lambda done: None,
) -> SaidCorpus:
    """Caption every recording; those without sound or references are skipped and listed.

    Raises:
        InputMissingError: no folder ``audio``.
        DataError: not one recording could be used.
    """
    if not audio.is_dir():
        raise InputMissingError(f"no folder {audio}: give the folder of the recordings with --audio")
    corpus = SaidCorpus()
    for done, recording in enumerate(recordings, 1):
        path = next((audio / name for name in recording.candidates if (audio / name).is_file()), None)
        if path is None:
            corpus.skipped[recording.name] = "no such file"
        elif not recording.references:
            corpus.skipped[recording.name] = "no reference caption"
        else:
            try:
                corpus.recordings.append(_say(captioner, path, recording, seed))
            except (DataError, InputMissingError) as error:
                corpus.skipped[recording.name] = str(error)
        progress(done)
    if not corpus.recordings:
        name, reason = next(iter(corpus.skipped.items()))
        raise DataError(f"none of {len(recordings)} recordings could be used, {name} for one: {reason}")
    return corpus


def _say(captioner: Captioner, path: Path, recording: ReferencedRecording, seed: int) -> SaidRecording:
    said = [
        captioner.caption(window.fbank, window_rng(seed, window.start), sound_samples=window.samples).best
        for window in file_windows(path, WINDOW_SAMPLES)
    ]
    best = max(said, key=lambda caption: caption.hybrid)
    return SaidRecording(recording.name, recording.references, len(said), best)


def _rows(manifest: Path, kind: CorpusFormat) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    with manifest.open(newline="", encoding="utf-8-sig") as stream:
        table = csv.DictReader(stream)
        needed = {
            CorpusFormat.CLOTHO: ("file_name", *CLOTHO_CAPTIONS),
            CorpusFormat.AUDIOCAPS: ("youtube_id", "start_time", "caption"),
            CorpusFormat.FOLDER: ("file", "caption"),
        }[kind]
        if missing := [name for name in needed if name not in (table.fieldnames or ())]:
            raise DataError(f"{manifest} has no column {missing[0]!r}; --format {kind.value} needs {', '.join(needed)}")
        for row in table:
            if kind is CorpusFormat.CLOTHO:
                yield (row["file_name"],), [row[name] for name in CLOTHO_CAPTIONS]
            elif kind is CorpusFormat.FOLDER:
                yield (row["file"],), [row["caption"]]
            else:
                yield _audiocaps_names(row["youtube_id"], row["start_time"]), [row["caption"]]


def _audiocaps_names(video: str, start: str) -> tuple[str, ...]:
    """AudioCaps hands out no sound, so its users name the files in several ways."""
    stems = (f"{video}_{start}", f"{video}", f"Y{video}")
    return tuple(stem + suffix for stem in stems for suffix in AUDIO_SUFFIXES)
