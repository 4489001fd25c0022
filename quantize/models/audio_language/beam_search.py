"""The beam search of clapcap and Pengi: GPT-2 goes on from a prefix of vectors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache, GPT2LMHeadModel

from edge_aac.errors import ConfigError, DataError
from quantize.models.config import above_zero, at_least_one

AFTER_THE_END = 0
"""Token that a stopped beam goes on with, at no cost."""


@dataclass(frozen=True)
class SearchRules:
    """How texts are searched for; the defaults are the published methods'.

    Attributes:
        beams: texts that are kept at each step; 1 is greedy.
        max_length: tokens of a text, its stop token counted.
        temperature: divides the logits.
    """

    beams: int = 5
    max_length: int = 67
    temperature: float = 1.0

    def __post_init__(self) -> None:
        at_least_one(self, "beams", "max_length")
        above_zero(self, "temperature")


@dataclass(frozen=True)
class Beams:
    """What a search found.

    Attributes:
        token_ids: (beams, steps) int64, best first; 0 behind a text's end.
        lengths: (beams,) int64, tokens of each text; its stop token is one of them.
        scores: (beams,) mean log-probability of a token, best first.
        unsorted_scores: the scores in the order in which the search kept its beams, not that of the texts: Pengi's
            published ``generate`` returns them so.
    """

    token_ids: Tensor
    lengths: Tensor
    scores: Tensor
    unsorted_scores: Tensor


@torch.no_grad()
def beam_search(gpt: GPT2LMHeadModel, prefix: Tensor, stop_token: int, rules: SearchRules) -> Beams:
    """Search the texts that follow one prefix.

    Beams are ranked by the mean log-probability of their tokens. A beam stops at the stop token and then keeps its
    length; the search ends when all have stopped. Facts from the code of Elizalde et al. (arXiv 2309.05767) and
    Deshmukh et al. (arXiv 2305.11834), which is ClipCap's.

    Args:
        gpt: in evaluation mode.
        prefix: (1, P, D) vectors that stand where token embeddings would; positions count from its first.
        stop_token: ends a text.
        rules: see above.

    Raises:
        ConfigError: more beams than there are tokens.
        DataError: prefix and text are longer than GPT-2 has positions.
    """
    vocabulary, positions = gpt.config.vocab_size, gpt.config.n_positions
    if rules.beams > vocabulary:
        raise ConfigError(f"beams is {rules.beams}; it must be at most the vocabulary's {vocabulary}")
    if prefix.shape[1] + rules.max_length - 1 > positions:  # the last token is not fed
        raise DataError(
            f"a prefix of {prefix.shape[1]} and {rules.max_length} tokens are more than GPT-2's {positions} positions: "
            "ask for a shorter text"
        )
    cache = DynamicCache()
    first = _log_probabilities(gpt, prefix, cache, rules.temperature)
    sums, chosen = first[0].topk(rules.beams)
    cache.batch_repeat_interleave(rules.beams)
    tokens, lengths = chosen[:, None], torch.ones(rules.beams, dtype=torch.long)
    stopped = chosen == stop_token
    while tokens.shape[1] < rules.max_length and not stopped.all():
        inputs = gpt.transformer.wte(tokens[:, -1:])
        after = _log_probabilities(gpt, inputs, cache, rules.temperature)
        after[stopped] = -torch.inf
        after[stopped, AFTER_THE_END] = 0.0
        longer = lengths + ~stopped
        # Ranked by the mean, carried on as the sum again: the roundings are those of the published code.
        means, best = ((sums[:, None] + after) / longer[:, None]).flatten().topk(rules.beams)
        source, chosen = best // vocabulary, best % vocabulary
        lengths = longer[source]
        sums = means * lengths
        tokens = torch.cat([tokens[source], chosen[:, None]], dim=1)
        stopped = stopped[source] | (chosen == stop_token)
        cache.reorder_cache(source)
    scores = sums / lengths
    order = scores.argsort(descending=True)
    tokens, lengths = tokens[order], lengths[order]
    tokens = tokens.masked_fill(torch.arange(tokens.shape[1]) >= lengths[:, None], AFTER_THE_END)
    return Beams(tokens, lengths, scores[order], scores)


def _log_probabilities(gpt: GPT2LMHeadModel, inputs: Tensor, cache: DynamicCache, temperature: float) -> Tensor:
    """(rows, V) of the token behind the inputs; −∞ where the probability is 0 in single precision."""
    logits = gpt(inputs_embeds=inputs, past_key_values=cache, use_cache=True).logits[:, -1]
    return (logits / temperature).softmax(dim=-1).log()
