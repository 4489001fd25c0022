"""One setting, read from its pydantic field: the one place that names it for file, environment and flag.

A section's model needs no import from here. Its fields carry ``description``, limits and ``examples`` as pydantic has
them, and in ``json_schema_extra`` any of:

- ``unit``: the unit of the number, such as "s";
- ``flag``: the flag that gives it, such as "--hop", or "--familiar-only/--unfamiliar-too";
- ``metavar``: what the flag's value is called in the help;
- ``env``: the environment variable that gives it;
- ``separator``: of a list, what stands between its values where a flag or variable gives all of them in one text,
  which the model splits; without it a flag is repeated, and a variable has one a line;
- ``absent``: what holds where the default is None or depends on the machine, in words;
- ``secret``: True where the value must not be printed;
- ``public``: True for a table that holds no secret in any of its keys; the values of others are not printed.
"""

from __future__ import annotations

import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import SecretBytes, SecretStr
from pydantic.fields import FieldInfo

METADATA = {"unit", "flag", "metavar", "env", "separator", "absent", "secret", "public"}
_LOWEST, _HIGHEST = (("ge", "from"), ("gt", "above")), (("le", "to"), ("lt", "below"))
_SEVERAL: dict[Any, str] = {int: "whole numbers", float: "numbers"}
_NOUNS: dict[Any, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}


@dataclass(frozen=True)
class Setting:
    """A setting of a section.

    Attributes:
        section: name of the section.
        name: the key in the file.
        field: the field of the section's model.
    """

    section: str
    name: str
    field: FieldInfo

    @property
    def description(self) -> str:
        """Description of the setting, in one or more sentences."""
        return self.field.description or ""

    @property
    def unit(self) -> str | None:
        """Unit of the number."""
        return self._text("unit")

    @property
    def flag(self) -> str | None:
        """The flag that gives it; None where only file and environment can."""
        return self._text("flag")

    @property
    def metavar(self) -> str | None:
        """Name of the flag's value in the help; None for its type."""
        return self._text("metavar")

    @property
    def env(self) -> str | None:
        """The environment variable that gives it; None where there is none."""
        return self._text("env")

    @property
    def repeated(self) -> bool:
        """Whether it is a list whose values a flag and a variable give one by one."""
        return get_origin(self.type) in {list, tuple} and "separator" not in self.metadata

    @property
    def absent(self) -> str | None:
        """Meaning of a missing value, in words; None where the default is a value."""
        return self._text("absent")

    @property
    def secret(self) -> bool:
        """Whether its value must not be printed."""
        return bool(self.metadata.get("secret")) or self.type in {SecretStr, SecretBytes}

    @property
    def public(self) -> bool:
        """Whether it is a table whose values may be printed."""
        return bool(self.metadata.get("public"))

    @property
    def metadata(self) -> dict[str, Any]:
        """Metadata of the field: its ``json_schema_extra``."""
        extra = self.field.json_schema_extra
        return dict(extra) if isinstance(extra, dict) else {}

    @property
    def type(self) -> Any:
        """Type of a given value: ``int`` for ``int | None``."""
        return _without_none(self.field.annotation)

    @property
    def default(self) -> Any:
        """Default value; None for a setting without one."""
        return None if self.field.is_required() else self.field.get_default(call_default_factory=True)

    def default_text(self) -> str:
        """Default value in words; empty for a setting without one."""
        if self.absent is not None:
            return self.absent
        default = self.default
        if self.secret or default is None:
            return ""
        if isinstance(default, bool):
            return "on" if default else "off"
        return f"{default:g}" if isinstance(default, float) else str(default)

    def expected(self) -> str:
        """Description of the right values: "a number from 0.1 to 3600 (s)"."""
        text = _expected(self.type, _limits(self.field))
        return f"{text} ({self.unit})" if self.unit else text

    def example(self) -> Any:
        """A value that is right."""
        if self.field.examples:
            return self.field.examples[0]
        return self.default if self.default is not None else _any_value(self.type, _limits(self.field))

    def _text(self, key: str) -> str | None:
        value = self.metadata.get(key)
        return None if value is None else str(value)


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in {Union, types.UnionType}:
        rest = [each for each in get_args(annotation) if each is not type(None)]
        if len(rest) == 1:
            return rest[0]
    return annotation


def _limits(field: FieldInfo) -> dict[str, Any]:
    names = ("ge", "gt", "le", "lt", "min_length", "max_length")
    found = {name: getattr(item, name, None) for item in field.metadata for name in names if hasattr(item, name)}
    return {name: limit for name, limit in found.items() if limit is not None}


def _expected(kind: Any, limits: dict[str, Any]) -> str:
    if get_origin(kind) is Literal:
        *others, last = (str(each) for each in get_args(kind))
        return f"one of {', '.join(others)} or {last}" if others else last
    if get_origin(kind) in {list, tuple}:
        return f"a list of {_SEVERAL.get(get_args(kind)[0]) or _expected(get_args(kind)[0], {})}"
    if get_origin(kind) is dict:
        return f"a table of {_expected(get_args(kind)[1], {})}"
    if kind in {SecretStr, SecretBytes}:
        return "text"
    noun = _NOUNS.get(kind, str(getattr(kind, "__name__", kind)))
    if kind is int:
        limits = _with_both_ends(limits)
    low = next((f"{word} {_number(limits[name])}" for name, word in _LOWEST if name in limits), "")
    high = next((f"{word} {_number(limits[name])}" for name, word in _HIGHEST if name in limits), "")
    length = "of one character or more" if limits.get("min_length") == 1 else ""
    span = f"{low} and {high}" if low and "lt" in limits else f"{low} {high}"
    if low and not high and "ge" in limits:
        span = f"of {_number(limits['ge'])} or more"
    elif high and not low and "le" in limits:
        span = f"of {_number(limits['le'])} or less"
    return " ".join(f"{noun} {span} {length}".split())


def _with_both_ends(limits: dict[str, Any]) -> dict[str, Any]:
    """Whole numbers have no need of open ends: below 8 is up to 7."""
    closed = {name: limit for name, limit in limits.items() if name not in {"gt", "lt"}}
    if "gt" in limits:
        closed["ge"] = limits["gt"] + 1
    if "lt" in limits:
        closed["le"] = limits["lt"] - 1
    return closed


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) and value != int(value) else str(int(value))


def _any_value(kind: Any, limits: dict[str, Any]) -> Any:
    if get_origin(kind) is Literal:
        return get_args(kind)[0]
    if get_origin(kind) in {list, tuple}:
        return [_any_value(get_args(kind)[0], {})]
    if kind is bool:
        return False
    if kind is int:
        closed = _with_both_ends(limits)
        return closed.get("ge", closed.get("le", 0))
    if kind is float:
        for name, step in (("ge", 0.0), ("le", 0.0), ("gt", 1e-3), ("lt", -1e-3)):
            if name in limits:
                return float(limits[name]) + step
        return 0.0
    return "…" * int(limits.get("min_length", 1))
