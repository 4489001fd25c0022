"""Commands to a running stream: what they change, what they refuse, and what holds after a reload or a restart."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge_aac.audio.sources.paused import PausedSource
from edge_aac.audio.windows import WindowSlicer
from edge_aac.errors import DeviceError
from edge_aac.records import Event, Gap, Health
from edge_aac.service.control import Control
from edge_aac.service.opening import Output
from edge_aac.service.overrides import Overrides
from edge_aac.service.reload import Running
from edge_aac.settings.layers import Layer
from edge_aac.settings.tree import load_settings
from edge_aac.streaming import capture
from edge_aac.streaming.capture import Capture
from edge_aac.streaming.channel import Channel
from tests.edge_aac.fakes import FakeModel, FakeSink, FakeSource, scored
from tests.edge_aac.service.control_cases import plan
from tests.edge_aac.streaming.session_cases import HOP, WINDOW, AttendedSource, attend, blocks, session
from tests.waiting import PATIENCE_S, ended, until

_HOP_S = 0.05


class _World:
    """A stream of one microphone that can be opened again and again.

    Args:
        folder: of the service's state.
        model: describes.
    """

    def __init__(self, folder: Path, model: FakeModel | None = None) -> None:
        self.sink, self.stop = FakeSink(), threading.Event()
        self.opened: list[AttendedSource] = []
        self.channel: Channel | None = None
        self.failures = 0
        self.session = session(
            [], self.sink, model, stop=self.stop, health_interval_s=3600.0, kinds=("caption", "event", "health", "gap")
        )
        self.plan = plan("hall", hop_s=_HOP_S)
        self.overrides = Overrides.load(folder / "commands.json")
        self.overrides.keep_only([self.plan])
        paused = self.overrides.listening(self.plan).paused
        source = PausedSource("hall") if paused else self.open()
        self.channel = self.session.add(source, WindowSlicer(WINDOW, HOP), self.plan.settings, reopen=self.open)
        attend(self.session, source, self.channel)
        if paused:
            self.channel.capture.pause()
        settings = load_settings(None, Layer())
        self.running = Running(
            self.session, settings, Output(), self.stop, {self.plan.key: (self.plan, self.channel)}, [], self.overrides
        )
        self.control = Control(self.overrides)
        self._thread = threading.Thread(target=self.session.run)

    def open(self) -> FakeSource:
        if self.failures:
            self.failures -= 1
            raise DeviceError("There is no input 'hall'.")
        source = AttendedSource(blocks(1) * 20_000, live=True, endless=True, pace_s=0.02, label="hall")
        if self.channel is not None:
            attend(self.session, source, self.channel)
        self.opened.append(source)
        return source

    def start(self) -> _World:
        self.control.attach(self.running)
        self._thread.start()
        return self

    def end(self) -> None:
        self.stop.set()
        ended(self._thread)

    @property
    def captions(self) -> int:
        return len(self.sink.captions)

    def events(self, state: str) -> set[int]:
        return {
            record.event for record in list(self.sink.records) if isinstance(record, Event) and record.state == state
        }

    @property
    def state(self) -> str:
        return self.control.sources()[0].state


@pytest.fixture
def world(tmp_path: Path) -> Iterator[_World]:
    made = _World(tmp_path).start()
    try:
        yield made
    finally:
        made.end()


def test_a_paused_source_is_closed_and_nothing_of_it_is_told_until_it_listens_again(world: _World) -> None:
    until(lambda: world.captions > 2)
    world.control.set_enabled("hall", False)
    assert world.opened[0].closed.is_set()
    assert (world.state, world.control.sources()[0].enabled) == ("paused", False)
    until(lambda: world.channel.publisher.open_events == 0 and world.channel.capture.parked)
    until(lambda: world.captions == world.channel.counters.captions)
    written, captions = world.channel.written_samples, world.captions
    time.sleep(0.3)  # six blocks
    assert (world.channel.written_samples, world.captions) == (written, captions)
    world.control.set_enabled("hall", True)
    until(lambda: world.captions > captions + 2)
    assert (world.state, len(world.opened)) == ("listening", 2)
    assert not [record for record in world.sink.records if isinstance(record, Gap)], "a pause is no loss"
    assert world.channel.lost_samples() == 0


def test_the_time_of_a_pause_passes_in_the_records(world: _World) -> None:
    until(lambda: world.captions > 2)
    world.control.set_enabled("hall", False)
    until(lambda: world.channel.capture.parked and world.captions == world.channel.counters.captions)
    last = world.sink.captions[-1].end
    time.sleep(0.5)
    before = world.captions
    world.control.set_enabled("hall", True)
    until(lambda: world.captions > before + 2)
    first, end = world.sink.captions[before], world.sink.captions[-1].end
    assert last is not None and end is not None
    assert first.start is not None and first.start >= last, "no window has sound from before the pause"
    passed = datetime.fromisoformat(end.replace("Z", "+00:00")) - datetime.fromisoformat(last.replace("Z", "+00:00"))
    assert passed.total_seconds() >= 0.5


def test_all_that_was_heard_before_a_pause_is_told_and_its_events_end(world: _World) -> None:
    until(lambda: world.captions > 2)
    world.control.set_enabled("hall", False)
    until(lambda: world.channel.capture.parked and not world.channel.publisher.open_events)
    counters = world.channel.counters
    assert counters.skipped.total() == 0
    assert counters.windows == counters.described + counters.same + counters.silent
    # The sink has them a moment later.
    until(lambda: world.events("start") == world.events("end") != set())


def test_sound_that_no_window_has_yet_is_told_at_the_pause_and_not_at_its_end(world: _World) -> None:
    until(lambda: world.captions > 2)
    world.control.set_hop("hall", 60.0)
    until(lambda: world.captions == world.channel.counters.captions)
    before, written = world.captions, world.channel.written_samples
    until(lambda: world.channel.written_samples > written + 8 * HOP)
    assert world.captions == before, "the next window is due in a minute"
    world.control.set_enabled("hall", False)
    until(lambda: world.captions == before + 1)


def test_a_pause_and_its_end_in_one_moment_lose_nothing(world: _World) -> None:
    for _ in range(20):
        world.control.set_enabled("hall", False)
        world.control.set_enabled("hall", True)
    before = world.captions
    until(lambda: world.captions > before + 2)
    assert world.state == "listening"
    assert sum(not source.closed.is_set() for source in world.opened) == 1, "one is open, every other is closed"


def test_of_two_commands_at_once_what_is_kept_is_what_is_so(world: _World, monkeypatch: pytest.MonkeyPatch) -> None:
    pausing, go_on = threading.Event(), threading.Event()
    pause = Capture.pause

    def pause_slowly(self: Capture) -> None:
        pausing.set()
        assert go_on.wait(PATIENCE_S)
        pause(self)

    monkeypatch.setattr(Capture, "pause", pause_slowly)
    threads = [threading.Thread(target=world.control.set_enabled, args=("hall", on)) for on in (False, True)]
    threads[0].start()
    assert pausing.wait(PATIENCE_S)
    threads[1].start()
    threads[1].join(0.5)
    go_on.set()
    ended(*threads)
    assert (world.overrides.of("hall").paused, world.channel.capture.paused) == (False, False)


def test_a_source_that_cannot_be_opened_after_a_pause_is_tried_again_and_that_time_is_a_loss(
    world: _World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "FIRST_BACKOFF_S", 0.2)
    until(lambda: world.captions > 2)
    world.control.set_enabled("hall", False)
    until(lambda: world.channel.capture.parked)
    time.sleep(1.0)
    world.failures, resumed_s = 10_000, time.monotonic()
    world.control.set_enabled("hall", True)
    until(lambda: world.state == "failed")
    assert world.channel.capture.reason == "There is no input 'hall'."
    world.failures, before = 0, world.captions
    until(lambda: world.captions > before + 2)
    gaps = [record for record in world.sink.records if isinstance(record, Gap)]
    assert [gap.reason for gap in gaps] == ["disconnected"]
    assert 0 < world.channel.lost_samples() < 16_000 * (time.monotonic() - resumed_s), "the pause is no part of it"


def test_a_source_that_is_being_looked_for_can_be_paused(world: _World) -> None:
    until(lambda: world.captions > 2)
    world.control.set_enabled("hall", False)
    world.failures = 10_000
    world.control.set_enabled("hall", True)
    until(lambda: world.state == "failed")
    world.control.set_enabled("hall", False)
    assert world.state == "paused"
    until(lambda: world.channel.capture.parked)
    lost = world.channel.lost_samples()
    time.sleep(0.5)
    assert world.channel.lost_samples() == lost


def test_a_pause_holds_over_a_restart_and_the_device_is_not_opened_for_a_moment(tmp_path: Path) -> None:
    first = _World(tmp_path).start()
    first.control.set_enabled("hall", False)
    first.end()
    second = _World(tmp_path).start()
    try:
        assert (second.state, second.opened) == ("paused", [])
        second.control.set_enabled("hall", True)
        until(lambda: second.captions > 2)
    finally:
        second.end()
    health = [record for record in first.sink.records if isinstance(record, Health)]
    assert health[-1].source == "hall"


def test_a_threshold_stops_captions_at_once(tmp_path: Path) -> None:
    world = _World(tmp_path, FakeModel([scored("rain", hybrid=0.4)])).start()
    try:
        until(lambda: world.captions > 2)
        world.control.set_threshold("hall", 0.5)
        counters = world.channel.counters
        captions, unsure = counters.captions, counters.unsure
        until(lambda: counters.unsure > unsure + 3)
        assert counters.captions == captions
        world.control.set_threshold("hall", None)
        until(lambda: world.captions > captions + 2)
    finally:
        world.end()


def test_a_hop_counts_at_once_and_after_a_restart(tmp_path: Path) -> None:
    world = _World(tmp_path).start()
    world.control.set_hop("hall", 0.5)
    assert world.channel.hop_s == 0.5
    world.end()
    assert Overrides.load(tmp_path / "commands.json").listening(world.plan).hop_samples == 8_000


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (lambda control: control.set_enabled("attic", False), "there is no source 'attic'"),
        (lambda control: control.set_threshold("attic", 0.5), "there is no source 'attic'"),
        (lambda control: control.set_threshold("hall", float("nan")), "a finite number"),
        (lambda control: control.set_hop("hall", 0.0), "between 0.1 and 3600 seconds"),
        (lambda control: control.set_hop("hall", float("inf")), "between 0.1 and 3600 seconds"),
        (lambda control: control.set_hop("hall", 0.12345), "a multiple of 10 ms"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    command: Callable[[Control], None], reason: str, world: _World
) -> None:
    before = [(each.enabled, each.min_score, each.hop_s) for each in world.control.sources()]
    with pytest.raises(ValueError, match=reason):
        command(world.control)
    assert [(each.enabled, each.min_score, each.hop_s) for each in world.control.sources()] == before
    assert world.overrides.by_label == {}


def test_no_command_before_the_stream_and_none_after_it(tmp_path: Path) -> None:
    world = _World(tmp_path)
    with pytest.raises(ValueError, match="has not begun"):
        world.control.set_hop("hall", 1.0)
    assert world.control.sources() == []
    world.start().end()
    with pytest.raises(ValueError, match="the stream has ended"):
        world.control.set_hop("hall", 1.0)


def test_a_file_is_not_paused(tmp_path: Path) -> None:
    world = _World(tmp_path)
    channel = world.session.add(
        FakeSource(blocks(3)), WindowSlicer(WINDOW, HOP), world.plan.settings, reopen=world.open
    )
    world.running.channels["file:garden.wav", "garden.wav"] = plan("garden.wav", "file:garden.wav"), channel
    world.start()
    try:
        assert [each.can_pause for each in world.control.sources()] == [True, False]
        with pytest.raises(ValueError, match="a file or pipe, which is not paused"):
            world.control.set_enabled("garden.wav", False)
    finally:
        world.end()


def test_whoever_subscribes_is_told_until_he_ends_it_and_a_fault_of_his_hurts_nobody(world: _World) -> None:
    calls: list[str] = []

    def faulty() -> None:
        raise RuntimeError("no")

    world.control.subscribe(faulty)
    end = world.control.subscribe(lambda: calls.append("changed"))
    world.control.set_hop("hall", 1.0)
    assert calls == ["changed"]
    end()
    world.control.set_hop("hall", 2.0)
    assert calls == ["changed"]


def test_a_sink_that_takes_commands_is_given_the_control(tmp_path: Path) -> None:
    from edge_aac.service.opening import sink_plans
    from edge_aac.settings.faults import Chosen
    from edge_aac.sinks.stdout import StdoutSettings

    given: list[object] = []

    class Commanded(FakeSink):
        def take_commands(self, control: object) -> None:
            given.append(control)

    factory = SimpleNamespace(Settings=StdoutSettings, open=lambda _settings: Commanded())
    control = Control(Overrides(tmp_path / "commands.json"))
    (plan,) = sink_plans([Chosen("stdout", StdoutSettings(), factory)], Output(), control)
    plan.open(threading.Event()).close(patient=False)
    assert given == [control]
    plan.reopening.open()
    assert given == [control, control], "one that takes its place in the outlet too"
