"""Clips while the rules change, and sound that comes late."""

from __future__ import annotations

from pathlib import Path

from edge_aac.streaming.building import RecordBuilder
from edge_aac.streaming.clips.flac import read_tags
from tests.edge_aac.fakes import MODEL
from tests.edge_aac.streaming.clips.test_recorder import WAIT_S, HandMadeSource, S


def test_a_clip_that_waits_for_late_sound_gets_it(tmp_path: Path) -> None:
    source = HandMadeSource(tmp_path, guarded=False)
    source.run(30, event=(10, 100))
    source.recorder.finish(passed=31 * S)
    source.window(24)
    source.window(26)
    source.advance()
    source.recorder.finish()
    assert source.clips() == [(7.0, 32.0)]


def test_rules_that_keep_more_private_write_nothing_that_passed_the_rules_before(tmp_path: Path) -> None:
    source = HandMadeSource(tmp_path, guarded=False, rules={"min_score": 0.5})
    source.event("start", 0, 10, "a man speaks", number=0)
    for start in range(0, 22, 2):
        source.window(start)
        source.advance()
    # One that had no clip until now, and would have one with its next record, reaches back as well.
    source.recorder.change_rules(guarded=True)
    source.event("update", 0, 32, "a man speaks", number=0)
    source.event("update", 12, 32, "a radio plays", number=1)
    for start in range(22, 40, 2):
        source.window(start)
        source.advance()
    source.event("start", 31, 44, "a dog barks", number=2)
    source.advance()
    source.event("end", 31, 44, "a dog barks", number=2)
    for start in range(40, 50, 2):
        source.window(start)
        source.advance()
    # The dog's clip begins where the windows of the old rules end, not 3 s before it.
    assert source.clips() == [(30.0, 46.0)]
    assert source.writer.health.private == 2


def test_a_clip_names_the_model_that_described_it(tmp_path: Path) -> None:
    source = HandMadeSource(tmp_path)
    source.window(0)
    source.event("start", 0, 10)
    source.recorder.builder = RecordBuilder("kitchen", "mic0", MODEL.model_copy(update={"bundle": "other"}))
    source.recorder.finish()
    source.writer.close(WAIT_S)
    (path,) = tmp_path.iterdir()
    assert read_tags(path)["MODEL"] == "fake 1"


def test_rules_that_keep_nothing_private_leave_clips_alone(tmp_path: Path) -> None:
    source = HandMadeSource(tmp_path, guarded=True)
    source.window(0)
    source.event("start", 2, 10)
    source.recorder.change_rules(guarded=False)
    source.run(30, event=(2, 4))
    source.recorder.finish()
    assert source.clips() == [(0.0, 14.0)]
