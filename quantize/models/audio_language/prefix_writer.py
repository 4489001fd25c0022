"""GPT-2 that goes on from a prefix of vectors: logits, and texts by beam search."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import GPT2LMHeadModel

from edge_aac.errors import DataError
from quantize.models.audio_language.beam_search import Beams, SearchRules, beam_search
from quantize.models.audio_language.gpt2_text import Gpt2Text


@dataclass(frozen=True)
class Generated:
    """What was written for one prefix.

    Attributes:
        texts: best first. A text that stopped ends in a space, its stop token.
        beams: their tokens and scores.
    """

    texts: tuple[str, ...]
    beams: Beams


class PrefixWriter:
    """The language model and its tokens.

    Args:
        gpt: in evaluation mode.
        text: its tokens.
    """

    def __init__(self, gpt: GPT2LMHeadModel, text: Gpt2Text) -> None:
        self.gpt, self.text = gpt, text

    @torch.no_grad()
    def embed(self, ids: Tensor) -> Tensor:
        """Embeddings (…, D) of tokens (…), without positions."""
        return self.gpt.transformer.wte(ids)

    @torch.no_grad()
    def logits(self, prefix: Tensor, token_ids: Tensor) -> Tensor:
        """Teacher-forced logits, no mask.

        Args:
            prefix: (B, P, D).
            token_ids: (B, S) int64.

        Returns:
            (B, P + S, V); those of a token stand one position before it.

        Raises:
            DataError: they are longer than GPT-2 has positions.
        """
        inputs = torch.cat([prefix, self.embed(torch.as_tensor(token_ids))], dim=1)
        if inputs.shape[1] > (positions := self.gpt.config.n_positions):
            raise DataError(
                f"a prefix of {prefix.shape[1]} and {token_ids.shape[1]} tokens are more than GPT-2's {positions} "
                "positions: give a shorter text"
            )
        return self.gpt(inputs_embeds=inputs, use_cache=False).logits

    def write(self, prefixes: Iterable[Tensor], rules: SearchRules) -> list[Generated]:
        """Texts for each prefix (P, D); errors as :func:`quantize.models.audio_language.beam_search.beam_search`."""
        found = []
        for prefix in prefixes:
            beams = beam_search(self.gpt, prefix[None], self.text.stop_token, rules)
            rows = zip(beams.token_ids.tolist(), beams.lengths.tolist(), strict=True)
            found.append(Generated(tuple(self.text.decode(ids[:length]) for ids, length in rows), beams))
        return found
