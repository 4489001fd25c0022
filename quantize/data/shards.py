"""Samples in plain tar files of a few hundred each, in the convention of WebDataset, read by random access.

A sample is the files ``<key>.<field>.npy`` and ``<key>.json``, one behind the other in a ``shard-000000.tar``. Beside
each shard lies ``shard-000000.members.json``, where in the tar its samples are; ``index.json`` has the count, size and
SHA-256 of every shard and the writer's metadata.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import re
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import numpy as np

from edge_aac.bundle.hashes import file_sha256
from edge_aac.errors import ConfigError, DataError, DeviceError, InputMissingError
from quantize.data.shard_files import (
    INDEX,
    SCHEMA,
    Array,
    Members,
    array_of,
    check_sizes,
    members_of,
    members_path,
    npy_bytes,
    read_index,
    scanned_members,
    shard_name,
)
from quantize.data.waveform_cache import unwritable, write_atomically


@dataclass(frozen=True)
class Sample:
    """What one call of :meth:`ShardWriter.write` wrote."""

    key: str
    arrays: dict[str, Array]
    record: dict[str, Any]


def shard_key(name: str) -> str:
    """A key for any name, different for different names: what keys may not hold is percent-encoded."""
    return quote(name, safe="").replace(".", "%2E").replace("~", "%7E")


class ShardWriter:
    """Writes samples into a folder; a context manager that finishes the folder when its block ends without an error.

    Only whole shards count: each is written beside its place, then named in the index. The bytes depend on the samples
    alone, so a resumed folder equals one that was written at once.

    Args:
        folder: need not exist.
        samples_per_shard: the last shard may hold fewer.
        metadata: any JSON table; what a reader must know, as which teacher and which settings.
        resume: go on after the last whole shard of a run that was broken off. :attr:`written` says how many samples
            there are; the caller goes on with the one after. Without it the folder must hold no shards.

    Raises:
        ConfigError: the folder holds shards already, or those to go on with were written with other settings.
        DataError: a shard to go on with is not what the index says.
        DeviceError: the folder cannot be written (a full disk, permissions, another process that writes there).
    """

    def __init__(
        self,
        folder: Path,
        samples_per_shard: int = 256,
        metadata: Mapping[str, Any] | None = None,
        resume: bool = False,
    ) -> None:
        if samples_per_shard < 1:
            raise ConfigError(f"samples_per_shard is {samples_per_shard}: give at least 1")
        self.folder = folder
        self.complete = False
        self._index: dict[str, Any] = {
            "schema": SCHEMA,
            "complete": False,
            "samples_per_shard": samples_per_shard,
            "metadata": json.loads(json.dumps(dict(metadata or {}), allow_nan=False)),
            "shards": [],
        }
        self._keys: set[str] = set()
        self._failed = False
        self._tar: tarfile.TarFile | None = None
        self._in_shard = 0
        with _disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(folder)
        try:
            self._take_up(resume)
        except BaseException:
            os.close(self._lock)
            raise

    @property
    def written(self) -> int:
        """How many samples the folder holds, those of the shard in hand included."""
        return int(sum(shard["count"] for shard in self._index["shards"])) + self._in_shard

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and not self._failed:
                self._finish_shard()
                self._index["complete"] = True
                self._write_index()
                self.complete = True
        finally:
            self._drop_partial()
            os.close(self._lock)

    def write(self, key: str, arrays: Mapping[str, Array], record: Mapping[str, Any]) -> None:
        """Add a sample.

        Args:
            key: unique, without dots and slashes (see :func:`shard_key`).
            arrays: field (letters, digits, ``_``, ``-``) → array of any shape whose type is no Python object.
            record: a JSON table without NaN.

        Raises:
            DeviceError: the folder cannot be written, as when its disk is full.
            ValueError: a key, a field or a value cannot be stored, or the folder is complete already.
        """
        if self.complete or self._failed:
            raise ValueError(f"{self.folder} takes no more samples: it is complete, or a write into it failed")
        if not re.fullmatch(r"[^./\\\0\s]+", key) or key in self._keys:
            raise ValueError(f"the key {key!r} is used already, or holds a dot, a slash or a space: use shard_key()")
        if wrong := [field for field in arrays if not re.fullmatch(r"[A-Za-z0-9_-]+", field)]:
            raise ValueError(f"the field {wrong[0]!r} must consist of letters, digits, _ and -")
        # All is turned into bytes before the first is written: a sample is whole or not there.
        members = {f"{key}.{field}.npy": npy_bytes(array) for field, array in arrays.items()}
        members[f"{key}.json"] = json.dumps(dict(record), allow_nan=False, ensure_ascii=False).encode()
        with self._writing():
            if self._tar is None:
                self._tar = tarfile.open(self._partial, "w")  # noqa: SIM115  closed with the shard
            for name, content in members.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                self._tar.addfile(entry, io.BytesIO(content))
        self._keys.add(key)
        self._in_shard += 1
        if self._in_shard == self._index["samples_per_shard"]:
            self._finish_shard()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with _disk_errors(self.folder):
                yield
        except BaseException:
            # What follows would stand behind half a sample.
            self._failed = True
            raise

    @property
    def _partial(self) -> Path:
        return self.folder / f"{shard_name(len(self._index['shards']))}.partial"

    def _take_up(self, resume: bool) -> None:
        if (self.folder / INDEX).exists():
            found = read_index(self.folder)
            if not resume:
                raise ConfigError(f"{self.folder} holds shards already: resume them, or give another folder")
            for setting in ("samples_per_shard", "metadata"):
                if found[setting] != self._index[setting]:
                    raise ConfigError(
                        f"the shards in {self.folder} were written with another {setting}: give another folder, or "
                        "remove this one"
                    )
            check_sizes(self.folder, found)
            self._index, self.complete = found, found["complete"]
            for number, shard in enumerate(found["shards"]):
                self._keys.update(key for key, _ in members_of(self.folder, number, shard))
        elif any(self.folder.glob("shard-*.tar")):
            raise ConfigError(f"{self.folder} holds shards without an {INDEX}: give another folder")
        for left in self.folder.glob("shard-*.partial"):
            left.unlink()
        if not self.complete:
            self._write_index()

    def _finish_shard(self) -> None:
        if self._tar is None:
            return
        partial, number = self._partial, len(self._index["shards"])
        with self._writing():
            self._tar.close()
            with partial.open("rb") as stream:
                os.fsync(stream.fileno())
            members = scanned_members(partial)
            write_atomically(members_path(self.folder, number), json.dumps(members).encode())
            shard = {
                "file": shard_name(number),
                "count": self._in_shard,
                "bytes": partial.stat().st_size,
                "sha256": file_sha256(partial),
            }
            os.replace(partial, self.folder / shard_name(number))
        self._tar, self._in_shard = None, 0
        self._index["shards"].append(shard)
        self._write_index()

    def _write_index(self) -> None:
        write_atomically(self.folder / INDEX, (json.dumps(self._index, indent=2) + "\n").encode(), durable=True)

    def _drop_partial(self) -> None:
        if self._tar is not None:
            # Its stream only, without the end of a tar; what a full disk has no room for is not wanted.
            if self._tar.fileobj is not None:
                with suppress(OSError):
                    self._tar.fileobj.close()
            self._tar, self._in_shard = None, 0
        self._partial.unlink(missing_ok=True)


class ShardReader:
    """A finished folder as a sequence of samples, in the order in which they were written.

    It holds no open file: it may be pickled, forked, and used by any number of threads.

    Raises:
        InputMissingError: there are no shards, or one is missing.
        DataError: the folder is unfinished, or a shard has not the size that the index says.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        index = read_index(folder)
        if not index["complete"]:
            raise DataError(
                f"the shards in {folder} are unfinished: run the same command again, it goes on after the last whole "
                "shard"
            )
        check_sizes(folder, index)
        self._shards: list[dict[str, Any]] = index["shards"]
        self.metadata: dict[str, Any] = index["metadata"]
        # Sample i of the folder lies in the first shard whose end is beyond i.
        self._ends = np.cumsum([shard["count"] for shard in self._shards], dtype=np.int64)
        self._members: dict[int, Members] = {}

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, index: int) -> Sample:
        """Read one sample.

        Raises:
            IndexError: there is no such sample.
            InputMissingError: its shard is no longer there.
            DataError: its shard was cut or changed.
        """
        number, (key, members) = self._find(index)
        path = self.folder / self._shards[number]["file"]
        first = min(start for start, _ in members.values())
        last = max(start + size for start, size in members.values())
        try:
            with path.open("rb") as stream:
                stream.seek(first)
                content = stream.read(last - first)
        except OSError as error:
            raise InputMissingError(f"{path} cannot be read ({error.strerror}): copy the folder again") from error
        parts = {field: content[start - first : start - first + size] for field, (start, size) in members.items()}
        try:
            record = json.loads(parts.pop(""))
            arrays = {field: array_of(part) for field, part in parts.items()}
        except (ValueError, KeyError) as error:
            raise DataError(
                f"the sample {key} in {path} is damaged ({error}): copy or write the shards again"
            ) from error
        return Sample(key, arrays, record)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def keys(self) -> list[str]:
        """The samples' keys, in their order."""
        return [key for number in range(len(self._shards)) for key, _ in self._members_of(number)]

    def verify(self) -> None:
        """Compare every shard with its SHA-256.

        Raises:
            InputMissingError: a shard is no longer there.
            DataError: a shard was changed.
        """
        for shard in self._shards:
            path = self.folder / shard["file"]
            try:
                same = file_sha256(path) == shard["sha256"]
            except OSError as error:
                raise InputMissingError(f"{path} cannot be read ({error.strerror}): copy the folder again") from error
            if not same:
                raise DataError(f"{path} is not what was written (its SHA-256 differs): copy or write the shards again")

    def _find(self, index: int) -> tuple[int, tuple[str, dict[str, tuple[int, int]]]]:
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(f"there is no sample {index}: the folder holds {len(self)}")
        number = int(np.searchsorted(self._ends, position, side="right"))
        before = int(self._ends[number - 1]) if number else 0
        return number, self._members_of(number)[position - before]

    def _members_of(self, number: int) -> Members:
        if number not in self._members:
            self._members[number] = members_of(self.folder, number, self._shards[number])
        return self._members[number]


def _locked(folder: Path) -> int:
    """A lock on the folder that ends with its descriptor, so also when the process is killed."""
    with _disk_errors(folder):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise DeviceError(
                f"another process writes shards in {folder}: wait for it, or give another folder"
            ) from error
    return descriptor


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise unwritable(folder, error) from error
