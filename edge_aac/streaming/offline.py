"""Files from their first to their last window: the steps of a stream, without a clock."""

from __future__ import annotations

import logging
import math
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge_aac import signals
from edge_aac.audio.windows import Window, file_windows
from edge_aac.errors import DataError, EdgeAacError, InputMissingError
from edge_aac.models.contract import Description, Undecoded, WindowModel, hears_sound
from edge_aac.models.seq2seq import window_rng
from edge_aac.records import Record
from edge_aac.streaming.batches import describe_loud
from edge_aac.streaming.building import RecordBuilder, file_span, undescribed
from edge_aac.streaming.channel import ChannelSettings
from edge_aac.timebase import SAMPLE_RATE

BATCH_WINDOWS = 8
"""Windows that are described together; more gain little, and hold up the first caption."""

_NULL_DEVICE = os.makedev(1, 3)
_STANDARD_INPUT = Path("/dev/stdin")

log = logging.getLogger(__name__)


def describe_windows(
    windows: Iterable[Window], model: WindowModel, settings: ChannelSettings
) -> Iterator[tuple[Window, Description | DataError | None]]:
    """Describe windows in batches.

    Yields:
        Each window in order, with its description, the error that it caused, or None where it is silent.

    Raises:
        EdgeAacError: what ``windows`` raises, after everything before it was given; or the model cannot go on.
    """
    source = iter(windows)
    failure: EdgeAacError | None = None
    while failure is None:
        batch: list[Window] = []
        ended = False
        while len(batch) < BATCH_WINDOWS:
            try:
                batch.append(next(source))
            except StopIteration:
                ended = True
                break
            except EdgeAacError as error:
                failure = error
                break
        rngs = [
            window_rng(settings.seed, window.start) if settings.level_gate.passes(window) else None for window in batch
        ]
        # Nothing is left undecoded where no question is given.
        for window, outcome in zip(batch, describe_loud(model, list(zip(batch, rngs, strict=True))), strict=True):
            assert not isinstance(outcome, Undecoded)
            yield window, outcome
        if ended:
            return
    raise failure


class FileCaptioner:
    """Captions whole files.

    Args:
        model: describes the windows.
        node: name of the device.
        settings: gates and seed; a caption is published for every window that passes them.
        hop_samples: samples at 16 kHz from the start of a window to the start of the next.
        publish: function that is given the records; it may wait.
    """

    def __init__(
        self,
        model: WindowModel,
        node: str,
        settings: ChannelSettings,
        hop_samples: int,
        publish: Callable[[Record], None],
    ) -> None:
        self._model = model
        self._node = node
        self._settings = settings
        self._hop_samples = hop_samples
        self._publish = publish

    def caption(self, path: Path) -> None:
        """Caption all windows of a file; one that cannot be described does not keep the others from it.

        Args:
            path: a file or a pipe, as the user named it.

        Raises:
            InputMissingError: the file is not there, cannot be read, or is nothing that has an end, as a device.
            EdgeAacError: the file cannot be read to its end, or the first window that could not be described.
        """
        name = str(path)
        builder = RecordBuilder(self._node, name, self._model.identity)
        failure: DataError | None = None
        seq = 0
        silence = _Silence()
        try:
            for window, description in describe_windows(self._windows(path), self._model, self._settings):
                signals.exit_if_swallowed()
                silence.windows += 1
                span = file_span(window.start, window.start + window.samples)
                where = f"{name}: from {span.start_s} s to {span.end_s} s"
                if description is None:
                    silence.add(window)
                    log.debug("%s: silent (%.1f dBFS at most, A-weighted)", where, window.audible_dbfs)
                elif isinstance(description, DataError):
                    log.warning("%s: not captioned: %s", where, description)
                    end = window.start + window.samples
                    failure = failure or undescribed(name, window.start, end, description)
                elif not (verdict := self._settings.privacy.judge(description)).published:
                    log.info("%s: private, not published", where)
                elif not self._settings.score_gate.passes(description):
                    log.info("%s: unsure (%s)", where, description.confidence)
                else:
                    record = builder.caption(seq, span, window, description)
                    self._publish(record.model_copy(update={"speech": True}) if verdict.speech else record)
                    seq += 1
        finally:
            if silence.silent:
                log.info("%s: %s", name, silence.sentence())
        if failure is not None:
            raise failure

    def _windows(self, path: Path) -> Iterator[Window]:
        with readable(path):
            yield from file_windows(path, self._hop_samples, keeps_sound=hears_sound(self._model))


@dataclass
class _Silence:
    """What of a file was silent.

    Attributes:
        windows: number of windows so far.
        silent: number of those below the level gate.
        seconds: length of the sound in these; what two of them share counts once.
        loudest_dbfs: highest A-weighted level of any of these.
    """

    windows: int = 0
    silent: int = 0
    seconds: float = 0.0
    loudest_dbfs: float = -math.inf
    _end: int = 0

    def add(self, window: Window) -> None:
        """Count a window that lies below the gate; windows come in the order of their starts."""
        end = window.start + window.samples
        self.silent += 1
        self.seconds += max(0, end - max(self._end, window.start)) / SAMPLE_RATE
        self.loudest_dbfs = max(self.loudest_dbfs, window.audible_dbfs)
        self._end = end

    def sentence(self) -> str:
        """The whole in words."""
        return (
            f"{self.silent} of {self.windows} windows silent ({self.seconds:.1f} s, at most {self.loudest_dbfs:.1f} "
            "dBFS A-weighted), not captioned"
        )


def in_turn(files: Sequence[Path], act: Callable[[Path], None]) -> int:
    """Do the same with each file; one that it cannot be done with is logged, and does not keep the others from it.

    Returns:
        The exit code of the first failure; 0 without any.
    """
    exit_code = 0
    for path in files:
        try:
            act(path)
        except (DataError, InputMissingError) as error:
            log.error("%s", error)
            exit_code = exit_code or error.exit_code
    return exit_code


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """A file that may be read; whatever the system says of it is an error of that file.

    Raises:
        InputMissingError, DataError: see :func:`refuse_endless`; or the file was removed, a network is gone, a disk is
            damaged.
    """
    try:
        refuse_endless(path)
        yield
    except OSError as error:
        raise InputMissingError(f"'{path}' cannot be read ({error.strerror or error}): check the file") from error


def refuse_endless(path: Path) -> None:
    """Refuse what is there and is neither a file nor a pipe; what is wrong with those is told when they are opened.

    Raises:
        InputMissingError: a device may never end, a terminal holds no sound, and a socket cannot be opened by its name.
        DataError: the null device is empty.
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return
    if found.st_rdev == _NULL_DEVICE and stat.S_ISCHR(found.st_mode):
        raise DataError(f"'{path}' is empty, as it leads to {os.devnull}: name a sound file")
    if path == _STANDARD_INPUT and stat.S_ISCHR(found.st_mode):
        raise InputMissingError("standard input is a terminal or a device: lead sound into it, as with `< FILE`")
    if stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode):
        raise InputMissingError(
            f"'{path}' is a device, which may never end: name a sound file, or listen to it as a source of a stream"
        )
    if stat.S_ISSOCK(found.st_mode):
        raise InputMissingError(f"'{path}' is a socket: name a sound file, or a pipe that a program writes sound into")
