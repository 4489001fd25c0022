"""The thread that writes clips, so that a slow or full disk holds up nobody."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from edge_aac.records.health import ClipsHealth
from edge_aac.streaming.clips.flac import FlacFile
from edge_aac.streaming.clips.folder import BUFFERED_BYTES, ClipFolder, TemporaryFile
from edge_aac.timebase import SAMPLE_RATE

MAX_QUEUED_SAMPLES = 60 * SAMPLE_RATE
"""Sound of all clips that may wait for the disk: what comes then ends its clip."""

CLOSE_TIMEOUT_S = 0.5
"""At the end of a run, a disk that is slower is left behind."""

TIDY_INTERVAL_S = 600.0

Samples = npt.NDArray[np.int16]

log = logging.getLogger(__name__)


class NoRoomError(Exception):
    """Neither the limits nor the disk have room for a clip."""


@dataclass(frozen=True)
class ClipFacts:
    """What is known of a clip when it is complete.

    Attributes:
        began_s: Unix time at which its sound began.
        source: label of its source.
        caption: of its event.
        tags: for the file.
        saved: called from the writer's thread with the path of the file.
    """

    began_s: float
    source: str
    caption: str
    tags: Mapping[str, str]
    saved: Callable[[Path], None]


@dataclass(eq=False)
class Clip:
    """A clip that is being written. The writer's thread alone uses what it holds."""

    file: TemporaryFile | None = None
    sound: FlacFile | None = None
    failed: bool = False


@dataclass(frozen=True)
class _Task:
    action: Literal["append", "finish", "discard"]
    clip: Clip
    samples: Samples = field(default_factory=lambda: np.zeros(0, np.int16))
    facts: ClipFacts | None = None


class ClipWriter:
    """Writes clips of all sources into one folder.

    A clip that cannot be written is dropped and counted, and the next one is tried; the log tells the first failure and
    the recovery.

    Args:
        folder: used by the writer's thread alone from now on.
        max_queued_samples: sound that may wait for the disk.
    """

    def __init__(self, folder: ClipFolder, max_queued_samples: int = MAX_QUEUED_SAMPLES) -> None:
        self._folder = folder
        self._max_queued_samples = max_queued_samples
        self._changed = threading.Condition()
        self._queue: deque[_Task] = deque()
        self._queued_samples = 0
        self._closing = False
        self._left_behind = False
        self._open: set[Clip] = set()
        self._saved = 0
        self._dropped = 0
        self._private = 0
        self._reason: str | None = None
        self._thread = threading.Thread(target=self._run, name="edge-aac-clips", daemon=True)
        self._thread.start()

    @property
    def health(self) -> ClipsHealth:
        """State and counters now."""
        with self._changed:
            return ClipsHealth(
                state="saving" if self._reason is None else "failing",
                queued_ms=1000 * self._queued_samples // SAMPLE_RATE,
                saved=self._saved,
                dropped=self._dropped,
                private=self._private,
                removed=self._folder.removed,
                reason=self._reason,
            )

    def begin(self) -> Clip | None:
        """A new clip; None, counted as dropped, where too much waits to be written already."""
        with self._changed:
            if self._closing or self._queued_samples >= self._max_queued_samples:
                self._dropped += 1
                return None
            clip = Clip()
            self._open.add(clip)
            return clip

    def append(self, clip: Clip, samples: Samples) -> bool:
        """Append sound, shape (n,); never waits. False where too much waits: the clip ends before it."""
        with self._changed:
            if clip not in self._open:
                return False
            if self._closing or self._queued_samples + len(samples) > self._max_queued_samples:
                return False
            self._queued_samples += len(samples)
            self._put(_Task("append", clip, samples))
            return True

    def finish(self, clip: Clip, facts: ClipFacts) -> None:
        """End a clip, which is saved then."""
        with self._changed:
            if clip in self._open:
                self._open.discard(clip)
                self._put(_Task("finish", clip, facts=facts))

    def discard(self, clip: Clip, *, private: bool) -> None:
        """Give up a clip: nothing of it stays.

        Args:
            clip: from :meth:`begin`.
            private: whether it must not be kept; else it is counted as dropped.
        """
        with self._changed:
            if clip in self._open:
                self._open.discard(clip)
                self._private += private
                self._dropped += not private
                self._put(_Task("discard", clip))

    def count_private(self) -> None:
        """Count a clip that was not even begun since it must not be kept."""
        with self._changed:
            self._private += 1

    def count_dropped(self) -> None:
        """Count a clip that was not begun for another reason."""
        with self._changed:
            self._dropped += 1

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Write what waits and end the thread; a disk that takes longer is left behind, with what it did not take."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        with self._changed:
            if not self._thread.is_alive():
                return
            self._left_behind = True
            lost = sum(task.action == "finish" for task in self._queue) + len(self._open)
            self._queue.clear()
            self._dropped += lost
            self._changed.notify_all()
        log.warning("the disk of the clips is too slow: %d clips that waited for it were dropped", lost)

    def _put(self, task: _Task) -> None:
        self._queue.append(task)
        self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._queue and not self._closing:
                    self._changed.wait(TIDY_INTERVAL_S)
                if self._left_behind or (self._closing and not self._queue):
                    break
                task = self._queue.popleft() if self._queue else None
            if task is None:
                self._tidy()
                continue
            try:
                self._do(task)
            except (OSError, NoRoomError) as error:
                self._fail(task, error)
            except Exception as error:  # a fault of the program: it ends one clip, and no thread
                log.debug("a clip could not be written", exc_info=True)
                self._fail(task, error)
            with self._changed:
                self._queued_samples -= len(task.samples)

    def _do(self, task: _Task) -> None:
        clip = task.clip
        if task.action == "discard":
            self._remove(clip)
        elif clip.failed:
            return
        elif task.action == "append":
            self._append(clip, task.samples)
        elif task.facts is not None:
            self._finish(clip, task.facts)

    def _append(self, clip: Clip, samples: Samples) -> None:
        if clip.file is None or clip.sound is None:
            self._folder.tidy()
            self._make_room(BUFFERED_BYTES + samples.nbytes)
            clip.file = self._folder.new_file()
            clip.sound = FlacFile(clip.file.descriptor)
        else:
            self._make_room(samples.nbytes)
        clip.sound.write(samples)
        self._folder.note_size(clip.file)

    def _make_room(self, growth_bytes: int) -> None:
        if not self._folder.make_room(growth_bytes):
            raise NoRoomError("the limits of the clips, or the disk, leave no room for it")

    def _finish(self, clip: Clip, facts: ClipFacts) -> None:
        if clip.sound is None or clip.file is None:
            raise AssertionError("a clip is finished that has no sound")
        clip.sound.finish(facts.tags)
        clip.sound = None
        path = self._folder.keep(clip.file, facts.began_s, facts.source, facts.caption)
        clip.file = None
        with self._changed:
            self._saved += 1
            recovered, self._reason = self._reason is not None, None
        if recovered:
            log.warning("clips are saved again")
        facts.saved(path)

    def _fail(self, task: _Task, error: Exception) -> None:
        known = isinstance(error, (OSError, NoRoomError))
        reason = getattr(error, "strerror", None) or str(error) if known else f"{type(error).__name__}: {error}"
        first = not task.clip.failed
        task.clip.failed = True
        self._remove(task.clip)
        with self._changed:
            level = logging.WARNING if self._reason is None else logging.DEBUG
            self._reason = reason
            self._dropped += first and task.action != "discard"
            # What is still to come of it is refused, and it is counted but once.
            self._open.discard(task.clip)
        log.log(level, "a clip cannot be saved (%s): further ones are tried", reason)

    def _remove(self, clip: Clip) -> None:
        """Remove what there is of a clip; whatever fails then is in the log alone."""
        sound, clip.sound = clip.sound, None
        file, clip.file = clip.file, None
        try:
            if sound is not None:
                sound.abandon()
        except Exception as error:  # of an encoder that has failed already
            log.debug("a clip's encoder does not close (%s)", error)
        try:
            if file is not None:
                self._folder.discard(file)
        except OSError as error:
            log.debug("an unfinished clip cannot be removed (%s)", error)

    def _tidy(self) -> None:
        try:
            self._folder.tidy()
        except OSError as error:
            log.debug("the folder of the clips cannot be read (%s)", error)
