"""What captions call a sound: its phrases, how alike two of them are, and what one sound was called so far."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from edge_aac.fluency.languages import phrase_splitter
from edge_aac.fluency.sound_names import SoundNames
from edge_aac.models.contract import NamingModel, ScoredCaption, WindowModel

Embedding: TypeAlias = npt.NDArray[np.float32]
Embed: TypeAlias = Callable[[Sequence[str]], Embedding]
"""Texts to embeddings (N, E) of unit length, see :meth:`edge_aac.models.contract.WindowModel.embed`."""
Phrases: TypeAlias = Callable[[str], tuple[str, ...]]
"""A caption to the phrases that each name a sound in it, see :func:`edge_aac.fluency.languages.phrase_splitter`."""

REMEMBERED_EMBEDDINGS = 512
"""Phrases whose embeddings are remembered: the same come again and again."""

REMEMBERED_TEXTS = 512
"""Captions and phrases whose reading is remembered."""

REMEMBERED_WORDINGS = 32
"""Wordings of one sound that are known by their words; of more, the newest."""


def whole_caption(text: str) -> tuple[str, ...]:
    """A caption as one phrase, in languages without a reader of sentences."""
    return (text,)


@lru_cache(REMEMBERED_TEXTS)
def _split(phrases: Phrases, text: str) -> tuple[str, ...]:
    """The same captions come again and again, and of all sources."""
    return phrases(text)


@lru_cache(REMEMBERED_TEXTS)
def _only_sound(names: SoundNames, phrase: str) -> str | None:
    named = names.named(phrase)
    return named[0] if len(named) == 1 else None


class CaptionReader:
    """Reads a bundle's captions: a function from a caption to its phrases, that also knows what each phrase names.

    Args:
        phrases: splits captions, as the language has it.
        names: the sounds that the bundle lists; None where it lists none.
    """

    def __init__(self, phrases: Phrases = whole_caption, names: SoundNames | None = None) -> None:
        self._phrases = phrases
        self._names = names

    def __call__(self, text: str) -> tuple[str, ...]:
        """The phrases of a caption that each name a sound."""
        return _split(self._phrases, text)

    def sound(self, phrase: str) -> str | None:
        """The sound that a phrase names; None where it is none of those listed, or not one alone."""
        return _only_sound(self._names, phrase) if self._names else None

    def kin(self, sound: str | None) -> frozenset[str]:
        """What a listed sound is an example of."""
        return frozenset(self._names.ancestors(sound)) if self._names and sound else frozenset()


def caption_reader(model: WindowModel) -> CaptionReader:
    """What reads a model's captions, by their language and the sounds that its bundle lists.

    Raises:
        ConfigError: see :func:`edge_aac.fluency.languages.phrase_splitter`.
    """
    names = model.sound_names if isinstance(model, NamingModel) else None
    return CaptionReader(phrase_splitter(model.language) or whole_caption, names)


SAME_SOUND, COARSER_SOUND, OTHER_SOUND = 1.0, 0.99, -1.0
"""In place of a cosine, where what two phrases name is known: the same; one an example of the other; two things."""


@dataclass(frozen=True)
class NamedSound:
    """A sound as a caption names it.

    Attributes:
        text: the phrase.
        embed: gives its text embedding; of a listed sound nobody may ask for it.
        caption: the whole caption, of which ``text`` is all or a part.
        rank: place of the caption among the window's, 0 for the best.
        sound: the listed sound that it names; None where the bundle lists none, or not this.
        kin: what that sound is an example of.
    """

    text: str
    embed: Callable[[], Embedding]
    caption: ScoredCaption
    rank: int
    sound: str | None = None
    kin: frozenset[str] = frozenset()

    @property
    def embedding(self) -> Embedding:
        """Its text embedding, shape (E,), unit length."""
        return self.embed()

    @property
    def quality(self) -> tuple[bool, float]:
        """What namings of one sound are compared by: a sentence of its own is better than a part; then the score."""
        return self.text == self.caption.text, self.caption.hybrid

    def as_caption(self) -> ScoredCaption:
        """The phrase as a caption of its own, with the scores of the one that it comes from."""
        whole = self.caption
        embedding = whole.embedding if self.text == whole.text else None
        return ScoredCaption(self.text, whole.hybrid, whole.log_likelihood, whole.similarity, embedding, whole.errors)


class SoundReader:
    """Reads captions as the sounds that they name.

    Args:
        embed: embeds phrases that the model has not embedded itself.
        phrases: splits captions.
    """

    def __init__(self, embed: Embed, phrases: Phrases = whole_caption) -> None:
        self._embed = embed
        self._reader = phrases if isinstance(phrases, CaptionReader) else CaptionReader(phrases)
        self._embeddings: OrderedDict[str, Embedding] = OrderedDict()

    def read(self, captions: Sequence[ScoredCaption]) -> list[NamedSound]:
        """The sounds that the captions of a window name, those of the best caption first."""
        return [
            NamedSound(phrase, partial(self._embedding, phrase, caption), caption, rank, sound, self._reader.kin(sound))
            for rank, caption in enumerate(captions)
            for phrase in self._reader(caption.text)
            for sound in [self._reader.sound(phrase)]
        ]

    def _embedding(self, phrase: str, caption: ScoredCaption) -> Embedding:
        if phrase == caption.text and caption.embedding is not None:
            return caption.embedding
        found = self._embeddings.get(phrase)
        if found is None:
            # One by one: some graphs' results depend, in their last digits, on what is embedded beside.
            found = self._embed([phrase])[0]
            self._embeddings[phrase] = found
            if len(self._embeddings) > REMEMBERED_EMBEDDINGS:
                self._embeddings.popitem(last=False)
        else:
            self._embeddings.move_to_end(phrase)
        return found


class KnownSound:
    """What one sound was called so far: the mean of its wordings' embeddings, and its newest wordings.

    Wordings are embedded when a phrase is to be compared with them and not both are listed, or when more than
    ``REMEMBERED_WORDINGS`` wait for it.

    Args:
        named: its first naming.
    """

    def __init__(self, named: NamedSound) -> None:
        self._sum = self._direction = np.zeros((), np.float64)
        self._unsummed: deque[NamedSound] = deque()
        self._wordings: OrderedDict[str, None] = OrderedDict()
        self._sound, self._kin = named.sound, named.kin
        self.add(named)

    @property
    def wordings(self) -> tuple[str, ...]:
        """Its newest wordings, the oldest first."""
        return tuple(self._wordings)

    def add(self, named: NamedSound) -> None:
        """Take in a wording; one that is known adds nothing, lest the commonest outvote all others.

        The most exact of the listed sounds that it was called is what it is.
        """
        if named.sound is not None and (self._sound is None or self._sound in named.kin):
            self._sound, self._kin = named.sound, named.kin
        if named.text in self._wordings:
            self._wordings.move_to_end(named.text)
            return
        self._wordings[named.text] = None
        if len(self._wordings) > REMEMBERED_WORDINGS:
            self._wordings.popitem(last=False)
        self._unsummed.append(named)
        if len(self._unsummed) > REMEMBERED_WORDINGS:
            self._mean_direction()

    def similarity(self, named: NamedSound) -> float:
        """How surely a naming is of this sound: by the listed sounds, where both are listed; else the cosine of the
        naming and the mean of all wordings, 1 of a wording that is known."""
        if named.text in self._wordings:
            return 1.0
        if self._sound is not None and named.sound is not None:
            if self._sound == named.sound:
                return SAME_SOUND
            return COARSER_SOUND if self._sound in named.kin or named.sound in self._kin else OTHER_SOUND
        return float(self._mean_direction() @ named.embedding)

    def _mean_direction(self) -> npt.NDArray[np.float64]:
        """The mean of all wordings' embeddings, (E,), of unit length."""
        if self._unsummed:
            while self._unsummed:
                self._sum = self._sum + self._unsummed[0].embedding
                self._unsummed.popleft()
            length = float(np.linalg.norm(self._sum))
            self._direction = self._sum / length if length > 0.0 else self._sum
        return self._direction
