"""The everyday lexicon: what it must hold, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_aac.errors import DataError
from quantize.data.captions import NOTHING, UNKNOWN
from quantize.data.everyday.adverbs import SAYS
from quantize.data.everyday.inflection import gerund, plural, singular
from quantize.data.everyday.lexicon import CONNECTIVES, bare, english, load_lexicon
from quantize.data.everyday.ontology import audioset

LEXICON = english()

_GOOD = """
background = ["Silence"]
vague = ["Buzz"]

[animal]
classes = ["Animal"]
say = ["an animal | animals | make a noise"]

[dog]
classes = ["Dog"]
parents = ["animal"]
labels = ["dog"]
say = ["a dog, a hound | dogs | bark, growl and bark"]
noise = ["barking"]
burst_s = [0.1, 0.6]
"""


def _load(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lexicon.toml"
    path.write_text(text, encoding="utf-8")
    load_lexicon(path)


def test_it_names_at_least_150_sounds_in_few_words() -> None:
    assert len(LEXICON.sounds) >= 150
    words = {word for text in (*NOTHING, *UNKNOWN, *SAYS, *CONNECTIVES) for word in text.split()}
    words |= set(["the", "sound", "of", "is", "are", "can", "be", "heard", "there", "first", "once", "more"])
    for sound in LEXICON.sounds.values():
        for clause in sound.clauses:
            words.update(f"{clause.subject} {clause.present} {clause.gerund}".split())
        words.update(word for noun in sound.nouns for word in noun.split())
    assert len(words) <= 900


@pytest.mark.parametrize("name", ["animal", "engine", "water", "music", "bell", "speech"])
def test_there_are_coarser_sounds_for_who_is_not_sure(name: str) -> None:
    assert sum(name in LEXICON.names.ancestors(other) for other in LEXICON.sounds) >= 3


def test_chains_of_parents_end_at_a_thing_to_say() -> None:
    tops = {"Animal", "Music"}
    for name in LEXICON.sounds:
        for above in (name, *LEXICON.names.ancestors(name)):
            assert all(not audioset().is_top(found) or found in tops for found in LEXICON[above].classes)
    assert {name for name in LEXICON.sounds if LEXICON.is_top(name)} == {"animal", "music"}
    assert LEXICON.names.ancestors("dog_bark") == ("dog", "pet", "animal")
    assert LEXICON.names.ancestors("howl")[-1] == "animal"


def test_every_wording_names_its_sound_alone() -> None:
    for sound in LEXICON.sounds.values():
        for clause in sound.clauses:
            for text in (
                f"{clause.subject} {clause.present} in the distance",
                f"{clause.subject} can be heard {clause.gerund}",
                f"the sound of {clause.subject} {clause.gerund}",
            ):
                assert LEXICON.names.named(text) == (sound.name,), text
        for noun in sound.nouns:
            assert LEXICON.names.named(f"the sound of {noun}") == (sound.name,), noun


def test_a_subject_alone_names_what_all_with_it_are() -> None:
    assert LEXICON.names.named("a dog is somewhere") == ("dog",)
    assert LEXICON.names.named("somebody is there") == ()
    assert LEXICON.names.named("an engine is there") == ("engine",)


def test_a_class_without_a_sound_counts_for_what_is_above_it() -> None:
    sounds = LEXICON.class_sounds
    assert sounds["Punk rock"] == "rock_music"
    assert sounds["Bleat"] == "farm_animal"  # a goat's or a sheep's
    assert sounds["Babbling"] is None and sounds["White noise"] is None
    assert len(sounds) == 527
    unsaid = [name for name, sound in sounds.items() if sound is None]
    assert len(unsaid) < 70


def test_each_sound_comes_before_what_it_is_an_example_of() -> None:
    place = {name: number for number, name in enumerate(LEXICON.order)}
    assert all(place[name] < place[above] for name in place for above in LEXICON[name].above)


@pytest.mark.parametrize(
    ("verb", "one", "several", "being"),
    [
        ("bark", "barks", "bark", "barking"),
        ("snap and pop", "snaps and pops", "snap and pop", "snapping and popping"),
        ("hum a tune", "hums a tune", "hum a tune", "humming a tune"),
        ("cry", "cries", "cry", "crying"),
        ("play", "plays", "play", "playing"),
        ("buzz", "buzzes", "buzz", "buzzing"),
        ("whistle", "whistles", "whistle", "whistling"),
        ("squeak", "squeaks", "squeak", "squeaking"),
        ("go off", "goes off", "go off", "going off"),
        ("be played", "is played", "are played", "being played"),
        ("roar", "roars", "roar", "roaring"),
    ],
)
def test_verbs_are_inflected(verb: str, one: str, several: str, being: str) -> None:
    assert (singular(verb), plural(verb), gerund(verb)) == (one, several, being)


def test_articles_are_left_out() -> None:
    assert [bare(phrase) for phrase in ("a dog", "an owl", "the sea", "anthems", "rain")] == [
        "dog", "owl", "sea", "anthems", "rain",
    ]  # fmt: skip


def test_a_good_file_is_read(tmp_path: Path) -> None:
    _load(tmp_path, _GOOD)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('["Dog"]', '["Doggy"]', "dog has the class 'Doggy', which AudioSet has not"),
        ('["Silence"]', '["Silent"]', "'Silent' is no class of AudioSet"),
        ('["Dog"]', '["Dog", "Buzz"]', "the class 'Buzz' stands twice"),
        ('parents = ["animal"]', 'parents = ["beast"]', "dog has the parent 'beast', which is no sound"),
        ('["Animal"]', '["Water"]', "animal is not above dog"),
        ('parents = ["animal"]', 'also = ["animal"]', "animal is above dog in AudioSet's tree: list it under parents"),
        ('["Animal"]', '["Sounds of things"]', "animal is the top 'Sounds of things' of AudioSet's tree"),
        ('noise = ["barking"]', 'noise = "barking"', "dog"),
        ("burst_s = [0.1, 0.6]", "burst_s = [0.1]", "the sound 'dog' cannot be read"),
        ('labels = ["dog"]', "color = 1", "'dog' has a key that no sound has"),
        ("a dog, a hound | dogs | bark, growl and bark", "a dog | bark", "the sound 'dog' cannot be read"),
        ('classes = ["Dog"]\n', "", "the sound 'dog' cannot be read"),
        ('["Dog"]', '["Dog"', "cannot be read"),
    ],
)
def test_a_faulty_file_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    text = _GOOD
    assert old in text
    with pytest.raises(DataError, match="lexicon.toml|dog") as error:
        _load(tmp_path, text.replace(old, new, 1))
    assert says in str(error.value)


def test_no_two_sounds_are_said_alike(tmp_path: Path) -> None:
    alike = _GOOD.replace("a dog, a hound", "an animal, a dog").replace("| make a noise", "| make a noise, bark")
    with pytest.raises(DataError, match="'animal bark' is said of animal and of dog"):
        _load(tmp_path, alike)
    with pytest.raises(DataError, match="'barking' is said of animal and of dog"):
        _load(tmp_path, _GOOD.replace('| make a noise"]', '| make a noise"]\nnoise = ["barking"]'))


def test_labels_and_classes_stand_once(tmp_path: Path) -> None:
    twice = (
        _GOOD + '\n[cat]\nclasses = ["Cat"]\nparents = ["animal"]\nlabels = ["dog"]\nsay = ["a cat | cats | meow"]\n'
    )
    with pytest.raises(DataError, match="the label 'dog' stands twice"):
        _load(tmp_path, twice)
    _load(tmp_path, twice.replace('labels = ["dog"]\nsay = ["a cat', 'labels = ["cat"]\nsay = ["a cat'))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        load_lexicon(tmp_path / "none.toml")
