"""Captions and alerts back to devices: routed by source, cut at a character, alerts first, at a pace to read."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest
from pydantic import ValidationError

from edge_aac.records import Alert as AlertRecord
from edge_aac.records import Caption as CaptionRecord
from edge_aac.records import LatencyMs, Record, Score
from firmware_bridge.address import Endpoint
from firmware_bridge.device import Device
from firmware_bridge.fields import Abilities, Codec, Pattern, Priority, Result
from firmware_bridge.frame import Ack, Alert, Caption, Frame, Hello
from firmware_bridge.link import Link
from firmware_bridge.outbox import ANSWER_S, MAX_ALERTS, MAX_TRIES, Outbox, shortened
from firmware_bridge.registry import Registry
from firmware_bridge.sink import BridgeSettings, BridgeSink
from tests.edge_aac.fakes import MODEL
from tests.waiting import PATIENCE_S, until

ALL = Abilities.DISPLAY | Abilities.ALERT


@pytest.mark.parametrize(
    ("text", "size", "shown"),
    [
        ("a dog barks", 20, "a dog barks"),
        ("a dog barks", 9, "a dog…"),
        ("日本語", 9, "日本語"),
        ("日本語", 8, "日…"),
        ("éééé", 7, "éé…"),
        ("ab", 1, "a"),
        ("e\u0301e\u0301e\u0301e\u0301", 8, "e\u0301…"),
        ("👩‍👩‍👧‍👦 laugh", 12, "…"),
        ("a\nb\tc\x1b[2J", 20, "a b c [2J"),
        ("", 5, ""),
    ],
)
def test_a_text_is_cut_at_a_character(text: str, size: int, shown: str) -> None:
    assert shortened(text, size) == shown
    assert len(shortened(text, size).encode()) <= size


def _outbox(min_interval_s: float) -> Outbox:
    device = Device(Hello(5, 1, 1, 16_000, 1, Codec.PCM, 320, ALL, 24, "", ""))
    return Outbox(device.id, device.next_id, min_interval_s)


def _texts(outbox: Outbox, until_s: float, from_s: float = 0.0) -> list[tuple[float, str]]:
    """What goes out, with its time, where each is answered at once."""
    sent = []
    for tick in range(round(from_s * 10), round(until_s * 10)):
        frame = outbox.due(tick / 10)
        if frame is not None:
            sent.append((tick / 10, frame.text if isinstance(frame, Caption) else frame.pattern.name))
            outbox.answer(Ack(frame.device, frame.TYPE, Result.DONE, frame.id))
    return sent


def test_alerts_go_first_and_captions_wait_their_time() -> None:
    outbox = _outbox(2.0)
    outbox.show("rain", Priority.NORMAL, 10, 64)
    outbox.play(Pattern.LONG, Priority.URGENT, 5)
    outbox.play(Pattern.STOP, Priority.URGENT, 5)
    assert _texts(outbox, 1.0) == [(0.0, "LONG"), (0.1, "STOP"), (0.2, "rain")]
    outbox.show("wind", Priority.NORMAL, 10, 64)
    outbox.show("thunder", Priority.NORMAL, 10, 64)
    assert _texts(outbox, 3.0, 1.0) == [(2.2, "thunder")]
    assert outbox.counters.replaced == 1
    outbox.show("fire", Priority.URGENT, 10, 64)
    outbox.show("wind", Priority.NORMAL, 10, 64)
    assert _texts(outbox, 4.0, 3.0) == [(3.0, "fire")]
    assert outbox.counters.answered == 5


def test_what_is_not_answered_goes_again_and_is_given_up() -> None:
    outbox = _outbox(0.0)
    outbox.show("rain", Priority.NORMAL, 10, 64)
    sent = [frame for tick in range(100) if (frame := outbox.due(tick * ANSWER_S / 10))]
    assert len(sent) == MAX_TRIES and len({frame.id for frame in sent}) == 1
    assert (outbox.counters.unanswered, outbox.counters.retries, outbox.queued) == (1, MAX_TRIES - 1, 0)


def test_a_busy_device_is_asked_again_and_an_old_answer_is_nothing() -> None:
    outbox = _outbox(0.0)
    outbox.play(Pattern.LONG, Priority.NORMAL, 1)
    first = outbox.due(0.0)
    assert first is not None
    outbox.answer(Ack(5, Alert.TYPE, Result.DONE, first.id + 1))
    outbox.answer(Ack(5, Alert.TYPE, Result.BUSY, first.id))
    assert outbox.due(0.5) is None and outbox.due(ANSWER_S) == first
    outbox.answer(Ack(5, Alert.TYPE, Result.CANNOT, first.id))
    assert (outbox.queued, outbox.counters.refused) == (0, 1)


def test_alerts_are_bounded_and_ids_wrap_to_1() -> None:
    outbox = _outbox(0.0)
    for _ in range(70_000):
        outbox.play(Pattern.LONG, Priority.NORMAL, 1)
    assert outbox.queued == MAX_ALERTS
    frame = outbox.due(0.0)
    assert frame is not None and frame.id == 70_000 - 65_535 - MAX_ALERTS + 1


class _Link(Link):
    """A link whose devices answer at once."""

    def __init__(self, devices: dict[int, tuple[str, Abilities]], place: str = "none") -> None:
        self.sent: list[Frame] = []
        self.goes_on = threading.Event()
        self.goes_on.set()
        super().__init__(Endpoint("serial", place, 9600, None), wait=True)
        for device, (name, abilities) in devices.items():
            self._take(Hello(device, 1, 1, 16_000, 1, Codec.PCM, 320, abilities, 24, name, ""), 0.0, None)

    def send(self, frame: Frame) -> None:
        self.goes_on.wait(PATIENCE_S)
        self.sent.append(frame)
        self._take(Ack(frame.device, frame.TYPE, Result.DONE, cast(Caption, frame).id), 0.0, None)

    def _connect(self) -> None:
        return

    def _disconnect(self) -> None:
        return

    def _read(self) -> None:
        self._closed.wait(0.05)

    def _answer(self, frame: Frame, reply_to: tuple[str, int] | None) -> None:
        return


@pytest.fixture
def link() -> Iterator[_Link]:
    one = _Link({1: ("kitchen", ALL), 2: ("wrist", Abilities.ALERT), 3: ("hall", Abilities.DISPLAY)})
    yield one
    one.close()


@pytest.fixture
def links(link: _Link) -> Registry:
    registry = Registry()
    registry._links[link.endpoint.place_of_link] = link, 1  # noqa: SLF001 - a port that no machine has
    registry.name("kitchen", link, 1)
    return registry


def _record(source: str, text: str) -> Record:
    return CaptionRecord(
        node="n",
        source=source,
        seq=0,
        caption=text,
        score=Score(hybrid=0.5),
        candidates=1,
        rms_dbfs=-20.0,
        dropped_ms=0,
        model=MODEL,
        latency_ms=LatencyMs(total=1.0, encode=1.0, decode=0.0, rerank=0.0),
    )


def _sent(links: Registry, link: _Link, settings: BridgeSettings, *records: Any) -> list[tuple[int, str]]:
    sink = BridgeSink(settings, links)
    # What goes first is chosen among all of them.
    link.goes_on.clear()
    for record in records:
        sink.publish(record)
    link.goes_on.set()
    until(lambda: not sink.status.queued)
    sink.close()
    return [
        (f.device, f.text if isinstance(f, Caption) else f.pattern.name) for f in link.sent if hasattr(f, "priority")
    ]  # type: ignore[union-attr]


def test_a_device_shows_what_its_own_microphone_hears(links: Registry, link: _Link) -> None:
    records = _record("kitchen", "a dog barks"), _record("mic0", "rain")
    assert _sent(links, link, BridgeSettings(), *records) == [(1, "a dog barks")]


def test_routes_and_patterns(links: Registry, link: _Link) -> None:
    settings = BridgeSettings(
        show={"000000000002": ("*",), "hall": ("kitchen",)}, alerts={"Smoke alarm": "three-short"}, min_interval_s=0
    )
    sent = _sent(links, link, settings, _record("kitchen", "a smoke alarm beeps"), _record("mic0", "rain"))
    assert sorted(sent) == [
        (1, "THREE_SHORT"),
        (1, "a smoke alarm beeps"),
        (2, "THREE_SHORT"),
        (3, "a smoke alarm beeps"),
    ]
    assert sent[0][1] == "THREE_SHORT", "alerts first"


def test_alert_records_start_and_stop(links: Registry, link: _Link) -> None:
    start = AlertRecord(
        node="home", source="kitchen", number=0, lasted_s=3.0, event=1, state="start", alert="fire", caption="a siren"
    )
    end = start.model_copy(update={"state": "end", "reason": "quiet"})
    assert _sent(links, link, BridgeSettings(), start, end) == [(1, "IN_TURNS"), (1, "STOP"), (1, "fire: a siren")]


def test_a_sink_never_waits_for_a_device_that_is_away(links: Registry, link: _Link) -> None:
    link.send = link.sent.append  # type: ignore[method-assign,assignment]
    sink = BridgeSink(BridgeSettings(), links)
    for number in range(100):
        sink.publish(_record("kitchen", f"caption {number}"))
    status = sink.status
    assert status.queued <= 2 and status.dropped >= 98
    sink.close()


@pytest.mark.parametrize(
    "keys",
    [
        {"alerts": {"fire": "loud"}},
        {"alerts": {" ": "long"}},
        {"alert_pattern": "x"},
        {"links": ["mic0"]},
        {"links": ["udp:5"]},
        {"show_s": -1},
        {"records": ["nonsense"]},
    ],
)
def test_settings_that_are_unusable(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        BridgeSettings(**keys)


def test_what_follows_the_kind_is_a_link() -> None:
    assert BridgeSettings.parse("udp://0.0.0.0:5005").links == ("udp://0.0.0.0:5005",)
    assert BridgeSettings.parse("").links == ()


def test_a_sink_that_follows_another_one_repeats_no_id(links: Registry, link: _Link) -> None:
    """A device takes an id that it has answered for a repetition, and shows nothing."""
    for text in ("a dog barks", "a siren"):
        _sent(links, link, BridgeSettings(), _record("kitchen", text))
    ids = [frame.id for frame in link.sent if isinstance(frame, Caption)]
    assert len(ids) == len(set(ids)) == 2


def test_a_device_on_two_links_is_sent_it_once_where_it_is_heard(links: Registry, link: _Link) -> None:
    other = _Link({1: ("kitchen", ALL), 2: ("wrist", ALL)}, "other")
    try:
        links._links[other.endpoint.place_of_link] = other, 1  # noqa: SLF001 - as above
        settings = BridgeSettings(show={"wrist": ("*",)}, alerts={"fire": "long"})
        for link_of_wrist in (link, other, link):
            wrist = link_of_wrist.device(2)
            assert wrist is not None
            wrist.heard()
            before = len(link_of_wrist.sent)
            _sent(links, link, settings, _record("kitchen", "fire"))
            assert Alert in {type(frame) for frame in link_of_wrist.sent[before:] if frame.device == 2}
        assert {frame.device for frame in other.sent} == {2}, "the kitchen's own is that of the source"
    finally:
        other.close()
