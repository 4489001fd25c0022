"""Each clip decoded, averaged to mono, resampled to 16 kHz and cut once; from then on read from a cache."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile

from edge_aac.audio.resample import MonoResampler
from edge_aac.audio.sources.file import read_blocks
from edge_aac.errors import DataError, DeviceError, InputMissingError
from edge_aac.timebase import SAMPLE_RATE
from quantize.data.clips import Waveform
from quantize.data.manifest_tables import BrokenClip
from quantize.data.manifests import CaptionedClip

SHORTEST_S = 0.1
FULL_SCALE = 2**15
_LAYOUT = 2  # counts up when the same file would be cached otherwise

# Formats in which libsndfile's seek is exact, and before the seek some sound for the resampling filter to fill.
_SEEKABLE = ("WAV", "WAVEX", "RF64", "FLAC", "AIFF")
_LEAD_S = 1
_NOT_WORTH_A_SEEK_S = 5
_UNKNOWN_FRAMES = 2**62


@dataclass(frozen=True)
class CacheReport:
    """What of a corpus can be used.

    Attributes:
        ready: clips that lie in the cache, in the order in which they were given.
        broken: the others, with their reasons.
    """

    ready: tuple[CaptionedClip, ...]
    broken: tuple[BrokenClip, ...]

    def write(self, folder: Path) -> None:
        """Write ``clips.json`` (counts and broken clips) and ``broken.csv`` (name, reason) into a folder.

        Raises:
            DeviceError: the folder cannot be written.
        """
        table = {"ready": len(self.ready), "broken": len(self.broken), "clips": [asdict(clip) for clip in self.broken]}
        lines = io.StringIO()
        rows = csv.writer(lines)
        rows.writerow(["name", "reason"])
        rows.writerows([clip.name, clip.reason] for clip in self.broken)
        write_atomically(folder / "clips.json", (json.dumps(table, indent=2, ensure_ascii=False) + "\n").encode())
        write_atomically(folder / "broken.csv", lines.getvalue().encode())


class WaveformCache:
    """A folder of 16-bit FLAC at 16 kHz mono, one file a clip; any number of processes may fill it at once.

    A file stands under the hash of path, size and time of change of its source and of the stretch that is cut, so a
    changed source is decoded again. That a clip is broken is remembered in the same way, in a small JSON file.

    Sound that exceeds ±1 is divided by its peak and multiplied again when it is read, so nothing is clipped; what is
    read differs from what was decoded by at most a 16-bit step of the peak.

    Args:
        folder: need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def prepare(
        self,
        clips: Sequence[CaptionedClip],
        progress: Callable[[int, int], None] | None = None,
        jobs: int = 1,
        retry_broken: bool = False,
    ) -> CacheReport:
        """Decode what is not in the cache yet.

        Args:
            clips: clips of any manifests.
            progress: function that is called after each clip with the number of clips that are done and of all.
            jobs: threads that decode.
            retry_broken: decode clips again that were broken before, though their files have not changed.

        Raises:
            DeviceError: the cache cannot be written, as when its disk is full.
        """
        reasons: list[str] = []
        with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
            try:
                for reason in pool.map(lambda clip: self._kept(clip, retry_broken), clips):
                    reasons.append(reason)
                    if progress is not None:
                        progress(len(reasons), len(clips))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        judged = list(zip(clips, reasons, strict=True))
        return CacheReport(
            tuple(clip for clip, reason in judged if not reason),
            tuple(BrokenClip(clip.name, reason) for clip, reason in judged if reason),
        )

    def waveform(self, clip: CaptionedClip) -> Waveform:
        """The sound of a clip, decoded now if it is not in the cache.

        Returns:
            (samples,) float32 at 16 kHz; at least 0.1 s, at most the clip's ``duration_s``.

        Raises:
            InputMissingError: its file is not there or cannot be read.
            DataError: it is broken.
            DeviceError: the cache cannot be written.
        """
        place = self._place(clip)
        if (cached := _read(place)) is not None:
            return cached
        place.unlink(missing_ok=True)
        if reason := self._kept(clip, retry_broken=False):
            raise DataError(f"the clip {clip.name} cannot be used: {reason}")
        if (cached := _read(place)) is None:
            raise DeviceError(f"{place} was written and cannot be read again: check the disk of {self.folder}")
        return cached

    def _kept(self, clip: CaptionedClip, retry_broken: bool) -> str:
        """Why a clip is broken, or "" once it lies in the cache."""
        try:
            place = self._place(clip)
            verdict = place.with_suffix(".json")
            if place.is_file():
                return ""
            if verdict.is_file() and not retry_broken:
                return str(json.loads(verdict.read_text(encoding="utf-8"))["reason"])
            try:
                _store(clip, place)
            except DataError as error:
                content = {"name": clip.name, "reason": str(error).rstrip(".")}
                write_atomically(verdict, json.dumps(content).encode())
                raise
            verdict.unlink(missing_ok=True)
        except (DataError, InputMissingError) as error:
            # A missing file leaves no verdict: it may be back the next time.
            return str(error).rstrip(".")
        return ""

    def _place(self, clip: CaptionedClip) -> Path:
        try:
            path = clip.path.resolve(strict=True)
            found = path.stat()
        except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
            raise InputMissingError(f"'{clip.path}' is not there or cannot be read: check the path") from error
        identity = [_LAYOUT, str(path), found.st_size, found.st_mtime_ns, clip.start_s, clip.duration_s]
        key = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:40]
        return self.folder / key[:2] / f"{key}.flac"


def decoded_stretch(path: Path, start_s: float = 0.0, duration_s: float | None = None) -> Waveform:
    """A stretch of a sound file, without decoding what comes after it, nor, where the format seeks exactly, before it.

    Args:
        path: any file that :func:`edge_aac.audio.sources.file.read_blocks` reads.
        start_s, duration_s: stretch to decode, in seconds; None is to the end.

    Returns:
        Mono samples at 16 kHz, float32, shape (samples,); empty where the file ends before the start.

    Raises:
        InputMissingError: there is no such file, or it cannot be read.
        DataError: the file is not sound, or is damaged before the end of the stretch.
    """
    start = round(start_s * SAMPLE_RATE)
    end = None if duration_s is None else start + round(duration_s * SAMPLE_RATE)
    # Opening checks the header, whatever is read afterwards.
    blocks = read_blocks(path)
    if start_s < _NOT_WORTH_A_SEEK_S:
        return _taken(blocks, start, end)
    # A descriptor, not a name: libsndfile would guess the format of some files from their suffix.
    with soundfile.SoundFile(os.open(path, os.O_RDONLY), closefd=True) as sound:
        if sound.format not in _SEEKABLE or not start_s * sound.samplerate < sound.frames < _UNKNOWN_FRAMES:
            return _taken(blocks, start, end)
        # Whole seconds: there the samples of both rates fall together.
        skipped_s = int(start_s) - _LEAD_S
        sound.seek(skipped_s * sound.samplerate)
        skipped = skipped_s * SAMPLE_RATE
        return _taken(_resampled(sound, path, skipped_s), start - skipped, None if end is None else end - skipped)


def write_atomically(path: Path, content: bytes, durable: bool = False) -> None:
    """Write a file beside its place and move it there: whoever reads sees all of it or none.

    Args:
        path: its folder is made if need be.
        content: bytes of the file.
        durable: wait until it is on the disk, for what could not be made again after a loss of power.

    Raises:
        DeviceError: it cannot be written, as when the disk is full.
    """
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside.open("xb") as stream:
                stream.write(content)
                stream.flush()
                if durable:
                    os.fsync(stream.fileno())
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(path.parent, error) from error


def unwritable(folder: Path, error: OSError) -> DeviceError:
    """The error for a user whose folder takes no more."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return DeviceError(f"the disk of {folder} is full: make room, then run the same command again")
    return DeviceError(f"{folder} cannot be written ({error.strerror}): give another folder, or change its permissions")


def _store(clip: CaptionedClip, place: Path) -> None:
    try:
        waveform = decoded_stretch(clip.path, clip.start_s, clip.duration_s)
    except OSError as error:  # a disk that is damaged, a network that is gone
        raise InputMissingError(f"'{clip.path}' cannot be read ({error.strerror or error}): check the file") from error
    if len(waveform) < SHORTEST_S * SAMPLE_RATE:
        raise DataError(
            f"'{clip.path}' holds {len(waveform) / SAMPLE_RATE:.3f} s from {clip.start_s:g} s on, less than "
            f"{SHORTEST_S} s: leave the clip out, or give another start"
        )
    write_atomically(place, _flac(waveform))


def _taken(blocks: Iterator[Waveform], start: int, end: int | None) -> Waveform:
    """Samples ``start`` up to ``end`` of what the blocks hold together; no block is drawn after that."""
    pieces: list[Waveform] = []
    position = 0
    for block in blocks:
        if position + len(block) > start:
            pieces.append(block[max(0, start - position) : None if end is None else max(0, end - position)])
        position += len(block)
        if end is not None and position >= end:
            break
    return np.concatenate([np.zeros(0, np.float32), *pieces])


def _resampled(sound: soundfile.SoundFile, path: Path, skipped_s: int) -> Iterator[Waveform]:
    """What comes from where the file was sought to, a second at a time."""
    resampler = MonoResampler(sound.samplerate)
    due, read = sound.frames - sound.tell(), 0
    while read < due:
        at_s = skipped_s + read / sound.samplerate
        try:
            frames = sound.read(sound.samplerate, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise DataError(f"'{path}' is damaged after {at_s:.2f} s: copy it again from where it came from") from error
        if not len(frames):
            raise DataError(f"'{path}' is truncated after {at_s:.2f} s: copy it again from where it came from")
        if not np.isfinite(frames).all():
            raise DataError(f"'{path}' holds samples that are no numbers (NaN or infinite): export it again as FLAC")
        read += len(frames)
        yield resampler.accept(frames)
    yield resampler.flush()


def _flac(waveform: Waveform) -> bytes:
    peak = float(np.abs(waveform).max())
    gain = max(1.0, peak)
    steps = np.clip(np.rint(waveform * (FULL_SCALE / gain)), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    content = io.BytesIO()
    with soundfile.SoundFile(content, "w", SAMPLE_RATE, 1, "PCM_16", format="FLAC") as sound:
        sound.comment = repr(gain)
        sound.write(steps)
    return content.getvalue()


def _read(place: Path) -> Waveform | None:
    """What lies in the cache; None where nothing does, or a crash left half a file."""
    try:
        with soundfile.SoundFile(place) as sound:
            waveform: Waveform = sound.read(dtype="float32")
            if len(waveform) < sound.frames:
                return None
            return waveform * np.float32(sound.comment)
    except (soundfile.LibsndfileError, ValueError):
        return None
