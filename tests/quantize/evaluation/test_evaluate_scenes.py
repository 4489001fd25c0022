"""The event tables, the report and what goes into a manifest, from captions written by hand."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from quantize.evaluation.scenes import event_tables, manifest_quality, outcome_groups
from quantize.evaluation.windows import CaptionedWindow, Kind

DOG, RAIN, CLOCK = "a dog barks twice", "rain falls", "a clock ticks"
HEAD = {
    "schema": "edge-aac/scores/1",
    "measured_by": "edge-aac evaluate --fold 4",
    "bundle": {"name": "<b>tiny</b>", "version": "1"},
    "precision": "fp32",
    "candidates": 6,
    "held_out_fold": 4,
}


def window(kind: Kind, truth: str, caption: str, hybrid: float = 0.5, relation: str = "") -> CaptionedWindow:
    labels = tuple(truth.split())
    relation = relation or {0: "none", 1: "single", 2: "overlap"}[len(labels)]
    return CaptionedWindow(kind, f"{kind}.wav", labels, relation, (), True, caption, hybrid, hybrid - 1.0, hybrid)  # type: ignore[arg-type]


def some_windows() -> list[CaptionedWindow]:
    return [
        window("single", "dog_bark", DOG, 0.9),
        window("single", "dog_bark", f"{DOG} while {RAIN}", 0.4),
        window("single", "rain", "an almost silent room", 0.3),
        window("single", "rain", RAIN, 0.8),
        window("scene", "dog_bark rain", f"{DOG} and {RAIN}", 0.7),
        window("scene", "dog_bark rain", f"{DOG} then {RAIN}", 0.7, "sequence"),
        window("scene", "rain dog_bark", f"{DOG} then {RAIN}", 0.7, "sequence"),
        window("scene", "rain clock_tick", CLOCK, 0.2),
        window("noise", "", "a faint hiss and nothing else", 0.95),
        window("noise", "", RAIN, 0.1),
        window("silence", "", "an almost silent room", 0.95),
    ]


@pytest.fixture
def tables() -> dict[str, Any]:
    return event_tables(
        [*some_windows(), window("absent", "rooster", DOG, 0.65), window("absent", "rooster", "a faint hiss")]
    )


def test_single_clips(tables: dict[str, Any]) -> None:
    table = tables["single_clips"]
    assert (table["count"], table["right_sound_named"], table["right_and_no_other"]) == (4, 0.75, 0.5)
    assert table["by_class"] == {"dog_bark": 1.0, "rain": 0.5}
    low, high = table["intervals"]["right_sound_named"]
    assert low < 0.75 < high


def test_scenes_by_relation_and_order(tables: dict[str, Any]) -> None:
    table = tables["two_sound_scenes"]
    assert (table["count"], table["precision"], table["recall"], table["exact"]) == (4, 1.0, 0.875, 0.75)
    assert table["order_of_sequences_right"] == 0.5
    assert table["by_relation"]["sequence"]["exact"] == 1.0
    assert table["by_relation"]["overlap"]["exact"] == 0.5


def test_windows_with_nothing_to_say(tables: dict[str, Any]) -> None:
    assert tables["noise_windows"]["no_class_named"] == 0.5
    assert tables["silent_windows"] == {
        "count": 1,
        "no_class_named": 1.0,
        "intervals": {"no_class_named": [pytest.approx(0.2065, abs=1e-3), 1.0]},
    }
    absent = tables["absent_windows"]
    assert (absent["no_known_class_named"], absent["classes"]) == (0.5, ["rooster"])
    assert absent["falsely_named"] == {"dog_bark": 1}


def test_an_absent_class_that_is_named_is_not_false() -> None:
    assert window("absent", "rooster", "a rooster crows").right
    assert not window("absent", "rooster", f"a rooster crows and {RAIN}").right


def test_without_absent_classes_there_is_no_table_of_them() -> None:
    assert "absent_windows" not in event_tables(some_windows())


def test_confusion_columns_are_what_was_heard(tables: dict[str, Any]) -> None:
    assert tables["confusion_of_single_clips"] == {
        "captioned": ["dog_bark", "rain", "nothing"],
        "heard": ["dog_bark", "rain"],
        "counts": [[2, 0], [1, 1], [0, 1]],
    }


def test_classes_hold_those_of_clips_and_scenes(tables: dict[str, Any]) -> None:
    assert tables["classes"]["clock_tick"]["single_clips"]["support"] == 0
    assert tables["classes"]["clock_tick"]["two_sound_scenes"]["recall"] == 1.0
    assert tables["classes"]["rain"]["single_clips"] == {
        "precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2, "named": 2,
    }  # fmt: skip


def test_gate_keeps_the_right_and_counts_what_else_passes(tables: dict[str, Any]) -> None:
    """Right are 0.9, 0.8 and three of 0.7; wrong 0.4, 0.3, 0.2; absent 0.65 (false) and 0.5; noise 0.95 and 0.1."""
    gate = tables["gates"]["hybrid"]
    assert gate["threshold"] == 0.7
    assert gate["kept"] == {"right": 1.0, "wrong": 0.0, "noise": 0.5, "silence": 1.0, "absent": 0.0}
    assert gate["auroc_of_right_against"] == {"wrong": 1.0, "noise": 0.5, "silence": 0.0, "absent": 1.0}
    assert gate["absent_kept_and_falsely_named"] == 0.0


def test_no_gate_where_nothing_is_right_and_none_on_a_score_that_is_not_computed() -> None:
    assert "gates" not in event_tables([window("single", "rain", DOG)])
    unranked = [replace(w, similarity=None) for w in some_windows()]
    table = event_tables(unranked)
    assert table["gates"].keys() == {"hybrid", "log_likelihood"}
    assert "similarity" not in table["scores_by_outcome"]["right"]


def test_every_window_has_one_outcome() -> None:
    groups = outcome_groups(some_windows())
    assert {name: len(group) for name, group in groups.items()} == {"right": 5, "wrong": 3, "noise": 2, "silence": 1}


def test_manifest_gets_the_small_part_and_other_tables_pass(tables: dict[str, Any]) -> None:
    small = manifest_quality({**HEAD, **tables, "caption_metrics": {"scores": {"bleu_1": 0.5}}})
    assert small["held_out_fold"] == 4
    assert small["single_clips"].keys() == {"count", "right_sound_named", "right_and_no_other", "by_class"}
    assert small["two_sound_scenes"]["f1"] == tables["two_sound_scenes"]["f1"]
    assert small.keys().isdisjoint({"gates", "classes", "bundle", "confusion_of_single_clips", "caption_metrics"})
    assert len(json.dumps(small)) < 1500
    assert manifest_quality({"right": 0.5}) == {"right": 0.5}


def test_manifest_of_a_corpus_holds_its_metrics() -> None:
    scores = {**HEAD, "corpus": {}, "caption_metrics": {"scores": {"cider_d": 0.4}}}
    assert manifest_quality(scores)["caption_metrics"] == {"cider_d": 0.4}


class Page(HTMLParser):
    """Collects what a browser would load, all ids, and whether every element is closed."""

    VOID = frozenset({"meta", "br", "path", "use", "rect"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open += [tag] if tag not in self.VOID else []
        for name, value in attrs:
            self.loads += (
                [str(value)] if name in {"src", "href", "xlink:href"} and not str(value).startswith("#") else []
            )
            self.ids += [str(value)] if name == "id" else []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open = self.open[:-1] if tag not in self.VOID else self.open

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page() -> str:
    pytest.importorskip("matplotlib", reason="plots need pip install 'edge-aac[evaluate]'")
    from quantize.evaluation.report import events_report

    hostile = window("scene", "dog_bark rain", "<script>alert(1)</script> & a dog", 0.6)
    captioned = [*some_windows(), hostile]
    left_out = {"caption_metrics": {"left_out": {"meteor": "java is <not> installed"}}}
    return events_report({**HEAD, **event_tables(captioned), **left_out}, captioned)


def test_report_loads_nothing_and_is_whole(page: str) -> None:
    parsed = Page(page)
    assert parsed.open == []
    assert parsed.loads == []
    assert len(parsed.ids) == len(set(parsed.ids)) > 0
    assert not re.search(r"@import|url\((?!#)", page)
    assert page.count("<svg") == 4  # confusion and three scores


def test_references_within_the_pictures_lead_somewhere(page: str) -> None:
    ids = set(Page(page).ids)
    wanted = {*re.findall(r'href="#([^"]+)"', page), *re.findall(r"url\(#([^)]+)\)", page)}
    assert wanted and wanted <= ids


def test_report_escapes_what_models_and_users_wrote(page: str) -> None:
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; a dog" in page
    assert "&lt;b&gt;tiny&lt;/b&gt;" in page
    assert "java is &lt;not&gt; installed" in page


def test_report_reads_on_light_and_dark(page: str) -> None:
    assert "prefers-color-scheme: dark" in page
    assert "currentColor" in page
    assert "#010203" not in page
    assert "fill: #000000" not in page and "fill: #ffffff" not in page


def test_report_shows_wrong_captions_beside_their_truth(page: str) -> None:
    wrong = page[page.index("Wrong captions") :]
    assert "an almost silent room" in wrong
    assert "rain + clock_tick" in wrong
    assert f"{DOG} then {RAIN}" not in wrong
