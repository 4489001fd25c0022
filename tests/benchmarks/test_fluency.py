"""The scores of the fluency check, by hand on examples whose outcome is plain."""

from __future__ import annotations

from pathlib import Path

from benchmarks.fluency import load_examples, measure

EXAMPLES = """caption,error
a dog barks,
rain falls on a roof,
a bird chirps in the,dangling_function_word
a dog barks and a dog barks,repeated_event
a car passes by,repeated_event
"""


def test_scores_by_hand(tmp_path: Path) -> None:
    examples = tmp_path / "examples.csv"
    examples.write_text(EXAMPLES, encoding="utf-8")
    scores = measure(load_examples(examples))
    assert (scores["captions"], scores["fluent"], scores["faulty"]) == (5, 2, 3)
    # Two of three found (the last is labelled wrongly), none of the fluent ones accused.
    assert scores["any_error"] == {"precision": 1.0, "recall": round(2 / 3, 4), "f1": 0.8}
    assert scores["false_alarm_rate"] == 0.0
    assert scores["kinds"]["repeated_event"]["recall"] == 0.5
    assert scores["kinds"]["dangling_function_word"]["precision"] == 1.0
    assert scores["kinds"]["missing_verb"]["recall"] is None
    assert scores["microseconds_a_new_caption"] > 0
