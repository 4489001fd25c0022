"""Prompts as CLIP's tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from tokenizers import Tokenizer
from torch import Tensor

END = "<|endoftext|>"
"""Ends a prompt, and pads it."""


class ClipText:
    """CLIP's tokenizer as Pengi uses it.

    Args:
        tokenizer: CLIP's; it is changed.
        length: tokens that a prompt is cut and padded to; the end token of a longer one is kept.

    Attributes:
        tokenizer: as it was set up; `length` as given.
        end: id of the end token.
    """

    def __init__(self, tokenizer: Tokenizer, length: int) -> None:
        tokenizer.enable_truncation(length)
        self.tokenizer, self.length = tokenizer, length
        self.end: int = tokenizer.token_to_id(END)

    def batch(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Token ids and attention mask (1 = token, 0 = padding), (N, length) int64 each."""
        ids = torch.full((len(texts), self.length), self.end)
        mask = torch.zeros_like(ids)
        for index, text in enumerate(texts):
            row = self.tokenizer.encode(text).ids
            ids[index, : len(row)] = torch.tensor(row)
            mask[index, : len(row)] = 1
        return ids, mask
