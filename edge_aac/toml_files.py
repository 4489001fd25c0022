"""TOML files that people write, read with the line of what is wrong with them."""

from __future__ import annotations

import re
import sys
from typing import Any

from edge_aac.text_files import EncodingError, utf8_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_PLACE = re.compile(r" ?\(at line (\d+), column \d+\)| ?\(at end of document\)")


class TomlError(ValueError):
    """A file that is not TOML.

    Attributes:
        line: line number at which reading ended, from 1.
        reason: description of the fault there, as part of a sentence.
    """

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"{reason} (line {line})")
        self.line, self.reason = line, reason


def parse_toml(data: bytes) -> tuple[str, dict[str, Any]]:
    """Read TOML in UTF-8, with or without the byte-order mark that Windows editors write.

    Args:
        data: the whole file.

    Returns:
        The text as it was read, its lines those that an editor counts, and the tables.

    Raises:
        TomlError: it is no TOML, in another encoding, or nothing that a program can hold.
    """
    try:
        text = utf8_text(data).replace("\r\n", "\n")
    except EncodingError as error:
        raise TomlError(error.line, f"{error.reason}; save it as UTF-8") from error
    try:
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = _PLACE.search(str(error))
        line = int(place.group(1)) if place and place.group(1) else max(len(text.splitlines()), 1)
        raise TomlError(line, _PLACE.sub("", str(error))) from error
    except RecursionError as error:
        raise TomlError(1, "its values are nested too deep") from error
    except ValueError as error:  # Python's limit of a number's digits
        raise TomlError(1, f"a number in it is too long ({error})") from error
