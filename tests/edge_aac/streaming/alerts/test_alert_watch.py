"""When an alert begins, and when it ends: over pauses of the sound, of what is told, and of the day."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_aac.streaming.alerts.rules import Hours
from edge_aac.streaming.event_settings import EventRules
from tests.edge_aac.streaming.alerts.alert_cases import BABY, Stream

CRIES, WAILS, RAIN = "a baby cries", "an infant wails", "rain falls"
MINUTE = replace(BABY, for_samples=60)


def test_it_begins_with_its_event_and_ends_when_the_sound_was_not_heard_for_long_enough() -> None:
    stream = Stream(BABY)
    stream.hear("", 3)  # from 0, 2 and 4; the next window is from 6 to 16
    stream.hear(CRIES)
    assert stream.told == [], "one window is no event"
    stream.hear(CRIES, 9)
    assert stream.told == [("baby", "start", 14, 18)], "no window had it that ended at 14"
    stream.hear(RAIN, 16)  # from 26 on it is absent: 30 s later a window begins at 56
    assert stream.told[1:] == [("baby", "end", 14, 26)] and stream.next_start == 58
    assert stream.changes[1].reason == "quiet"
    assert (stream.changes[0].caption, stream.changes[1].caption, stream.changes[1].number) == (CRIES, CRIES, 0)


def test_a_sound_of_another_name_is_none() -> None:
    stream = Stream(BABY, replace(BABY, name="dog", sounds=("dog*",)))
    stream.hear(RAIN, 20)
    stream.finish()
    assert stream.told == []


def test_a_minute_has_gone_by_for_certain() -> None:
    stream = Stream(MINUTE)
    stream.hear(RAIN, 5)
    stream.hear(CRIES, 31)  # the first ends at 20, the last begins at 70
    assert stream.told == []
    stream.hear(CRIES, 4)
    assert stream.told == []
    stream.hear(CRIES)  # from 80
    assert stream.told == [("baby", "start", 18, 90)]


@pytest.mark.parametrize("for_s", [1, 5, 10])
def test_a_sound_of_a_moment_is_in_all_windows_that_hold_it_and_has_not_gone_on(for_s: int) -> None:
    for before in (0, 7):
        stream = Stream(replace(BABY, for_samples=for_s))
        stream.hear("", before)
        stream.hear(CRIES, 5)
        stream.hear("", 40)
        stream.finish()
        assert stream.told == []


def test_a_pause_that_the_rule_bridges_counts_and_a_longer_one_does_not() -> None:
    stream = Stream(replace(MINUTE, gap_samples=20), replace(MINUTE, name="strict", gap_samples=19))
    for _ in range(8):
        stream.hear(CRIES, 6)
        stream.hear("", 6)  # as many windows, of which the last ends 20 s after the first begins
    assert {name for name, *_ in stream.told} == {"baby"}
    assert stream.told[0][:3] == ("baby", "start", 0)


def test_what_tells_nothing_neither_counts_nor_ends_before_its_time() -> None:
    stream = Stream(BABY)
    stream.hear(CRIES, 3)  # the last ends at 14
    stream.hear("?", 19)  # up to the window from 42
    assert len(stream.told) == 1
    stream.hear("?", 1)
    assert stream.told[1:] == [("baby", "end", 0, 14)]
    assert stream.changes[1].reason == "stopped", "nobody knows that it is quiet"


def test_it_goes_on_under_other_words_and_with_another_event() -> None:
    stream = Stream(replace(BABY, sounds=("infant*",)), events=EventRules(min_windows=2))
    stream.hear(CRIES, 8)
    assert stream.told == []
    stream.hear(WAILS, 2)
    assert stream.told == [("baby", "start", 0, 26)], "it is the same sound from its first window on"
    assert stream.changes[0].caption == WAILS, "the words that the rule is for"
    stream.hear(CRIES, 8)
    stream.hear("", 8)
    stream.hear(WAILS, 3)
    assert len(stream.told) == 1, "held over the pause between two events"
    stream.hear("", 25)
    assert [state for _, state, *_ in stream.told] == ["start", "end"]


def test_two_sounds_that_the_rule_is_for_are_one_alert() -> None:
    stream = Stream(replace(BABY, sounds=("baby", "dog")))
    stream.hear(CRIES, 5)
    stream.hear(f"{CRIES} while a dog barks", 5)
    stream.hear("a dog barks", 20)
    stream.hear("", 30)
    assert stream.told == [("baby", "start", 0, 12), ("baby", "end", 0, 60)]


def test_a_sound_that_is_named_when_an_alert_is_over_was_no_part_of_it() -> None:
    stream = Stream(replace(BABY, sounds=("infant*", "dog*"), hold_samples=4))
    stream.hear(f"{CRIES} while a dog barks", 3)
    stream.hear(CRIES, 10)
    assert stream.told == [("baby", "start", 0, 12), ("baby", "end", 0, 6)]
    stream.hear(WAILS)
    assert stream.told[2:] == [("baby", "start", 6, 36)], "the event began at 0"


def test_one_that_joins_an_open_alert_changes_nothing_of_what_was_told() -> None:
    stream = Stream(replace(BABY, sounds=("infant*", "dog*")), events=EventRules(min_windows=1))
    stream.hear(CRIES, 10)
    stream.hear(f"{CRIES} while a dog barks")
    stream.hear(WAILS)  # from 22 to 32; its event began at 0
    stream.hear("", 30)
    assert stream.told == [("baby", "start", 28, 30), ("baby", "end", 28, 32)]


def test_events_that_are_over_are_forgotten() -> None:
    stream = Stream(BABY, events=EventRules())
    for _ in range(20):
        stream.hear(CRIES, 2)
        stream.hear("", 8)
    assert len(stream.told) == 2 * 1 - 1 and len(stream.watch._followed[0].named) <= 1


def test_a_cool_down_keeps_the_next_alert_back_but_not_for_ever() -> None:
    cooled = replace(BABY, hold_samples=4, cooldown_samples=60)
    stream = Stream(cooled, events=EventRules(min_windows=1))
    stream.hear(CRIES, 3)
    stream.hear("", 10)
    assert stream.told == [("baby", "start", 0, 10), ("baby", "end", 0, 6)]
    stream.hear(CRIES, 15)  # the last ends at 64
    assert len(stream.told) == 2
    stream.hear(CRIES, 3)
    # The sound of the second one began at 34, where the last window without it ended.
    assert stream.told[2:] == [("baby", "start", 34, 68)]


def test_hours_of_the_day_say_when_one_may_begin() -> None:
    night = replace(BABY, hours=(Hours.parse("22:00-06:00"),))
    early = Stream(night, minute=21 * 60 + 59)
    early.hear(CRIES, 20)  # the last window ends at 48 s
    assert early.told == []
    early.hear(CRIES, 10)
    assert [told[:3] for told in early.told] == [("baby", "start", 0)], "it is still heard at ten"
    late = Stream(night, minute=5 * 60 + 59)
    late.hear(CRIES, 60)
    assert [told[1] for told in late.told] == ["start"], "it goes on after six"
    late.hear("", 30)
    late.hear(CRIES, 10)
    assert [told[1] for told in late.told] == ["start", "end"]
    file = Stream(night)
    file.hear(CRIES, 3)
    assert [told[1] for told in file.told] == ["start"], "a file has no time of the day"


@pytest.mark.parametrize(
    ("hours", "within", "without"),
    [("08:00-17:30", (480, 1049), (479, 1050, 0)), ("22:00-06:30", (1320, 1439, 0, 389), (390, 1319)),
     ("00:00-24:00", (0, 1439), ())],
)  # fmt: skip
def test_a_stretch_of_the_day(hours: str, within: tuple[int, ...], without: tuple[int, ...]) -> None:
    stretch = Hours.parse(hours)
    assert all(stretch.hold(minute) for minute in within) and not any(stretch.hold(minute) for minute in without)


def test_a_score_that_is_too_low_does_not_count() -> None:
    stream = Stream(replace(BABY, min_score=0.4))
    stream.hear(CRIES, 5, hybrid=0.3)
    assert stream.told == []
    stream.hear(CRIES, hybrid=0.45)
    stream.hear(CRIES, hybrid=0.1)
    assert stream.told == [("baby", "start", 0, 20)], "the best naming of the sound counts"


def test_what_only_the_last_window_has_begins_and_ends_with_the_stream() -> None:
    stream = Stream(BABY, MINUTE.__class__("long", ("baby",), for_samples=5))
    stream.hear("", 5)
    stream.hear(CRIES)
    stream.finish()
    assert stream.told == [("baby", "start", 18, 20), ("baby", "end", 18, 20)]
    assert stream.changes[1].reason == "stopped"


def test_rules_that_stay_keep_their_alert_and_others_end_it() -> None:
    dog = replace(BABY, name="dog", sounds=("dog*",))
    stream = Stream(BABY, dog)
    stream.hear(f"{CRIES} while a dog barks", 4)
    assert sorted(stream.watch.open) == ["baby", "dog"]
    shown = replace(BABY, title="Das Baby schreit", device_class="problem")
    assert stream.watch.change_rules([replace(dog, for_samples=2), shown]) == [
        replace(stream.changes[1], state="end", end=16, reason="rule")
    ]
    assert [rule.title for rule in stream.watch.rules] == ["", "Das Baby schreit"]
    assert list(stream.watch.open) == ["baby"]
    stream.hear(f"{CRIES} while a dog barks", 3)
    assert sorted(stream.watch.open) == ["baby", "dog"], "of what goes on the new rule begins its own"
    ends = stream.watch.change_rules([])
    assert sorted((end.rule.name, end.reason) for end in ends) == [("baby", "rule"), ("dog", "rule")]
    assert next(end.rule.title for end in ends if end.rule.name == "baby") == "Das Baby schreit"
