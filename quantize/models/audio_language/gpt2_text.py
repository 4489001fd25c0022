"""Texts as GPT-2's tokens, with the end and the padding that CLAP and Pengi were trained with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from tokenizers import AddedToken, Tokenizer
from torch import Tensor

from edge_aac.errors import DataError
from edge_aac.models.prompt_texts import answer_text

END = " <|endoftext|>"
"""Behind a text. The space is a token of its own, and it is the one that captions stop at."""
PADDING = "!"
PADDING_ID = 0


class Gpt2Text:
    """GPT-2's tokenizer as the published code sets it up.

    "!" is its padding, and as a special token it is cut out wherever it stands in a text: its id is 0, so what counts
    ids other than 0 does not count it.

    Args:
        tokenizer: GPT-2's; it is changed.
        source: where it comes from, for messages.

    Raises:
        DataError: its "!" is not token 0.
    """

    def __init__(self, tokenizer: Tokenizer, source: object) -> None:
        if tokenizer.token_to_id(PADDING) != PADDING_ID:
            raise DataError(f"the tokenizer in {source} is not GPT-2's, whose token 0 is '!': put the right one there")
        tokenizer.add_special_tokens([AddedToken(PADDING, special=True, normalized=False)])
        self._tokenizer = tokenizer
        self.stop_token: int = self.ids(END)[0]

    @property
    def tokenizer(self) -> Tokenizer:
        """As it was set up; it belongs to this object."""
        return self._tokenizer

    def ids(self, text: str) -> list[int]:
        """Tokens of a text as it is, without an end."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def batch(self, texts: Sequence[str], length: int, cut: bool = False) -> tuple[Tensor, Tensor]:
        """Texts with their end, padded right.

        Args:
            texts: any; not lower-cased.
            length: tokens to pad to.
            cut: whether a longer text is cut to ``length``, which loses its end token; else all are padded to the
                longest.

        Returns:
            Token ids and attention mask (1 = token, 0 = padding), both (N, S) int64.
        """
        rows = [self.ids(text + END) for text in texts]
        if cut:
            rows = [row[:length] for row in rows]
        width = max([length, *(len(row) for row in rows)])
        ids = torch.full((len(rows), width), PADDING_ID)
        mask = torch.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(row)
            mask[index, : len(row)] = 1
        return ids, mask

    def decode(self, ids: Sequence[int]) -> str:
        """A text of tokens, special ones kept, spaces before punctuation cleaned."""
        return answer_text(self._tokenizer, ids)
