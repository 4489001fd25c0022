"""Options of verbs, made from the settings: one place names a setting for file, environment and flag."""

from __future__ import annotations

import inspect
import os
import re
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

from edge_aac.errors import ConfigError, InputMissingError
from edge_aac.settings.faults import TextForm
from edge_aac.settings.fields import Setting
from edge_aac.settings.layers import Layer, Origin
from edge_aac.settings.lines import Key
from edge_aac.settings.sections import Section, registered_sections
from edge_aac.settings.tree import Settings, load_settings

# In the order in which help shows them; what other packages register follows.
STREAM_SECTIONS = (
    "sources",
    "sinks",
    "stream",
    "events",
    "privacy",
    "clips",
    "captioner",
    "load",
    "health",
    "metrics",
)

_CONFIG = "settings_file"
_CONTEXT = "settings_context"
_CONFIG_OPTION = typer.Option(
    "--config",
    envvar="EDGE_AAC_CONFIG",
    help="TOML file. Default: ~/.config/edge-aac/config.toml over /etc/edge-aac/config.toml.",
    show_default=False,
    readable=False,  # one that cannot be read is an input that is missing, not a wrong use
)


@dataclass(frozen=True)
class GivenSettings:
    """Settings that a verb's flags and environment give, before anything is read or validated.

    Attributes:
        config: the file that stands in place of the machine's and the user's.
        given: settings from flags and environment.
        defaults: the verb's own defaults.
    """

    config: Path | None
    given: Layer
    defaults: Layer

    def with_sinks(self, kind: str, texts: Sequence[str], flag: str) -> GivenSettings:
        """These settings with further sinks of one kind, as a short form of ``--sink KIND:TEXT`` gives them.

        Args:
            kind: of the sinks.
            texts: what follows the kind, for each.
            flag: that gave them.
        """
        if not texts:
            return self
        before = self.given.table.get("sinks", [])
        added = [TextForm(f"{kind}:{text}") for text in texts]
        places: list[Key] = [("sinks",), *(("sinks", len(before) + number) for number in range(len(added)))]
        origins = {**self.given.origins, **dict.fromkeys(places, Origin("flag", flag))}
        return replace(self, given=Layer({**self.given.table, "sinks": [*before, *added]}, origins))

    def flags(self, section: str) -> frozenset[str]:
        """Names of a section's settings that flags gave."""
        return frozenset(
            str(path[1])
            for path, origin in self.given.origins.items()
            if path[0] == section and path[1:] and origin.kind == "flag"
        )

    def load(self) -> Settings:
        """The settings; see :func:`edge_aac.settings.tree.load_settings` for what they raise."""
        try:
            return load_settings(self.config, self.given, self.defaults)
        except InputMissingError as error:
            if self.config is None:
                raise
            raise InputMissingError(f"{error}: correct --config or leave it out") from error


@dataclass(frozen=True)
class _Option:
    """One setting as a verb has it."""

    setting: Setting
    parameter: str
    env: str | None
    help: str
    section: Section

    @property
    def array(self) -> bool:
        return self.section.array

    @property
    def has_kinds(self) -> bool:
        return self.section.has_kinds

    @property
    def repeated(self) -> bool:
        return self.array or self.setting.repeated

    def typer_parameter(self) -> inspect.Parameter:
        """The parameter that Typer makes the option of."""
        kind = _given_type(self.setting)
        annotation: Any = (types.GenericAlias(list, kind) if self.repeated else kind) | None
        option = typer.Option(
            *([self.setting.flag] if self.setting.flag else []),
            # Lists are split here, not by Typer: at line breaks, since addresses hold blanks.
            envvar=None if self.repeated else self.env,
            help=self.help,
            metavar=self.setting.metavar or _metavar(self.setting),
            show_default=False,
            rich_help_panel=_heading(self.section),
        )
        return _parameter(self.parameter, Annotated[annotation, option], None)

    def given(self, value: Any, context: typer.Context) -> tuple[Any, Origin] | None:
        """The value and whether a flag or the environment gave it; None where neither did."""
        if self.setting.flag and value not in (None, [], ()):
            source = context.get_parameter_source(self.parameter)
            if source is not None and source.name == "ENVIRONMENT":
                return value, Origin("environment", self.env or "")
            return value, Origin("flag", self._flag_of(value))
        text = os.environ.get(self.env, "") if self.env else ""
        if not text or (self.setting.flag and not self.repeated):
            return None
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return (lines if self.repeated else text), Origin("environment", self.env or "")

    def _flag_of(self, value: Any) -> str:
        on, _, off = (self.setting.flag or "").partition("/")
        return off if off and value is False else on


def settings_options(
    *first: str,
    others: bool = False,
    without: Collection[str] = (),
    env: Mapping[str, str] | None = None,
    help_texts: Mapping[str, str] | None = None,
    defaults: Mapping[str, Mapping[str, Any]] | None = None,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a verb an option for each setting that has a flag, and ``--config``.

    The verb has a parameter annotated :class:`GivenSettings`; the options stand in its place, those of ``first`` first.

    Args:
        first: names of sections whose settings are options.
        others: whether those of all other registered sections follow.
        without: settings that the verb has no option for, such as "stream.device".
        env: setting → the variable that the verb has for it instead.
        help_texts: setting → what the verb's help says of it instead.
        defaults: section → setting → value, the verb's own defaults, below any file.

    Raises:
        ConfigError: a section cannot be loaded, or two settings have the same flag.
    """
    table = {section: dict(values) for section, values in (defaults or {}).items()}
    origins: dict[Key, Origin] = {
        (section, name): Origin("default") for section, values in table.items() for name in values
    }
    own_defaults = Layer(table, origins)

    def decorate(verb: Callable[..., None]) -> Callable[..., None]:
        options = _options(first, others, without, env or {}, help_texts or {})
        # Not by get_type_hints: where the default is None, that of Python 3.10 hides the option in an Optional.
        parameters = inspect.signature(verb, eval_str=True).parameters
        hints = {name: parameter.annotation for name, parameter in parameters.items()}
        (place,) = (name for name in parameters if hints[name] is GivenSettings)

        def run(**arguments: Any) -> None:
            context = arguments.pop(_CONTEXT)
            config = arguments.pop(_CONFIG)
            values = {option.parameter: arguments.pop(option.parameter, None) for option in options}
            given = _layer(options, values, context)
            verb(**arguments, **{place: GivenSettings(config, given, own_defaults)})

        made: list[inspect.Parameter] = [_parameter(_CONTEXT, typer.Context, inspect.Parameter.empty)]
        for name, parameter in parameters.items():
            if name != place:
                made.append(_parameter(name, hints[name], parameter.default))
                continue
            made += [option.typer_parameter() for option in options if option.setting.flag]
            made.append(_parameter(_CONFIG, Annotated[Path | None, _CONFIG_OPTION], None))
        run.__name__, run.__doc__, run.__module__ = verb.__name__, verb.__doc__, verb.__module__
        # Typer reads both: the one for order and defaults, the other for types.
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in made}
        vars(run)["__signature__"] = inspect.Signature(made)
        return run

    return decorate


def option(key: str) -> Any:
    """The option of one setting, for a verb that has no other settings; see :data:`typing.Annotated`.

    Args:
        key: such as "captioner.bundle".
    """
    section, _, name = key.partition(".")
    setting = registered_sections()[section].settings[name]
    return typer.Option(setting.flag, envvar=setting.env, help=_help(setting, False), show_default=False)


def _options(
    first: Collection[str],
    others: bool,
    without: Collection[str],
    env: Mapping[str, str],
    help_texts: Mapping[str, str],
) -> list[_Option]:
    sections = registered_sections()
    names = [*first, *(name for name in sections if others and name not in first)]
    options = [
        _Option(
            setting,
            f"{section.name.replace('-', '_')}__{setting.name}",
            env.get(_dotted(setting), setting.env),
            help_texts.get(_dotted(setting)) or _help(setting, section.array or setting.repeated),
            section,
        )
        for section in (_known(sections, name) for name in names)
        for setting in section.settings.values()
        if (setting.flag or setting.env) and _dotted(setting) not in without
    ]
    owners: dict[str, str] = {}
    for each in options:
        for flag in (each.setting.flag or "").split("/"):
            if flag and owners.setdefault(flag, _dotted(each.setting)) != _dotted(each.setting):
                raise ConfigError(f"both {owners[flag]} and {_dotted(each.setting)} have the flag {flag}")
    return options


def _known(sections: Mapping[str, Section], name: str) -> Section:
    if name not in sections:
        raise ConfigError(f"no settings section '{name}' is registered: install edge-aac again with pip")
    return sections[name]


def _layer(options: list[_Option], values: Mapping[str, Any], context: typer.Context) -> Layer:
    table: dict[str, Any] = {}
    origins: dict[Key, Origin] = {}
    for each in options:
        found = each.given(values[each.parameter], context)
        if found is None:
            continue
        value, origin = found
        section, name = each.setting.section, each.setting.name
        if not each.array:
            table.setdefault(section, {})[name] = value
            origins[(section, name)] = origin
            continue
        table[section] = [TextForm(text) if each.has_kinds else {name: text} for text in value]
        origins[(section,)] = origin
        origins |= {(section, index): origin for index in range(len(value))}
    return Layer(table, origins)


def _help(setting: Setting, repeated: bool) -> str:
    default = setting.default_text()
    if setting.absent is None and default and setting.type is float and setting.unit:
        default = f"{default} {setting.unit}"
    parts = [
        setting.description,
        "Repeat it for several." if repeated else "",
        f"Default: {default}." if default else "",
        # Typer names the variables that it reads itself; those of several values are read here.
        f"Environment: {setting.env}, one a line." if repeated and setting.env else "",
    ]
    return " ".join(part for part in parts if part)


def _metavar(setting: Setting) -> str | None:
    """Name of a flag's value; None for a flag without one."""
    kind = setting.type
    if get_origin(kind) is Literal:
        return "|".join(str(choice) for choice in get_args(kind))
    if get_origin(kind) in {list, tuple}:
        kind = get_args(kind)[0]
    names: dict[Any, str | None] = {bool: None, int: "NUMBER", float: "NUMBER", Path: "PATH"}
    return names.get(kind, "TEXT")


def _heading(section: Section) -> str:
    """Heading in the help: the section's summary, and its name, which the configuration has."""
    name = f"[[{section.name}]]" if section.array else f"[{section.name}]"
    summary = re.split("[;:]", section.summary)[0].rstrip(".")
    return f"{summary}, {name}" if summary else name


def _given_type(setting: Setting) -> Any:
    """The type that Typer converts to; what only the model can judge is text."""
    kind = setting.type
    if setting.repeated:
        kind = get_args(kind)[0]
    if get_origin(kind) is Literal or kind not in {int, float, bool, Path}:
        return str
    return kind


def _dotted(setting: Setting) -> str:
    return f"{setting.section}.{setting.name}"


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    # By keyword, so that parameters with and without defaults may stand in any order.
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
