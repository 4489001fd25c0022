"""Captions of stretches of files: Clotho, AudioCaps, or a folder with a table of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import soundfile

from edge_aac.errors import DataError
from quantize.data.manifest_tables import SUFFIXES, AudioFolder, BrokenClip, read_rows
from quantize.data.tables import Row

AUDIOCAPS_CLIP_S = 10.0
LONGEST_CUT_S = 10.5
"""A file named by its video alone is a cut clip up to this length (encoders add a little), else the whole recording."""


@dataclass(frozen=True)
class CaptionedClip:
    """A stretch of a recording and the captions that people wrote of it.

    Attributes:
        name: unique within its manifest.
        path: the sound file.
        captions: at least one, as :func:`plain_text` gives them.
        start_s: start of the stretch in the file, in seconds.
        duration_s: its length in seconds, less where the file ends before; None: to the end of the file.
        split: the part of the corpus that it belongs to; "" where the table says nothing.
        labels: keywords or classes.
        recording: clips of the same recording have the same; "" where only the path tells.
        license, author: what must be said of it when weights trained on it are passed on.
    """

    name: str
    path: Path
    captions: tuple[str, ...]
    start_s: float = 0.0
    duration_s: float | None = None
    split: str = ""
    labels: tuple[str, ...] = ()
    recording: str = ""
    license: str = ""
    author: str = ""

    @property
    def origin(self) -> str:
        """The recording that it is a stretch of; where nothing tells, its file."""
        return self.recording or str(self.path)


@dataclass(frozen=True)
class Manifest:
    """The clips of a table in its order, and those that cannot be used."""

    clips: tuple[CaptionedClip, ...]
    broken: tuple[BrokenClip, ...]


Format = Literal["clotho", "audiocaps", "folder"]


def read_manifest(kind: Format, captions_csv: Path, audio_folder: Path) -> Manifest:
    """The clips of a table in one of the formats below.

    Raises:
        InputMissingError, DataError: as the format's own function.
    """
    if kind == "clotho":
        return clotho_manifest(audio_folder, captions_csv)
    return (audiocaps_manifest if kind == "audiocaps" else folder_manifest)(captions_csv, audio_folder)


def clotho_manifest(
    audio_folder: Path, captions_csv: Path, metadata_csv: Path | None = None, split: str = ""
) -> Manifest:
    """Clotho (Drossos et al., 2020): whole files with five captions each.

    Args:
        audio_folder: holds the files of one of its parts.
        captions_csv: the columns file_name, caption_1 … caption_5.
        metadata_csv: file_name, keywords (separated by ``;``), manufacturer, license; UTF-8 or, as published, Latin-1.
        split: said of all clips, as ``development``.

    Raises:
        InputMissingError: a table or the folder is missing.
        DataError: a table has no such column, or no clip can be used.
    """
    rows = read_rows(captions_csv, ("file_name", *(f"caption_{number}" for number in range(1, 6))))
    about = {}
    if metadata_csv is not None:
        columns = ("file_name", "keywords", "manufacturer", "license")
        about = {
            row.cells["file_name"].strip(): row.cells for row in read_rows(metadata_csv, columns, ("latin-1",)).rows
        }
        if not any(row.cells["file_name"].strip() in about for row in rows.rows):
            raise DataError(f"{metadata_csv} describes no file of {captions_csv}: give the two of the same part")
    collected, files = _Collected(captions_csv, rows.broken), AudioFolder(audio_folder)
    for row in rows.rows:
        name = row.cells["file_name"].strip()
        row_about = about.get(name, {})
        path = files.find(row.cells["file_name"])
        if isinstance(path, str):
            collected.refuse(name, path)
            continue
        clip = CaptionedClip(
            name,
            path,
            rows.captions(row),
            split=split,
            labels=_labels(row_about.get("keywords", "")),
            recording=name,
            license=row_about.get("license", "").strip(),
            author=row_about.get("manufacturer", "").strip(),
        )
        collected.add(clip, row.line)
    return collected.manifest()


def audiocaps_manifest(captions_csv: Path, audio_folder: Path, split: str = "") -> Manifest:
    """AudioCaps (Kim et al., 2019): 10 s out of a video's sound. Rows of the same 10 s are one clip.

    The files are looked for under ``<youtube_id>_<start>``, ``<youtube_id>_<start>_<end>`` (seconds or milliseconds),
    ``<youtube_id>`` (each also with a ``Y`` before it) and ``<audiocap_id>``, with any suffix of :data:`SUFFIXES`.
    Those named by the video alone are cut at ``start_time`` if they are longer than :data:`LONGEST_CUT_S`; all others
    are the 10 s themselves.

    Args:
        captions_csv: the columns audiocap_id, youtube_id, start_time (seconds), caption.
        audio_folder: holds the files, without folders in it.
        split: said of all clips, as ``train``.

    Raises:
        InputMissingError: the table or the folder is missing.
        DataError: the table has no such column, or no clip can be used.
    """
    rows = read_rows(captions_csv, ("audiocap_id", "youtube_id", "start_time", "caption"))
    collected, files = _Collected(captions_csv, rows.broken), AudioFolder(audio_folder)
    groups: dict[tuple[str, float], list[Row]] = {}
    starts: dict[str, set[float]] = {}
    for row in rows.rows:
        video, start_s = row.cells["youtube_id"].strip(), rows.seconds(row.cells["start_time"])
        if not video or start_s is None:
            collected.refuse(video or f"line {row.line}", f"line {row.line} has no youtube_id or no usable start_time")
            continue
        groups.setdefault((video, start_s), []).append(row)
        starts.setdefault(video, set()).add(start_s)
    for (video, start_s), same in groups.items():
        name = f"{video}_{start_s:g}"
        found = _audiocaps_stretch(files, video, start_s, [row.cells["audiocap_id"] for row in same], starts[video])
        if isinstance(found, str):
            collected.refuse(name, found)
            continue
        path, from_s = found
        clip = CaptionedClip(name, path, (), from_s, AUDIOCAPS_CLIP_S, split, recording=video)
        for row in same:
            collected.add(replace(clip, captions=rows.captions(row)), row.line)
    return collected.manifest()


def folder_manifest(captions_csv: Path, audio_folder: Path) -> Manifest:
    """A table of one's own. Rows of the same stretch of the same file are one clip.

    Args:
        captions_csv: the columns ``file`` (relative to the folder) and ``caption`` or ``caption_1``, ``caption_2`` …
            (empty cells are left out). Optional: ``start_s`` and ``duration_s`` in seconds, ``split``, ``labels``
            (separated by ``;``), ``recording``, ``license``, ``author``.
        audio_folder: folder of the files.

    Raises:
        InputMissingError: the table or the folder is missing.
        DataError: the table has no such column, no clip can be used, or a clip stands in two splits.
    """
    rows = read_rows(captions_csv, ("file",))
    if not rows.caption_columns:
        raise DataError(f"{captions_csv} has no column 'caption' nor 'caption_1': name the captions' column so")
    collected, files = _Collected(captions_csv, rows.broken), AudioFolder(audio_folder)
    for row in rows.rows:
        file = row.cells["file"].strip()
        start_s = rows.seconds(row.cells.get("start_s", "") or "0")
        listed = row.cells.get("duration_s", "").strip()
        duration_s = rows.seconds(listed) if listed else None
        path = files.find(row.cells["file"])
        if start_s is None or (listed and not duration_s):
            collected.refuse(file, f"line {row.line} has a start_s or duration_s that is no number of seconds")
        elif isinstance(path, str):
            collected.refuse(file, path)
        else:
            length = "" if duration_s is None else f"+{duration_s:.10g}"
            clip = CaptionedClip(
                file if not start_s and not length else f"{file}@{start_s:.10g}{length}",
                path,
                rows.captions(row),
                start_s,
                duration_s,
                row.cells.get("split", "").strip(),
                _labels(row.cells.get("labels", "")),
                row.cells.get("recording", "").strip() or path.relative_to(audio_folder).as_posix(),
                row.cells.get("license", "").strip(),
                row.cells.get("author", "").strip(),
            )
            collected.add(clip, row.line)
    return collected.manifest()


_Stretch = tuple[Path, float, float | None]


@dataclass
class _Collected:
    """Clips by stretch, captions of the same clip merged; what is refused is kept with its reason."""

    table: Path
    faults: Sequence[BrokenClip]
    clips: dict[_Stretch, CaptionedClip] = field(default_factory=dict)
    keys: dict[str, _Stretch] = field(default_factory=dict)
    refused: dict[BrokenClip, None] = field(default_factory=dict)

    def refuse(self, name: str, reason: str) -> None:
        self.refused[BrokenClip(name, reason)] = None

    def add(self, clip: CaptionedClip, line: int) -> None:
        if not clip.captions:
            self.refuse(clip.name, f"line {line} has no caption")
            return
        key = clip.path, clip.start_s, clip.duration_s
        if self.keys.setdefault(clip.name, key) != key:
            self.refuse(clip.name, f"line {line} has the name of another clip")
            return
        same = self.clips.setdefault(key, clip)
        if same.split != clip.split:
            raise DataError(
                f"{self.table}: {clip.name} stands in the split {same.split!r} and, at line {line}, in {clip.split!r}: "
                "what is trained on must not be tested on; keep one of them"
            )
        self.clips[key] = replace(
            same,
            captions=tuple(dict.fromkeys(same.captions + clip.captions)),
            labels=tuple(dict.fromkeys(same.labels + clip.labels)),
        )

    def manifest(self) -> Manifest:
        broken = (*self.faults, *self.refused)
        if not self.clips:
            why = f" ({broken[0].name}: {broken[0].reason})" if broken else ""
            raise DataError(f"{self.table}: none of its {len(broken)} clips can be used{why}")
        return Manifest(tuple(self.clips.values()), broken)


def _audiocaps_stretch(
    files: AudioFolder, video: str, start_s: float, numbers: Sequence[str], starts: set[float]
) -> tuple[Path, float] | str:
    """The file of 10 s of a video and where they begin in it, or why they cannot be had."""
    end_s = start_s + AUDIOCAPS_CLIP_S
    spans = [
        *(f"_{start_s:{how}}{rest}" for how in ("g", ".1f", ".3f") for rest in ("", f"_{end_s:{how}}")),
        f"_{start_s * 1000:.0f}_{end_s * 1000:.0f}",
    ]
    cut = [f"{prefix}{video}{span}" for span in spans for prefix in ("", "Y")] + [number.strip() for number in numbers]
    refusal = ""
    for name in (*cut, video, f"Y{video}"):
        path = files.find(name + SUFFIXES[0]) if name else ""
        if isinstance(path, Path):
            return (path, 0.0) if name in cut else _whole_or_cut(path, start_s, starts)
        refusal = refusal or path
    return refusal


def _whole_or_cut(path: Path, start_s: float, starts: set[float]) -> tuple[Path, float] | str:
    try:
        length_s = float(soundfile.info(path).duration)
    except soundfile.LibsndfileError as error:
        return f"{path.name} is no sound file that can be read ({str(error.error_string).strip().rstrip('.')})"
    if length_s > LONGEST_CUT_S:
        if start_s < length_s:
            return path, start_s
        return f"{path.name} is {length_s:.1f} s long: neither 10 s nor a recording that reaches {start_s:g} s"
    if len(starts) > 1:
        return f"{path.name} is one clip, but the table has several stretches of that video: which it is is not known"
    return path, 0.0


def _labels(cell: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(label.strip() for label in cell.split(";") if label.strip()))
