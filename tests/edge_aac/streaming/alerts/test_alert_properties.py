"""Whatever is heard: an alert always ends, and no two of a rule are open at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge_aac.streaming.alerts.rules import AlertRule
from edge_aac.streaming.alerts.watch import AlertChange
from edge_aac.streaming.event_settings import EventRules
from tests.edge_aac.streaming.alerts.alert_cases import HOP, WINDOW, Stream

_TEXTS = ("", "?", "a baby cries", "an infant wails", "rain falls", "a dog barks", "a baby cries while a dog barks")
_SOUNDS = {"a baby cries": "baby", "an infant wails": "infant", "rain falls": "rain", "a dog barks": "dog"}
_LENGTHS = st.sampled_from([0, 1, 2, 5, 9, 10, 13, 30, 61])
_RULES = st.builds(
    AlertRule,
    st.sampled_from(["one", "two"]),
    st.sets(st.sampled_from([*_SOUNDS.values()]), min_size=1).map(lambda words: tuple(sorted(words))),
    _LENGTHS,
    _LENGTHS,
    _LENGTHS,
    _LENGTHS,
    st.sampled_from([None, 0.4]),
)
_EVENTS = st.builds(EventRules, st.integers(1, 3), _LENGTHS, _LENGTHS)
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("hear"), st.sampled_from(_TEXTS), st.integers(1, 12), st.sampled_from([0.3, 0.5])),
        st.tuples(st.just("time"), st.integers(0, 120)),
        st.tuples(st.just("finish")),
        st.tuples(st.just("rules"), st.lists(_RULES, max_size=2, unique_by=lambda rule: rule.name)),
    ),
    max_size=30,
)


def _play(stream: Stream, steps: list[Any]) -> None:
    for step in steps:
        if step[0] == "hear":
            stream.hear(step[1], step[2], step[3])
        elif step[0] == "time":
            # Nothing was heard meanwhile: the next window comes after that.
            stream.next_start += step[1]
            stream.expire(stream.next_start)
        elif step[0] == "finish":
            stream.finish()
        else:
            stream.changes += stream.watch.change_rules(step[1])


def _alerts(changes: list[AlertChange]) -> dict[int, list[AlertChange]]:
    found: dict[int, list[AlertChange]] = {}
    for change in changes:
        found.setdefault(change.number, []).append(change)
    return found


_ONE, _WIDER = (AlertRule("one", words) for words in (("baby",), ("baby", "infant")))
_CRY = ("hear", "a baby cries", 1, 0.3)


@settings(deadline=None, max_examples=150)
@example([_ONE], EventRules(1, 0, 0), [_CRY, ("rules", [_WIDER]), _CRY])
@example([_ONE], EventRules(1, 0, 0), [_CRY, ("rules", []), ("rules", [_ONE]), _CRY])
@given(st.lists(_RULES, max_size=2, unique_by=lambda rule: rule.name), _EVENTS, _STEPS)
def test_each_alert_ends_once_and_none_overlaps_another_of_its_rule(
    rules: list[AlertRule],
    events: EventRules,
    steps: list[Any],
) -> None:
    stream = Stream(*rules, events=events)
    _play(stream, steps)
    told_open = {change.rule.name for change in stream.watch.open.values()}
    stream.finish()
    by_number = _alerts(stream.changes)
    assert list(by_number) == list(range(len(by_number)))
    for one in by_number.values():
        start, end = one
        assert (start.state, end.state) == ("start", "end")
        assert (start.reason, end.reason is not None) == (None, True)
        assert (start.start, start.rule.name, start.caption) == (end.start, end.rule.name, end.caption)
        assert 0 <= start.start <= end.end <= max(start.end, stream.next_start - HOP + WINDOW)
        assert any(word in start.caption for word in start.rule.sounds)
    open_now: dict[str, int] = {}
    over: dict[str, int] = {}
    for change in stream.changes:
        name = change.rule.name
        if change.state == "start":
            assert name not in open_now
            assert change.start >= over.get(name, 0)
            open_now[name] = change.number
        else:
            assert open_now.pop(name) == change.number
            over[name] = change.end
    assert not open_now and not stream.watch.open
    assert told_open <= {"one", "two"}


@settings(deadline=None, max_examples=60)
@given(_RULES, _EVENTS, _STEPS)
def test_an_alert_ends_with_time_alone(rule: AlertRule, events: EventRules, steps: list[Any]) -> None:
    stream = Stream(rule, events=events)
    _play(stream, steps)
    stream.expire(stream.next_start + WINDOW + 1000)
    assert not stream.watch.open


@settings(deadline=None, max_examples=60)
@given(_RULES, st.lists(st.tuples(st.sampled_from(_TEXTS), st.integers(1, 12)), max_size=20))
def test_none_begins_before_the_sound_has_gone_on_for_long_enough(
    rule: AlertRule, script: list[tuple[str, int]]
) -> None:
    """By what the windows themselves say: from the end of the first to the start of the newest that names it."""
    rule = replace(rule, min_score=None, sounds=("baby", "infant"), gap_samples=0)
    stream = Stream(rule, events=EventRules())
    first_end: int | None = None
    for text, windows in script:
        for _ in range(windows):
            start, before = stream.next_start, len(stream.changes)
            stream.hear(text)
            if any(word in text for word in rule.sounds):
                first_end = start + WINDOW if first_end is None else first_end
                begun = [change for change in stream.changes[before:] if change.state == "start"]
                assert not begun or start - first_end >= rule.for_samples or rule.for_samples == 0
            elif not stream.watch.open and text != "?":
                first_end = None
