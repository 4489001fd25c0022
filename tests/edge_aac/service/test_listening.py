"""Sources are opened before a small model, and what they give meanwhile is described like all the rest."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pytest

from edge_aac import app
from edge_aac.audio.sources.absent import AbsentSource
from edge_aac.audio.sources.address import Source, SourceContext
from edge_aac.bundle.store import open_bundle
from edge_aac.errors import DataError, DeviceError, InputMissingError
from edge_aac.models.contract import WindowModel
from edge_aac.models.settings import CaptionerSettings
from edge_aac.service import listening
from edge_aac.service.listening import model_to_come
from edge_aac.service.notify import ServiceManager
from edge_aac.settings.layers import Layer
from edge_aac.settings.tree import Settings, load_settings
from tests.edge_aac.fakes import FakeModel, FakeSource
from tests.edge_aac.streaming.session_cases import noise
from tests.waiting import PATIENCE_S


class _Manager(ServiceManager):
    """Writes down what it is told."""

    def __init__(self, told: list[str]) -> None:
        super().__init__()
        self._told = told

    def send(self, **assignments: object) -> None:
        if "STATUS" in assignments:
            ready = "ready: " if "READY" in assignments else ""
            self._told.append(f"{ready}{str(assignments['STATUS']).partition(';')[0]}")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happens, in order: sources and a model that are opened, and what a manager is told."""
    happened: list[str] = []
    captured = threading.Event()

    class Read(FakeSource):
        def read(self) -> npt.NDArray[Any] | None:
            captured.set()
            return super().read()

    def source(address: str, context: SourceContext) -> Source:
        happened.append(f"source {address}")
        return Read([noise(160_000)], label=context.name or address)

    def model(_: CaptionerSettings) -> WindowModel:
        # A source that is there is captured while the model is opened.
        assert captured.wait(PATIENCE_S) if happened else not captured.is_set()
        happened.append("model")
        return FakeModel()

    monkeypatch.setattr("edge_aac.settings.tree.default_files", lambda: [])
    monkeypatch.setattr("edge_aac.service.opening.open_source", source)
    monkeypatch.setattr(app, "open_model", model)
    return happened


def _settings(tmp_path: Path) -> Settings:
    path = tmp_path / "config.toml"
    path.write_text(
        f'[[sources]]\naddress = "yard"\n[[sinks]]\nkind = "jsonl"\npath = "{tmp_path / "heard.jsonl"}"\n'
        "[events]\nmin_windows = 1\n"
    )
    return load_settings(path, Layer())


def _run(tmp_path: Path, told: list[str]) -> None:
    app.run_stream(_settings(tmp_path), app.Output(), threading.Event(), manager=_Manager(told))


def test_it_listens_before_a_small_model_is_open_and_is_ready_after_it(
    tmp_path: Path, told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        _run(tmp_path, told)
    assert told == ["source yard", "listening to yard", "model", "ready: listening to yard", "stopping"]
    assert "listening to yard with bundle everyday" in caplog.messages
    assert len((tmp_path / "heard.jsonl").read_text().splitlines()) > 0, "what was given before is described"


def test_nobody_listens_for_as_long_as_a_large_model_takes(
    tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listening, "SOON_BYTES", 1_000_000)
    with caplog.at_level(logging.INFO):
        _run(tmp_path, told)
    assert told == ["model", "source yard", "listening to yard", "ready: listening to yard", "stopping"]
    assert "listening to yard with bundle fake" in caplog.messages


def test_a_model_that_cannot_be_opened_closes_what_is_listened_to(
    tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = FakeSource([noise(160_000)], label="yard")
    monkeypatch.setattr("edge_aac.service.opening.open_source", lambda *_: heard)

    def damaged(_: CaptionerSettings) -> WindowModel:
        raise DataError("its encoder is not the file that the manifest vouches for")

    monkeypatch.setattr(app, "open_model", damaged)
    with pytest.raises(DataError, match="vouches"):
        _run(tmp_path, told)
    assert heard.closed.is_set()


def test_a_manager_is_told_of_none_that_waits_for_its_device(caplog: pytest.LogCaptureFixture) -> None:
    happened: list[str] = []
    absent = AbsentSource("mic0", DeviceError("There is no input 'mic0'."))
    with caplog.at_level(logging.INFO):
        listening.tell_listening(_Manager(happened), [absent], ["serial:*"], "everyday")
    assert not happened
    assert caplog.messages == ["listening to mic0, what is found at serial:* with bundle everyday"]
    absent.close()


@pytest.mark.parametrize(
    ("bundle", "name"), [("everyday", "everyday"), (" everyday, everyday ", None)], ids=["one", "ensemble"]
)
def test_an_ensemble_takes_its_time(bundle: str, name: str | None) -> None:
    found = model_to_come(CaptionerSettings(bundle=bundle))
    assert (found and found.identity.bundle) == name


def test_engines_of_an_accelerator_take_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: Any = open_bundle("everyday")
    first, *others = opened.manifest.graphs["encoder"]
    plan = first.model_copy(update={"backend": "tensorrt"})
    graphs = {**opened.manifest.graphs, "encoder": [plan, first, *others]}
    opened.manifest = opened.manifest.model_copy(update={"graphs": graphs})
    monkeypatch.setattr(listening, "open_bundle", lambda _: opened)
    assert model_to_come(CaptionerSettings()) is None


def test_a_bundle_that_is_not_there_is_told_before_anything_is_opened(tmp_path: Path, told: list[str]) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[captioner]\nbundle = "none"\n[[sources]]\naddress = "yard"\n')
    with pytest.raises(InputMissingError, match="no bundle 'none'"):
        app.run_stream(load_settings(path, Layer()), app.Output(), threading.Event(), manager=_Manager(told))
    assert not any(step in told for step in ("source yard", "model", "listening to yard"))


@pytest.mark.parametrize("choice", [{"max_length": 500}, {"method": "beam"}, {"min_confidence": 0.5}])
def test_what_the_bundle_may_refuse_is_refused_before_anything_is_heard(choice: dict[str, Any]) -> None:
    assert model_to_come(CaptionerSettings(**choice)) is None
    assert model_to_come(CaptionerSettings(threads=1, seed=2)) is not None
