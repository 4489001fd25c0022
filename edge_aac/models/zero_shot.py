"""Zero-shot naming: how well each of some words fits a sound, by the places of both in a shared space."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_aac.models.label_texts import LabelTexts
from edge_aac.models.shared_space import SharedSpace
from edge_aac.records import Scoring

Array = npt.NDArray[np.float32]

DEFAULT_LOGIT_SCALE = 10.0
"""Of bundles that state none: the recipes that come with edge-aac train with a contrastive temperature of 0.1."""
NEUTRAL = "sound"
"""The word in a label's place that single labels are held against."""
_LARGEST_EXPONENT = 700.0  # whose exponential is a number


@dataclass(frozen=True)
class EmbeddedLabels:
    """Labels of a run, each text embedded once.

    Attributes:
        labels: L of them, as they were written.
        texts: what stands for each.
        embeddings: (L, E), of unit length.
        neutral: (E,), of the templates with :data:`NEUTRAL` in a label's place.
        scale: factor of cosines.
    """

    labels: Sequence[str]
    texts: LabelTexts
    embeddings: Array
    neutral: Array
    scale: float

    @classmethod
    def of(
        cls, space: SharedSpace, labels: Sequence[str], templates: Sequence[str] = (), scale: float | None = None
    ) -> EmbeddedLabels:
        """Embed labels.

        Args:
            space: the bundle's.
            labels: at least one, each once.
            templates: the user's own, each with ``{}`` once; none for the bundle's, and for its own wordings of the
                sounds that it lists (see :class:`edge_aac.models.label_texts.LabelTexts`).
            scale: factor of cosines before a softmax; None for the bundle's own.

        Raises:
            DataError: a label has no words for this bundle, or more tokens than it reads.
        """
        texts = LabelTexts.of(space, labels, templates)
        neutral = LabelTexts.of(space, [NEUTRAL], texts.templates).embedded(space.embed)[0]
        scale = scale or space.logit_scale or DEFAULT_LOGIT_SCALE
        return cls(labels, texts, texts.embedded(space.embed), neutral, scale)

    def alike(self) -> list[tuple[str, str]]:
        """Pairs of labels that are the same to the bundle, as words that it has no tokens for are."""
        first: dict[bytes, str] = {}
        pairs = []
        for label, row in zip(self.labels, np.round(self.embeddings, 5), strict=True):
            other = first.setdefault((row + np.float32(0.0)).tobytes(), label)
            if other != label:
                pairs.append((other, label))
        return pairs

    def in_other_scripts(self, language: str) -> list[str]:
        """Labels without a Latin letter, where a bundle learnt English: it reads them byte by byte all the same."""
        if language.partition("-")[0].lower() != "en":
            return []
        return [label for label in self.labels if _has_letters(label) and not _has_letters(label, latin=True)]

    def warnings(self, language: str) -> list[str]:
        """What a user should know of the labels, in sentences.

        Args:
            language: of the bundle's texts.
        """
        found = []
        if alike := self.alike():
            first, second = alike[0]
            more = f" ({len(alike) - 1} more labels are the same as others)" if len(alike) > 1 else ""
            found.append(f"{first!r} and {second!r} are the same to this bundle, their scores too{more}")
        if foreign := self.in_other_scripts(language):
            more = f" and {len(foreign) - 1} more labels are" if len(foreign) > 1 else " is"
            found.append(
                f"{foreign[0]!r}{more} in another script than the texts that this bundle learnt ({language}): scores "
                "of such labels tell little"
            )
        return found

    def similarities(self, sound: Array) -> tuple[Array, float]:
        """Cosines of a sound (E,) of unit length: with each label (L,), and with the neutral text."""
        return self.embeddings @ sound, float(self.neutral @ sound)

    def scores(self, similarities: Array, neutral: float, scoring: Scoring) -> npt.NDArray[np.float64]:
        """Scores (L,) of cosines (L,).

        "softmax": shares that add up to 1 (of ``scale`` times the cosines); "sigmoid": each label by itself,
        ``1 / (1 + exp(-scale · (cosine - neutral)))``, which is a softmax over its text and the neutral one; "cosine":
        the cosines.
        """
        cosines = similarities.astype(np.float64)
        if scoring == "cosine":
            return cosines
        if scoring == "sigmoid":
            exponents = np.clip(self.scale * (neutral - cosines), -_LARGEST_EXPONENT, _LARGEST_EXPONENT)
            return np.asarray(1.0 / (1.0 + np.exp(exponents)))
        powers = np.exp(self.scale * (cosines - cosines.max()))
        return np.asarray(powers / powers.sum())


def _has_letters(text: str, latin: bool = False) -> bool:
    letters = [character for character in text if character.isalpha()]
    return any(unicodedata.name(letter, "").startswith("LATIN") for letter in letters) if latin else bool(letters)
