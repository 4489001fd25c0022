"""Values of sources that commands have set, which hold over restarts and reloads of the configuration.

The rule: a value that was set by a command holds until the configuration's own value of that setting is another one
than it was when the command came; then the configuration, as the newer word, counts again. A pause has no counterpart
in the configuration, where a source is there or not: it holds until it is ended, or the source is taken out. So a
microphone that somebody paused does not listen again because of a power cut.

They are kept in a file of the service's state, which is replaced as a whole at each command.
"""

from __future__ import annotations

import json
import logging
import math
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from edge_aac.audio.sources.address import Address
from edge_aac.audio.windows import WINDOW_SAMPLES, WindowSlicer
from edge_aac.errors import ConfigError
from edge_aac.json_files import write_table
from edge_aac.service.plans import SourcePlan
from edge_aac.streaming.channel import ChannelSettings
from edge_aac.streaming.gate import ScoreGate
from edge_aac.timebase import SAMPLE_RATE

FILE_NAME = "commands.json"
MIN_HOP_S, MAX_HOP_S = 0.1, 3600.0
_SCHEMA = "edge-aac/commands/1"
_MAX_BYTES = 1_000_000
_PACED = ("file", "stdin", "demo", "")
"""Schemes of sources whose reader sets the pace."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Setting:
    """A value that a command has set.

    Attributes:
        value: the value; None for none, where the setting may be absent.
        instead_of: the configuration's own value at that time.
    """

    value: float | None
    instead_of: float | None


@dataclass(frozen=True)
class Override:
    """What commands have set of one source.

    Attributes:
        paused: whether the source is paused.
        min_score, hop_s: what was set of them; None where nothing was.
    """

    paused: bool = False
    min_score: Setting | None = None
    hop_s: Setting | None = None


@dataclass(frozen=True)
class Listening:
    """How a source is listened to after all: by the configuration and the commands.

    Attributes:
        paused: whether it is paused.
        hop_samples: samples from one window to the next.
        settings: gates and seed of its channel.
    """

    paused: bool
    hop_samples: int
    settings: ChannelSettings


def unusable_hop(hop_s: float) -> str | None:
    """What is wrong with a hop in seconds, as a sentence; None where it can be used."""
    if not (math.isfinite(hop_s) and MIN_HOP_S <= hop_s <= MAX_HOP_S):
        return f"a hop is between {MIN_HOP_S:g} and {MAX_HOP_S:g} seconds"
    try:
        WindowSlicer(WINDOW_SAMPLES, round(hop_s * SAMPLE_RATE))
    except ConfigError as error:
        return str(error)
    return None


@dataclass
class Overrides:
    """What commands have set of each source, by label. One thread changes it at a time.

    Attributes:
        path: file that keeps it; None for none.
        by_label: what was set; replaced as a whole.
    """

    path: Path | None = None
    by_label: Mapping[str, Override] = field(default_factory=dict)
    _failed: bool = False
    _saved: Mapping[str, Override] = field(default_factory=dict)
    _saving: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @classmethod
    def load(cls, path: Path) -> Overrides:
        """What a file keeps; nothing where there is none. One that cannot be read is named in the log."""
        try:
            with path.open("rb") as file:
                text = file.read(_MAX_BYTES + 1)
            if len(text) > _MAX_BYTES:
                raise ValueError("it is too long")
            kept = _parsed(json.loads(text))
            return cls(path, kept, _saved=kept)
        except FileNotFoundError:
            return cls(path)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            log.warning("what commands have set before cannot be read from '%s', and is forgotten: %s", path, error)
            return cls(path)

    def of(self, label: str) -> Override:
        """What was set of a source."""
        return self.by_label.get(label, Override())

    def listening(self, plan: SourcePlan) -> Listening:
        """How a source is listened to, where the configuration says ``plan`` of it."""
        override = self.of(plan.label)
        gate = plan.settings.score_gate
        min_score = _chosen(override.min_score, gate.min_score)
        hop_s = _chosen(override.hop_s, plan.source.hop_s) or plan.source.hop_s
        settings = replace(plan.settings, score_gate=ScoreGate(min_score, gate.familiar_only))
        # A file or pipe that has the label of a microphone that was paused once is not that one.
        paused = override.paused and Address.parse(plan.source.address).scheme not in _PACED
        return Listening(paused, round(hop_s * SAMPLE_RATE), settings)

    def set(self, label: str, override: Override) -> None:
        """Take note of what was set of a source; :meth:`save` keeps it."""
        others = {other: kept for other, kept in self.by_label.items() if other != label}
        self.by_label = others if override == Override() else {**others, label: override}

    def keep_only(self, plans: Iterable[SourcePlan]) -> None:
        """Forget sources that are not configured any more, and values that the configuration has changed since.

        Where one of the plans is a discovery's, nothing is forgotten: any source may be found again, and one that was
        paused is paused then.
        """
        plans = list(plans)
        kept = dict(self.by_label) if any(plan.several for plan in plans) else {}
        for plan in plans:
            kept.pop(plan.label, None)
            override = self.of(plan.label)
            override = replace(
                override,
                min_score=_still(override.min_score, plan.settings.score_gate.min_score),
                hop_s=_still(override.hop_s, plan.source.hop_s),
            )
            if override != Override():
                kept[plan.label] = override
        self.by_label = kept

    def save(self) -> None:
        """Keep all of it in the file, where that is not done yet. One that cannot be written is named in the log.

        Any thread may call it: a command and a reload may come at once.
        """
        with self._saving:
            self._save()

    def _save(self) -> None:
        if self.path is None or self.by_label == self._saved:
            return
        saved = self.by_label
        table = {"schema": _SCHEMA, "sources": {label: _table(one) for label, one in saved.items()}}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_table(self.path, table, durable=True)
            self._failed, self._saved = False, saved
        except OSError as error:
            level = logging.DEBUG if self._failed else logging.WARNING
            self._failed = True
            log.log(
                level,
                "commands are lost with a restart: '%s' cannot be written (%s)",
                self.path,
                error.strerror,
            )


def _chosen(setting: Setting | None, configured: float | None) -> float | None:
    return configured if setting is None or setting.instead_of != configured else setting.value


def _still(setting: Setting | None, configured: float | None) -> Setting | None:
    return None if setting is None or setting.instead_of != configured else setting


def _table(override: Override) -> dict[str, object]:
    table: dict[str, object] = {"paused": override.paused}
    for name in ("min_score", "hop_s"):
        setting: Setting | None = getattr(override, name)
        if setting is not None:
            table[name] = {"value": setting.value, "instead_of": setting.instead_of}
    return table


def _parsed(table: object) -> dict[str, Override]:
    if not isinstance(table, dict) or table["schema"] != _SCHEMA:
        raise ValueError("it is of another program or version")
    return {
        str(label): Override(one["paused"] is True, _setting(one, "min_score"), _hop(one))
        for label, one in table["sources"].items()
    }


def _setting(table: Mapping[str, Mapping[str, object]], name: str) -> Setting | None:
    if (one := table.get(name)) is None:
        return None
    return Setting(_number(one["value"]), _number(one["instead_of"]))


def _hop(table: Mapping[str, Mapping[str, object]]) -> Setting | None:
    setting = _setting(table, "hop_s")
    if setting is not None and (setting.value is None or unusable_hop(setting.value)):
        raise ValueError("a hop is unusable")
    return setting


def _number(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError("a value is no number")
    return float(value)
