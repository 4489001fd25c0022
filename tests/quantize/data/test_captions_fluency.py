"""The captions that the shipped bundle learns from: fluent as made, faulty once corrupted."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_aac.fluency.english.sentences import FluencyError, fluency_errors
from quantize.data.captions import captions
from quantize.data.clips import load_clips
from quantize.data.lexicon import LEXICON
from quantize.data.scenes import SCENE_SAMPLES, Event, Relation, Scene, SceneBuilder, SceneRecipe

CONNECTIVE = re.compile(r" (?:and then|and afterwards|and|then|while|as) (?=(?:a|an|the|rain|someone|waves) )")
SUBJECTS = re.compile(r"a (?:dog|clock|baby|rooster|chainsaw|helicopter|person)$")


@pytest.fixture(scope="module")
def learned(recordings: Path) -> list[str]:
    """Captions of scenes mixed from recordings, as in training."""
    builder = SceneBuilder(load_clips(recordings, (1, 2)), SceneRecipe(augment=False))
    found: set[str] = set()
    for seed in range(15):
        rng = np.random.default_rng(seed)
        found.update(captions(builder.scene(rng), rng, 12))
    return sorted(found)


@pytest.fixture(scope="module")
def composed() -> list[str]:
    """Captions of all pairs of classes in every relation, from event lists without sound."""
    rng = np.random.default_rng(0)
    waveform, activity = np.zeros(SCENE_SAMPLES, np.float32), np.zeros((1000, len(LEXICON)), bool)
    found: set[str] = set()
    relations: tuple[Relation, ...] = ("single", "overlap", "sequence")
    for first in LEXICON:
        for second in LEXICON:
            for relation in relations:
                events = tuple(_event(label, rng) for label in (first, second)[: 1 if relation == "single" else 2])
                if first != second:
                    found.update(captions(Scene(waveform, events, relation, activity), rng, 4))
    return sorted(found)


def _event(label: str, rng: np.random.Generator) -> Event:
    count = int(rng.integers(1, 6)) if LEXICON[label].countable else None
    end = int(rng.integers(SCENE_SAMPLES // 4, SCENE_SAMPLES + 1))
    return Event(label, 0, end, count, bool(rng.random() < 0.3), float(rng.uniform(-5.0, 5.0)))


def test_captions_of_scenes_are_fluent(learned: list[str]) -> None:
    assert [text for text in learned if fluency_errors(text)] == []


def test_captions_of_every_pair_of_sounds_are_fluent(composed: list[str]) -> None:
    assert len(composed) > 800
    assert [text for text in composed if fluency_errors(text)] == []


def _cut_off(text: str) -> str:
    return f"{text} and then"


def _left_dangling(text: str) -> str:
    return f"{text} while the"


def _event_twice(text: str) -> str | None:
    return None if CONNECTIVE.search(text) or " with " in text else f"{text} while {text}"


def _adverb_twice(text: str) -> str | None:
    doubled = re.sub(r"\b(\w+ly|nearby|twice)\b", r"\1 \1", text, count=1)
    return doubled if doubled != text else None


def _without_conjunction(text: str) -> str | None:
    parts = CONNECTIVE.split(text)
    # What is left must be two clauses: "flames crackle and pop" has one.
    clauses = len(parts) == 2 and " with " not in text and " over " not in text
    return " ".join(parts) if clauses else None


def _without_verb(text: str) -> str | None:
    first, *others = CONNECTIVE.split(text)
    found = re.match(r"(?P<subject>a \w+) (?P<verb>\w+s|is \w+)$", first)
    if found is None or not others or SUBJECTS.match(found["subject"]) is None:
        return None
    return f"{found['subject']} while {others[0]}"


@pytest.mark.parametrize(
    ("error", "corrupt", "recall"),
    [
        (FluencyError.INCOMPLETE_SENTENCE, _cut_off, 0.99),
        (FluencyError.DANGLING_FUNCTION_WORD, _left_dangling, 0.99),
        (FluencyError.REPEATED_EVENT, _event_twice, 0.99),
        (FluencyError.REPEATED_ADVERB, _adverb_twice, 0.99),
        (FluencyError.MISSING_CONJUNCTION, _without_conjunction, 0.9),
        (FluencyError.MISSING_VERB, _without_verb, 0.99),
    ],
)
def test_corrupted_captions_are_caught(
    composed: list[str], error: FluencyError, corrupt: Callable[[str], str | None], recall: float
) -> None:
    corrupted = [text for text in map(corrupt, composed) if text is not None]
    assert len(corrupted) >= 20
    missed = [text for text in corrupted if error not in fluency_errors(text)]
    assert len(missed) <= (1 - recall) * len(corrupted), missed[:20]
