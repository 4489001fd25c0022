"""Rules that change while a source is heard: what the old ones let pass is not told, nor kept, by the new ones."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from benchmarks.simulated_time import SimulatedTime
from edge_aac.audio.windows import WindowSlicer
from edge_aac.fluency.english.speech import tells_of_speech
from edge_aac.models.contract import ScoredCaption
from edge_aac.records import Caption, Event, Health, Record
from edge_aac.records.clip import Clip
from edge_aac.streaming.channel import ChannelSettings
from edge_aac.streaming.clips.saving import open_clips
from edge_aac.streaming.clips.settings import ClipSettings
from edge_aac.streaming.counters import Counters
from edge_aac.streaming.event_settings import EventRules
from edge_aac.streaming.gate import EnergyGate, SameGate, ScoreGate
from edge_aac.streaming.hop import HopLimits
from edge_aac.streaming.hub import Hub, Outlet
from edge_aac.streaming.privacy import PrivacyGate
from edge_aac.streaming.session import Session
from edge_aac.streaming.wording import WordPatterns
from tests.edge_aac.fakes import FakeModel, FakeSink, scored
from tests.edge_aac.streaming.test_sameness import HOP, WINDOW, Hearing, one_microphone

RAIN, DOG, CAT = scored("rain"), scored("dog", direction=90.0), scored("cat", direction=45.0)
TALK = scored("a man speaks", direction=180.0)
SAME = SameGate(min_similarity=0.9, max_difference_db=100.0, settle_samples=0, refresh_samples=1000 * HOP)
PRIVATE = PrivacyGate("suppress", tells_of_speech)
OPEN = ChannelSettings(EnergyGate(-70.0), events=EventRules(min_gap_samples=2 * WINDOW, update_samples=100 * HOP))


@dataclass
class _Heard:
    """What a session told.

    Attributes:
        records: of all kinds, in order.
        counters: of its source.
        at_change: number of records at each change.
    """

    records: list[Record]
    counters: Counters
    at_change: list[int]

    def of(self, kind: type[Record]) -> list[Record]:
        return [record for record in self.records if isinstance(record, kind)]


def _hear(
    model: FakeModel,
    windows: int,
    settings: ChannelSettings,
    changes: Mapping[int, Callable[[Session], object]],
    clips: Path | None = None,
    *,
    post_roll_s: float = 0.5,
    silent: Sequence[int] = (),
) -> _Heard:
    """Have a microphone heard whose session is changed when so many windows have been cut."""
    time, sink, stop = SimulatedTime(), FakeSink(), threading.Event()
    saving = None
    if clips is not None:
        rules = {"pre_roll_s": 1.0, "post_roll_s": post_roll_s, "min_free_mb": 0.0}
        saving = open_clips(ClipSettings(enabled=True, folder=clips, **rules))
    hub = Hub([Outlet("fake", sink, ("caption", "event", "health", "clip"), 100_000, stop)])
    made = Session(
        model=model, hub=hub, node="kitchen", stop=stop, health_interval_s=1e6, clocks=time.clocks, clips=saving
    )
    (source,) = one_microphone(windows, silent)(time)
    channel = made.add(source, WindowSlicer(WINDOW, HOP), settings)
    waiting = dict(changes)
    at_change: list[int] = []

    def each_step() -> None:
        for number in [number for number in waiting if channel.counters.windows >= number]:
            change = waiting.pop(number)

            def changed(change: Callable[[Session], object] = change) -> None:
                at_change.append(sum(hub.published.values()))
                change(made)

            made.between_rounds(changed)

    time.each_step = each_step
    made.run()
    assert not waiting
    counted = channel.counters
    outcomes = counted.described + counted.same + counted.silent + counted.failed + counted.skipped.total()
    assert outcomes == counted.windows, "every window is counted once"
    return _Heard(sink.records, counted, at_change)


def _by(settings: ChannelSettings, hop_samples: int = HOP) -> Callable[[Session], object]:
    return lambda session: session.reconfigure(session.channels[0], hop_samples, settings)


def _says(record: Record) -> str:
    return record.to_json()


@pytest.mark.parametrize("same", [None, SAME])
@pytest.mark.parametrize("gate", [PRIVATE, PrivacyGate(suppressed=WordPatterns(["man"]))])
def test_speech_that_goes_on_is_told_and_kept_no_more(tmp_path: Path, gate: PrivacyGate, same: SameGate | None) -> None:
    settings = replace(OPEN, same_gate=same)
    model = Hearing(lambda _: 0.0, lambda _: TALK)
    heard = _hear(model, 60, settings, {20: _by(replace(settings, privacy=gate))}, tmp_path)
    assert any("speaks" in _says(record) for record in heard.records[: heard.at_change[0]])
    later = [record for record in heard.records[heard.at_change[0] :] if "speaks" in _says(record)]
    (end,) = later
    assert isinstance(end, Event) and end.state == "end", "whoever was told of its start is told of its end"
    assert list(tmp_path.iterdir()) == [] and heard.of(Clip) == []
    assert heard.counters.private > 0
    if same is not None:
        assert len(model.decoded) == 2, "it is judged anew, once"


def test_what_was_not_confirmed_before_starts_nothing_after() -> None:
    settings = replace(OPEN, events=EventRules(min_windows=2))
    model = Hearing(lambda place: 40.0 * place, lambda place: TALK if place == 10 else scored("man", hybrid=0.1))
    # Of what is unsure nothing is told: no window contradicts what was heard before it.
    settings = replace(settings, score_gate=ScoreGate(0.3))
    heard = _hear(model, 40, settings, {11: _by(replace(settings, privacy=PRIVATE))})
    assert not [record for record in heard.records if "speaks" in _says(record)]
    assert heard.counters.unconfirmed == 1
    # It would have been told without the change.
    assert [record for record in _hear(model, 40, settings, {}).records if "speaks" in _says(record)]


def test_an_event_ends_in_the_words_that_were_told() -> None:
    """A better wording that was found since is told by no one: the old rules are over."""
    settings = replace(OPEN, score_gate=ScoreGate(0.1))
    better = scored("two men speak about money", 0.9, direction=180.0)
    model = Hearing(lambda place: 40.0 * place, lambda place: TALK if place < 5 else better)
    heard = _hear(model, 30, settings, {12: _by(replace(settings, privacy=PRIVATE))})
    assert not [record for record in heard.records if "money" in _says(record)]


def test_other_events_go_on() -> None:
    model = Hearing(lambda place: 40.0 * place, lambda _: RAIN)
    heard = _hear(model, 40, OPEN, {20: _by(replace(OPEN, privacy=PRIVATE))})
    events = [record for record in heard.of(Event) if isinstance(record, Event)]
    assert [event.state for event in events if event.state != "update"] == ["start", "end"]
    assert events[-1].windows == 40 and len(heard.of(Caption)) == 1


def test_an_open_event_is_marked_from_then_on() -> None:
    gate = PrivacyGate("mark", tells_of_speech)
    model = Hearing(lambda place: 40.0 * place, lambda place: TALK if place < 10 else RAIN)
    heard = _hear(model, 60, OPEN, {12: _by(replace(OPEN, privacy=gate))})
    ends = [record for record in heard.of(Event) if isinstance(record, Event) and record.state == "end"]
    assert {(record.caption, record.speech) for record in ends} == {("a man speaks", True), ("rain", None)}


def test_another_model_and_other_rules_at_once() -> None:
    model = Hearing(lambda place: 40.0 * place, lambda _: TALK)

    def change(session: Session) -> None:
        _by(replace(OPEN, privacy=PRIVATE))(session)
        session.use(Hearing(lambda place: 40.0 * place, lambda _: TALK))

    heard = _hear(model, 40, OPEN, {20: change})
    assert [record for record in heard.records[heard.at_change[0] :] if isinstance(record, Caption)] == []
    assert heard.counters.private > 0


def test_a_window_that_sounds_as_before_is_judged_by_the_new_score() -> None:
    settings = replace(OPEN, same_gate=SAME)
    heard = _hear(Hearing(lambda _: 0.0), 60, settings, {20: _by(replace(settings, score_gate=ScoreGate(0.9)))})
    (end,) = [record for record in heard.of(Event) if isinstance(record, Event) and record.state == "end"]
    assert end.windows < 25 and heard.counters.unsure == 1


def test_a_start_in_a_window_that_is_not_decoded_has_its_caption() -> None:
    """The cool-down is over while the sound goes on as it was: the event starts then, and is told as any other."""
    rules = EventRules(cooldown_samples=15 * HOP, update_samples=100 * HOP)
    model = Hearing(lambda place: 90.0 if 3 <= place < 11 else 0.0, lambda place: DOG if 3 <= place < 11 else RAIN)
    heard = _hear(model, 40, replace(OPEN, events=rules, same_gate=SAME), {})
    started = [record for record in heard.of(Event) if isinstance(record, Event) and record.state == "start"]
    assert [record.caption for record in started] == ["rain", "dog", "rain"]
    captions = [record for record in heard.of(Caption) if isinstance(record, Caption)]
    assert [(record.caption, record.event) for record in captions] == [("rain", 0), ("dog", 1), ("rain", 2)]
    assert model.decoded == [0, 3, 11]
    assert captions[-1].start is not None and captions[-1].start > (captions[1].end or "")
    assert [record.latency_ms.total for record in captions] == [pytest.approx(3.5, abs=250)] * 3


def test_a_reload_in_quiet_asks_for_no_fewer_windows_later() -> None:
    """A quiet source is heard seldom, where one window is enough for an event; two are needed when it is not."""
    settings = replace(OPEN, events=EventRules(min_windows=2), same_gate=SAME, hop_limits=HopLimits(1.0, 0.5))
    told: list[int] = []

    def caption(place: int) -> ScoredCaption:
        if place < 60:
            return RAIN
        told.append(place)
        return DOG if len(told) == 6 else CAT

    def run(changes: Mapping[int, Callable[[Session], object]]) -> list[str]:
        told.clear()
        model = Hearing(lambda place: 0.0 if place < 60 else 40.0 * (1 + len(told)), caption)
        heard = _hear(model, 90, settings, changes)
        assert len(told) > 6
        return [record.caption for record in heard.of(Event) if isinstance(record, Event) and record.state == "start"]

    assert run({}) == ["rain", "cat"]
    other = replace(settings, events=replace(settings.events, update_samples=5))
    assert run({12: _by(other)}) == ["rain", "cat"]


@pytest.mark.parametrize(("gate", "seconds"), [(PrivacyGate(), 5.0), (PRIVATE, 3.8)])
def test_no_sound_below_the_level_gate_is_kept_where_something_is_private(
    tmp_path: Path, gate: PrivacyGate, seconds: float
) -> None:
    """Whoever talks softly is in no window that is described."""
    settings = replace(OPEN, privacy=gate, events=EventRules())
    # The last block that is heard is number 29: the last window that is described begins with it.
    heard = _hear(
        Hearing(lambda place: 40.0 * place), 60, settings, {}, tmp_path, post_roll_s=2.0, silent=range(30, 200)
    )
    (clip,) = [record for record in heard.of(Clip) if isinstance(record, Clip)]
    assert clip.seconds == seconds and clip.cut == ("private" if gate is PRIVATE else None)


def test_the_health_record_says_what_became_of_every_window() -> None:
    settings = replace(OPEN, same_gate=SAME, privacy=PRIVATE, score_gate=ScoreGate(0.3))
    captions = {0: RAIN, 1: TALK, 2: scored("cat", 0.1, 45.0)}
    model = Hearing(lambda place: 60.0 * (place // 5), lambda place: captions[place // 5 % 3])
    heard = _hear(model, 60, settings, {30: _by(replace(settings, score_gate=ScoreGate(0.05)))})
    records = [record for record in heard.of(Health) if isinstance(record, Health)]
    for record in records:
        counted = record.described + record.same + record.silent + record.failed + sum(record.skipped.values())
        assert counted + record.due_windows == record.windows
        assert record.private + record.unsure + record.captions <= record.described + record.events
    assert sum(record.private for record in records) > 0 and sum(record.unsure for record in records) > 0
