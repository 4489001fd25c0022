"""The settings as a whole: merged from all that gives them, validated once, each with where it comes from.

Precedence: a flag, then the environment (``EDGE_AAC_…``), then the user's TOML file, then the machine's, key by key,
then the defaults of the sections. A file that is named stands in place of both. An array of tables is replaced as a
whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from edge_aac.errors import ConfigError
from edge_aac.settings.faults import Chosen, Fault, Validation, Values
from edge_aac.settings.fields import Setting
from edge_aac.settings.layers import Layer, Origin, SyntaxFault, default_files, merged, origin_of, read_file
from edge_aac.settings.lines import Key
from edge_aac.settings.sections import Section, registered_sections

Model = TypeVar("Model", bound=BaseModel)

NOTHING = Layer()


@dataclass(frozen=True)
class Settings:
    """All sections, validated.

    Attributes:
        sections: the registered sections by name.
        values: section → its model; of an array of tables a tuple of them, or of :class:`Chosen`.
        origins: path of what was given → where it comes from.
    """

    sections: Mapping[str, Section]
    values: Mapping[str, Values]
    origins: Mapping[Key, Origin]

    def get(self, model: type[Model]) -> Model:
        """The section that is one table of this model.

        Raises:
            KeyError: no section of this model is registered.
        """
        for value in self.values.values():
            if type(value) is model:
                return value
        raise KeyError(f"no section of one table is registered as {model.__qualname__}")

    def tables(self, model: type[Model]) -> tuple[Model, ...]:
        """The tables of the array whose tables are this model; empty where none is given.

        Raises:
            KeyError: no such array is registered.
        """
        return tuple(value for value in self._array(model) if isinstance(value, model))

    def chosen(self, model: type[BaseModel]) -> tuple[Chosen, ...]:
        """The tables of the array of several kinds that is registered as this model; empty where none is given.

        Raises:
            KeyError: no such array is registered.
        """
        return tuple(value for value in self._array(model) if isinstance(value, Chosen))

    def every_table(self) -> Iterator[tuple[str, BaseModel | Chosen]]:
        """Each section's name and table; of an array one after the other."""
        for section, value in self.values.items():
            for table in value if isinstance(value, tuple) else (value,):
                yield section, table

    def origin(self, path: Key, setting: Setting, *, given: bool = True) -> Origin:
        """Origin of the value at ``path``.

        Args:
            path: such as ``("stream", "hop_s")`` or ``("sources", 0, "name")``.
            setting: setting at that path.
            given: whether the table that holds it gives it, be it as one text; else it is a default, and one that is no
                value is given in words.
        """
        found = origin_of(path, self.origins) if given else None
        return found or Origin("default", setting.absent or "")

    def _array(self, model: type[BaseModel]) -> tuple[BaseModel, ...] | tuple[Chosen, ...]:
        for name, section in self.sections.items():
            values = self.values[name]
            if section.model is model and isinstance(values, tuple):
                return values
        raise KeyError(f"no array of tables is registered as {model.__qualname__}")


def load_settings(config: Path | None = None, given: Layer = NOTHING, defaults: Layer = NOTHING) -> Settings:
    """Merges the settings of files with those given by flags or environment, and validates the whole.

    Args:
        config: a TOML file; None looks for ``/etc/edge-aac/config.toml`` and ``~/.config/edge-aac/config.toml``, which
            overrules it key by key.
        given: values from flags and environment, above any file.
        defaults: values in place of the sections' own defaults, below any file.

    Raises:
        InputMissingError: the file that was named does not exist.
        ConfigError: not TOML, an unknown section or setting, or a value outside its range; the first fault is named.
    """
    sections = registered_sections()
    files = [read_file(path) for path in ([config] if config else default_files())]
    whole = merged([defaults, *files, given])
    validation = Validation(whole, sections)
    if validation.faults:
        raise ConfigError(validation.faults[0].sentence)
    return Settings(sections, validation.values, whole.origins)


def faults_of(path: Path) -> list[Fault]:
    """All faults of one configuration file, in the order of their lines; none where it is right.

    Raises:
        InputMissingError: the file does not exist or cannot be read.
        ConfigError: an installed package registers a section that cannot be loaded.
    """
    try:
        layer = read_file(path)
    except SyntaxFault as fault:
        return [Fault("TOML", Origin("file", str(path), fault.line), fault.reason)]
    faults = Validation(merged([layer]), registered_sections()).faults
    return sorted(faults, key=lambda fault: (fault.origin.line or 0) if fault.origin else 0)
