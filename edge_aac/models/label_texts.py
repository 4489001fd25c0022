"""The texts that stand for a label: templates around its words, or all wordings of the sound that it names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edge_aac.errors import DataError
from edge_aac.fluency.sound_names import SoundNames
from edge_aac.models.sound_wordings import SoundWordings

Array = npt.NDArray[np.float32]
Embed = Callable[[Sequence[str]], Array]

BLANK = "{}"
"""In a template, where the label goes."""
TEXTS_AT_ONCE = 64
"""Texts in one run of a text embedder, so that thousands of labels need no more memory."""
_TEXTS_HELD = 64 * TEXTS_AT_ONCE
"""Texts whose embeddings are in memory before they become one a label."""


class WritesTexts(Protocol):
    """What is asked of a bundle whose texts stand for labels."""

    @property
    def templates(self) -> Sequence[str]:
        """What the bundle makes texts of labels with, at least one: ``{}`` stands where the label goes."""

    @property
    def sound_names(self) -> SoundNames | None:
        """The sounds that the bundle lists; None where it lists none."""

    def written(self, text: str) -> str:
        """A text as this bundle's texts are written; empty where nothing of it is left."""


@dataclass(frozen=True)
class TextRules:
    """How the texts of a bundle are written, for those that are no :class:`WritesTexts` themselves."""

    templates: Sequence[str]
    sound_names: SoundNames | None
    written: Callable[[str], str]


@dataclass(frozen=True)
class LabelTexts:
    """The texts of labels.

    Attributes:
        templates: around each label that no sound's wordings stand for, at least one.
        texts: of each label, at least one, each once, as the bundle's texts are written.
        sounds: of each label the listed sound whose wordings stand for it; None where the templates do.
    """

    templates: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...]
    sounds: tuple[str | None, ...]

    @classmethod
    def of(cls, bundle: WritesTexts, labels: Sequence[str], templates: Sequence[str] = ()) -> LabelTexts:
        """The texts of labels.

        Without templates of the user's own a label that is the name of a sound which the bundle lists, or one of that
        sound's wordings, is said in all of them: of a bundle that learnt sounds in such words they place a sound among
        many others better than its name does. Labels of one sound keep their own words: these tell them apart.

        Args:
            bundle: which lists its sounds, or does not.
            labels: at least one, in words.
            templates: the user's own, each with ``{}`` once; none for the bundle's.

        Raises:
            ValueError: a template has no place for a label, or several.
            DataError: a label has no words for this bundle.
        """
        around = tuple(templates) or tuple(bundle.templates)
        if not all(template.count(BLANK) == 1 for template in around):
            raise ValueError(f"{around} are no templates: each holds {BLANK} once")
        listed = None if templates else bundle.sound_names
        wordings = SoundWordings(listed) if listed else None
        found = [wordings.sound_of(label) if wordings else None for label in labels]
        times = Counter(found)
        sounds = tuple(sound if times[sound] == 1 else None for sound in found)

        def texts_of(label: str, sound: str | None) -> tuple[str, ...]:
            if sound is not None and wordings is not None:
                return _distinct(map(bundle.written, wordings.of(sound)))
            texts = _distinct(bundle.written(template.replace(BLANK, label)) for template in around)
            if not all(texts) or not bundle.written(label):
                raise DataError(f"the label {label!r} holds no word that this bundle reads: write it in words")
            return texts

        return cls(around, tuple(map(texts_of, labels, sounds)), sounds)

    def embedded(self, embed: Embed) -> Array:
        """The place of each label, (L, E) of unit length: the mean of its texts' embeddings, of a single text its own.

        Each text of a stretch of labels is embedded once.

        Args:
            embed: texts → embeddings (N, E), each of unit length.

        Raises:
            DataError: the texts of a label lie on all sides of the space, so that they have no mean; and as ``embed``.
        """
        return np.concatenate([_means(embed, stretch) for stretch in _stretches(self.texts)])


def _distinct(texts: Iterator[str] | map[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))


def _stretches(texts: Sequence[tuple[str, ...]]) -> Iterator[Sequence[tuple[str, ...]]]:
    """Labels one after the other, as many as have so many texts that can be in memory."""
    remaining, longest = iter(texts), max(map(len, texts))
    while stretch := list(islice(remaining, max(1, _TEXTS_HELD // longest))):
        yield stretch


def _means(embed: Embed, texts: Sequence[tuple[str, ...]]) -> Array:
    distinct = list(dict.fromkeys(chain.from_iterable(texts)))
    runs = (distinct[at : at + TEXTS_AT_ONCE] for at in range(0, len(distinct), TEXTS_AT_ONCE))
    embeddings = np.concatenate([embed(run) for run in runs])
    place = {text: number for number, text in enumerate(distinct)}
    if all(len(each) == 1 for each in texts):
        return np.asarray(embeddings[[place[each[0]] for each in texts]], np.float32)
    return np.stack([_mean(embeddings[[place[text] for text in each]], each[0]) for each in texts])


def _mean(embeddings: Array, text: str) -> Array:
    """The place of a label, (E,), of the embeddings (N, E) of its texts."""
    if len(embeddings) == 1:
        return np.asarray(embeddings[0], np.float32)
    mean = embeddings.mean(axis=0, dtype=np.float64)
    length = float(np.linalg.norm(mean))
    if not length > 0.0:
        raise DataError(f"the texts of the label that {text!r} is of have no mean: leave some of its templates out")
    return np.asarray(mean / length, np.float32)
