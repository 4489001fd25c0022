"""Patterns of words in captions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_aac.streaming.wording import WordPatterns, checked_patterns


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("dog", "a dog barks", True),
        ("dog", "a hotdog, dogs and dogged work", False),
        ("dog*", "dogs bark", True),
        ("*phone", "a telephone rings", True),
        ("DOG Bark*", "a dog  barks", True),
        ("dog bark*", "a dog and a fox bark", False),
        ("glass", "Glass breaks", True),
        ("a.c", "abc", False),
        ("(dog", "a (dog", True),
        ("straße", "auf der STRASSE", True),
    ],
)
def test_what_a_pattern_finds(pattern: str, text: str, found: bool) -> None:
    assert WordPatterns([pattern]).matches(text) is found
    assert WordPatterns(["zebra", pattern]).matches(text) is found


def test_no_pattern_finds_nothing() -> None:
    assert not WordPatterns() and not WordPatterns().matches("a dog")


@pytest.mark.parametrize("pattern", ["", " ", "*", "* *", "-"])
def test_a_pattern_without_a_word_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="no word"):
        checked_patterns(("dog", pattern))


@given(st.text(min_size=1), st.text())
def test_any_pattern_is_usable(pattern: str, text: str) -> None:
    try:
        (checked,) = checked_patterns((pattern,))
    except ValueError:
        return
    assert WordPatterns([checked]).matches(text) in {True, False}
    if not any(mark in pattern for mark in "*"):
        words = " ".join(pattern.split())
        assert WordPatterns([checked]).matches(f"a {words} b")
