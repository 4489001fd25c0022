"""What is written and what leaves the device, in plain words made from the settings.

Whatever has settings says it itself: a section's model, or that of a kind of sink, may have a method
``leaves(self) -> str``: sentences that tell what goes where because of it; empty for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from edge_aac.audio.sources.labels import label_of
from edge_aac.bundle.hashes import cache_file
from edge_aac.settings.faults import Chosen
from edge_aac.settings.sections import Section
from edge_aac.settings.toml import toml_value, without_secrets
from edge_aac.settings.tree import Settings
from edge_aac.streaming.settings import SourceSettings, StreamSettings, configured_sources
from edge_aac.terminal import escaped

_OUR_PACKAGE = __name__.partition(".")[0]


def leaving(settings: Settings) -> list[str]:
    """Sentences that tell what leaves the device when it streams with these settings, each a line without secrets.

    Raises:
        ConfigError: a kind of sink cannot be loaded.
    """
    sentences: list[str] = []
    for name, section in settings.sections.items():
        if section.has_kinds:
            sentences += _of_kinds(settings, section)
        elif section.model is SourceSettings:
            sentences += _of_sources(settings)
        else:
            values = settings.values[name]
            sentences += [_of_section(name, each) for each in (values if isinstance(values, tuple) else (values,))]
    node = toml_value(settings.get(StreamSettings).node)
    sentences += [
        f"Every record holds the name of this device, {node}, and the name of its source.",
        "The log on standard error names sources and faults; it holds no caption and no sound.",
        _checksums(),
        "Nothing is downloaded while it runs. What is not named here is neither written nor sent.",
    ]
    return [escaped(without_secrets(" ".join(sentence.split()))) for sentence in sentences if sentence]


def _of_kinds(settings: Settings, section: Section) -> Iterator[str]:
    tables = [each for each in settings.values[section.name] if isinstance(each, Chosen)]
    default = getattr(section.model, "DEFAULT_KIND", None)
    if not tables and default in section.kinds:
        kind = section.kinds[default]
        tables = [Chosen(kind.name, kind.model(), kind.factory)]
    for table in tables:
        told = _told(table.settings)
        if told is None:
            records = getattr(table.settings, "records_in_words", "Whatever it takes")
            told = f"{records} go to {section.name} of kind {table.kind!r}, which does not say what it does with them."
        yield told


def _of_sources(settings: Settings) -> Iterator[str]:
    told = []
    for source in configured_sources(settings.get(StreamSettings), settings.tables(SourceSettings)):
        scheme, separator, _ = source.address.partition("://")
        if separator and scheme.lower() != "file":
            label = toml_value(label_of(scheme.lower(), source.address))
            told.append(
                f"Sound comes in over the network, not encrypted, to {label}: what sends it is answered."
                if scheme.lower() == "udp"
                else f"Sound comes in over the network, from {label}: who runs that learns that it is heard."
            )
    yield from dict.fromkeys(told)  # several sources may have one address, with other options


def _of_section(name: str, value: BaseModel | Chosen) -> str:
    told = _told(value)
    if told is not None:
        return told
    if type(value).__module__.partition(".")[0] == _OUR_PACKAGE:
        return ""
    return f"The section [{name}] is of another package, which does not say what leaves the device because of it."


def _checksums() -> str:
    cache = cache_file()
    return "" if cache is None else f"Checksums of the model's files are remembered in {toml_value(str(cache))}."


def _told(value: Any) -> str | None:
    """What a model tells of itself; None where it tells nothing."""
    hook = getattr(value, "leaves", None)
    return None if hook is None else str(hook())
