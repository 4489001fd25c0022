"""The configuration: where it comes from, whether it has faults, and who may read its secrets."""

from __future__ import annotations

import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel

from edge_aac.doctor.contract import Context, Finding, Part
from edge_aac.errors import ConfigError, EdgeAacError, UsageError
from edge_aac.settings.faults import Chosen
from edge_aac.settings.tree import Settings

_PLACES = ("file:", "env:")


def check(context: Context) -> Sequence[Part]:
    """See :data:`edge_aac.doctor.contract.Check`."""
    return [Part(lambda: _configuration(context))]


def _configuration(context: Context) -> Iterator[Finding]:
    if context.loaded is None:
        yield Finding("failed", context.fault.rstrip("."), "`edge-aac config --check FILE` shows all faults of a file")
        return
    counts = Counter(
        origin.where if origin.kind == "file" else f"the {origin.kind}"
        for path, origin in context.loaded.origins.items()
        if origin.kind != "default" and len(path) > 1
    )
    given = ", ".join(f"{count} from {where}" for where, count in counts.items())
    yield Finding("ok", f"settings: {given}" if given else "nothing is set, the defaults hold")
    yield from _unusable(context.loaded)
    yield from _open_secrets(context.loaded)


def _unusable(settings: Settings) -> Iterator[Finding]:
    """What the stream would refuse at its start, though each setting is one that may be."""
    from edge_aac.service.opening import Output
    from edge_aac.service.plans import source_plans

    try:
        source_plans(settings, Output())
    except (ConfigError, UsageError) as error:
        yield Finding("failed", str(error).rstrip("."))
    except EdgeAacError:
        return  # of the bundle, which another check tells


def _open_secrets(settings: Settings) -> Iterator[Finding]:
    """Warn of files with secrets that everybody may read."""
    files = {
        origin.where
        for path, origin in settings.origins.items()
        if origin.kind == "file" and _is_secret(settings, path)
    }
    for file in sorted(files):
        try:
            readable = Path(file).stat().st_mode & stat.S_IROTH
        except OSError:
            continue
        if readable:
            yield Finding("warning", f"{file} holds secrets and every user may read it", f"chmod o-r {file}")


def _is_secret(settings: Settings, path: tuple[str | int, ...]) -> bool:
    """Whether the value at a path may be a secret itself: one that names its place is none."""
    section, name = settings.sections.get(str(path[0])), str(path[-1])
    if section is None:
        return False
    values = settings.values[section.name]
    if isinstance(values, tuple):
        index = path[1] if len(path) > 1 else None
        if not isinstance(index, int) or index >= len(values):
            return False
        table: BaseModel | Chosen = values[index]
    else:
        table = values
    known = section.settings
    if isinstance(table, Chosen):
        known, table = section.kinds[table.kind].settings(section.name), table.settings
    if name not in known or not known[name].secret:
        return False
    return not str(getattr(table, name)).startswith(_PLACES)
