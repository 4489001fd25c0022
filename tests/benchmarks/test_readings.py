"""Captions of any bundle, read as classes of ESC-10."""

from __future__ import annotations

from benchmarks.readings import class_reader
from quantize.data.everyday.lexicon import english


def test_a_bundle_of_ten_classes_is_read_by_their_words() -> None:
    read = class_reader(None)
    assert read("a dog barks while rain falls") == ["dog_bark", "rain"]
    assert read("somebody speaks") == []


def test_what_a_bundle_lists_is_read_as_a_class_or_as_what_it_is() -> None:
    read = class_reader(english().names)
    assert read("a dog barks while rain drums on a roof") == ["dog_bark", "rain"]
    assert read("somebody speaks and a watch ticks") == ["speech", "clock_tick"]
    assert read("an animal gives a cry") == ["animal"]
    assert read("a sound that is hard to name") == []
