"""Tiny bundles that tell how sure they are of each sound: the words of tiny bundles as names of five sounds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge_aac.audio.windows import WINDOW_SAMPLES, Window
from edge_aac.fluency.sound_names import Say, SoundNames, SoundWords
from edge_aac.models.sampling import Withheld
from edge_aac.models.sound_table import sounds_table
from edge_aac.models.whole_words import Held, Sayable
from tests.edge_aac.models.tiny_bundle import WORDS, Tiny, captioner_table, entry, write

NAMES = SoundNames(
    {
        "rain": SoundWords((), (Say(("rain",), ("falls", "falls on the roof")),), ()),
        "animal": SoundWords((), (Say(("beast",), ("sings",)),), ()),
        "dog": SoundWords(("animal",), (Say(("dog",), ("barks",)),), ()),
        "birds": SoundWords(("animal",), (Say(("birds",), ("sing",)),), ("birds on the roof",)),
        "thunder": SoundWords((), (Say(("thunder",), ("rolls",)),), ("roof thunder",)),
    },
    ("and", "while"),
)
ORDER = ("thunder", "dog", "animal", "rain", "birds")
"""Of the encoder's output: another one than that of the list."""
FREE = ("a", "on", "the")
SURE = Tiny(sounds=len(ORDER))

_TOLD = {
    "rain": {"rain"},
    "falls": {"rain"},
    "on": {"rain", "birds"},
    "the": {"rain", "birds"},
    "roof": {"rain", "birds", "thunder"},
    "dog": {"dog"},
    "barks": {"dog"},
    "birds": {"birds"},
    "sing": {"birds"},
    "thunder": {"thunder"},
    "rolls": {"thunder"},
}
"""Word of the vocabulary → the sounds in whose names it stands."""
NAMING = frozenset(_TOLD) - set(FREE)
"""The words that are not free."""


def sure_bundle(
    folder: Path,
    threshold: float | None = 0.5,
    tiny: Tiny = SURE,
    words: Sequence[str] = FREE,
    names: SoundNames = NAMES,
    **changes: Any,
) -> str:
    """A tiny bundle with a rule for sureness; with the threshold None, with the list of sounds alone."""
    table = captioner_table(folder, tiny)
    (folder / "sounds.json").write_text(json.dumps(sounds_table(names)), encoding="utf-8")
    table["sounds"] = entry(folder / "sounds.json")
    if threshold is not None:
        table["sureness"] = {"threshold": threshold, "names": list(ORDER), "words": list(words)}
    for key, value in changes.items():
        table[key] = {**table[key], **value} if isinstance(value, Mapping) and key in table else value
    return write(folder, table)


def noises(count: int) -> list[Window]:
    """Windows of noise in other bands each, of whose sounds a tiny bundle is differently sure."""
    return [_noise(number) for number in range(count)]


def _noise(number: int) -> Window:
    rng = np.random.default_rng(number)
    fbank = rng.normal(0.0, 0.15, (1, 128)) + rng.normal(0.0, 0.5, (998, 128))
    return Window(number * WINDOW_SAMPLES, WINDOW_SAMPLES, fbank.astype(np.float32), -20.0, -3.0, -20.0)


def between(held: Held) -> Withheld:
    """(V,) tokens that may not follow a whole word."""
    assert isinstance(held, Sayable)
    return held.between


def allowed(confidences: Mapping[str, float], threshold: float, words: Sequence[str] = FREE) -> set[str]:
    """Words of the vocabulary that a caption may hold, spelt out: those that are free or stand in no name, and those
    in the name of a sound that is sure enough, or has an example that is."""
    sure = {name for name, value in confidences.items() if value >= threshold}
    sure |= {above for name in sure for above in NAMES.ancestors(name)}
    free = {*words, *NAMES.connectives}
    return {word for word in WORDS if word in free or word not in _TOLD or _TOLD[word] & sure}
