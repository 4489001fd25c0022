"""``[[alerts]]``: what a table becomes, which faults are named, and for which sources a rule is."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_aac.settings.example import example
from edge_aac.settings.layers import Layer
from edge_aac.settings.leaving import leaving
from edge_aac.settings.sections import registered_sections
from edge_aac.settings.show import show
from edge_aac.settings.tree import faults_of, load_settings
from edge_aac.streaming.alerts.rules import AlertRule, Hours, local_minute
from edge_aac.streaming.alerts.settings import AlertSettings, rules_for, unknown_sources

pytestmark = pytest.mark.one_python


def test_a_table_is_a_rule_in_samples() -> None:
    settings = AlertSettings(
        name="baby",
        sounds=("baby", "infant*"),
        for_s=60,
        hold_s=0.5,
        cooldown_s=300,
        min_score=0.2,
        hours=("22:00-06:30", "12:00-13:00"),
    )
    assert settings.rule() == AlertRule(
        "baby",
        ("baby", "infant*"),
        960_000,
        480_000,
        8_000,
        4_800_000,
        0.2,
        (Hours(1320, 390), Hours(720, 780)),
        "baby",
        "sound",
    )
    assert AlertSettings(name="a", sounds=("b",), title="Ä").rule().title == "Ä"


def test_a_rule_is_for_the_sources_that_it_names() -> None:
    tables = [
        AlertSettings(name="all", sounds=("a",)),
        AlertSettings(name="hall", sounds=("a",), sources=("hall", "attic")),
        AlertSettings(name="off", sounds=("a",), enabled=False),
    ]
    assert [rule.name for rule in rules_for(("hall",), tables)] == ["all", "hall"]
    assert [rule.name for rule in rules_for(("garden",), tables)] == ["all"]
    assert len(rules_for(("kitchen", "attic"), tables)) == 2, "by what has found it too"
    assert unknown_sources(tables, ["hall", "garden"]) == [
        "the alert 'hall' is for the source 'attic', which is not configured: there are hall, garden"
    ]
    assert unknown_sources(tables, ["hall", "attic"]) == []


@pytest.mark.parametrize(
    ("line", "key", "problem"),
    [
        ("sounds = []", "sounds", "a rule needs the words of one sound at least"),
        ('sounds = ["*"]', "sounds", "the pattern '*' holds no word"),
        ('sounds = "baby"', "sounds", "expected a list of text"),
        ("for_s = -1", "for_s", "expected a number from 0 to 86400 (s)"),
        ("min_score = nan", "min_score", "expected a number"),
        ('hours = ["22-6"]', "hours", "write HH:MM-HH:MM, such as 22:00-06:30"),
        ('hours = ["22:00-22:00"]', "hours", "leave the hours out for the whole day"),
        ('hours = ["24:00-25:00"]', "hours", "hours are 00:00 to 24:00"),
        ('name = " "', "name", "a name holds a letter or sign"),
        ('name = "a\\u0007"', "name", "no control characters"),
        (f'name = "{"x" * 101}"', "name", "a name has at most 100 characters"),
        ('device_class = "baby"', "device_class", "expected one of sound, smoke"),
        ("within_s = 5", "within_s", "there is no such setting"),
    ],
)
def test_each_fault_is_named_with_its_place_and_mend(line: str, key: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    name = "" if line.startswith("name") else 'name = "a"\n'
    sounds = "" if line.startswith("sounds") else 'sounds = ["a"]\n'
    path.write_text(f"[[alerts]]\n{name}{sounds}{line}\n")
    (fault,) = faults_of(path)
    assert fault.key == f"alerts[0].{key}" and problem in fault.problem and fault.origin is not None


def test_no_two_rules_have_one_name(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[[alerts]]\nname = "a"\nsounds = ["a"]\n' * 2)
    (fault,) = faults_of(path)
    assert (fault.key, fault.problem) == ("alerts[1].name", 'expected one that no other table has, but it is "a"')


def test_the_example_and_what_is_shown_have_the_rules() -> None:
    text = example(registered_sections())
    assert '#sounds = ["doorbell", "door chime*"]' in text
    shown = show(load_settings(given=Layer({"alerts": [{"name": "baby", "sounds": ["baby"], "for_s": 60.0}]})))
    assert '[[alerts]]\nname = "baby"' in shown and "for_s = 60.0" in shown and "alert records" in shown


def test_what_is_written_because_of_a_rule_is_told() -> None:
    table = {"name": "baby", "sounds": ["baby"]}
    told = " ".join(leaving(load_settings(given=Layer({"alerts": [table, {**table, "name": "b", "enabled": False}]}))))
    assert told.count("alerts.json") == 1 and 'Alerts of the rule "baby"' in told


def test_minutes_of_the_day_are_those_of_the_machines_time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        assert local_minute("2026-05-01T22:30:00.000Z") == 30
        assert local_minute("2026-01-01T22:30:00.000Z") == 23 * 60 + 30
        assert local_minute(None) is None
    finally:
        monkeypatch.undo()
        time.tzset()
