"""Measures of everyday sounds, from captions written by hand and counted by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from quantize.evaluation.everyday.judging import branch, by_branch, right, right_names
from quantize.evaluation.everyday.reliability import reliability
from quantize.evaluation.everyday.tables import sound_tables
from quantize.evaluation.scenes import compared_rows, manifest_quality
from tests.quantize.evaluation.everyday.judged_cases import (
    ANIMAL,
    CAT,
    DOG,
    LEXICON,
    NOISE,
    RAIN,
    UNKNOWN,
    judged,
    some_judged,
)


@pytest.fixture(scope="module")
def tables() -> dict[str, Any]:
    return sound_tables(LEXICON, some_judged())


def test_single_clips_of_esc10(tables: dict[str, Any]) -> None:
    table = tables["single_clips"]
    assert (table["count"], table["right_sound_named"]) == (3, 0.6667)
    assert table["right_and_no_other"] == 0.3333
    assert table["right_or_coarser_named"] == 1.0
    assert table["by_class"] == {"dog_bark": 0.5, "rain": 1.0}
    assert table["intervals"].keys() == {
        "right_sound_named", "right_and_no_other", "right_or_coarser_named", "right_or_coarser_and_no_other",
        "nothing_named",
    }  # fmt: skip
    assert table["teacher"]["right_sound_named"] == 0.3333
    assert table["teacher"]["right_or_coarser_named"] == 0.6667


def test_a_coarser_name_beside_the_right_one_is_not_wrong() -> None:
    caption = f"{DOG} and {ANIMAL}"
    (table,) = [sound_tables(LEXICON, [judged("single", "dog_bark", caption, "ten")])["single_clips"]]
    assert table["right_and_no_other"] == 1.0
    scene = judged("scene", "dog_bark rain", f"{DOG} and {RAIN} and {ANIMAL}", "ten")
    assert sound_tables(LEXICON, [scene])["two_sound_scenes"]["f1"] == 1.0
    assert right(LEXICON, scene)


def test_the_top_of_the_tree_names_nothing_of_a_recording(tables: dict[str, Any]) -> None:
    """ "An animal" for a cat earns nothing there; that nothing was named at all is told."""
    table = tables["everyday_clips"]
    assert (table["count"], table["right_or_coarser_named"], table["sounds"]) == (3, 0.0, 1)
    assert table["nothing_named"] == 0.6667
    assert table["teacher"]["right_or_coarser_named"] == 0.3333


def test_scenes_of_esc10_by_exact_names(tables: dict[str, Any]) -> None:
    table = tables["two_sound_scenes"]
    assert (table["count"], table["f1"], table["exact"]) == (3, 1.0, 1.0)
    assert (table["sequences"], table["order_of_sequences_right"]) == (2, 0.5)
    coarse = sound_tables(LEXICON, [judged("scene", "dog_bark rain", f"{ANIMAL} and {RAIN}", "ten")])[
        "two_sound_scenes"
    ]
    assert (coarse["f1"], coarse["f1_coarser_half"]) == (0.5, 0.75)


def test_scenes_of_all_labels_with_a_coarser_name_counting_half(tables: dict[str, Any]) -> None:
    table = tables["everyday_scenes"]
    assert (table["f1"], table["exact"], table["exact_or_coarser"]) == (0.75, 0.0, 1.0)
    assert table["intervals"]["f1"] == [0.75, 0.75]
    assert table["by_relation"].keys() == {"2 in overlap"}


def test_windows_in_which_nothing_is_to_be_named(tables: dict[str, Any]) -> None:
    assert tables["noise_windows"]["no_class_named"] == 0.5
    assert tables["noise_windows"]["falsely_named"] == {"rain": 1}
    assert tables["hum_windows"]["told_as_unknown"] == 1.0
    assert (tables["quiet_windows"]["count"], tables["quiet_windows"]["no_class_named"]) == (5, 0.8)


@pytest.mark.parametrize(
    ("caption", "is_right"),
    [
        ("somebody speaks", True),
        ("a man speaks", True),
        ("a human voice is heard", True),
        ("people talk and somebody laughs", True),
        ("somebody speaks while people chatter", True),
        ("somebody laughs", False),
        (f"somebody speaks while {RAIN}", False),
        (NOISE, False),
    ],
)
def test_speech(caption: str, is_right: bool) -> None:
    assert right(LEXICON, judged("speech", "speech", caption)) is is_right


def test_speech_by_voice(tables: dict[str, Any]) -> None:
    table = tables["speech_windows"]
    assert (table["somebody_speaks_and_no_thing"], table["somebody_speaks"], table["no_thing_named"]) == (0.5, 1.0, 0.5)
    assert table["by_voice"] == {"a.wav": 0.0, "sk+adam": 1.0}


@pytest.mark.parametrize(
    ("caption", "outcome"),
    [(CAT, "itself"), (ANIMAL, "parent"), (UNKNOWN, "unknown"), (NOISE, "nothing"), (DOG, "another")],
)
def test_absent_sounds(caption: str, outcome: str) -> None:
    window = judged("absent", "cat", caption)
    table = sound_tables(LEXICON, [window])["absent_windows"]
    assert {name for name, count in table["outcomes"].items() if count} == {outcome}
    assert table["parent_unknown_or_nothing"] == float(outcome != "another") == float(right(LEXICON, window))


def test_absent_sounds_of_the_held_out_fold(tables: dict[str, Any]) -> None:
    table = tables["absent_windows"]
    assert (table["count"], table["parent_unknown_or_nothing"]) == (2, 0.5)
    assert table["of_held_out_fold"] == {"count": 1, "parent_unknown_or_nothing": 1.0}
    assert table["falsely_named"] == {"dog_bark": 1}


def test_expected_calibration_error_by_hand() -> None:
    """Ten names said with 0.9 of which seven are right are 0.2 too sure; ten with 0.3 of which five are too little."""
    windows = [judged("single", "dog_bark" if i < 7 else "rain", DOG, "ten", {"dog_bark": 0.9}) for i in range(10)]
    windows += [judged("single", "rain" if i < 5 else "dog_bark", RAIN, "ten", {"rain": 0.3}) for i in range(10)]
    table = reliability(LEXICON, windows)
    assert (table["names"], table["expected_calibration_error"]) == (20, 0.2)
    assert [(one["names"], one["mean_confidence"], one["right"]) for one in table["bins"]] == [
        (10, 0.3, 0.5), (10, 0.9, 0.7),
    ]  # fmt: skip
    low, high = table["intervals"]["expected_calibration_error"]
    assert low < 0.2 < high


def test_an_example_of_speech_is_right_where_somebody_speaks() -> None:
    window = judged("speech", "speech", f"a woman speaks while {RAIN}")
    assert right_names(LEXICON, window) == {"woman_speech": True, "rain": False}


def test_a_coarser_name_is_right_and_a_certain_one_is_in_the_last_bin() -> None:
    table = reliability(LEXICON, [judged("single", "dog_bark", ANIMAL, "ten", {"animal": 1.0})])
    assert table["bins"][0]["from"] == 0.9 and table["bins"][0]["right"] == 1.0


def test_who_does_not_tell_how_sure_has_no_reliability() -> None:
    assert "left_out" in reliability(LEXICON, [judged("single", "dog_bark", DOG, "ten")])
    absent = judged("absent", "cat", DOG, "everyday", {"dog_bark": 0.9})
    assert "left_out" in reliability(LEXICON, [absent])


def test_sounds_in_the_order_of_the_tree_with_counts(tables: dict[str, Any]) -> None:
    classes = tables["classes"]
    assert list(classes) == by_branch(LEXICON, set(classes))
    branches = [branch(LEXICON, sound) for sound in by_branch(LEXICON, set(LEXICON.sounds))]
    assert branches == sorted(branches) and branch(LEXICON, "dog_bark") == classes["dog_bark"]["branch"] == "Animal"
    assert classes["dog_bark"]["single_clips"] == {
        "count": 2, "right_sound_named": 0.5, "right_or_coarser_named": 1.0, "no_wrong_name": 1.0,
    }  # fmt: skip
    assert classes["rain"]["scenes"] == {"count": 4, "mean_credit": 1.0}
    assert (classes["cat"]["falsely_named"], classes["rain"]["falsely_named"]) == (1, 0)
    # One right answer of three: the teacher cannot; of two nobody can say.
    assert classes["cat"]["teacher"] == {"count": 3, "right_or_coarser_named": 0.333, "can": False}
    assert classes["dog_bark"]["teacher"]["can"] is None


def test_confusion_over_the_tree(tables: dict[str, Any]) -> None:
    table = tables["confusion_of_single_clips"]
    assert table["captioned"][-2:] == ["unknown", "nothing"]
    assert set(table["heard"]) == {"dog_bark", "cat", "rain"}
    cell = {
        (row, column): table["counts"][i][j]
        for i, row in enumerate(table["captioned"])
        for j, column in enumerate(table["heard"])
    }
    assert cell["cat", "rain"] == cell["rain", "rain"] == cell["dog", "dog_bark"] == 1
    assert cell["nothing", "cat"] == cell["unknown", "cat"] == cell["animal", "cat"] == 1
    assert sum(cell.values()) == 7


def test_manifest_and_comparison_take_the_new_groups(tables: dict[str, Any]) -> None:
    facts = {"name": "a", "parameters": {"encoder": 1}, "graph_bytes": 2}
    scores = {"schema": "edge-aac/scores/1", "held_out_fold": 4, "bundle": facts, **tables}
    small = manifest_quality(scores)
    assert small["everyday_scenes"]["f1"] == 0.75
    assert small["everyday_clips"]["teacher"] == {
        "count": 3, "right_sound_named": 0.3333, "right_or_coarser_named": 0.3333,
        "most_probable_class_right_or_coarser": 0.3333,
    }  # fmt: skip
    assert small["speech_windows"]["somebody_speaks_and_no_thing"] == 0.5
    assert small["reliability"].keys() == {"names", "expected_calibration_error"}
    assert not {"classes", "confusion_of_single_clips", "bundle"} & small.keys()
    assert len(json.dumps(small)) < 3500
    left_out = {**scores, "speech_windows": {"left_out": "espeak-ng"}, "reliability": {"left_out": "why"}}
    assert not {"speech_windows", "reliability"} & manifest_quality(left_out).keys()
    assert compared_rows([("a", scores)])["a"]["two_sound_scenes_f1"] == 1.0
