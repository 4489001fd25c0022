"""A configuration file that holds every setting of every registered section, commented."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from edge_aac.settings.fields import Setting
from edge_aac.settings.sections import KIND, Kind, Section
from edge_aac.settings.toml import shown, toml_value

_WIDTH = 118
_HEAD = """\
# Settings of edge-aac. Each stands here commented, with its default or an example: to set it, take the # away that
# stands directly before it and before the header of its section.
# A flag overrules the environment, that the user's file (~/.config/edge-aac/config.toml), that the machine's
# (/etc/edge-aac/config.toml), key by key; an array of tables [[...]] is overruled as a whole.
"""


def example(sections: Mapping[str, Section]) -> str:
    """The text of the file. Without the ``#`` directly before keys and headers it is valid as a whole."""
    blocks = [_HEAD]
    for section in sections.values():
        if section.has_kinds:
            blocks += [_table(section, kind) for kind in section.kinds.values()]
            if not section.kinds:
                blocks.append(_comment(f"{section.summary} No kind of [[{section.name}]] is installed.") + "\n")
        else:
            blocks.append(_table(section))
    return "\n".join(blocks)


def _table(section: Section, kind: Kind | None = None) -> str:
    header = f"[[{section.name}]]" if section.array else f"[{section.name}]"
    lines = [_comment(section.summary), f"#{header}"]
    for setting in section.settings.values():
        value = kind.name if kind and setting.name == KIND else setting.example()
        lines += _setting(setting, value)
    if kind is not None:
        for setting in kind.settings(section.name).values():
            lines += _setting(setting, setting.example())
    return "\n".join(lines) + "\n"


def _setting(setting: Setting, value: object) -> list[str]:
    facts = [setting.expected(), *_default(setting)]
    facts += [text for text in (setting.flag and setting.flag.replace("/", ", "), setting.env) if text]
    return [_comment(setting.description), _comment("; ".join(facts)), f"#{setting.name} = {toml_value(value)}"]


def _default(setting: Setting) -> list[str]:
    if setting.field.is_required():
        return ["required"]
    if setting.absent is not None:
        return [f"default: {setting.absent}"]
    return [] if setting.default is None else [f"default {shown(setting.default, setting)}"]


def _comment(text: str) -> str:
    wrapped = textwrap.wrap(
        text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False, break_long_words=False
    )
    return "\n".join(wrapped)
