"""Texts of a bundle that answers prompts: a prompt as ids, and ids as an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from edge_aac.engines.contract import Arrays
from edge_aac.models.prompted_manifest import PromptTokens

# transformers' clean_up_tokenization_spaces, which its tokenizers did unasked when GPT-2 was built into such systems.
_CLEANED = (
    *((" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'")),
    *((" n't", "n't"), (" 'm", "'m"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re")),
)


def cleaned(text: str) -> str:
    """A decoded text without the spaces before punctuation and contractions."""
    for found, wanted in _CLEANED:
        text = text.replace(found, wanted)
    return text


def answer_text(tokenizer: Tokenizer, ids: Sequence[int], plain: bool = False) -> str:
    """An answer as published: special tokens kept, spaces cleaned; one that stopped ends in a space.

    Args:
        tokenizer: of the decoder.
        ids: of the answer.
        plain: whether special tokens, and the spaces around it, are left out.
    """
    text = cleaned(tokenizer.decode(list(ids), skip_special_tokens=plain))
    return text.strip() if plain else text


@dataclass(frozen=True)
class PromptIds:
    """A prompt as a prompt encoder is given it.

    Attributes:
        inputs: ``token_ids`` and ``attention_mask`` (1 = token, 0 = padding), (1, S) int64 each.
        cut: whether it has more tokens than the encoder hears.
    """

    inputs: Arrays
    cut: bool


class PromptText:
    """Prompts to ids.

    Args:
        tokenizer: of the prompt encoder.
        rule: how a prompt is ended, cut and padded.
    """

    def __init__(self, tokenizer: Tokenizer, rule: PromptTokens) -> None:
        self._tokenizer, self._rule = tokenizer, rule

    def ids(self, prompt: str) -> PromptIds:
        """The ids of a prompt."""
        rule = self._rule
        encoding = self._tokenizer.encode(prompt + rule.end, add_special_tokens=not rule.end)
        row = encoding.ids[: rule.length]
        ids: npt.NDArray[np.int64] = np.full((1, rule.length), rule.padding, np.int64)
        mask = np.zeros_like(ids)
        ids[0, : len(row)], mask[0, : len(row)] = row, 1
        cut = bool(encoding.overflowing) or len(encoding.ids) > rule.length
        return PromptIds({"token_ids": ids, "attention_mask": mask}, cut)
