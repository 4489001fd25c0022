"""What stands for a label: templates around it, whose mean counts, or the wordings of the sound that it names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from edge_aac.errors import DataError
from edge_aac.fluency.sound_names import Say, SoundNames, SoundWords
from edge_aac.models.label_texts import TEXTS_AT_ONCE, LabelTexts, TextRules
from edge_aac.models.sound_wordings import SoundWordings
from edge_aac.models.tokens import plain_text

NAMES = SoundNames(
    {
        "dog": SoundWords(nouns=("dog",)),
        "dog_bark": SoundWords(("dog",), (Say(("dog", "dogs"), ("barks", "bark", "barking")),), ("barking",)),
        "rain": SoundWords((), (Say(("rain",), ("falls", "falling")),), ("rain",)),
        "crow": SoundWords((), (Say(("crow",), ("caws",)),)),
        "rooster": SoundWords((), (Say(("rooster",), ("crows",)),), ("crow",)),
        "unsaid_thing": SoundWords(),
    },
    ("and", "while"),
)
BARK = ("dog barks", "dog bark", "dog barking", "dogs barks", "dogs bark", "dogs barking", "barking")


def _rules(names: SoundNames | None = NAMES, templates: Sequence[str] = ("{}",)) -> TextRules:
    return TextRules(templates, names, plain_text)


@pytest.mark.parametrize(
    ("label", "sound"),
    [
        ("dog bark", "dog_bark"),
        ("dog_bark", "dog_bark"),
        ("A dog barks.", "dog_bark"),
        ("the barking", "dog_bark"),
        ("a dog", "dog"),
        ("Rain", "rain"),
        ("crow", "crow"),  # a name comes before another sound's wording
        ("a dog barks in the rain", None),
        ("loud barking", None),
        ("a", None),
        ("", None),
        ("雨", None),
    ],
)
def test_a_label_names_a_sound_by_its_name_or_by_one_of_its_wordings(label: str, sound: str | None) -> None:
    assert SoundWordings(NAMES).sound_of(label) == sound


def test_a_sound_is_said_in_all_its_words() -> None:
    wordings = SoundWordings(NAMES)
    assert wordings.of("dog_bark") == BARK
    assert wordings.of("unsaid_thing") == ("unsaid thing",), "what has no words has its name"


def test_listed_sounds_are_said_in_their_wordings_and_others_as_they_stand() -> None:
    found = LabelTexts.of(_rules(templates=("the sound of {}",)), ["dog bark", "a blue whale"])
    assert found.sounds == ("dog_bark", None)
    assert found.texts == (BARK, ("the sound of a blue whale",))
    assert found.templates == ("the sound of {}",)


def test_templates_of_a_user_end_that() -> None:
    found = LabelTexts.of(_rules(), ["dog bark"], ["{}", "a sound of {}", "{}."])
    assert found.sounds == (None,)
    assert found.texts == (("dog bark", "a sound of dog bark"),), "each text counts once"
    assert LabelTexts.of(_rules(names=None), ["dog bark"]).texts == (("dog bark",),), "nor is it of other bundles"


def test_labels_of_one_sound_keep_what_tells_them_apart() -> None:
    found = LabelTexts.of(_rules(), ["a dog barks", "barking", "rain"])
    assert found.sounds == (None, None, "rain")
    assert found.texts[:2] == (("a dog barks",), ("barking",))


def test_a_label_lies_where_the_mean_of_its_texts_does() -> None:
    places = {"dog x": [1.0, 0.0], "x dog": [0.0, 1.0], "rain x": [0.6, 0.8], "x rain": [0.6, 0.8]}
    asked: list[str] = []

    def embed(texts: Sequence[str]) -> np.ndarray:
        asked.extend(texts)
        return np.array([places[text] for text in texts], np.float32)

    found = LabelTexts.of(_rules(), ["dog", "rain"], ["{} x", "x {}"]).embedded(embed)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[0.5**0.5, 0.5**0.5], [0.6, 0.8]], atol=1e-6)
    assert sorted(asked) == sorted(places)


def test_thousands_of_labels_are_embedded_a_few_at_a_time() -> None:
    runs: list[int] = []

    def embed(texts: Sequence[str]) -> np.ndarray:
        runs.append(len(texts))
        return np.array([[float(text.split()[-1]), 1.0] for text in texts], np.float32)

    labels = [f"sound {number}" for number in range(5000)]
    one = LabelTexts.of(_rules(), labels).embedded(embed)
    assert sum(runs) == 5000 and max(runs) <= TEXTS_AT_ONCE
    np.testing.assert_array_equal(one[:, 0], np.arange(5000))
    runs.clear()
    LabelTexts.of(_rules(), labels, ["{}", "the {}", "a {}"]).embedded(embed)
    assert sum(runs) == 15000 and max(runs) <= TEXTS_AT_ONCE


def test_texts_on_all_sides_have_no_mean() -> None:
    def embed(texts: Sequence[str]) -> np.ndarray:
        return np.array([[1.0, 0.0], [-1.0, 0.0]], np.float32)

    with pytest.raises(DataError, match="no mean"):
        LabelTexts.of(_rules(), ["dog"], ["{} x", "x {}"]).embedded(embed)


@pytest.mark.parametrize("templates", [["sound"], ["{} {}"], "rain"])
def test_what_has_no_place_for_a_label_is_no_template(templates: Sequence[str]) -> None:
    with pytest.raises(ValueError, match="no templates"):
        LabelTexts.of(_rules(), ["dog"], templates)


def test_a_label_without_words_is_refused() -> None:
    with pytest.raises(DataError, match="holds no word"):
        LabelTexts.of(_rules(templates=("a sound of {}",)), ["?"])
