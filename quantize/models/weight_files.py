"""Files of weights and the JSON beside them: mapped, not read, no pickled code run, all damage one sentence."""

from __future__ import annotations

import errno
import json
import re
import struct
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from edge_aac.errors import DataError, InputMissingError

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")

_SHOWN = 6

# What torch says of a pickle that names a class or a function; the numbers are opcodes that do (see pickletools), which
# it does not know. Of others it does not know it is a file that is no pickle.
_SPEAKS_OF_CODE = re.compile(r"unsupported (global|class|operand (105|111|147|149)\b)", re.IGNORECASE)

# Which of them a cut or scribbled-on file raises depends on where.
_OF_DAMAGE = (
    *(RuntimeError, EOFError, ValueError, KeyError, AttributeError, IndexError, TypeError, AssertionError),
    *(struct.error, zipfile.BadZipFile),
)


def read_json(path: Path, optional: bool = False, kind: type[Any] = dict) -> Any:
    """A table (or another ``kind``) from a JSON file; empty where it is ``optional`` and absent.

    Raises:
        InputMissingError: it is not there or cannot be read.
        DataError: it is not JSON, or holds another kind.
    """
    if not path.is_file():
        if optional:
            return kind()
        raise InputMissingError(f"{path.parent} has no {path.name}: give the folder of a published model")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputMissingError(f"cannot read {path} ({error.strerror}): correct its permissions") from error
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}): fetch it again") from error
    if not isinstance(content, kind):
        raise DataError(f"{path} holds a {type(content).__name__}, not a {kind.__name__}: fetch it again")
    return content


def read_state(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder's weights: safetensors before pickles, one file or shards with their index.

    Raises:
        InputMissingError: there are none.
        DataError: a file is damaged, holds code, or something else than tensors.
    """
    for name in WEIGHT_FILES:
        index = folder / f"{name}.index.json"
        if index.is_file():
            shards = read_json(index).get("weight_map")
            if not isinstance(shards, dict) or not all(Path(str(file)).name == file for file in shards.values()):
                raise DataError(f"{index} is no list of weight files in its folder: fetch it again")
            state: dict[str, Tensor] = {}
            for file in sorted(set(shards.values())):
                state.update(read_tensors(folder / file))
            return state
        if (folder / name).is_file():
            return read_tensors(folder / name)
    raise InputMissingError(f"{folder} has no {' or '.join(WEIGHT_FILES)}: give the folder of a published model")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of one file, safetensors or a pickle without code.

    Raises:
        InputMissingError: it is not there or cannot be read.
        DataError: it is damaged, or holds code.
    """
    if not path.is_file():
        raise InputMissingError(f"{path.parent} lacks its weight file {path.name}: fetch it again")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, ValueError) as error:
            raise DataError(f"{path} is damaged ({error}): fetch it again") from error
        except OSError as error:
            raise InputMissingError(f"cannot read {path} ({error}): correct its permissions") from error
    return only_tensors(load_pickle(path), path)


def load_pickle(path: Path) -> Mapping[str, Any]:
    """``torch.load`` without code. A zip (torch ≥ 1.6) is mapped; older files are read.

    Raises:
        InputMissingError: it is not there or cannot be read.
        DataError: it is damaged, holds code, or is no table.
    """
    if not path.is_file():
        raise InputMissingError(f"no file {path}: correct the path")
    damaged = f"{path} is damaged or no file of weights: fetch it again"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles that torch would write otherwise
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except UnpicklingError as error:
        if _SPEAKS_OF_CODE.search(str(error)):
            raise DataError(
                f"{path} holds code beside its tensors, which is never run: get its publisher's, or safetensors"
            ) from error
        raise DataError(damaged) from error
    except OSError as error:
        if error.errno == errno.EINVAL:  # a cut zip sends its reader to before the beginning of the file
            raise DataError(damaged) from error
        raise InputMissingError(f"cannot read {path} ({error}): correct its permissions") from error
    except _OF_DAMAGE as error:
        raise DataError(damaged) from error
    if not isinstance(content, Mapping):
        raise DataError(f"{path} holds no table of tensors: give a file of weights")
    return content


def only_tensors(state: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """The table, all of whose values must be plain tensors with a name.

    Raises:
        DataError: one is not.
    """
    if refused := [str(name) for name, value in state.items() if not _is_plain(name, value)]:
        raise DataError(f"{path} holds what is no plain tensor ({some(refused)}): give a file of weights")
    return dict(state)


def _is_plain(name: Any, value: Any) -> bool:
    """A named tensor of real numbers, not sparse and not quantised."""
    return (
        isinstance(name, str)
        and isinstance(value, Tensor)
        and value.layout is torch.strided
        and not value.is_quantized
        and not value.is_complex()
    )


def some(entries: Iterable[str]) -> str:
    """The first few, and how many more there are."""
    entries = list(entries)
    more = f" and {len(entries) - _SHOWN} more" if len(entries) > _SHOWN else ""
    return ", ".join(entries[:_SHOWN]) + more
