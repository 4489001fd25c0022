"""The folder of clips: names, temporary files, and limits of size, age and room on the disk."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import stat
import time
import unicodedata
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import count
from pathlib import Path

from edge_aac.errors import ConfigError

TEMPORARY = re.compile(r"\.edge-aac_[0-9a-z-]+\.flac\.part")
"""Names of files that are being written."""

CLIP = re.compile(r"edge-aac_(\d{8}T\d{6}\.\d{3}Z)_[0-9a-z-]+_[0-9a-z-]+(?:_\d+)?\.flac")
"""Names of clips: when the sound began, its source, its caption. A file of another name is somebody else's."""

_TIME = "%Y%m%dT%H%M%S.%fZ"
_LONGEST_SLUG = 48
BUFFERED_BYTES = 16_384
"""What a file that is being written may grow by when it ends: tags, and sound that its encoder holds back."""

_STALE_S = 600.0
"""Where files cannot be locked: a temporary file that is written to is younger than that."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """What the clips of a folder may take.

    Attributes:
        max_bytes: size of all of them together, temporary files included.
        max_age_s: age of the sound in seconds; None for any.
        min_free_bytes: room that stays free on the disk.
    """

    max_bytes: int
    max_age_s: float | None = None
    min_free_bytes: int = 0


@dataclass(frozen=True, order=True)
class StoredClip:
    """A clip in the folder; the oldest sorts first.

    Attributes:
        began_s: Unix time at which its sound began.
        name: of the file.
        size: in bytes.
    """

    began_s: float
    name: str
    size: int


@dataclass(frozen=True)
class TemporaryFile:
    """A file that is being written: locked, so that another process takes it for no rest of an earlier run."""

    path: Path
    descriptor: int


class ClipFolder:
    """Clips in a folder that others may use, too: only files that are named as clips are counted or deleted.

    Args:
        path: of the folder.
        limits: kept by deleting the oldest clips.
        now: gives Unix time in seconds.
        free_bytes: gives the room on the disk of a path.

    Raises:
        ConfigError: the folder cannot be made or written to.
    """

    def __init__(
        self,
        path: Path,
        limits: Limits,
        now: Callable[[], float] = time.time,
        free_bytes: Callable[[Path], int] | None = None,
    ) -> None:
        self.removed = 0
        """Number of clips that were deleted for the limits."""
        self._path = path
        self._limits = limits
        self._now = now
        self._free_bytes = free_bytes or _free_bytes
        self._numbers = count()
        self._open: dict[Path, int] = {}
        """Temporary files of this process, with their sizes."""
        self._clips: list[StoredClip] = []
        self._undeletable: set[str] = set()
        self._make()
        self._remove_rests()
        self.tidy()

    @property
    def size_bytes(self) -> int:
        """Size of all clips, and the largest that those may have which are being written."""
        return sum(clip.size for clip in self._clips) + sum(self._open.values())

    def tidy(self) -> None:
        """Look at what the folder holds, and delete what is too old or too much. A folder that is gone is made anew.

        Raises:
            OSError: the folder cannot be read.
        """
        try:
            self._clips = sorted(self._stored())
        except FileNotFoundError:
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
            log.warning("the folder of the clips was gone and is made anew: '%s'", self._path)
            self._clips = sorted(self._stored())
        if self._limits.max_age_s is not None:
            oldest_s = self._now() - self._limits.max_age_s
            for clip in [clip for clip in self._clips if clip.began_s < oldest_s]:
                self._delete(clip)
        self.make_room(0)

    def make_room(self, growth_bytes: int) -> bool:
        """Delete the oldest clips until there is room for so many bytes more; False where that cannot be had.

        Raises:
            OSError: the disk cannot be asked for its room.
        """
        candidates = [clip for clip in self._clips if clip.name not in self._undeletable]
        while not self._has_room(growth_bytes):
            if not candidates:
                return False
            self._delete(candidates.pop(0))
        return True

    def new_file(self) -> TemporaryFile:
        """Begin a file.

        Raises:
            OSError: it cannot be made.
        """
        while True:
            name = f".edge-aac_{os.getpid()}-{time.time_ns():x}-{next(self._numbers)}.flac.part"
            path = self._path / name
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(path, flags, 0o600)
            _lock(descriptor)
            # Another process that starts now may have taken it for a rest before it was locked.
            if path.exists():
                self._open[path] = BUFFERED_BYTES
                return TemporaryFile(path, descriptor)
            os.close(descriptor)

    def note_size(self, file: TemporaryFile) -> None:
        """Take in how large a temporary file has become."""
        self._open[file.path] = os.fstat(file.descriptor).st_size + BUFFERED_BYTES

    def keep(self, file: TemporaryFile, began_s: float, source: str, caption: str) -> Path:
        """Make a finished file a clip: on the disk, whole, under its name.

        Args:
            file: closed by this.
            began_s: Unix time at which its sound began.
            source: label of its source.
            caption: of its event.

        Raises:
            OSError: it cannot be written or named; it is still a temporary file then.
        """
        os.fsync(file.descriptor)
        size = os.fstat(file.descriptor).st_size
        path = self._path / clip_name(began_s, source, caption)
        for number in count(2):
            try:
                # Unlike a rename, a link puts nothing in the place of a file that is there.
                os.link(file.path, path)
                break
            except FileExistsError:
                path = path.with_name(clip_name(began_s, source, caption, number))
            except OSError:  # no links on this file system
                if not path.exists():
                    os.rename(file.path, path)
                    break
                path = path.with_name(clip_name(began_s, source, caption, number))
        self.discard(file)
        self._sync()
        insort(self._clips, StoredClip(began_s, path.name, size))
        return path

    def discard(self, file: TemporaryFile) -> None:
        """Remove a temporary file."""
        self._open.pop(file.path, None)
        try:
            os.close(file.descriptor)
        finally:
            file.path.unlink(missing_ok=True)

    def _has_room(self, growth_bytes: int) -> bool:
        if self.size_bytes + growth_bytes > self._limits.max_bytes:
            return False
        floor = self._limits.min_free_bytes
        return not floor or self._free_bytes(self._path) - growth_bytes >= floor

    def _delete(self, clip: StoredClip) -> None:
        try:
            (self._path / clip.name).unlink()
            self.removed += 1
        except FileNotFoundError:
            pass  # somebody else did
        except OSError as error:
            self._undeletable.add(clip.name)
            log.warning("the clip '%s' cannot be deleted (%s)", self._path / clip.name, error.strerror)
            return
        self._clips.remove(clip)

    def _stored(self) -> list[StoredClip]:
        found = []
        with os.scandir(self._path) as entries:
            for entry in entries:
                match = CLIP.fullmatch(entry.name)
                began_s = None if match is None else _unix_time(match.group(1))
                if began_s is None:
                    continue
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(status.st_mode):
                    found.append(StoredClip(began_s, entry.name, status.st_size))
        return found

    def _make(self) -> None:
        try:
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.access(self._path, os.R_OK | os.W_OK | os.X_OK):
                raise PermissionError(0, "no permission")
        except OSError as error:
            raise ConfigError(
                f"clips cannot be saved in '{self._path}' ({error.strerror}): correct clips.folder or its permissions"
            ) from error

    def _remove_rests(self) -> None:
        """Remove what an earlier run that was killed left unfinished."""
        for path in self._path.iterdir():
            if TEMPORARY.fullmatch(path.name) and not path.is_symlink() and path.is_file() and self._is_rest(path):
                path.unlink(missing_ok=True)
                log.info("an unfinished clip of an earlier run was removed: '%s'", path)

    def _is_rest(self, path: Path) -> bool:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            locked = _lock(descriptor)
            return locked if locked is not None else self._now() - os.fstat(descriptor).st_mtime > _STALE_S
        finally:
            os.close(descriptor)

    def _sync(self) -> None:
        """Have the folder's own entries on the disk."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:  # some file systems cannot
            log.debug("'%s' cannot be synchronised (%s)", self._path, error.strerror)


def clip_name(began_s: float, source: str, caption: str, number: int = 1) -> str:
    """The name of a clip's file: time in UTC, source and caption, of safe characters alone.

    Args:
        began_s: Unix time at which its sound began.
        source: label of its source.
        caption: of its event.
        number: 2 and more where the names before are taken.
    """
    moment = datetime.fromtimestamp(round(began_s, 3), tz=timezone.utc).isoformat(timespec="milliseconds")
    digits = moment.removesuffix("+00:00").replace("-", "").replace(":", "")
    again = f"_{number}" if number > 1 else ""
    return f"edge-aac_{digits}Z_{_slug(source)}_{_slug(caption)}{again}.flac"


def _slug(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii").lower()
    words = re.sub(r"[^0-9a-z]+", "-", plain).strip("-")
    return words[:_LONGEST_SLUG].strip("-") or "sound"


def _unix_time(text: str) -> float | None:
    try:
        return datetime.strptime(text, _TIME).replace(tzinfo=timezone.utc).timestamp()
    except ValueError:
        return None


def _lock(descriptor: int) -> bool | None:
    """Lock a file: True where it is ours now, False where it is another process's, None where files have no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _free_bytes(path: Path) -> int:
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize
