"""Events of a bundle that lists its sounds: phrases are of one sound by what they name, whatever their embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from edge_aac.fluency.english.phrases import sound_phrases
from edge_aac.fluency.sound_names import Say, SoundNames, SoundWords
from edge_aac.streaming.event_settings import EventSettings
from edge_aac.streaming.events import EventTracker
from edge_aac.streaming.sounds import CaptionReader, caption_reader
from tests.edge_aac.fakes import scored

_RATE = 16_000
_NAMES = SoundNames(
    {
        "animal": SoundWords((), (Say(("animal",), ("makes a noise",)),)),
        "dog": SoundWords(("animal",), (Say(("dog", "hound"), ("barks", "barking", "woofs")),), ("barking",)),
        "cat": SoundWords(("animal",), (Say(("cat",), ("meows", "meowing")),)),
        "rain": SoundWords((), (Say(("rain",), ("falls", "falling", "patters")),)),
    },
    ("and", "while", "then"),
)


def _all_alike(texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Embeddings that tell nothing apart."""
    return np.tile(np.array([1.0, 0.0], np.float32), (len(texts), 1))


def _all_unlike(texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Embeddings of which hardly two are alike."""
    rows = [np.random.default_rng(list(text.encode())).standard_normal(64) for text in texts]
    return np.array([row / np.linalg.norm(row) for row in rows], np.float32)


def _started(texts: Sequence[str], tracker: EventTracker) -> list[int]:
    started: list[int] = []
    for number, text in enumerate(texts):
        start = 2 * _RATE * number
        started += tracker.observe(start, start + 10 * _RATE, [scored(text)]).started
    return started


def _tracker(names: SoundNames | None, alike: bool) -> EventTracker:
    embed = _all_alike if alike else _all_unlike
    return EventTracker(0.5, embed, EventSettings().rules(), CaptionReader(sound_phrases, names))


@pytest.mark.parametrize(
    ("texts", "alike", "events"),
    [
        # Different words, one sound.
        (["a dog barks", "a hound woofs", "the sound of barking", "a dog barks"], False, 1),
        (["a dog barks while rain falls", "rain patters while a hound woofs", "a dog barks and rain falls"], False, 2),
        # Different sounds, though embeddings do not tell them apart.
        (["a dog barks and a cat meows"] * 3, True, 2),
        # A coarser name goes on with the same event, a finer one makes it more exact.
        (["an animal makes a noise", "a dog barks", "an animal makes a noise", "a dog barks"], False, 1),
        (["an animal makes a noise", "a dog barks", "a cat meows", "a cat meows"], True, 2),
        # Words that are not listed go by their embeddings.
        (["a gizmo fizzes"] * 3, False, 1),
        (["a gizmo fizzes", "a gadget whizzes", "a gizmo fizzes"], True, 1),
    ],
)
def test_events(texts: list[str], alike: bool, events: int) -> None:
    assert len(_started(texts, _tracker(_NAMES, alike))) == events


def test_without_a_list_embeddings_alone_tell() -> None:
    assert len(_started(["a dog barks and a cat meows"] * 3, _tracker(None, alike=True))) == 1


class _Model:
    """As much of a model as reading its captions needs."""

    def __init__(self, names: SoundNames | None) -> None:
        self.language, self.sound_names = "en-GB", names


def test_a_model_that_lists_sounds_is_asked() -> None:
    reader = caption_reader(_Model(_NAMES))
    assert reader("a dog barks while rain falls") == ("a dog barks", "rain falls")
    assert reader.sound("a dog barks") == "dog" and reader.kin("dog") == {"animal"}
    assert reader.sound("a dog barks while rain falls") is None and reader.kin(None) == frozenset()
    assert caption_reader(_Model(None)).sound("a dog barks") is None
