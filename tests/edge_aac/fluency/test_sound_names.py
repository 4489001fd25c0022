"""Which sounds a text names."""

from __future__ import annotations

import pytest

from edge_aac.fluency.sound_names import Say, SoundNames, SoundWords

_BARK = ("bark", "barks", "barking")
_HOWL = ("howl", "howls", "howling")
_SOUNDS = {
    "animal": SoundWords((), (Say(("animal",), ("calls",)),)),
    "dog": SoundWords(("animal",), (Say(("dog", "dogs", "hound"), ("makes a noise",)),)),
    "bark": SoundWords(("dog",), (Say(("dog", "dogs", "hound"), _BARK),), ("barking",)),
    "howl": SoundWords(("dog",), (Say(("dog", "wolf"), _HOWL),), ("howling",)),
    "door": SoundWords((), (Say(("door",), ("opens", "opens and closes")),)),
    "doorbell": SoundWords((), (Say(("door bell",), ("rings",)),)),
    "ring": SoundWords((), (Say(("glass",), ("rings",)),)),
    "fill": SoundWords((), (Say(("glass",), ("fills",)),)),
}
_NAMES = SoundNames(_SOUNDS, ("and", "while", "then"))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a dog barks", ("bark",)),
        ("a dog is heard barking in the distance", ("bark",)),
        ("dogs bark while a wolf howls", ("bark", "howl")),
        ("a dog", ("dog",)),
        ("a dog and a door opens", ("dog", "door")),
        ("a wolf", ("howl",)),
        # No verb of the next clause is the first one's.
        ("a dog while howling", ("dog", "howl")),
        ("the sound of barking", ("bark",)),
        ("a barking dog", ("bark",)),
        ("a door bell rings", ("doorbell",)),
        ("a door opens and closes then a dog howls", ("door", "howl")),
        ("a glass rings", ("ring",)),
        ("a glass", ()),
        ("a dog barks then a dog barks", ("bark",)),
        ("", ()),
        ("cat", ()),
    ],
)
def test_named(text: str, named: tuple[str, ...]) -> None:
    assert _NAMES.named(text) == named


def test_places_of_names() -> None:
    (found,) = _NAMES.find(["then", "a", "dog", "loudly", "barks", "twice"])
    assert (found.sound, found.start, found.end) == ("bark", 2, 5)


def test_the_tree() -> None:
    assert _NAMES.ancestors("bark") == ("dog", "animal")
    assert _NAMES.related("bark", "animal") and _NAMES.related("animal", "bark") and _NAMES.related("dog", "dog")
    assert not _NAMES.related("bark", "howl")
    assert _NAMES.common(("bark", "howl")) == "dog"
    assert _NAMES.common(("bark", "door")) is None
    assert _NAMES.common(()) is None


def test_of_two_lines_of_parents_the_nearest_come_first() -> None:
    names = SoundNames(
        {
            "top": SoundWords(),
            "middle": SoundWords(("top",)),
            "other": SoundWords(),
            "below": SoundWords(("top", "middle", "other")),
        },
        (),
    )
    assert names.ancestors("below") == ("middle", "top", "other") or names.ancestors("below")[0] == "middle"
    assert set(names.ancestors("below")) == {"top", "middle", "other"}


def test_parents_in_a_circle_are_refused() -> None:
    with pytest.raises(ValueError, match="the parents of a lead back to it"):
        SoundNames({"a": SoundWords(("b",)), "b": SoundWords(("a",))}, ())


def test_a_parent_that_is_not_listed_is_refused() -> None:
    with pytest.raises(ValueError, match="a has the parent b, which is not listed"):
        SoundNames({"a": SoundWords(("b",))}, ())
