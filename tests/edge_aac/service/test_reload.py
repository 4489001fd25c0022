"""Which settings a reload puts in place, and which it names as those that need a restart."""

from __future__ import annotations

import threading
from pathlib import Path
from queue import SimpleQueue
from typing import cast

import pytest

from edge_aac.errors import ConfigError
from edge_aac.service import reload as reload_module
from edge_aac.service.changed_settings import need_restart
from edge_aac.service.reload import Reloader, Running
from edge_aac.service.reload_request import ReloadRequest
from edge_aac.service.watchdog import Watchdog
from edge_aac.settings.layers import Layer
from edge_aac.settings.tree import Settings, load_settings
from edge_aac.streaming.settings import StreamSettings
from tests.edge_aac.outside_package import NAME, OutsidePackage

_OUTSIDE = """
from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class TideSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    height_m: float = 1.5


class BellSettings(TideSettings):
    ARRAY: ClassVar[bool] = True
"""


def _settings(folder: Path, text: str) -> Settings:
    path = folder / "config.toml"
    path.write_text(text)
    return load_settings(path, Layer())


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", []),
        ('[stream]\nnode = "attic"\n', ["stream.node"]),
        ('[stream]\nnode = "kitchen"\nhop_s = 1.0\nsilence_dbfs = -60.0\nmin_score = 0.1\nfamiliar_only = true\n', []),
        ("[health]\ninterval_s = 5.0\n[load]\nmax_hop_s = 9.0\n[captioner]\nseed = 5\n", []),
        ('[[sources]]\naddress = "demo:"\n[[sinks]]\nkind = "stdout"\n', []),
        ("[tide]\nheight_m = 2.0\n", ["tide.height_m"]),
        ("[[bells]]\nheight_m = 2.0\n", ["bells"]),
    ],
)
def test_a_setting_is_put_in_place_or_named(
    text: str, named: list[str], tmp_path: Path, outside_package: OutsidePackage
) -> None:
    sections = {"tide": f"{NAME}:TideSettings", "bells": f"{NAME}:BellSettings"}
    outside_package.install(_OUTSIDE, {"edge_aac.settings": sections})
    before = _settings(tmp_path, '[stream]\nnode = "kitchen"\n')
    after = _settings(tmp_path, text if "node" in text else f'[stream]\nnode = "kitchen"\n{text}')
    assert list(need_restart(before, after)) == named
    assert list(need_restart(before, before)) == []


class _Running:
    """Notes the settings that are put in place."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.stop = settings, threading.Event()
        self.used: list[str] = []

    def change_to(self, settings: Settings) -> list[str]:
        self.used.append(settings.get(StreamSettings).node)
        return []


class _Watchdog:
    def __init__(self) -> None:
        self.notes: SimpleQueue[str | None] = SimpleQueue()

    def reloading(self) -> None:
        pass

    def reloaded(self, note: str | None) -> None:
        self.notes.put(note)


def test_a_file_that_is_being_written_is_read_when_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload_module, "SETTLE_S", 0.001)
    whole, other = _settings(tmp_path, '[stream]\nnode = "attic"\n'), _settings(tmp_path, '[stream]\nnode = "hall"\n')
    cut, empty = ConfigError("it ends in the middle"), _settings(tmp_path, "")
    looks: list[Settings | ConfigError] = []

    def load() -> Settings:
        look = looks.pop(0) if len(looks) > 1 else looks[0]
        if isinstance(look, ConfigError):
            raise look
        return look

    running, watchdog, request = _Running(whole), _Watchdog(), ReloadRequest(load)
    reloader = Reloader(cast(Running, running), request, cast(Watchdog, watchdog))
    for looks[:], note in (
        ([empty, cut, other], "a change of stream.node needs a restart"),
        ([cut, empty, cut], "the new settings are refused, the old ones are in use: it ends in the middle"),
        ([whole], None),
    ):
        request.make()
        assert watchdog.notes.get(timeout=100) == note
    reloader.close()
    assert running.used == ["hall", "attic"]
