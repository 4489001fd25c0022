"""JSON that others wrote, read so that it means one thing, fits into memory and is sound text."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NoReturn

from edge_aac.errors import DataError

MAX_BYTES = 16 << 20
"""A manifest has kilobytes, with measurements of hundreds of classes less than one megabyte."""
MAX_DEPTH = 64
_SHOWN = 60


def read_json(path: Path) -> Any:
    """Read a JSON file in UTF-8, with or without a byte order mark.

    Raises:
        OSError: it cannot be read.
        DataError: it is not JSON, or what JSON leaves open: a key that stands twice in one object, NaN or a number
            beyond all bounds, half of a surrogate pair, more than :data:`MAX_DEPTH` levels or :data:`MAX_BYTES`.
    """
    with path.open("rb") as stream:
        content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise _not_json(path, f"it has more than {MAX_BYTES >> 20} MiB")
    try:
        found = json.loads(
            content.decode("utf-8-sig"), object_pairs_hook=_object, parse_float=_number, parse_constant=_no_number
        )
        _check(found)
    except RecursionError as error:
        raise _not_json(path, f"it is nested more than {MAX_DEPTH} levels deep") from error
    except ValueError as error:  # also of a number with more digits than Python reads
        raise _not_json(path, str(error).partition(";")[0]) from error
    return found


def shown(value: object) -> str:
    """A value for a message: on one line, cut short where it is long."""
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**_SHOWN else "a number of many digits"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _not_json(path: Path, why: str) -> DataError:
    return DataError(f"{path} is not JSON that can be used ({why}): install or build the bundle again")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in table if names.count(name) > 1)
        raise ValueError(f"the key {shown(twice)} stands twice")
    return table


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {shown(text)} is too large")
    return number


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _check(found: Any) -> None:
    """Refuse what is nested too deep, and strings that are no text; without recursion, which Python limits itself."""
    level = [found]
    for _ in range(MAX_DEPTH):
        if not level:
            return
        below: list[Any] = []
        for value in level:
            if isinstance(value, str):
                value.encode()
            elif isinstance(value, dict):
                below += [*value, *value.values()]
            elif isinstance(value, list):
                below += value
        level = below
    raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
