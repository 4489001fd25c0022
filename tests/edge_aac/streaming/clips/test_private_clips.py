"""Clips, and windows whose sound must not be kept: known before an event, within it and after it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_aac.streaming.clips.settings import ClipSettings
from edge_aac.streaming.event_changes import State
from tests.edge_aac.streaming.clips.test_recorder import WINDOW, HandMadeSource, S


def test_an_event_that_starts_late_is_not_followed_into_a_private_window_that_was_before(tmp_path: Path) -> None:
    """Its pre-roll is shortened by another one, and a clip of the same length reaches farther."""
    source = HandMadeSource(tmp_path, {"pre_roll_s": 10.0, "max_clip_s": 20.0}, guarded=False)
    for start in range(0, 36, 2):
        source.window(start, kept=start not in {0, 26})
    source.event("start", 14, 40)
    source.advance()
    source.recorder.finish()
    assert source.clips() == [] and source.writer.health.private == 1


def test_of_what_comes_after_an_event_nothing_private_is_kept_that_was_known_when_it_began(tmp_path: Path) -> None:
    source = HandMadeSource(tmp_path, {"post_roll_s": 9.0}, guarded=False)
    for start in range(0, 36, 2):
        source.window(start, kept=start != 26)
    source.event("start", 12, 22)
    source.advance()
    source.event("end", 12, 22)
    source.advance()
    assert source.clips() == [(14.0, 26.0)], "the ring begins at 14"


@pytest.mark.parametrize("longest", [3.0, 2.0])
def test_a_clip_has_room_for_its_event(longest: float) -> None:
    with pytest.raises(ValueError, match="pre_roll_s = 3 leaves no room for the event in max_clip_s = [23]"):
        ClipSettings(max_clip_s=longest)
    assert ClipSettings(max_clip_s=longest, pre_roll_s=1.0).max_clip_s == longest


@settings(max_examples=30, deadline=None)
@given(
    kinds=st.lists(st.sampled_from(["dog", "rain", "silent", "private", "failed"]), min_size=3, max_size=40),
    pre=st.integers(0, 10),
    post=st.integers(0, 12),
    longest=st.integers(5, 40),
)
def test_no_sample_of_a_private_window_is_ever_in_a_clip(
    kinds: list[str], pre: int, post: int, longest: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    longest = max(longest, pre + 1)
    rules = {"pre_roll_s": float(pre), "post_roll_s": float(post), "max_clip_s": float(longest)}
    source = HandMadeSource(tmp_path_factory.mktemp("clips"), rules)
    going: dict[str, tuple[int, int, int]] = {}
    for number, kind in enumerate(kinds):
        start, end = 2 * number * S, 2 * number * S + WINDOW
        source.written = end
        if kind != "failed":
            source.recorder.window(start, end, kept=kind != "private")
        for name, (event, began, reached) in list(going.items()):
            if reached <= start:
                del going[name]
                source.event("end", began / S, reached / S, name, event)
        if kind in {"dog", "rain"}:
            state: State = "update" if kind in going else "start"
            event, began, _ = going.get(kind, (number, start, end))
            going[kind] = event, began, end
            source.event(state, began / S, end / S, kind, event)
        source.advance()
    for name, (event, began, reached) in going.items():
        source.event("end", began / S, reached / S, name, event)
    source.recorder.finish()
    private = [(2.0 * n, 2.0 * n + 10) for n, kind in enumerate(kinds) if kind == "private"]
    clips = source.clips()
    for first, last in clips:
        assert 0 < last - first <= longest
        assert not [each for each in private if each[0] < last and first < each[1]]
    heard = kinds.count("dog") + kinds.count("rain")
    assert not heard or len(clips) + source.writer.health.private + source.writer.health.dropped
