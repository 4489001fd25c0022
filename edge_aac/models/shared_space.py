"""Files and texts in the one space of a bundle, whatever its kind: what zero-shot naming needs of a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edge_aac import records
from edge_aac.errors import DataError
from edge_aac.fluency.sound_names import SoundNames
from edge_aac.models.contract import ScoredCaption

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class HeardPart:
    """A window or clip of a file.

    Attributes:
        start_s, end_s: its real sound, in seconds from the beginning.
        embedding: (E,), of unit length.
        channel: number of its channel, from 1; None where it holds all channels.
    """

    start_s: float
    end_s: float
    embedding: Array
    channel: int | None = None


class SharedSpace(Protocol):
    """A loaded bundle that embeds sounds and texts alike. One thread at a time uses it."""

    @property
    def identity(self) -> records.Model:
        """The bundle, its version, and the backend and precision that run it."""

    @property
    def language(self) -> str:
        """Language of the texts that it learnt, a BCP 47 tag."""

    @property
    def own_labels(self) -> Sequence[str]:
        """The labels that the bundle itself names; there may be none."""

    @property
    def templates(self) -> Sequence[str]:
        """What the bundle makes texts of labels with, at least one: ``{}`` stands where the label goes."""

    @property
    def sound_names(self) -> SoundNames | None:
        """The sounds that the bundle lists, with their words; None where it lists none."""

    @property
    def logit_scale(self) -> float | None:
        """Factor of the cosines before a softmax, as it was learnt; None where the bundle states none."""

    def written(self, text: str) -> str:
        """A text as this bundle's texts are written; empty where nothing of it is left."""

    def embed(self, texts: Sequence[str]) -> Array:
        """Embeddings (N, E) of at least one text as :meth:`written` gives it, each of unit length.

        Raises:
            DataError: a text has more tokens than the bundle reads.
        """

    def hear(self, path: Path) -> Iterator[HeardPart]:
        """All windows or clips of a file, in constant memory.

        Raises:
            InputMissingError: the file is not there or cannot be read.
            DataError: it is not usable sound, or what was heard has no usable numbers; what came before the damage was
                given.
        """


def unit(embedding: Array) -> Array:
    """An embedding (E,) divided by its length.

    Raises:
        DataError: it has none, or is no number.
    """
    length = float(np.linalg.norm(embedding))
    if not np.isfinite(length) or length == 0.0:
        raise DataError("the encoder gave no usable numbers: check the sound's level, or build the bundle again")
    return (embedding / np.float32(length)).astype(np.float32)


def nearest_first(texts: Sequence[str], embeddings: Array, sound: Array) -> list[ScoredCaption]:
    """Texts ranked by their cosines with a sound; of equals A comes first.

    Args:
        texts: N captions.
        embeddings: (N, E) of these, each of unit length.
        sound: (E,), of unit length.
    """
    scored = [
        ScoredCaption(text, cosine, None, cosine, embedding)
        for text, cosine, embedding in zip(texts, (embeddings @ sound).tolist(), embeddings, strict=True)
    ]
    return sorted(scored, key=lambda caption: (-caption.hybrid, caption.text))
