"""Sources are opened side by side: none holds up another one, nor a stop."""

from __future__ import annotations

import threading

import pytest

from edge_aac.audio.connection import PermanentDeviceError
from edge_aac.audio.sources.address import Source, SourceContext
from edge_aac.bundle.store import ASKED_BUNDLE
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import DeviceError
from edge_aac.models.settings import CaptionerSettings
from edge_aac.service import opening as opening_module
from edge_aac.service.opening import open_model, open_sources
from edge_aac.streaming.settings import ConfiguredSource
from tests.edge_aac.fakes import FakeSource

_OPEN_SOURCE = "edge_aac.service.opening.open_source"


def _source(address: str) -> ConfiguredSource:
    return ConfiguredSource(address, None, hop_s=2.0, silence_dbfs=-70.0)


def test_the_engines_get_their_settings_and_the_model_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[object, ...]] = []
    monkeypatch.setattr(opening_module, "open_asked", lambda *given: seen.append(given))
    open_model(CaptionerSettings(bundle="mine", backend="tensorrt", threads=3, cuda_graph=False, candidates=2))
    ((name, weights, options, choices, asked),) = seen
    assert (name, weights, asked) == ("mine", None, ASKED_BUNDLE)
    assert options == EngineOptions("tensorrt", 3, cuda_graphs=False)
    assert isinstance(choices, dict)
    assert choices["candidates"] == 2 and not {"backend", "threads", "cuda_graph"} & choices.keys()
    assert not {"ask_bundle", "ask_every"} & choices.keys()


def test_a_stop_ends_the_opening_of_many_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    stop, opened = threading.Event(), FakeSource([])

    def opening(address: str, context: SourceContext) -> Source:
        if address == "demo:":
            return opened
        assert context.stop is not None
        stop.set()
        assert context.stop.wait(100), "what takes its time is told of the stop"
        raise DeviceError("it was given up")

    monkeypatch.setattr(_OPEN_SOURCE, opening)
    assert open_sources([_source("demo:"), *[_source("camera:")] * 8], stop) == []
    assert opened.closed.is_set()


def test_what_opens_after_a_stop_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    stop, hangs, late = threading.Event(), threading.Event(), FakeSource([])

    def opening(_address: str, _context: SourceContext) -> Source:
        stop.set()
        assert hangs.wait(100)
        return late

    monkeypatch.setattr(_OPEN_SOURCE, opening)
    assert open_sources([_source("driver:")], stop) == []
    assert not late.closed.is_set()
    hangs.set()
    assert late.closed.wait(100)


@pytest.mark.parametrize("wait", [False, True])
def test_no_source_holds_up_another(monkeypatch: pytest.MonkeyPatch, wait: bool) -> None:
    both = threading.Barrier(2)

    def opening(_address: str, _context: SourceContext) -> Source:
        both.wait(100)  # each is opened while the other one is
        return FakeSource([])

    monkeypatch.setattr(_OPEN_SOURCE, opening)
    assert len(open_sources([_source("demo:"), _source("demo:")], wait=wait)) == 2


def test_a_wrong_address_is_refused_while_another_one_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    hangs, late = threading.Event(), FakeSource([])

    def opening(address: str, _context: SourceContext) -> Source:
        if address == "b":
            raise PermanentDeviceError("no such thing")
        assert hangs.wait(100)
        return late

    monkeypatch.setattr(_OPEN_SOURCE, opening)
    with pytest.raises(PermanentDeviceError):
        open_sources([_source("a"), _source("b")])
    hangs.set()
    assert late.closed.wait(100)
