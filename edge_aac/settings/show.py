"""The merged settings as TOML, each value with where it comes from; and in words what leaves the device."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping

from pydantic import BaseModel

from edge_aac.settings.faults import Chosen
from edge_aac.settings.fields import Setting
from edge_aac.settings.leaving import leaving
from edge_aac.settings.lines import Key
from edge_aac.settings.sections import KIND, Section
from edge_aac.settings.toml import shown, toml_value
from edge_aac.settings.tree import Settings

_WIDTH = 118


def show(settings: Settings) -> str:
    """Show every setting with its value, and the value's origin in a comment behind it; then what leaves the device.

    What has no value stands in the comment alone. Secrets and the user information of addresses are hidden.
    """
    blocks = []
    for name, section in settings.sections.items():
        values = settings.values[name]
        if isinstance(values, tuple):
            for index in range(len(values)):
                blocks.append(_table(settings, section, (name, index), values[index]))
            if not values:
                blocks.append(f"# [[{name}]]: none\n")
        else:
            blocks.append(_table(settings, section, (name,), values))
    blocks.append("\n".join(["# What is written and what leaves the device:", *map(_item, leaving(settings))]) + "\n")
    return "\n".join(blocks)


def _item(sentence: str) -> str:
    wrapped = textwrap.wrap(
        sentence,
        _WIDTH,
        initial_indent="# - ",
        subsequent_indent="#   ",
        break_on_hyphens=False,
        break_long_words=False,
    )
    return "\n".join(wrapped)


def _table(settings: Settings, section: Section, place: Key, value: BaseModel | Chosen) -> str:
    lines = [f"[[{section.name}]]" if section.array else f"[{section.name}]"]
    if isinstance(value, Chosen):
        origin = settings.origin((*place, KIND), section.settings[KIND])
        lines.append(f"{KIND} = {toml_value(value.kind)}  # {origin}")
        own = section.kinds[value.kind].settings(section.name)
        lines += _values(settings, own, place, value.settings)
    else:
        lines += _values(settings, section.settings, place, value)
    return "\n".join(lines) + "\n"


def _values(settings: Settings, own: Mapping[str, Setting], place: Key, model: BaseModel) -> Iterable[str]:
    for name, setting in own.items():
        value = getattr(model, name)
        origin = settings.origin((*place, name), setting, given=name in model.model_fields_set)
        if value is None:
            yield f"# {name}: {origin}"
        else:
            yield f"{name} = {shown(value, setting)}  # {origin}"
