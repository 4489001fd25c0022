"""Windows and clips of a user's own recordings, to calibrate with."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge_aac.audio.clips import ClipCutter
from edge_aac.audio.damage import cut_to_the_end
from edge_aac.audio.sources.file import read_channels
from edge_aac.audio.windows import SILENCE_DBFS, WINDOW_SAMPLES, file_windows
from edge_aac.errors import DataError, EdgeAacError, InputMissingError

Array = npt.NDArray[np.float32]
Heard = Callable[[Path], Iterator[tuple[Array, float]]]
"""Gives the parts of a file that a model hears at once, each with its level in dBFS."""

_log = logging.getLogger(__name__)

SOUND_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff")


def recorded_windows(folder: Path, count: int) -> Iterator[Array]:
    """Up to ``count`` windows of a user's recordings, as the device will hear them.

    Every recording gives its first window before any gives its second; digital silence is left out. A file that cannot
    be read, or not to its end, is logged and gives what it can.

    Args:
        folder: sound files, in folders or not.
        count: the most windows to give.

    Yields:
        Filter-bank frames of 10 s, (998, 128).

    Raises:
        InputMissingError: there is no such folder, or no sound file in it.
        DataError: no file can be read, or there is nothing but silence.
    """

    def windows(path: Path) -> Iterator[tuple[Array, float]]:
        return ((window.fbank, window.rms_dbfs) for window in file_windows(path, WINDOW_SAMPLES))

    return _recorded(folder, count, windows)


def recorded_clips(folder: Path, count: int, rate: int, cutter: Callable[[], ClipCutter]) -> Iterator[Array]:
    """Up to ``count`` clips of a user's recordings, as a model hears them that cuts its own; see above.

    Args:
        folder: sound files, in folders or not.
        count: the most clips to give.
        rate: that the model hears, in Hz.
        cutter: makes what cuts the clips of a file.

    Yields:
        Waveforms (samples,).

    Raises:
        InputMissingError, DataError: as :func:`recorded_windows`.
    """

    def clips(path: Path) -> Iterator[tuple[Array, float]]:
        cut = cutter()
        for clip in cut_to_the_end(read_channels(path, rate), cut.push, cut.flush):
            yield clip.waveform, _level_dbfs(clip.waveform)

    return _recorded(folder, count, clips)


def _level_dbfs(waveform: Array) -> float:
    """Of silence, minus infinity."""
    power = float(np.mean(np.square(waveform, dtype=np.float64)))
    return 10.0 * math.log10(power) if power > 0.0 else -math.inf


def _recorded(folder: Path, count: int, heard: Heard) -> Iterator[Array]:
    if not folder.is_dir():
        raise InputMissingError(f"there is no folder {folder}: name one that holds sound files")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SOUND_SUFFIXES and path.is_file())
    if not files:
        raise InputMissingError(f"{folder} holds no sound file: record some WAV or FLAC files into it")
    return _in_turn(folder, files, count, heard)


def _in_turn(folder: Path, files: Sequence[Path], count: int, heard: Heard) -> Iterator[Array]:
    given, turn, remaining = 0, 0, list(files)
    faults: list[EdgeAacError] = []
    while remaining and given < count:
        longer = []
        for path in remaining:
            try:
                # Read anew up to its turn: an open decoder for each of a thousand files would be too many.
                part = next(islice(heard(path), turn, None), None)
            except (DataError, InputMissingError) as error:
                _log.warning("left out, from its %d. window on: %s", turn + 1, error)
                faults.append(error)
                continue
            if part is None:
                continue
            longer.append(path)
            sound, level_dbfs = part
            if level_dbfs > SILENCE_DBFS and given < count:
                given += 1
                yield sound
        remaining, turn = longer, turn + 1
    if not given and faults:
        raise DataError(f"no sound file in {folder} can be used: {faults[0]}")
    if not given:
        raise DataError(f"the sound files in {folder} hold nothing but silence: record some sound")


def encoder_inputs(
    windows: Iterator[npt.NDArray[np.float32]], takes_padding: bool = False
) -> Iterator[dict[str, npt.NDArray[np.generic]]]:
    """Each window as one run of the encoder, nothing of it padding."""
    for fbank in windows:
        inputs: dict[str, npt.NDArray[np.generic]] = {"fbank": fbank[None]}
        if takes_padding:
            inputs["frame_padding"] = np.zeros((1, len(fbank)), np.bool_)
        yield inputs
