"""Sinks are reached without leaving a record, also while the service has them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_aac.doctor import sink
from edge_aac.doctor.contract import Context, Finding
from edge_aac.errors import ConfigError, InputMissingError
from edge_aac.settings.faults import Chosen
from edge_aac.settings.layers import Layer
from edge_aac.settings.tree import load_settings
from edge_aac.sinks.contract import SinkSettings, TransientSinkError
from edge_aac.sinks.jsonl import JsonlSettings, JsonlSink
from tests.edge_aac.fakes import FakeSink, caption_record


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    assert "read back and deleted" in JsonlSink.check(JsonlSettings(path=tmp_path / "heard.jsonl"))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_the_service_writes_stays_as_it_is(tmp_path: Path) -> None:
    settings = JsonlSettings(path=tmp_path / "heard.jsonl")
    running = JsonlSink.open(settings)
    running.publish(caption_record(0))
    before = settings.path.read_bytes()
    JsonlSink.check(settings)
    assert settings.path.read_bytes() == before
    running.publish(caption_record(1))
    running.close()
    assert settings.path.read_text().count("\n") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["heard.jsonl"]


def test_what_keeps_records_from_a_file(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError, match="make it"):
        JsonlSink.check(JsonlSettings(path=tmp_path / "no" / "heard.jsonl"))
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "."):
        with pytest.raises(ConfigError, match="no regular file"):
            JsonlSink.check(JsonlSettings(path=tmp_path / name))


class _Bell:
    Settings = SinkSettings
    opened: list[FakeSink] = []
    error: Exception | None = None

    @classmethod
    def open(cls, settings: SinkSettings) -> FakeSink:
        if cls.error is not None:
            raise cls.error
        cls.opened.append(FakeSink())
        return cls.opened[-1]


class _Topic(_Bell):
    @classmethod
    def check(cls, settings: SinkSettings) -> str:
        return f"a message went to the topic for tests, of {settings.queue_records}"


def _found(kind: type[_Bell], monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/nonexistent")
    loaded = load_settings(None, Layer({}))
    values = {**loaded.values, "sinks": (Chosen("bell", SinkSettings(), kind),) * 2}
    changed = type(loaded)(loaded.sections, values, loaded.origins)
    parts = sink.check(Context(changed))
    assert [part.name for part in parts] == ["bell", "bell-2"]
    return list(parts[0].run())


def test_a_kind_without_a_way_of_its_own_is_opened_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _found(_Bell, monkeypatch) == [Finding("ok", "it was opened and closed")]
    assert _Bell.opened[-1].closed
    assert not _Bell.opened[-1].records


def test_a_kind_with_a_way_of_its_own_goes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _found(_Topic, monkeypatch) == [Finding("ok", "a message went to the topic for tests, of 256")]


def test_a_fault_that_may_pass_is_a_fault_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Bell, "error", TransientSinkError("the broker is away"))
    assert _found(_Bell, monkeypatch) == [Finding("failed", "the broker is away")]
