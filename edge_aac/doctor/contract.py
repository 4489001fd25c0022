"""What a check is given, and what it gives.

A package registers a check in the entry-point group ``edge_aac.checks``: the check's name → a function that is given a
:class:`Context` and gives the parts of the check, each a :class:`Part`. Each part runs in a process of its own, which
is ended where it takes too long: a driver that hangs or crashes ends that part alone. A part must not rely on what
another one did.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edge_aac.settings.tree import Settings

Status = Literal["ok", "warning", "failed"]

LIMIT_S = 15.0


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        status: "ok"; "warning" for what a user should know though edge-aac runs; "failed" for what keeps it from that.
        text: what was found, as one sentence without its full stop.
        mend: what mends it; empty where nothing is to be mended, or where the text says so.
    """

    status: Status
    text: str
    mend: str = ""


@dataclass(frozen=True)
class Part:
    """A part of a check, such as one source of several.

    Attributes:
        run: does what is checked, and gives what it found; in a process of its own.
        name: name of the part; empty where the check has only one.
        limit_s: seconds after which the part has failed.
    """

    run: Callable[[], Iterable[Finding]]
    name: str = ""
    limit_s: float = LIMIT_S


class UnusableSettingsError(Exception):
    """A check needs the settings, and they have a fault, which another check tells."""


@dataclass(frozen=True)
class Context:
    """What every check is given.

    Attributes:
        loaded: the settings; None where they have a fault.
        fault: why they could not be loaded.
        files: the configuration files that the settings are read from.
        given: what flags and environment give of the settings.
        root: folder that holds ``proc``, ``sys``, ``dev``, ``etc`` …: ``/``, but for tests.
        environment: the environment's variables.
    """

    loaded: Settings | None
    fault: str = ""
    files: Sequence[Path] = ()
    given: Mapping[str, Any] = field(default_factory=dict)
    root: Path = Path("/")
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    @property
    def settings(self) -> Settings:
        """The settings.

        Raises:
            UnusableSettingsError: they have a fault.
        """
        if self.loaded is None:
            raise UnusableSettingsError(self.fault)
        return self.loaded

    def text(self, path: str) -> str:
        """The text of a file below the root without surrounding white space; empty where it cannot be read."""
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace").strip("\0 \t\r\n")
        except OSError:
            return ""

    def there(self, *patterns: str) -> list[Path]:
        """The paths below the root that match any of the patterns, sorted."""
        return sorted({path for pattern in patterns for path in self.root.glob(pattern)})


Check = Callable[[Context], Sequence[Part]]
