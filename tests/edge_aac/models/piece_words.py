"""Sounds whose words are several tokens each, some of them shared, and tokenizers that say them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE, WordPiece
from tokenizers.trainers import BpeTrainer

from edge_aac.bundle.sureness import SurenessRule
from edge_aac.fluency.sound_names import Say, SoundNames, SoundWords
from edge_aac.models.sureness import Sureness, words_of
from tests.edge_aac.fakes import SPECIAL_TOKENS

NAMES = SoundNames(
    {
        "mouse": SoundWords((), (Say(("mouse", "mouse's tail"), ("squeaks", "moves")),), ("squeak",)),
        "dog": SoundWords((), (Say(("dog", "dogs"), ("barks", "moves")),), ("dogs' bark",)),
        "motorcycle": SoundWords((), (Say(("motorcycle", "motor"), ("revs", "revving")),), ("motor",)),
        "motors": SoundWords((), (Say(("motors",), ("rev",)),), ()),
    },
    ("and",),
)
ORDER = tuple(NAMES.sounds)
FREE = ("a", "more", "moved", "the", "dogged")
KNOWN = frozenset({*FREE, *NAMES.connectives, *(word for sound in NAMES.sounds.values() for word in words_of(sound))})
KINDS = ("word pieces", "bytes, a space before all", "bytes, no space before the first")

_PIECES = ("a", "the", "and", "mo", "dog", "bark", "squ", "re", "tail", "moved", *"bdmsv", "eak", "ing", "vv", "tor")
_LATER = ("re", "use", "ve", "s", "d", "ged", "tor", "cycle", "eak", "v", "ving", "'", "ta", "x", "il")


@cache
def tokenizer_of(kind: str) -> Tokenizer:
    """One of ``KINDS``: the special tokens are 0 to 3; nearly every word is several tokens."""
    if kind == "word pieces":
        pieces = dict.fromkeys((*SPECIAL_TOKENS, *_PIECES, *(f"##{piece}" for piece in _LATER)))
        tokenizer = Tokenizer(WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        tokenizer.decoder = decoders.WordPiece()
        tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
        return tokenizer
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=kind == KINDS[1])
    tokenizer.decoder = decoders.ByteLevel()
    texts = [f"a {word} and the {word}" for word in sorted(KNOWN)]
    trainer = BpeTrainer(vocab_size=40, special_tokens=list(SPECIAL_TOKENS), show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


@cache
def sureness_of(kind: str, threshold: float = 0.5) -> Sureness:
    """The rule for naming the sounds of ``NAMES``, with a tokenizer."""
    rule = SurenessRule(threshold=threshold, names=list(ORDER), words=list(FREE))
    tokenizer = tokenizer_of(kind)
    return Sureness.of(rule, NAMES, tokenizer, tokenizer.get_vocab_size())


def may_be_said(confidences: Mapping[str, float], threshold: float = 0.5) -> set[str]:
    """Words that captions may hold, spelt out; where all may be said, nothing is withheld."""
    sure = [name for name in ORDER if confidences[name] >= threshold]
    return {*FREE, *NAMES.connectives, *(word for name in sure for word in words_of(NAMES.sounds[name]))}


class RandomSteps:
    """A decoder that wants any tokens, the next time others."""

    def __init__(self, seed: int, vocabulary: int, spread: float = 4.0) -> None:
        self._rng = np.random.default_rng(seed)
        self._vocabulary, self._spread = vocabulary, spread

    def step(self, token_ids: np.ndarray, step: int) -> np.ndarray:
        shape = (len(token_ids), self._vocabulary)
        return self._rng.normal(0.0, self._spread, shape).astype(np.float32)

    def reorder(self, parents: np.ndarray, length: int) -> None:
        pass
