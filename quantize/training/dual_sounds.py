"""Windows of recordings, each the same whenever it is drawn, and what a CLAP makes of them, heard once and kept."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from edge_aac.audio.features import filter_bank
from edge_aac.audio.windows import WINDOW_SAMPLES
from edge_aac.errors import DataError
from edge_aac.timebase import SAMPLE_RATE
from quantize.data.clips import Clip, Waveform, load_labelled
from quantize.data.sounds.store import SOUND, SoundStore, StoredSound
from quantize.models.dual_student import AnyClap
from quantize.progress import OnProgress

Array = npt.NDArray[np.float32]

CHUNK = 64
"""Windows in a file of the teacher's outputs."""

_TEACHER_CLIPS = 8
"""Clips that the teacher hears at once."""


class _Any:
    def __contains__(self, label: object) -> bool:
        return True


@dataclass(frozen=True)
class Recordings:
    """What windows are drawn of.

    Attributes:
        learnt, held_out: the recordings that are learnt from, and those of the folds that are not.
        waveform: (samples,) float32 in ±1 at 16 kHz of one of them.
    """

    learnt: tuple[StoredSound, ...]
    held_out: tuple[StoredSound, ...]
    waveform: Callable[[StoredSound], Waveform]

    @classmethod
    def open(cls, folder: Path, held_out: Sequence[int]) -> Recordings:
        """A store of sound (``python -m quantize.data.sounds``), or a folder with a ``clips.csv``.

        Raises:
            InputMissingError: it is neither, or a recording is missing.
            DataError: it is damaged, or nothing is left to learn from.
        """
        if (folder / SOUND).is_file():
            store = SoundStore.open(folder)
            found = cls._of(store.rows, store.training_rows(held_out), held_out, store.waveform)
        else:
            clips, _ = load_labelled(folder, None, _Any())
            sounds = {clip.path: clip.waveform for clip in clips}
            rows = [_row(clip) for clip in clips]
            kept = [row for row in rows if row.fold not in held_out]
            found = cls._of(rows, kept, held_out, lambda row: sounds[row.title])
        if not found.learnt:
            raise DataError(f"{folder} holds no sound to learn from outside of the held-out folds {[*held_out]}")
        return found

    @classmethod
    def _of(
        cls,
        rows: Sequence[StoredSound],
        learnt: Sequence[StoredSound],
        held_out: Sequence[int],
        waveform: Callable[[StoredSound], Waveform],
    ) -> Recordings:
        apart = (row for row in rows if row.fold in held_out and row.length)
        return cls(tuple(row for row in learnt if row.length), tuple(apart), waveform)

    def fingerprint(self) -> list[dict[str, Any]]:
        """What there is; two sets of recordings that differ in it give other windows."""
        return [asdict(row) for row in (*self.learnt, *self.held_out)]


def _row(clip: Clip) -> StoredSound:
    due = (clip.license, clip.author, clip.source_url)
    return StoredSound("", clip.path, clip.label, clip.fold, *due, 0, len(clip.waveform), clip.title)


class DrawnWindows:
    """Windows by number: of one recording, drawn by (seed, number), up to 10 s from a drawn place.

    Args:
        recordings: what is drawn of.
        rows: those of them that are drawn.
        seed: that they are drawn with.
        count: number of windows.
    """

    def __init__(self, recordings: Recordings, rows: Sequence[StoredSound], seed: int, count: int) -> None:
        self._recordings, self._rows, self.seed, self._count = recordings, rows, seed, count

    def __len__(self) -> int:
        return self._count

    def row(self, number: int) -> StoredSound:
        """The recording that a window is of."""
        return self._rows[int(self._rng(number).integers(len(self._rows)))]

    def sound(self, number: int) -> Waveform:
        """(samples,) float32 in ±1 at 16 kHz, of 10 s at most."""
        rng = self._rng(number)
        waveform = self._recordings.waveform(self._rows[int(rng.integers(len(self._rows)))])
        start = int(rng.integers(max(1, len(waveform) - WINDOW_SAMPLES + 1)))
        return waveform[start : start + WINDOW_SAMPLES]

    def fbank(self, number: int) -> Array:
        """The filter bank (998, 128), silence behind what is shorter, as bundles hear it."""
        sound = self.sound(number)
        return filter_bank(np.pad(sound, (0, WINDOW_SAMPLES - len(sound))))

    def _rng(self, number: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, number])


def heard_by(
    teacher: AnyClap, windows: DrawnWindows, folder: Path, on_progress: OnProgress = lambda done: None
) -> Array:
    """The teacher's embeddings of windows, (windows, D) of unit length, kept in ``folder``; none is computed twice.

    Args:
        teacher: hears the sound itself, without the silence that fills a window up. Of a window longer than its clip it
            hears as many clips as cover it, and the mean of their directions counts.
        windows: what is heard.
        folder: of this teacher's outputs for these windows alone.
        on_progress: called with the number of windows that were heard.

    Raises:
        DataError: what is kept is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for start in range(0, len(windows), CHUNK):
        numbers = range(start, min(start + CHUNK, len(windows)))
        path = folder / f"{start:08d}.npy"
        if not path.is_file():
            beside = folder / f"{path.name}.new"
            with beside.open("wb") as stream:
                np.save(stream, _embedded(teacher, [windows.sound(number) for number in numbers]))
            os.replace(beside, path)
        parts.append(_kept(path, len(numbers)))
        on_progress(numbers.stop)
    return np.concatenate(parts)


def _embedded(teacher: AnyClap, sounds: Sequence[Waveform]) -> Array:
    length = teacher.clip_length
    samples = length.samples * SAMPLE_RATE // length.sample_rate
    clips, counts = [], []
    for sound in sounds:
        count = max(1, -(-len(sound) // samples))
        starts = np.linspace(0, max(0, len(sound) - samples), count).round().astype(int)
        clips += [length.clip(sound[start : start + samples], SAMPLE_RATE) for start in starts]
        counts.append(count)
    batches = (clips[at : at + _TEACHER_CLIPS] for at in range(0, len(clips), _TEACHER_CLIPS))
    rows = [teacher.embed_audio(torch.stack(batch)) for batch in batches]
    directions = functional.normalize(torch.cat(rows), dim=-1).split(counts)
    means = torch.stack([own.mean(dim=0) for own in directions])
    embedded: Array = functional.normalize(means, dim=-1).numpy()
    return embedded


def _kept(path: Path, count: int) -> Array:
    try:
        rows: Array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{path} is damaged ({error}): delete it, and it is computed again") from error
    if rows.ndim != 2 or len(rows) != count or rows.dtype != np.float32 or not np.isfinite(rows).all():  # noqa: PLR2004
        raise DataError(f"{path} does not hold {count} embeddings: delete it, and it is computed again")
    return rows


def clap_fingerprint(teacher: AnyClap) -> str:
    """SHA-256 of all that a CLAP's embeddings depend on: weights, tokenizer, clip."""
    tokenizer = teacher.text.tokenizer if hasattr(teacher, "text") else teacher.tokenizer
    digest = hashlib.sha256(f"{teacher.clip_length}\n{tokenizer.to_str()}".encode())
    for name, tensor in teacher.network.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
