"""Commands and the configuration: a stream that is read anew, and started again, with a sink that takes commands."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_aac import app
from edge_aac.audio.sources.address import Address, Source, SourceContext
from edge_aac.service.reload_request import ReloadRequest
from edge_aac.settings.layers import Layer
from edge_aac.settings.tree import load_settings
from edge_aac.sinks.contract import SourceControl, SourceState
from tests.edge_aac.fakes import FakeModel, FakeSource
from tests.edge_aac.outside_package import NAME, OutsidePackage
from tests.edge_aac.streaming.session_cases import blocks
from tests.waiting import ended, until

_SINK = """
from edge_aac.sinks.contract import SinkSettings

class BellSettings(SinkSettings):
    commands: bool = True

class BellSink:
    Settings = BellSettings
    controls = []

    @classmethod
    def open(cls, settings):
        return cls()

    def take_commands(self, control):
        self.controls.append(control)

    def publish(self, record):
        pass

    def close(self):
        pass
"""


class _Stream:
    """A stream of ``edge-aac stream``, of microphones of the test."""

    def __init__(self, path: Path) -> None:
        self.opened: dict[str, list[FakeSource]] = {}
        self._path = path
        self._stop = threading.Event()
        self._reload = ReloadRequest(lambda: load_settings(path, Layer()))
        self._thread = threading.Thread(target=self._run)

    def open(self, address: str, context: SourceContext) -> Source:
        source = FakeSource(
            blocks(1) * 20_000, live=True, endless=True, pace_s=0.05, label=context.label(Address.parse(address))
        )
        self.opened.setdefault(source.label, []).append(source)
        return source

    def _run(self) -> None:
        app.run_stream(load_settings(self._path, Layer()), app.Output(), self._stop, reload=self._reload)

    def start(self) -> SourceControl:
        import importlib

        self._thread.start()
        controls: list[SourceControl] = importlib.import_module(NAME).BellSink.controls
        until(lambda: controls and controls[-1].sources())
        return controls.pop()

    def read_anew(self) -> None:
        self._reload.make()

    def end(self) -> None:
        self._stop.set()
        ended(self._thread)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outside_package: OutsidePackage) -> Path:
    outside_package.install(_SINK, {"edge_aac.sinks": {"bell": f"{NAME}:BellSink"}})
    monkeypatch.setattr("edge_aac.settings.tree.default_files", lambda: [])
    monkeypatch.setattr(app, "open_model", lambda _settings: FakeModel())
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    return tmp_path / "config.toml"


@pytest.fixture
def stream(config: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], _Stream]]:
    streams: list[_Stream] = []

    def make() -> _Stream:
        streams.append(_Stream(config))
        for module in ("opening", "plans"):
            monkeypatch.setattr(f"edge_aac.service.{module}.open_source", streams[-1].open)
        return streams[-1]

    yield make
    for one in streams:
        one.end()


def _write(config: Path, *sources: str, hop_s: float = 2.0, commands: bool = True) -> None:
    tables = "".join(f'[[sources]]\naddress = "mic0?{name}"\nname = "{name}"\nhop_s = {hop_s}\n' for name in sources)
    config.write_text(f'{tables}[[sinks]]\nkind = "bell"\ncommands = {str(commands).lower()}\n')


def _state(control: SourceControl, label: str) -> SourceState:
    return next(source for source in control.sources() if source.label == label)


def test_a_pause_and_a_hop_hold_over_a_reload_and_a_restart_until_the_configuration_changes_the_hop(
    config: Path, stream: Callable[[], _Stream]
) -> None:
    _write(config, "hall", "attic")
    first = stream()
    control = first.start()
    control.set_enabled("hall", False)
    control.set_hop("hall", 4.0)
    _write(config, "hall")
    first.read_anew()
    until(lambda: len(control.sources()) == 1)
    assert (_state(control, "hall").enabled, _state(control, "hall").hop_s) == (False, 4.0)
    first.end()

    second = stream()
    control = second.start()
    assert (_state(control, "hall").state, _state(control, "hall").hop_s) == ("paused", 4.0)
    assert second.opened == {}, "not for a moment"
    _write(config, "hall", "attic", hop_s=3.0)
    second.read_anew()
    until(lambda: len(control.sources()) == 2)
    assert (_state(control, "hall").enabled, _state(control, "hall").hop_s) == (False, 3.0)
    control.set_enabled("hall", True)
    until(lambda: _state(control, "hall").state == "listening")
    assert list(second.opened) == ["attic", "hall"]


def test_a_paused_source_that_comes_with_a_reload_is_not_opened(config: Path, stream: Callable[[], _Stream]) -> None:
    _write(config, "hall", "attic")
    first = stream()
    first.start().set_enabled("attic", False)
    first.end()
    _write(config, "hall", "attic")
    second = stream()
    control = second.start()
    assert _state(control, "attic").state == "paused" and list(second.opened) == ["hall"]


def test_where_no_sink_takes_commands_no_pause_counts_that_nobody_could_end(
    config: Path, stream: Callable[[], _Stream], caplog: pytest.LogCaptureFixture
) -> None:
    _write(config, "hall")
    first = stream()
    first.start().set_enabled("hall", False)
    first.end()
    _write(config, "hall", commands=False)
    second = stream()
    control = second.start()
    until(lambda: _state(control, "hall").state == "listening")
    assert "does not count: no sink takes commands" in caplog.text
    second.end()
    _write(config, "hall")
    assert _state(stream().start(), "hall").state == "paused", "it was kept"
