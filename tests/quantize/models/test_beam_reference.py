"""Greedy and beam search against transformers' own, on small random decoders.

A finished beam's score is its log-likelihood over its length to the power of the length penalty. What counts as length
has changed: in transformers 4.30 the tokens without the end, the start counted; later what was generated, the end
counted and the prompt not. Behind a prompt of one token, the start, both are the same number, so that the scores can be
compared whatever the penalty.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BartConfig, BartForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

from edge_aac.bundle.manifest import DecodingRules
from edge_aac.engines.steps import Memory
from edge_aac.models.beam import FinishedBeam, beam_search
from edge_aac.models.decoding import Candidate, CandidateDecoder
from quantize.models.config import DecoderConfig
from quantize.models.decoder import BartDecoder
from quantize.models.graph_modules import DecoderGraph

VOCABULARY, DIM, HEADS, LAYERS, POSITIONS = 40, 16, 4, 2, 24
END = 2
SEEDS = range(24)


def _model(seed: int) -> tuple[BartForConditionalGeneration, torch.Tensor]:
    """A decoder that prefers a few tokens, the end among them more or less, and a memory (1, T, D)."""
    torch.manual_seed(seed)
    config = BartConfig(
        vocab_size=VOCABULARY,
        d_model=DIM,
        encoder_layers=1,
        encoder_attention_heads=HEADS,
        encoder_ffn_dim=8,
        decoder_layers=LAYERS,
        decoder_attention_heads=HEADS,
        decoder_ffn_dim=32,
        max_position_embeddings=POSITIONS,
        init_std=0.3,
        dropout=0.0,
        attention_dropout=0.0,
        decoder_start_token_id=END,
        forced_eos_token_id=END,
    )
    model = BartForConditionalGeneration(config).eval()
    model.final_logits_bias[0] = 2 * torch.randn(VOCABULARY)
    model.final_logits_bias[0, END] += 2 + 1.5 * (seed % 4)
    return model, torch.randn(1, 7, DIM)


def _rules(seed: int, **changes: object) -> DecodingRules:
    length = 6 + seed % 14
    rules = DecodingRules(min_length=seed % 5, max_length=length, max_positions=POSITIONS, no_repeat_ngram=seed % 4)
    return rules.model_copy(update=changes)


def _generate(
    model: BartForConditionalGeneration, memory: torch.Tensor, rules: DecodingRules
) -> tuple[list[int], float]:
    """What transformers generates, from the start to the end, and the score where there are beams."""
    beam = rules.method == "beam"
    given: dict[str, Any] = {"early_stopping": True, "length_penalty": rules.length_penalty} if beam else {}
    generated = model.generate(
        encoder_outputs=BaseModelOutput(last_hidden_state=memory),
        num_beams=rules.beams if beam else 1,
        do_sample=False,
        min_length=rules.min_length,
        max_length=rules.max_length,
        no_repeat_ngram_size=rules.no_repeat_ngram,
        return_dict_in_generate=True,
        output_scores=True,
        **given,
    )
    return generated.sequences[0].tolist(), float(generated.sequences_scores[0]) if beam else 0.0


class _UncachedRows:
    """The same model without a cache: whole prefixes, which ``reorder`` puts into another order."""

    def __init__(self, model: BartForConditionalGeneration, memory: torch.Tensor) -> None:
        self._model, self._memory = model, memory
        self._prefixes = np.zeros((0, 0), np.int64)

    def step(self, token_ids: np.ndarray, position: int) -> np.ndarray:
        self._prefixes = np.hstack((self._prefixes, token_ids)) if position else token_ids
        return _logits(self._model, self._memory, self._prefixes)[:, -1]

    def reorder(self, parents: np.ndarray, _: int) -> None:
        self._prefixes = self._prefixes[parents]


@torch.no_grad()
def _logits(model: BartForConditionalGeneration, memory: torch.Tensor, prefixes: np.ndarray) -> np.ndarray:
    """(N, S, V)."""
    memories = BaseModelOutput(last_hidden_state=memory.expand(len(prefixes), -1, -1))
    ids = torch.from_numpy(np.ascontiguousarray(prefixes))
    return model(encoder_outputs=memories, decoder_input_ids=ids, use_cache=False).logits.numpy()


class _CachedStep:
    """Our own decoder with the same weights, as the graph that is exported of it."""

    def __init__(self, model: BartForConditionalGeneration) -> None:
        config = DecoderConfig(
            vocab_size=VOCABULARY, layers=LAYERS, heads=HEADS, ffn_dim=32, max_positions=POSITIONS, dropout=0.0
        )
        self.decoder = BartDecoder(DIM, config).eval()
        self.decoder.load_state_dict(model.model.decoder.state_dict())
        captioner: Any = SimpleNamespace(
            decoder=self.decoder, lm_head=model.lm_head, final_logits_bias=model.final_logits_bias
        )
        self._graph = DecoderGraph(captioner).eval()
        cache = ("rows", HEADS, "capacity", DIM // HEADS)
        self.input_shapes = {name: cache for name in self._graph.input_names if name.startswith("self_")}
        self.input_shapes["memory_padding"] = ("windows", "memory_steps")

    @torch.no_grad()
    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs = self._graph(*(torch.from_numpy(inputs[name]) for name in self._graph.input_names))
        return dict(zip(("logits", "new_keys", "new_values"), (tensor.numpy() for tensor in outputs), strict=True))


@torch.no_grad()
def _decode(model: BartForConditionalGeneration, memory: torch.Tensor, rules: DecodingRules) -> Candidate:
    engine = _CachedStep(model)
    keys, values = engine.decoder.cross_keys_values(memory)
    decoder = CandidateDecoder(engine)
    padding = np.zeros(memory.shape[:2], bool)
    ((candidate,),) = decoder.decode(Memory(keys.numpy(), values.numpy(), padding), rules, [np.random.default_rng(0)])
    return candidate


def _mean_likelihood(model: BartForConditionalGeneration, memory: torch.Tensor, whole: list[int]) -> float:
    """Teacher-forced, of all tokens behind the start."""
    logits = torch.from_numpy(_logits(model, memory, np.array([whole[:-1]]))[0])
    return float(logits.log_softmax(dim=-1)[range(len(whole) - 1), whole[1:]].mean())


def _whole(found: Candidate | FinishedBeam) -> list[int]:
    return [END, *found.token_ids, END]


@pytest.mark.parametrize("seed", SEEDS)
def test_greedy(seed: int) -> None:
    model, memory = _model(seed)
    rules = _rules(seed, method="greedy")
    candidate = _decode(model, memory, rules)
    expected, _ = _generate(model, memory, rules)
    assert _whole(candidate) == expected
    assert candidate.log_likelihood == pytest.approx(_mean_likelihood(model, memory, expected), abs=1e-4)


@pytest.mark.parametrize(("beams", "penalty"), [(2, 1.0), (3, 0.0), (4, 1.0), (4, 2.0), (6, -1.0)])
@pytest.mark.parametrize("seed", SEEDS)
def test_beam_search(seed: int, beams: int, penalty: float) -> None:
    model, memory = _model(seed)
    rules = _rules(seed, method="beam", beams=beams, length_penalty=penalty)
    expected, score = _generate(model, memory, rules)
    rows = _UncachedRows(model, memory)
    (beam,) = beam_search(rows.step, rows.reorder, rules)
    assert beam is not None
    assert _whole(beam) == expected
    assert beam.score == pytest.approx(score, rel=1e-4, abs=1e-4)
    candidate = _decode(model, memory, rules)
    assert _whole(candidate) == expected
    likelihood = _mean_likelihood(model, memory, expected)
    assert candidate.log_likelihood == pytest.approx(likelihood, abs=1e-4)
    assert beam.log_likelihood == pytest.approx(likelihood, abs=1e-4)


def test_the_models_are_worth_comparing() -> None:
    lengths, greedy_is_beam = set(), []
    for seed in SEEDS:
        model, memory = _model(seed)
        rules = _rules(seed, method="beam")
        beam = _decode(model, memory, rules)
        lengths.add(len(beam.token_ids) + 2 - rules.max_length)
        greedy_is_beam.append(beam.token_ids == _decode(model, memory, _rules(seed, method="greedy")).token_ids)
    assert 0 in lengths, "some ends are forced"
    assert len(lengths) > 4, "others are chosen"
    assert 0.1 < np.mean(greedy_is_beam) < 0.9
