"""The files of a folder of shards: names, index, and where in a tar the samples are (see ``shards.py``)."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_aac.errors import DataError, InputMissingError

SCHEMA = "edge-aac/shards/1"
INDEX = "index.json"

Array = npt.NDArray[Any]
# Of each sample: its key, and of each of its members the field ("" for the record), first byte and size.
Members = list[tuple[str, dict[str, tuple[int, int]]]]


def shard_name(number: int) -> str:
    """File name of shard ``number``."""
    return f"shard-{number:06d}.tar"


def members_path(folder: Path, number: int) -> Path:
    """Where it is written what lies where in shard ``number``."""
    return folder / f"shard-{number:06d}.members.json"


def npy_bytes(array: Array) -> bytes:
    """An array as the content of an ``.npy`` file."""
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    return content.getvalue()


def array_of(content: bytes) -> Array:
    """The array of such a content; no pickle is read."""
    # Not np.load, which takes content that begins like a zip file for one.
    array: Array = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    return array


def read_index(folder: Path) -> dict[str, Any]:
    """The checked content of ``index.json``; no shard is opened."""
    path = folder / INDEX
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        shards = [(str(shard["file"]), int(shard["count"]), int(shard["bytes"])) for shard in index["shards"]]
    except OSError as error:
        raise InputMissingError(
            f"there are no shards in {folder} ({INDEX}: {error.strerror}): check the path"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged: write the shards again") from error
    if index.get("schema") != SCHEMA or not {"complete", "metadata", "samples_per_shard"} <= index.keys():
        raise DataError(f"{path} has the schema {index.get('schema')!r}, this edge-aac reads {SCHEMA!r}")
    if any(file != shard_name(number) for number, (file, _, _) in enumerate(shards)):
        raise DataError(f"{path} names files that are no shards of it: write the shards again")
    return dict(index)


def check_sizes(folder: Path, index: Mapping[str, Any]) -> None:
    """Refuse shards that are missing or have not the size that the index says."""
    for shard in index["shards"]:
        path = folder / shard["file"]
        if not path.is_file():
            raise InputMissingError(f"{path} is missing: copy the folder again")
        if (size := path.stat().st_size) != shard["bytes"]:
            raise DataError(
                f"{path} has {size} bytes, not the {shard['bytes']} that were written: copy or write the shards again"
            )


def members_of(folder: Path, number: int, shard: Mapping[str, Any]) -> Members:
    """Where the samples of a shard are: from the file beside it, or, where that was lost, from the tar itself."""
    try:
        table = json.loads(members_path(folder, number).read_text(encoding="utf-8"))
        members = [
            (str(key), {str(field): (int(start), int(size)) for field, (start, size) in fields.items()})
            for key, fields in table
        ]
    except (OSError, ValueError, TypeError, AttributeError):
        members = scanned_members(folder / shard["file"])
    if len(members) != shard["count"]:
        raise DataError(f"{folder / shard['file']} holds {len(members)} samples, not {shard['count']}: write it again")
    return members


def scanned_members(tar: Path) -> Members:
    """Where the samples of a tar are, from its own headers."""
    samples: dict[str, dict[str, tuple[int, int]]] = {}
    try:
        with tarfile.open(tar, "r:") as archive:
            for entry in archive:
                key, _, field = entry.name.partition(".")
                field = "" if field == "json" else field.removesuffix(".npy")
                samples.setdefault(key, {})[field] = (entry.offset_data, entry.size)
    except tarfile.TarError as error:
        raise DataError(f"{tar} is damaged ({error}): copy or write the shards again") from error
    except OSError as error:
        raise InputMissingError(f"{tar} cannot be read ({error.strerror}): copy the folder again") from error
    return list(samples.items())
