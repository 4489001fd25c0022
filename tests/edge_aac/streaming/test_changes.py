"""A session that is changed while it runs: sources come and go, another model describes, the rest goes on."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError

import pytest

from edge_aac.audio.connection import PermanentDeviceError
from edge_aac.audio.windows import WindowSlicer
from edge_aac.errors import DataError
from edge_aac.records import Caption, Event, Gap, Health
from edge_aac.streaming import scheduler
from edge_aac.streaming.channel import ChannelSettings
from edge_aac.streaming.gate import EnergyGate
from edge_aac.streaming.liveness import Liveness, Sign
from edge_aac.streaming.session import Session
from tests.edge_aac.fakes import Array, FakeModel, FakeSink, FakeSource
from tests.edge_aac.streaming.session_cases import DOG, HOP, RAIN, WINDOW, HeldModel, blocks, running, session
from tests.waiting import PATIENCE_S, until

_SETTINGS = ChannelSettings(EnergyGate(-70.0), every_window=True)


def _live(label: str) -> FakeSource:
    return FakeSource(blocks(1) * 20_000, live=True, endless=True, pace_s=0.02, label=label)


def _captions(sink: FakeSink, source: str) -> list[Caption]:
    return [record for record in sink.captions if record.source == source]


def test_sources_come_and_go_beside_one_that_goes_on() -> None:
    sink, stop = FakeSink(), threading.Event()
    made = session(
        _live("hall"), sink, stop=stop, health_interval_s=3600.0, kinds=("caption", "event", "health", "gap")
    )
    before_it = set(threading.enumerate())
    with running(made, stop):
        until(lambda: bool(_captions(sink, "hall")))
        for _ in range(5):
            attic = _live("attic")
            channel = made.between_rounds(lambda a=attic: made.add(a, WindowSlicer(WINDOW, HOP), _SETTINGS)).result()
            before = len(_captions(sink, "attic"))
            until(lambda b=before: len(_captions(sink, "attic")) > b)
            made.between_rounds(lambda c=channel: made.remove(c)).result()
            until(attic.closed.is_set)
        until(lambda: sum(isinstance(record, Health) for record in sink.records) == 5)
        assert [channel.label for channel in made.channels] == ["hall"]
        # The session's own thread and the capture of the hall run beside those before.
        until(lambda: len(set(threading.enumerate()) - before_it) == 2)
    hall = _captions(sink, "hall")
    assert [record.seq for record in hall] == list(range(len(hall)))
    assert not [record for record in sink.records if isinstance(record, Gap) and record.source == "hall"]
    health = [record for record in sink.records if isinstance(record, Health)]
    assert [record.source for record in health] == ["attic"] * 5 + ["hall"]
    assert {record.state for record in health[:5]} == {"ended"}
    started = [record for record in sink.records if isinstance(record, Event) and record.source == "attic"]
    assert sum(event.state == "start" for event in started) == sum(event.state == "end" for event in started)


def test_a_source_that_is_removed_has_ended_though_its_read_does_not() -> None:
    """On a slow machine, too, a read may return long after its source was closed."""
    hangs = threading.Event()

    class _Hanging(FakeSource):
        def read(self) -> Array | None:
            if self.exhausted:
                hangs.wait()
            return super().read()

    sink, stop = FakeSink(), threading.Event()
    made = session(_live("hall"), sink, stop=stop, health_interval_s=3600.0)
    attic = _Hanging(blocks(4), live=True, label="attic")
    with running(made, stop):
        channel = made.between_rounds(lambda: made.add(attic, WindowSlicer(WINDOW, HOP), _SETTINGS)).result()
        until(lambda: _captions(sink, "attic"))
        assert channel.capture.state == "listening"
        made.between_rounds(lambda: made.remove(channel)).result()
        until(lambda: [record for record in sink.records if isinstance(record, Health)])
    hangs.set()
    health = [record for record in sink.records if isinstance(record, Health)]
    assert (health[0].source, health[0].state) == ("attic", "ended")


def test_the_hop_changes_without_a_loss() -> None:
    sink, stop = FakeSink(), threading.Event()
    made = session(_live("hall"), sink, stop=stop)
    (channel,) = made.channels
    with running(made, stop):
        until(lambda: len(sink.captions) > 3)
        made.between_rounds(lambda: made.reconfigure(channel, 2 * HOP, _SETTINGS, 0.5)).result()
        before = channel.counters.windows
        until(lambda: channel.counters.windows > before + 3)
    assert channel.counters.lost_samples == 0


def test_another_model_takes_over_and_open_events_end() -> None:
    sink, stop = FakeSink(), threading.Event()
    made = session(_live("hall"), sink, FakeModel([RAIN]), stop=stop)
    with running(made, stop):
        until(lambda: bool(sink.captions))
        made.between_rounds(lambda: made.use(FakeModel([DOG]))).result()
        until(lambda: sink.captions[-1].caption == "dog")
    texts = [record.caption for record in sink.captions]
    assert texts == sorted(texts, reverse=True), "rain first, then dog, and never back"
    events = [(record.event, record.state) for record in sink.records if isinstance(record, Event)]
    ends = [number for number, state in events if state == "end"]
    assert sorted(ends) == sorted({number for number, _ in events}), "each ends, once, and no number comes twice"


def test_a_change_that_fails_is_told_to_whoever_asked_and_to_nobody_else() -> None:
    sink, stop = FakeSink(), threading.Event()
    made = session(_live("hall"), sink, stop=stop)

    def fails() -> None:
        raise ValueError("no")

    with running(made, stop):
        with pytest.raises(ValueError, match="no"):
            made.between_rounds(fails).result()
        before = len(sink.captions)
        until(lambda: len(sink.captions) > before)
    with pytest.raises(CancelledError):
        made.between_rounds(lambda: 1).result(PATIENCE_S)


def _until_found_missing(made: Session, *complaints: str) -> None:
    """Wait until all complaints are among what is found missing, with checks that stand for 0.2 s each.

    A machine under load delays threads that are alive: other parts may be found missing before, for a while.
    """
    now_s = 0.0
    liveness = Liveness(made.signs, limit_s=10.0, interval_s=1.0, monotonic=lambda: now_s)

    def found() -> bool:
        nonlocal now_s
        now_s += 0.2
        sentences = liveness.check()
        return all(any(sentence.startswith(complaint) for sentence in sentences) for complaint in complaints)

    until(found, lambda: f"{complaints} not all found missing: {liveness.missing()}")


def _never_missing(made: Session, complaint: str) -> None:
    """Check for 20 s, in steps of 0.2 s of a clock of the test's own, that nothing is missing that begins so.

    The scheduler comes round between two checks, however long a machine under load takes for that.
    """
    now_s = 0.0
    liveness = Liveness(made.signs, limit_s=10.0, interval_s=1.0, monotonic=lambda: now_s)
    heartbeat = made._scheduler.heartbeat
    for _ in range(100):
        before = heartbeat.beats
        until(lambda: heartbeat.beats > before)  # noqa: B023 - called at once
        now_s += 0.2
        assert not [sentence for sentence in liveness.check() if sentence.startswith(complaint)]


def test_a_model_that_hangs_is_found() -> None:
    model, released, stop = HeldModel(), threading.Event(), threading.Event()
    model.held_until = released.is_set
    made = session(_live("hall"), FakeSink(), model, stop=stop)
    with running(made, stop):
        _until_found_missing(made, "describing has not come to an end for ")
        released.set()


def test_a_read_that_hangs_is_found_though_the_source_seems_to_listen() -> None:
    stop = threading.Event()
    made = session(FakeSource(blocks(3), live=True, endless=True, label="hall"), FakeSink(), stop=stop)
    with running(made, stop):
        _until_found_missing(made, "the thread that captures hall has not come round", "no sound has come from hall")


@pytest.mark.parametrize(
    ("error", "found"), [(AssertionError("a bug"), True), (PermanentDeviceError("no such"), False)]
)
def test_a_capture_that_broke_off_is_found_where_a_restart_may_mend_it(error: Exception, found: bool) -> None:
    stop = threading.Event()
    broken = FakeSource(blocks(3), live=True, error=error, label="attic")
    made = session([_live("hall"), broken], FakeSink(), stop=stop)
    attic = made.channels[1]
    with running(made, stop):
        until(lambda: attic.ended)
        now_s = 0.0
        liveness = Liveness(made.signs, limit_s=10.0, interval_s=1.0, monotonic=lambda: now_s)
        for _ in range(60):
            now_s += 0.2
            liveness.check()
    # What a machine under load delays for a while is no part of it.
    assert any("attic has broken off" in sentence for sentence in liveness.missing("attic")) is found


def test_a_pipe_that_gives_nothing_for_long_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "TICK_S", 0.005)
    stop = threading.Event()
    made = session(FakeSource(blocks(3), endless=True, label="pipe"), FakeSink(), stop=stop)
    with running(made, stop):
        _never_missing(made, "")


def test_a_slow_model_that_goes_on_is_no_fault() -> None:
    """Its first batch takes for ever, and asks every 10 ms whether it is still wanted."""
    stop = threading.Event()
    model = FakeModel(seconds=1e9)
    made = session(_live("hall"), FakeSink(), model, stop=stop)
    with running(made, stop):
        until(lambda: model.batches)
        _never_missing(made, "describing")


def _signs(made: Session) -> dict[str, Sign]:
    return {sign.key[1]: sign for sign in made.signs() if isinstance(sign.key, tuple)}


class _Patient(FakeSource):
    stall_s = 120.0


def test_a_source_that_may_be_silent_for_long_is_not_missed_before() -> None:
    stop = threading.Event()
    patient = _Patient(blocks(1) * 2000, live=True, endless=True, pace_s=0.02, label="hall")
    made = session(patient, FakeSink(), stop=stop)
    with running(made, stop):
        until(lambda: "sound" in _signs(made))
        signs = _signs(made)
        assert signs["sound"].allowance_s == 120.0
        assert signs["windows"].allowance_s == 120.0 + made.channels[0].reach_s


def test_a_hop_that_becomes_shorter_makes_nothing_missing() -> None:
    """Under a long hop no window ends for long: by the new one's limit it would have been missed long ago."""
    stop = threading.Event()
    made = session(_live("hall"), FakeSink(), stop=stop, hop=10_000 * HOP)
    (channel,) = made.channels
    with running(made, stop):
        until(lambda: channel.taken_windows == 1)
        now_s = 0.0
        liveness = Liveness(made.signs, limit_s=10.0, interval_s=30.0, monotonic=lambda: now_s)
        liveness.check()
        for _ in range(20):
            now_s += 30.0
            assert not [each for each in liveness.check() if "no window" in each]
        made.between_rounds(lambda: made.reconfigure(channel, 5_000 * HOP, _SETTINGS)).result()
        now_s += 1.0
        assert not [each for each in liveness.check() if "no window" in each]


def test_what_fails_at_the_end_of_one_source_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    sink, stop = FakeSink(), threading.Event()
    broken, other = _live("hall"), _live("attic")
    made = session([broken, other], sink, stop=stop, health_interval_s=3600.0)

    def fails() -> None:
        raise AssertionError("a bug")

    monkeypatch.setattr(made.channels[0].publisher, "finish", fails)
    stop.set()
    with pytest.raises(AssertionError, match="a bug"):
        made.run()
    assert broken.closed.is_set() and other.closed.is_set() and sink.closed
    assert {record.source for record in sink.records if isinstance(record, Health)} == {"hall", "attic"}


def test_another_source_of_the_same_name_keeps_its_health() -> None:
    sink, stop = FakeSink(), threading.Event()
    made = session(_live("hall"), sink, stop=stop, health_interval_s=3600.0)
    with running(made, stop):
        until(lambda: bool(sink.captions))
        made.between_rounds(made.health.report).result()
        (old,) = made.channels

        def exchange() -> None:
            made.remove(old)
            made.add(_live("hall"), WindowSlicer(WINDOW, HOP), _SETTINGS)
            assert "hall" not in made.health.latest
            made.health.report()

        made.between_rounds(exchange).result()
        until(lambda: old not in made.health._before)
        assert made.health.latest["hall"].state == "listening"
        assert any(source == "hall" for source, _, _ in made.hub.published)


def test_a_failing_source_is_named_where_others_may_come(caplog: pytest.LogCaptureFixture) -> None:
    stop = threading.Event()
    made = session(FakeSource([], error=DataError("'bad.wav' is damaged"), label="bad.wav"), FakeSink(), stop=stop)
    made.more_may_come = True
    with running(made, stop):
        until(lambda: "bad.wav has ended, the others go on" in caplog.text)
