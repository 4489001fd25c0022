"""Sources that come and go while a stream runs, behind an address that names several."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from edge_aac import app
from edge_aac.audio.sources.address import Source, SourceContext
from edge_aac.audio.sources.discovery import covers_several, open_discovery
from edge_aac.errors import ConfigError, DeviceError, UsageError
from edge_aac.service.discovering import Discovering
from edge_aac.service.overrides import Override
from edge_aac.service.plans import SourcePlan
from edge_aac.service.reload import Running
from edge_aac.service.reload_request import ReloadRequest
from edge_aac.settings.layers import Layer
from edge_aac.settings.tree import Settings, load_settings
from edge_aac.streaming import overview
from tests.edge_aac.fakes import FakeModel, FakeSource
from tests.edge_aac.outside_package import NAME, OutsidePackage
from tests.edge_aac.service.running_stream import running_stream
from tests.edge_aac.streaming.session_cases import noise
from tests.waiting import PATIENCE_S, until

_POND = """
from edge_aac.audio.sources.discovery import FoundSource
from edge_aac.errors import DeviceError, UsageError

there, opened, closed, dry = [], [], [], []


class Pond:
    @staticmethod
    def covers(address):
        if "salt" in address.rest:
            raise UsageError("a pond has no salt")
        return "frog" not in address.rest

    @staticmethod
    def open(address, context):
        if dry and not context.wait_for_device:
            raise DeviceError("the pond is dry")
        opened.append((address.uri, context.wait_for_device))
        return Looking(address.uri)


class Looking:
    def __init__(self, uri):
        self.uri = uri

    def found(self, own):
        frogs = {name: f"{self.uri}?frog={name}" for name in there}
        return [FoundSource(address, name) for name, address in frogs.items() if address not in own]

    def close(self):
        closed.append(self.uri)
"""


@pytest.fixture
def pond(outside_package: OutsidePackage) -> Iterator[ModuleType]:
    outside_package.install(_POND, {"edge_aac.discoveries": {"pond": f"{NAME}:Pond"}})
    assert covers_several("pond:1")
    yield sys.modules[NAME]


@pytest.fixture
def ill() -> list[str]:
    """Addresses of ill frogs, one a try to open one."""
    return []


@pytest.fixture(autouse=True)
def opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ill: list[str]) -> dict[str, FakeSource]:
    """Sources that are open, by address; there is no configuration of the machine, and no bundle but its language."""
    sources: dict[str, FakeSource] = {}

    def open_source(address: str, context: SourceContext) -> Source:
        if "ill" in address:
            ill.append(address)
            raise UsageError("this frog is ill")
        source = FakeSource([noise(8_000, 1)] * 3, live=True, endless=True, label=context.name or address)
        sources[address] = source
        return source

    bundle = SimpleNamespace(manifest=SimpleNamespace(language="en"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("edge_aac.settings.tree.default_files", lambda: [])
    monkeypatch.setattr(app, "open_model", lambda _settings: FakeModel())
    monkeypatch.setattr("edge_aac.service.opening.open_source", open_source)
    monkeypatch.setattr("edge_aac.service.plans.open_source", open_source)
    monkeypatch.setattr("edge_aac.service.opening.open_bundle", lambda _name: bundle)
    return sources


def _settings(folder: Path, text: str) -> Settings:
    path = folder / "config.toml"
    path.write_text(f'{text}\n[[sinks]]\nkind = "jsonl"\npath = "{folder / "records.jsonl"}"\nrecords = ["health"]\n')
    return load_settings(path, Layer())


def _labels(running: Running) -> list[str]:
    return sorted(channel.label for channel in running.session.channels)


def test_sources_come_and_go(tmp_path: Path, pond: ModuleType, opened: dict[str, FakeSource]) -> None:
    settings = _settings(tmp_path, '[[sources]]\naddress = "pond:1"\nhop_s = 4.0\n')
    with running_stream(settings) as running:
        assert _labels(running) == [], "and the stream goes on without any"
        assert overview.sentence(running.session) == "no source is there; no captions yet"
        pond.there.append("kermit")
        until(lambda: _labels(running) == ["kermit"])
        pond.there.append("robin")
        until(lambda: _labels(running) == ["kermit", "robin"])
        assert {channel.hop_s for channel in running.session.channels} == {4.0}, "by the settings of their pond"
        pond.there.remove("kermit")
        until(lambda: _labels(running) == ["robin"])
        until(opened["pond:1?frog=kermit"].closed.is_set)
        assert not opened["pond:1?frog=robin"].closed.is_set()
        pond.there.append("kermit")
        until(lambda: _labels(running) == ["kermit", "robin"])
    assert pond.closed == ["pond:1"]
    assert '"source":"kermit"' in (tmp_path / "records.jsonl").read_text(), "a last health record"


def test_beside_a_source_of_its_own_with_the_same_name(tmp_path: Path, pond: ModuleType) -> None:
    pond.there += ["mic0", "robin"]
    text = (
        '[[sources]]\naddress = "mic0"\n[[sources]]\naddress = "pond:1"\n[[sources]]\naddress = "pond:2"\nname = "b"\n'
    )
    with running_stream(_settings(tmp_path, text)) as running:
        until(lambda: len(running.session.channels) == 5)
        assert _labels(running) == ["b-mic0", "b-robin", "mic0", "mic0-2", "robin"]


def test_a_rule_for_alerts_may_name_one_that_is_found(
    tmp_path: Path, pond: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    def text(gap_s: float) -> str:
        rule = f'sounds = ["frog"]\ngap_s = {gap_s}\n'
        return (
            f'[[sources]]\naddress = "pond:1"\n[[alerts]]\nname = "one"\nsources = ["kermit"]\n{rule}'
            f'[[alerts]]\nname = "all"\nsources = ["pond:1"]\n{rule}'
        )

    def rules(running: Running) -> dict[str, list[tuple[str, int]]]:
        channels = running.session.channels
        return {of.label: [(rule.name, rule.gap_samples) for rule in of.publisher.alerts.rules] for of in channels}

    pond.there += ["kermit", "robin"]
    with running_stream(_settings(tmp_path, text(1.0))) as running:
        until(lambda: len(running.session.channels) == 2)
        assert rules(running) == {"kermit": [("one", 16_000), ("all", 16_000)], "robin": [("all", 16_000)]}
        assert sorted(running.change_to(_settings(tmp_path, text(2.0)))) == ["kermit changed", "robin changed"]
        assert rules(running) == {"kermit": [("one", 32_000), ("all", 32_000)], "robin": [("all", 32_000)]}
        assert running.change_to(_settings(tmp_path, text(2.0))) == []
    warned = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert not [record for record in warned if "not configured" in record.getMessage()], "it may be found"


def test_one_that_cannot_be_opened_is_named_once_and_tried_again(
    tmp_path: Path, pond: ModuleType, ill: list[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_aac.service.discovering.RETRY_S", 0.1)
    pond.there += ["ill", "robin"]
    with running_stream(_settings(tmp_path, '[[sources]]\naddress = "pond:1"\n')) as running:
        until(lambda: _labels(running) == ["robin"])
        before = len(ill)
        until(lambda: len(ill) > before + 2)
    told = [record for record in caplog.records if "this frog is ill" in record.getMessage()]
    assert [record.levelno for record in told if record.levelno >= logging.WARNING] == [logging.WARNING]


def test_a_reload_changes_adds_and_takes_away(tmp_path: Path, pond: ModuleType, opened: dict[str, FakeSource]) -> None:
    text = ['[[sources]]\naddress = "pond:1"\n']
    request = ReloadRequest(lambda: _settings(tmp_path, text[0]))
    pond.there.append("robin")
    with running_stream(_settings(tmp_path, text[0]), request) as running:
        until(lambda: _labels(running) == ["robin"])
        (channel,) = running.session.channels
        text[0] = '[[sources]]\naddress = "pond:1"\nhop_s = 7.0\n'
        request.make()
        until(lambda: channel.hop_s == 7.0)
        assert running.session.channels == [channel], "its capture goes on"
        text[0] += '[[sources]]\naddress = "pond:2"\n'
        request.make()
        until(lambda: _labels(running) == ["robin", "robin-2"])
        text[0] = '[[sources]]\naddress = "pond:2"\n'
        request.make()
        until(lambda: _labels(running) == ["robin-2"])
        until(lambda: pond.closed == ["pond:1"])
        assert opened["pond:1?frog=robin"].closed.wait(PATIENCE_S)
        text[0] = '[[sources]]\naddress = "mic0"\n'
        request.make()
        until(lambda: _labels(running) == ["mic0"])
        assert not running.session.more_may_come
    assert sorted(pond.closed) == ["pond:1", "pond:2"]


def test_one_that_was_paused_is_paused_when_it_comes_again(
    tmp_path: Path, pond: ModuleType, opened: dict[str, FakeSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after a restart, before which nobody knows what will be found: a paused microphone never listens again."""
    monkeypatch.setattr(app, "takes_commands", lambda _sinks: True)
    settings = _settings(tmp_path, '[[sources]]\naddress = "pond:1"\n')
    pond.there.append("robin")
    with running_stream(settings) as running:
        until(lambda: _labels(running) == ["robin"])
        assert running.control is not None
        running.control.set_enabled("robin", False)
    opened.clear()
    pond.there.clear()
    with running_stream(settings) as running:
        assert running.overrides.of("robin") == Override(paused=True)
        pond.there.append("robin")
        until(lambda: _labels(running) == ["robin"])
        (channel,) = running.session.channels
        until(lambda: channel.capture.state == "paused")
        assert opened == {}
        assert running.control is not None
        running.control.set_enabled("robin", True)
        until(lambda: opened)


def test_an_address_that_cannot_be_looked_at(tmp_path: Path, pond: ModuleType) -> None:
    with pytest.raises(UsageError, match="salt"):
        app.run_stream(_settings(tmp_path, '[[sources]]\naddress = "pond:salt"\n'), app.Output(), threading.Event())
    pond.dry.append(True)
    settings = _settings(tmp_path, '[[sources]]\naddress = "pond:1"\n')
    with pytest.raises(DeviceError, match="dry"):
        app.run_stream(settings, app.Output(), threading.Event())
    with running_stream(_settings(tmp_path, '[stream]\nwait_for_device = true\n[[sources]]\naddress = "pond:1"\n')):
        assert pond.opened == [("pond:1", True)]


def test_a_discovery_whose_look_fails_keeps_the_others_going(
    tmp_path: Path, pond: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    pond.there.append("robin")
    looking = pond.Looking.found
    pond.Looking.found = lambda self, own: 1 / 0 if self.uri == "pond:1" else looking(self, own)
    text = '[[sources]]\naddress = "pond:1"\n[[sources]]\naddress = "pond:2"\n'
    with running_stream(_settings(tmp_path, text)) as running:
        until(lambda: _labels(running) == ["robin"])
    assert "pond:1: what it finds cannot be followed" in caplog.text


def test_an_address_of_one_source_is_none(pond: ModuleType) -> None:
    assert not covers_several("pond:frog") and not covers_several("mic0")
    with pytest.raises(ValueError, match="names one source"):
        open_discovery("mic0")


def test_a_package_whose_discovery_cannot_be_loaded(outside_package: OutsidePackage) -> None:
    outside_package.install("", {"edge_aac.discoveries": {"pond": f"{NAME}:Missing"}})
    with pytest.raises(ConfigError, match="install that package again"):
        covers_several("pond:1")


def test_one_with_a_source_of_its_own_is_not_heard_while_that_is_paused(
    tmp_path: Path, pond: ModuleType, opened: dict[str, FakeSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "takes_commands", lambda _sinks: True)
    text = '[[sources]]\naddress = "pond:1"\n[[sources]]\naddress = "pond:1?frog=robin"\nname = "own"\n'
    pond.there += ["robin"]
    with running_stream(_settings(tmp_path, text)) as running:
        assert running.control is not None
        running.control.set_enabled("own", False)
        until(opened["pond:1?frog=robin"].closed.is_set)
        for frog in ("kermit", "zed"):
            pond.there.append(frog)
            until(lambda f=frog: f in _labels(running))
        assert _labels(running) == ["kermit", "own", "zed"]


def test_a_label_that_a_reload_gives_away_is_one_source(tmp_path: Path, pond: ModuleType) -> None:
    text = ['[[sources]]\naddress = "pond:1"\n']
    request = ReloadRequest(lambda: _settings(tmp_path, text[0]))
    pond.there.append("robin")
    with running_stream(_settings(tmp_path, text[0]), request) as running:
        until(lambda: _labels(running) == ["robin"])
        text[0] += '[[sources]]\naddress = "mic0"\nname = "robin"\n'
        request.make()
        wanted = {"mic0": "robin", "pond:1?frog=robin": "robin-2"}
        until(lambda: {of.source.address: of.label for of, _ in list(running.channels.values())} == wanted)
        assert _labels(running) == ["robin", "robin-2"]


def test_one_that_is_opened_during_a_reload_is_heard_by_the_new_settings(
    tmp_path: Path, pond: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = ['[[sources]]\naddress = "pond:1"\n']
    request = ReloadRequest(lambda: _settings(tmp_path, text[0]))
    opening, go_on = threading.Event(), threading.Event()
    open_now = Discovering._opened

    def open_slowly(self: Discovering, member: SourcePlan) -> Source:
        opening.set()
        assert go_on.wait(PATIENCE_S)
        return open_now(self, member)

    monkeypatch.setattr(Discovering, "_opened", open_slowly)
    with running_stream(_settings(tmp_path, text[0]), request) as running:
        pond.there.append("robin")
        assert opening.wait(PATIENCE_S)
        text[0] = '[[sources]]\naddress = "pond:1"\nhop_s = 7.0\n'
        request.make()
        until(lambda: [plan.source.hop_s for plan, _ in running.discoveries] == [7.0])
        go_on.set()
        until(lambda: _labels(running) == ["robin"])
        assert [channel.hop_s for channel in running.session.channels] == [7.0]
