"""A running service whose settings are read anew: what changes, what does not, and what would be left behind."""

from __future__ import annotations

import functools
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge_aac import app
from edge_aac.audio.connection import PermanentDeviceError
from edge_aac.audio.sources.address import Source, SourceContext
from edge_aac.errors import ConfigError, EdgeAacError, InputMissingError
from edge_aac.service import reload
from edge_aac.service.metrics import Exposition, SessionCollector
from edge_aac.service.reload_request import ReloadRequest
from edge_aac.service.watchdog import Watchdog
from edge_aac.settings.layers import Layer
from edge_aac.settings.tree import Settings, load_settings
from edge_aac.sinks.stdout import StdoutSettings
from tests.edge_aac.fakes import FakeModel, FakeSource
from tests.edge_aac.service.running_stream import running_stream
from tests.edge_aac.streaming.session_cases import noise
from tests.waiting import until

_OPEN_SOURCE = "edge_aac.service.opening.open_source"


@pytest.fixture(autouse=True)
def opened(monkeypatch: pytest.MonkeyPatch) -> list[FakeSource]:
    """Sources that have been opened; there is no configuration of the machine, and no bundle but its language."""
    sources: list[FakeSource] = []

    def open_source(address: str, context: SourceContext) -> Source:
        blocks = [noise(8_000, len(sources))] * 3
        sources.append(FakeSource(blocks, live=True, endless=True, label=context.name or address))
        return sources[-1]

    bundle = SimpleNamespace(manifest=SimpleNamespace(language="en"))
    monkeypatch.setattr("edge_aac.settings.tree.default_files", lambda: [])
    monkeypatch.setattr(app, "open_model", lambda _settings: FakeModel())
    monkeypatch.setattr(_OPEN_SOURCE, open_source)
    monkeypatch.setattr("edge_aac.service.opening.open_bundle", lambda _name: bundle)
    return sources


def _text(folder: Path, **changes: str) -> str:
    """A configuration with all sections that a reload looks at."""
    sections = {
        "stream": 'node = "house"\nmin_score = 0.1',
        "events": "min_windows = 3\nmin_gap_s = 20.0",
        "privacy": 'speech = "suppress"\nsuppress = ["radio", "door* bell*"]',
        "load": "same_sound = 0.98\nmax_hop_s = 8.0\nwarm_c = 60.0\nhot_c = 70.0",
        "clips": f'enabled = true\nmin_free_mb = 0.0\nfolder = "{folder / "clips"}"',
        "health": "interval_s = 3600.0",
        **changes,
    }
    text = "".join(f"[{name}]\n{body}\n" for name, body in sections.items() if name != "sources")
    sources = changes.get("sources", "hall")
    text += "".join(f'[[sources]]\naddress = "{name}"\nname = "{name}"\n' for name in sources.split())
    return text + f'[[sinks]]\nkind = "jsonl"\npath = "{folder / "records.jsonl"}"\n'


def _settings(folder: Path, **changes: str) -> Settings:
    path = folder / "config.toml"
    path.write_text(_text(folder, **changes))
    return load_settings(path, Layer())


class _Threads:
    """Threads that began since this was made: a test before may have left some behind, which end when they like."""

    def __init__(self) -> None:
        self._before = set(threading.enumerate())

    def names(self, part: str = "") -> list[str]:
        """Names of those that have ``part`` in them."""
        return sorted(each.name for each in threading.enumerate() if each not in self._before and part in each.name)


@pytest.fixture
def reloads(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """What was wrong with the settings of each reload that has ended."""
    ended: list[str | None] = []
    reloaded = Watchdog.reloaded

    def noted(watchdog: Watchdog, note: str | None) -> None:
        reloaded(watchdog, note)
        ended.append(note)

    monkeypatch.setattr(Watchdog, "reloaded", noted)
    return ended


def _answers(request: ReloadRequest, reloads: list[str | None], caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log says of one reload."""
    before, ended = len(caplog.messages), len(reloads)
    request.make()
    until(lambda: len(reloads) > ended)
    return [each for each in caplog.messages[before:] if "read anew" in each or "restart" in each or "old" in each]


def test_the_same_file_changes_nothing_and_others_what_they_say(
    tmp_path: Path, reloads: list[str | None], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    changes: dict[str, str] = {}
    request = ReloadRequest(lambda: _settings(tmp_path, **changes))
    with running_stream(_settings(tmp_path), request):
        nothing = ["the settings were read anew: nothing changed"]
        assert _answers(request, reloads, caplog) == nothing
        for section, body, what in (
            ("events", "min_windows = 3\nmin_gap_s = 25.0", "hall changed"),
            ("privacy", 'speech = "mark"', "hall changed"),
            ("stream", 'node = "house"\nmin_score = 0.2', "hall changed"),
            ("load", "same_sound = 0.97", "hall changed, load"),
        ):
            changes[section] = body
            assert _answers(request, reloads, caplog) == [f"the settings were read anew: {what}"]
            assert _answers(request, reloads, caplog) == nothing
        changes["clips"] = f'enabled = true\npost_roll_s = 9.0\nmin_free_mb = 0.0\nfolder = "{tmp_path / "clips"}"'
        changes["metrics"] = 'listen = "127.0.0.1:9464"'
        wanted = [*nothing, "a change of clips.post_roll_s, metrics.listen needs a restart"]
        for _ in range(2):
            assert _answers(request, reloads, caplog) == wanted
        changes["privacy"] = 'speech = "perhaps"'
        (refused,) = _answers(request, reloads, caplog)
        assert refused.startswith("the new settings are refused")


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.one_python
def test_two_hundred_reloads_leave_nothing_behind(tmp_path: Path, opened: list[FakeSource]) -> None:
    """Sources come and go, the hop, the sinks and what is private change: threads and descriptors stay as many."""
    threads = _Threads()

    @functools.cache
    def settings(number: int) -> Settings:
        changes = {
            "sources": "hall" if number % 2 else f"hall attic{number}",
            "stream": f'node = "house"\nhop_s = {1 + number % 3}.0',
            "privacy": f'speech = "{("publish", "suppress", "mark")[number % 3]}"',
        }
        path = tmp_path / "config.toml"
        path.write_text(_text(tmp_path, **changes).replace("records.jsonl", f"records-{number // 20}.jsonl"))
        return load_settings(path, Layer())

    with running_stream(settings(1)) as running:
        text = Exposition(SessionCollector(running.session)).text
        for number in range(2, 22):
            running.change_to(settings(number % 60))

        def unsettled() -> list[str]:
            still_open = [source.label for source in opened if not source.closed.is_set()]
            told_of = [channel.label for channel in running.session.health._before]
            closing = threads.names("edge-aac-close") + threads.names("leaves")
            # Captures end when their sources are closed; their closers wait for that only for a moment.
            captures = threads.names("edge-aac-capture")[1:]
            return closing + captures + sorted({*still_open[1:], *told_of[1:]})

        until(lambda: not unsettled(), unsettled)
        before, descriptors = threads.names(), _descriptors()
        for number in range(22, 222):
            running.change_to(settings(number % 60))
        until(lambda: not unsettled(), unsettled)
        until(lambda: len(threads.names()) <= len(before), lambda: (before, threads.names()))
        assert _descriptors() <= descriptors
        assert [channel.label for channel in running.session.channels] == ["hall"]
        exposed = text("")[0].decode()
        assert "attic" not in exposed and 'source="hall"' in exposed
        assert {source for source, _, _ in running.session.hub.published} <= {"hall"}
    until(lambda: not threads.names("edge-aac"), lambda: threads.names("edge-aac"))


@pytest.mark.parametrize("failing", ["sink", "source", "channel"])
def test_a_start_that_fails_leaves_no_thread_and_no_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: list[FakeSource], failing: str
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise InputMissingError("it is not there")

    place = {
        "sink": "edge_aac.app.open_outlets",
        "source": "edge_aac.app.open_sources",
        "channel": "edge_aac.streaming.sounds.phrase_splitter",
    }[failing]
    monkeypatch.setattr(place, fails)
    threads = _Threads()
    with pytest.raises(EdgeAacError, match="it is not there"):
        app.run_stream(_settings(tmp_path), app.Output(), threading.Event())
    assert all(source.closed.is_set() for source in opened) and len(opened) == (failing == "channel")
    until(lambda: not threads.names("edge-aac"), lambda: threads.names("edge-aac"))


def test_a_source_that_cannot_be_added_is_closed_and_the_old_ones_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: list[FakeSource]
) -> None:
    with running_stream(_settings(tmp_path)) as running:

        def fails(_language: str) -> None:
            raise ConfigError("its code cannot be loaded")

        monkeypatch.setattr("edge_aac.streaming.sounds.phrase_splitter", fails)
        with pytest.raises(ConfigError, match="cannot be loaded"):
            running.change_to(_settings(tmp_path, sources="hall attic"))
        assert [(source.label, source.closed.is_set()) for source in opened] == [("hall", False), ("attic", True)]


def test_a_model_whose_language_cannot_be_read_is_refused_before_anything_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_stream(_settings(tmp_path)) as running:
        before = running.session.model

        def fails(_language: str) -> None:
            raise ConfigError("its code cannot be loaded")

        monkeypatch.setattr(reload, "open_model", lambda _settings: FakeModel())
        monkeypatch.setattr("edge_aac.service.reload.phrase_splitter", fails)
        with pytest.raises(ConfigError, match="cannot be loaded"):
            running.change_to(_settings(tmp_path, captioner="candidates = 3", sources="attic"))
        assert running.session.model is before
        assert [channel.label for channel in running.session.channels] == ["hall"]


def test_a_model_is_opened_as_at_the_start_with_blocks_that_are_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    @contextmanager
    def heap() -> Iterator[None]:
        order.append("opening")
        yield
        order.append("open")

    def open_model(_settings: object) -> FakeModel:
        order.append("model")
        return FakeModel()

    monkeypatch.setattr(reload, "opening_heap", heap)
    monkeypatch.setattr(reload, "open_model", open_model)
    with running_stream(_settings(tmp_path)) as running:
        running.change_to(_settings(tmp_path, captioner="candidates = 3"))
    assert order == ["opening", "model", "open"]


def test_standard_output_takes_answers_as_long_as_something_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload, "open_model", lambda _settings: FakeModel())

    def settings(captioner: str) -> Settings:
        path = tmp_path / "config.toml"
        path.write_text(f'[captioner]\n{captioner}\n[[sources]]\naddress = "hall"\n')
        return load_settings(path, Layer())

    plain = ("caption", "alert")
    with running_stream(settings("")) as running:
        for captioner, kinds in (('ask = ["is it rain?"]', (*plain, "answer")), ("seed = 1", plain)):
            running.change_to(settings(captioner))
            ((sink, _),) = running.outlets
            assert isinstance(sink.chosen.settings, StdoutSettings) and sink.chosen.settings.records == kinds


def test_a_source_that_failed_is_opened_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What kept it from being heard may be mended by now; where it is not, the rest of the settings are used."""
    broken = [PermanentDeviceError("its sound library is not installed")]

    def open_source_once_broken(address: str, context: SourceContext) -> Source:
        error = broken.pop() if broken and address == "attic" else None
        return FakeSource([noise(8_000)] * 3, live=True, endless=True, error=error, label=address)

    monkeypatch.setattr(_OPEN_SOURCE, open_source_once_broken)
    with running_stream(_settings(tmp_path, sources="hall attic")) as running:
        attic = running.session.channels[1]
        until(lambda: attic.ended)
        opening = [PermanentDeviceError("it is still not installed")]
        open_source = reload.open_waiting

        def fails_once(address: str, context: SourceContext) -> Source:
            if opening:
                raise opening.pop()
            return open_source(address, context)

        monkeypatch.setattr(reload, "open_waiting", fails_once)
        other = _settings(tmp_path, sources="hall attic", events="min_windows = 4")
        assert running.change_to(other) == ["hall changed", "attic changed"]
        assert running.change_to(other) == ["without attic", "with attic"]
        assert [channel.capture.state for channel in running.session.channels] == ["listening", "listening"]
        assert running.change_to(other) == []
