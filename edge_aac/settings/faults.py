"""Validates merged settings: every fault with its place, what was expected and what is there."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from edge_aac.errors import EdgeAacError
from edge_aac.settings.fields import Setting
from edge_aac.settings.layers import Layer, Origin, origin_of
from edge_aac.settings.lines import Key
from edge_aac.settings.sections import KIND, Kind, Section
from edge_aac.settings.toml import shown, without_secrets

# Of these pydantic's own sentence says more than the limits of the field.
_IN_OWN_WORDS = {"value_error", "assertion_error"}

_TOO_LONG = {"string_too_long": "characters", "too_long": "entries"}
"""Type of pydantic's error → what there are too many of."""

_LONGEST_VALUE = 200
"""Characters of a wrong value that are shown."""


class TextForm(str):
    """A table of an array as one text, such as ``jsonl:PATH``, which its kind has to read."""


@dataclass(frozen=True)
class Fault:
    """A fault of the settings.

    Attributes:
        key: the setting or section, such as "stream.hop_s" or "sources[1].name".
        origin: origin of the value; None where nobody gave it.
        problem: description of what was expected and what is there.
    """

    key: str
    origin: Origin | None
    problem: str

    @property
    def sentence(self) -> str:
        """The fault in one sentence, for an error."""
        where = {"file": "in ", "environment": "from ", "flag": "from "}
        place = f" ({where[self.origin.kind]}{self.origin})" if self.origin and self.origin.kind in where else ""
        return f"setting {self.key}{place}: {self.problem}"


@dataclass(frozen=True)
class Chosen:
    """A table of an array whose tables are of several kinds.

    Attributes:
        kind: name of the kind.
        settings: the table's keys beside ``kind``, as an instance of the kind's own model.
        factory: object that the kind's entry point loads.
    """

    kind: str
    settings: BaseModel
    factory: Any


Values = BaseModel | tuple[BaseModel, ...] | tuple[Chosen, ...]


class Validation:
    """Validates one merged layer against the registered sections.

    Attributes:
        values: section → what its table or tables hold; without those that have faults.
        faults: all that is wrong, in the order of the sections.
    """

    def __init__(self, merged: Layer, sections: Mapping[str, Section]) -> None:
        self._origins = merged.origins
        self.values: dict[str, Values] = {}
        self.faults: list[Fault] = []
        for name, value in merged.table.items():
            if name not in sections:
                self._add((name,), _unknown_section(name, value, sections))
        for name, section in sections.items():
            if section.array:
                self._tables(section, merged.table.get(name, []))
            else:
                self._table(section, merged.table.get(name, {}))

    def _table(self, section: Section, table: Any) -> None:
        if not isinstance(table, dict):
            self._add((section.name,), f"expected a table [{section.name}], but it is {shown(table, None)}")
            return
        model = self._validated((section.name,), section.model, table, section.settings)
        if model is not None:
            self.values[section.name] = model

    def _tables(self, section: Section, tables: Any) -> None:
        if not isinstance(tables, list) or not all(isinstance(table, (dict, TextForm)) for table in tables):
            found = "a single table" if isinstance(tables, dict) else shown(tables, None)
            self._add((section.name,), f"expected an array of tables [[{section.name}]], but it is {found}")
            return
        self._unique(section, tables)
        if section.has_kinds:
            chosen = (self._chosen(section, (section.name, index), table) for index, table in enumerate(tables))
            self.values[section.name] = tuple(each for each in chosen if each is not None)
            return
        models = (
            self._validated((section.name, index), section.model, table, section.settings)
            for index, table in enumerate(tables)
        )
        self.values[section.name] = tuple(model for model in models if model is not None)

    def _chosen(self, section: Section, place: Key, table: dict[str, Any] | TextForm) -> Chosen | None:
        rest: str | None = None
        if isinstance(table, TextForm):
            name, _, rest = table.partition(":")
            table = {KIND: name}
        own = {key: value for key, value in table.items() if key in section.settings}
        model = self._validated(place, section.model, own, section.settings)
        if model is None:
            return None
        kind = section.kinds.get(table[KIND])
        if kind is None:
            known = f"one of {_listed(section.kinds)}" if section.kinds else "nothing, since no kind is installed"
            self._add((*place, KIND), f"expected {known}, but it is {shown(table[KIND], section.settings[KIND])}")
            return None
        others = {key: value for key, value in table.items() if key not in section.settings}
        if rest is not None:
            parsed = self._parsed(place, kind, rest)
            if parsed is None:
                return None
            others |= parsed
        settings = self._validated(place, kind.model, others, kind.settings(section.name), also=section.settings)
        return None if settings is None else Chosen(kind.name, settings, kind.factory)

    def _parsed(self, place: Key, kind: Kind, rest: str) -> Mapping[str, Any] | None:
        try:
            return kind.parsed(rest)
        except ValidationError as error:
            settings = kind.settings(str(place[0]))
            for each in _one_a_key(error):
                self._add((*place, *each["loc"]), _problem(each, settings, settings))
        except (ValueError, EdgeAacError) as error:
            self._add(place, without_secrets(str(error)))
        return None

    def _validated(
        self,
        place: Key,
        model: type[BaseModel],
        table: Mapping[str, Any],
        settings: Mapping[str, Setting],
        also: Collection[str] = (),
    ) -> BaseModel | None:
        """The model of a table, or None and its faults; ``also`` are keys known beside those of the model."""
        try:
            return model.model_validate(table)
        except ValidationError as error:
            for each in _one_a_key(error):
                self._add((*place, *each["loc"]), _problem(each, settings, [*settings, *also]))
            return None

    def _unique(self, section: Section, tables: list[dict[str, Any] | TextForm]) -> None:
        for key in section.unique:
            values = [table.get(key) if isinstance(table, dict) else None for table in tables]
            for index, value in enumerate(values):
                if value is not None and value in values[:index]:
                    found = shown(value, section.settings[key])
                    self._add((section.name, index, key), f"expected one that no other table has, but it is {found}")

    def _add(self, path: Key, problem: str) -> None:
        self.faults.append(Fault(dotted(path), origin_of(path, self._origins), problem))


def dotted(path: Key) -> str:
    """A path as it is written in a sentence: ``sources[1].name``."""
    return "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in path).removeprefix(".")


def _one_a_key(error: ValidationError) -> list[ErrorDetails]:
    """The first error of each key; a union gives one for each of its members."""
    first: dict[Any, ErrorDetails] = {}
    for each in error.errors(include_url=False):
        location = each["loc"][:1]
        first.setdefault(location, ErrorDetails({**each, "loc": location}))
    return list(first.values())


def _problem(error: ErrorDetails, settings: Mapping[str, Setting], known: Collection[str]) -> str:
    name = str(error["loc"][0]) if error["loc"] else ""
    if error["type"] == "extra_forbidden":
        return f"there is no such setting{_nearest(name, known)}"
    setting = settings.get(name)
    if error["type"] == "missing" and setting is not None:
        return f"expected {setting.expected()}, but it is missing"
    if setting is None or error["type"] in _IN_OWN_WORDS:
        message = error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
        # What a whole table holds may be secret.
        return message if setting is None else f"{message}, but it is {_beginning(shown(error['input'], setting))}"
    if error["type"] in _TOO_LONG:
        limit = error.get("ctx", {})["max_length"]
        return f"expected at most {limit} {_TOO_LONG[error['type']]}, but it has {len(error['input'])}"
    return f"expected {setting.expected()}, but it is {_beginning(shown(error['input'], setting))}"


def _beginning(value: str) -> str:
    """A value as it fits into a sentence."""
    return value if len(value) <= _LONGEST_VALUE else f"{value[:_LONGEST_VALUE]}… ({len(value)} characters)"


def _unknown_section(name: str, value: Any, sections: Mapping[str, Section]) -> str:
    if not isinstance(value, (dict, list)):
        owners = [
            f"[{section.name}]" for section in sections.values() if name in section.settings and not section.array
        ]
        if owners:
            return f"expected in a section: it belongs to {' or '.join(owners)}"
    return f"there is no such section{_nearest(name, sections)}"


def _nearest(name: str, known: Collection[str]) -> str:
    from difflib import get_close_matches  # of no use to settings without a fault

    near = get_close_matches(name, known, n=1, cutoff=0.6)
    return f", the nearest is {near[0]}" if near else f": known are {_listed(known)}"


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names))
