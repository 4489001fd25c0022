"""Sections of the settings, registered by what they configure.

A package registers a section in the entry-point group ``edge_aac.settings``: the section's name → a pydantic model.
Its class attributes say what kind of section it is:

- ``ARRAY = True``: an array of tables (``[[sources]]``), each of them the model;
- ``UNIQUE = ("name",)``: keys of which no two tables of the array have the same value;
- ``KINDS = "edge_aac.sinks"``: each table has a ``kind``, the name of an entry point in that group. What that loads has
  an attribute ``Settings``, a pydantic model for the rest of the table. Where that model has a class method
  ``parse(rest)``, the flag's text ``kind:rest`` is read by it into an instance. ``DEFAULT_KIND = "stdout"`` is the kind
  that is taken where no table is given.

A model may have a method ``leaves(self) -> str`` that tells what leaves the device because of it, see
:mod:`edge_aac.settings.leaving`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint
from typing import Any

from pydantic import BaseModel

from edge_aac.errors import ConfigError
from edge_aac.plugins import load, registered
from edge_aac.settings.fields import METADATA, Setting

GROUP = "edge_aac.settings"
KIND = "kind"


@dataclass(frozen=True)
class Kind:
    """A kind of table in an array, such as the sink "jsonl".

    Attributes:
        name: value of ``kind`` in the table.
        factory: object that the entry point loads.
        model: the model of what the table holds beside ``kind``.
    """

    name: str
    factory: Any
    model: type[BaseModel]

    def settings(self, section: str) -> dict[str, Setting]:
        """The kind's own settings."""
        return _settings_of(section, self.model)

    def parsed(self, rest: str) -> Mapping[str, Any]:
        """Parse the text after ``kind:`` into keys of the table.

        Raises:
            ConfigError: the kind has nothing that can be given as text.
            ValueError, ValidationError, EdgeAacError: the kind refuses the text.
        """
        parse = getattr(self.model, "parse", None)
        if parse is None:
            if rest:
                raise ConfigError(f"'{self.name}' takes nothing after a colon, but it is given {rest!r}")
            return {}
        result = parse(rest)
        if not isinstance(result, self.model):
            raise ConfigError(f"{self.model.__qualname__}.parse gives no {self.model.__qualname__}")
        return {name: getattr(result, name) for name in result.model_fields_set}


@dataclass(frozen=True)
class Section:
    """A registered section.

    Attributes:
        name: name of the section in the file.
        model: the pydantic model of its table, or of each of its tables.
    """

    name: str
    model: type[BaseModel]

    @property
    def array(self) -> bool:
        """Whether it is an array of tables."""
        return bool(getattr(self.model, "ARRAY", False))

    @property
    def unique(self) -> tuple[str, ...]:
        """Keys of which no two tables have the same value."""
        return tuple(getattr(self.model, "UNIQUE", ()))

    @property
    def summary(self) -> str:
        """The first line of the model's docstring."""
        return (self.model.__doc__ or "").strip().partition("\n")[0]

    @cached_property
    def settings(self) -> dict[str, Setting]:
        """Settings of the section by key, without those of its kinds."""
        return _settings_of(self.name, self.model)

    @cached_property
    def kinds(self) -> dict[str, Kind]:
        """The kinds that a table can be, by name; empty where all tables are alike.

        Raises:
            ConfigError: a package registers a kind that cannot be loaded.
        """
        group = getattr(self.model, "KINDS", None)
        if group is None:
            return {}
        return {name: _kind(point) for name, point in registered(group).items()}

    @property
    def has_kinds(self) -> bool:
        """Whether its tables are of several kinds, of which none need be installed."""
        return getattr(self.model, "KINDS", None) is not None


def registered_sections() -> dict[str, Section]:
    """All sections that installed packages register, by name, in alphabetical order.

    Raises:
        ConfigError: a section cannot be loaded, or is no usable model.
    """
    return {name: _section(point) for name, point in registered(GROUP).items()}


def _section(point: EntryPoint) -> Section:
    model = _model(_loaded(point))
    if model is None:
        raise ConfigError(f"{_registered(point)} is no pydantic model: correct the package that registers it")
    section = Section(point.name, model)
    if section.has_kinds and not section.array:
        raise ConfigError(f"{_registered(point)} has kinds, but is no array of tables: set ARRAY = True")
    return section


def _kind(point: EntryPoint) -> Kind:
    factory = _loaded(point)
    model = _model(getattr(factory, "Settings", None))
    if model is None:
        raise ConfigError(f"{_registered(point)} has no pydantic model called Settings: correct its package")
    return Kind(point.name, factory, model)


def _loaded(point: EntryPoint) -> Any:
    return load(point, _entry(point))


def _entry(point: EntryPoint) -> str:
    return f"'{point.name}' of {point.group}"


def _registered(point: EntryPoint) -> str:
    return f"{_entry(point)} is registered as {point.value}"


def _model(value: Any) -> type[BaseModel] | None:
    return value if isinstance(value, type) and issubclass(value, BaseModel) else None


def _settings_of(section: str, model: type[BaseModel]) -> dict[str, Setting]:
    settings = {name: Setting(section, name, field) for name, field in model.model_fields.items()}
    for setting in settings.values():
        if unknown := set(setting.metadata) - METADATA:
            raise ConfigError(f"the field {section}.{setting.name} has unknown metadata {', '.join(sorted(unknown))}")
        if setting.secret and setting.flag:
            raise ConfigError(f"the field {section}.{setting.name} is secret, so that it must not have a flag")
    return settings
