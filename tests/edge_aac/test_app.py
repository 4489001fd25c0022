"""From settings to a running service: labels, sinks, and what happens to a source that is not there."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from edge_aac import app
from edge_aac.audio.connection import PermanentDeviceError
from edge_aac.audio.sources.address import Source, SourceContext
from edge_aac.errors import ConfigError, DeviceError, InputMissingError
from edge_aac.service.notify import ServiceManager
from edge_aac.service.opening import open_sources
from edge_aac.settings.layers import Layer
from edge_aac.settings.tree import Settings, load_settings
from edge_aac.streaming.session import Session
from edge_aac.streaming.settings import ConfiguredSource
from tests.edge_aac.fakes import FakeModel, FakeSource
from tests.edge_aac.streaming.session_cases import noise

_WINDOW_SAMPLES = 160_000
_DEMO = "demo:?seconds=1"
_OPEN_SOURCE = "edge_aac.service.opening.open_source"


def _source(address: str, name: str | None = None) -> ConfiguredSource:
    return ConfiguredSource(address, name, hop_s=2.0, silence_dbfs=-70.0)


@pytest.fixture(autouse=True)
def no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration of the machine or the user."""
    monkeypatch.setattr("edge_aac.settings.tree.default_files", lambda: [])
    monkeypatch.setattr(app, "open_model", lambda _settings: FakeModel())


def _settings(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return load_settings(path, Layer())


@pytest.mark.parametrize(
    ("wanted", "labels"),
    [
        ([_source(_DEMO), _source(f"{_DEMO}&seed=1"), _source(f"{_DEMO}&seed=2")], ["demo", "demo-2", "demo-3"]),
        ([_source(_DEMO, "attic"), _source(_DEMO)], ["attic", "demo"]),
        ([_source(_DEMO), _source(_DEMO, "demo"), _source(_DEMO)], ["demo-2", "demo", "demo-3"]),
        ([_source(_DEMO, "demo-2"), _source(_DEMO), _source(_DEMO)], ["demo-2", "demo", "demo-3"]),
    ],
)
def test_each_source_has_a_label_of_its_own(wanted: list[ConfiguredSource], labels: list[str]) -> None:
    opened = open_sources(wanted)
    assert [source.label for _, source in opened] == labels
    for _, source in opened:
        source.close()


def _opening(devices: dict[str, FakeSource | Exception]) -> Callable[..., Source]:
    """Opens fakes; a device that is away can be waited for."""

    def opened(address: str, context: SourceContext) -> Source:
        found = devices[address]
        if isinstance(found, DeviceError) and not isinstance(found, PermanentDeviceError) and context.wait_for_device:
            found = FakeSource([], live=True, label=address)
        if isinstance(found, Exception):
            raise found
        return found

    return opened


def test_a_device_that_is_away_is_waited_for_beside_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    there = FakeSource([], live=True)
    monkeypatch.setattr(
        _OPEN_SOURCE,
        _opening({"mic0": DeviceError("There is no input 'mic0'."), "mic1": there}),
    )
    with caplog.at_level(logging.WARNING):
        opened = open_sources([_source("mic0"), _source("mic1")])
    assert [source.label for _, source in opened] == ["mic0", "mic7"]
    assert caplog.messages == ["There is no input 'mic0'. It is waited for."]


def test_where_nothing_can_be_heard_the_first_failure_tells_why(monkeypatch: pytest.MonkeyPatch) -> None:
    devices: dict[str, FakeSource | Exception] = {"mic0": DeviceError("no mic0"), "mic1": DeviceError("no mic1")}
    monkeypatch.setattr(_OPEN_SOURCE, _opening(devices))
    with pytest.raises(DeviceError, match="no mic0"):
        open_sources([_source("mic0"), _source("mic1")])


def test_where_none_is_there_all_are_waited_for_if_the_settings_say_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    devices: dict[str, FakeSource | Exception] = {"mic0": DeviceError("no mic0."), "mic1": DeviceError("no mic1.")}
    monkeypatch.setattr(_OPEN_SOURCE, _opening(devices))
    with caplog.at_level(logging.WARNING):
        opened = open_sources([_source("mic0"), _source("mic1")], wait=True)
    assert [source.label for _, source in opened] == ["mic0", "mic1"]
    assert not caplog.messages, "each is waited for by what captures it, which logs it"
    # What no later try can reach is refused all the same.
    monkeypatch.setattr(_OPEN_SOURCE, _opening({"mic0": PermanentDeviceError("PyAudio is not installed.")}))
    with pytest.raises(PermanentDeviceError):
        open_sources([_source("mic0")], wait=True)


def test_what_was_opened_is_closed_when_another_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    there = FakeSource([])
    monkeypatch.setattr(_OPEN_SOURCE, _opening({"a": there, "b": InputMissingError("no file")}))
    with pytest.raises(InputMissingError):
        open_sources([_source("a"), _source("b")])
    assert there.closed.is_set()


def test_standard_input_can_be_one_source_only(tmp_path: Path) -> None:
    settings = _settings(
        tmp_path, '[[sources]]\naddress = "stdin:"\n[[sources]]\nname = "again"\naddress = "stdin:?rate=8000"\n'
    )
    with pytest.raises(ConfigError, match="two sources"):
        app.run_stream(settings, app.Output(), threading.Event())


def test_without_an_enabled_source_nothing_runs(tmp_path: Path) -> None:
    settings = _settings(tmp_path, '[[sources]]\naddress = "mic0"\nenabled = false\n')
    with pytest.raises(ConfigError, match="no source is enabled"):
        app.run_stream(settings, app.Output(), threading.Event())


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_many_sources_and_sinks_from_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        _OPEN_SOURCE,
        lambda address, context: FakeSource([noise(_WINDOW_SAMPLES + 32_000)], label=context.name or address),
    )
    settings = _settings(
        tmp_path,
        f"""
        [stream]
        node = "house"
        [health]
        interval_s = 3600
        [[sources]]
        name = "attic"
        address = "first"
        [[sources]]
        name = "cellar"
        address = "second"
        hop_s = 1.0
        [[sources]]
        name = "shed"
        address = "third"
        enabled = false
        [[sinks]]
        kind = "stdout"
        format = "text"
        [[sinks]]
        kind = "jsonl"
        path = "{tmp_path / "all.jsonl"}"
        [[sinks]]
        kind = "jsonl"
        path = "{tmp_path / "captions.jsonl"}"
        records = ["caption"]
        """,
    )
    app.run_stream(settings, app.Output("json", events=True, every_window=True), threading.Event())
    captions = _lines(tmp_path / "captions.jsonl")
    assert sorted((record["source"], record["start_s"]) for record in captions) == [
        ("attic", 0.0),
        ("attic", 2.0),
        ("cellar", 0.0),
        ("cellar", 1.0),
        ("cellar", 2.0),
    ]
    assert {record["node"] for record in captions} == {"house"}
    everything = _lines(tmp_path / "all.jsonl")
    kinds = {record["schema"] for record in everything}
    assert kinds == {"edge-aac/caption/1", "edge-aac/event/1", "edge-aac/health/1"}
    health = [record for record in everything if record["schema"] == "edge-aac/health/1"]
    assert {record["source"]: record["windows"] for record in health} == {"attic": 2, "cellar": 3}
    assert set(health[0]["sinks"]) == {"stdout", "jsonl", "jsonl-2"}
    printed = capfd.readouterr().out.splitlines()
    assert len(printed) == len(everything) - len(health), "standard output takes captions, and events where asked to"
    assert not printed[0].startswith("{"), "its own settings go before the verb's"


def test_an_address_that_no_package_knows_is_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), pytest.raises(DeviceError, match="no source 'gramophone:0'"):
        open_sources([_source(_DEMO), _source("gramophone:0")])
    assert caplog.messages == []


def test_a_factory_that_cannot_wait_disturbs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    there, failure = FakeSource([], live=True), DeviceError("no route to the camera")

    def opened(address: str, _context: SourceContext) -> Source:
        if address == "mic0":
            return there
        raise failure

    monkeypatch.setattr(_OPEN_SOURCE, opened)
    (_, absent), (_, other) = open_sources([_source("camera://u:secret@host"), _source("mic0")])
    assert other is there
    assert (absent.label, absent.live, absent.state) == ("camera://host", True, "waiting")
    with pytest.raises(DeviceError, match="no route"):
        absent.read()
    absent.close()
    assert absent.read() is None


def test_a_stop_while_sources_are_opened_ends_in_peace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Event()
    first = FakeSource([noise(_WINDOW_SAMPLES)], endless=True)

    def opening(_address: str, _context: SourceContext) -> Source:
        stop.set()
        return first

    monkeypatch.setattr(_OPEN_SOURCE, opening)
    settings = _settings(tmp_path, '[[sources]]\naddress = "a"\n[[sources]]\naddress = "b"\n')
    app.run_stream(settings, app.Output(), stop)
    assert first.closed.is_set()


def test_companions_live_beside_the_session_and_are_closed_whatever_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    class _Companion:
        def __init__(self, name: str, error: DeviceError | None = None) -> None:
            self._name, self._error = name, error

        def start(self, session: Session) -> None:
            said.append(f"{self._name} starts with {[channel.label for channel in session.channels]}")
            if self._error is not None:
                raise self._error

        def close(self) -> None:
            said.append(f"{self._name} closes")

    sources: list[FakeSource] = []

    def open_source(_address: str, _context: SourceContext) -> Source:
        sources.append(FakeSource([noise(_WINDOW_SAMPLES)], label="attic"))
        return sources[-1]

    monkeypatch.setattr(_OPEN_SOURCE, open_source)
    monkeypatch.setattr(
        app, "COMPANIONS", (lambda _: _Companion("first"), lambda _: None, lambda _: _Companion("last"))
    )
    settings = _settings(tmp_path, '[[sources]]\naddress = "a"\n')
    app.run_stream(settings, app.Output(), threading.Event())
    assert said == ["first starts with ['attic']", "last starts with ['attic']", "last closes", "first closes"]
    said.clear()
    failing = _Companion("last", DeviceError("the port is taken"))
    monkeypatch.setattr(app, "COMPANIONS", (lambda _: _Companion("first"), lambda _: failing))
    with pytest.raises(DeviceError, match="the port is taken"):
        app.run_stream(settings, app.Output(), threading.Event())
    assert said[-2:] == ["last closes", "first closes"]
    assert sources[-1].closed.is_set()


@pytest.mark.parametrize(
    ("chosen", "managed", "env", "waits"),
    [
        (None, False, {}, False),
        (None, True, {}, True),
        (None, False, {"RUNTIME_DIRECTORY": "/nonexistent"}, True),
        (True, False, {}, True),
        (False, True, {}, False),
    ],
)
def test_a_service_waits_for_its_only_microphone(  # noqa: PLR0913, PLR0917 - what decides
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    chosen: bool | None,
    managed: bool,
    env: dict[str, str],
    waits: bool,
) -> None:
    stop = threading.Event()

    def opening(_address: str, context: SourceContext) -> Source:
        if not context.wait_for_device:
            raise DeviceError("no microphone")
        stop.set()
        return FakeSource([], live=True)

    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(_OPEN_SOURCE, opening)
    wait = "" if chosen is None else f"[stream]\nwait_for_device = {str(chosen).lower()}\n"
    settings = _settings(tmp_path, f'{wait}[[sources]]\naddress = "mic0"\n')
    manager = ServiceManager(str(tmp_path / "nobody") if managed else None)
    with nullcontext() if waits else pytest.raises(DeviceError, match="no microphone"):
        app.run_stream(settings, app.Output(), stop, manager=manager)
    assert stop.is_set() is waits
