"""The published way in torch's eager mode, with random weights: they take the time and memory of trained ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import BartConfig, BartForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

from benchmarks.full_size import at_length, text_embedder
from benchmarks.report.scene import timed, window_samples
from benchmarks.report.worker import Way
from edge_aac.audio.features import filter_bank
from edge_aac.bundle.manifest import DecodingRules
from edge_aac.errors import DataError
from edge_aac.models.seq2seq import window_rng
from quantize.models.captioner import Captioner
from quantize.models.config import CaptionerConfig, captioner_config
from quantize.models.graph_modules import fold_weight_norm
from quantize.models.published import PublishedCaptioner

INSTRUCTION_TOKENS = 4
""""Represent the audio caption: " in words, as the numbered tokenizer of the bundle beside it counts them."""

_SHARPNESS = 6.0
"""Tokens as unequally likely as trained weights make them: among equals, sampling would sort the whole vocabulary."""


class PublishedParts:
    """A captioner and a text embedder of the published sizes.

    Args:
        threads: of torch.
        sizes: of the captioner, as :func:`quantize.models.config.captioner_config` reads them; empty for the published.
        embedder: size of the text embedder, of :data:`benchmarks.full_size.INSTRUCTORS`.
        candidates: captions a window.
        tokens: length of each, start and end counted.
    """

    def __init__(self, threads: int, sizes: Mapping[str, Any], embedder: str, candidates: int, tokens: int) -> None:
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.candidates, self.tokens = candidates, tokens
        model = random_captioner(sizes)
        self.config: CaptionerConfig = model.config
        self.captioner = PublishedCaptioner(model)
        self.text_embedder = text_embedder(embedder).eval()
        vocabulary: int = self.text_embedder.transformer.config.vocab_size
        texts = torch.Generator().manual_seed(0)
        shape = (candidates, tokens - 2 + INSTRUCTION_TOKENS)
        self._text_ids = torch.randint(1, vocabulary, shape, generator=texts)

    def rules(self, candidates: int) -> DecodingRules:
        """The published rules, for captions of the fixed length."""
        return at_length(self.captioner.rules.model_copy(update={"candidates": candidates}), self.tokens)

    @torch.no_grad()
    def rerank(self, audio_embedding: Tensor) -> Tensor:
        """Similarity of each caption with the sound: texts of the captions' length, whatever they say."""
        texts: Tensor = self.text_embedder(self._text_ids, torch.ones_like(self._text_ids))
        return texts @ functional.normalize(audio_embedding[0], dim=0)

    @torch.no_grad()
    def encode(self, fbank: np.ndarray) -> tuple[Tensor, Tensor]:
        """Memory (1, T, D) and audio embedding (1, E) of a window (998, 128)."""
        memory, _, embedding = self.captioner.model.encode(torch.from_numpy(fbank[np.newaxis]))
        return memory, embedding

    def about(self) -> Mapping[str, object]:
        """Facts of the models."""
        return {
            "parameters": sum(p.numel() for p in self.captioner.model.parameters()),
            "text_embedder_parameters": sum(p.numel() for p in self.text_embedder.parameters()),
            "candidates": self.candidates,
            "tokens": self.tokens,
            "precision": "fp32",
        }


def eager(  # noqa: PLR0913, PLR0917 - settings of a way
    threads: int, sizes: Mapping[str, Any], embedder: str, candidates: int, tokens: int, second_pass: bool
) -> Way:
    """Torch as it comes, all candidates side by side over a cache.

    Args:
        threads, sizes, embedder, candidates, tokens: as of :class:`PublishedParts`.
        second_pass: whether the likelihood of each caption is computed by feeding it to the decoder once more, as
            published; else it is kept from the drawing.
    """
    parts = PublishedParts(threads, sizes, embedder, candidates, tokens)
    rules = parts.rules(candidates)

    def run(index: int) -> Mapping[str, float]:
        features_ms, fbank = timed(lambda: filter_bank(window_samples(index)))
        encode_ms, (memory, embedding) = timed(lambda: parts.encode(fbank))
        decode_ms, found = timed(lambda: parts.captioner.decode(memory, None, rules, window_rng(0, index)))
        times = {"features": features_ms, "encode": encode_ms, "decode": decode_ms}
        if second_pass:
            labels = torch.tensor([[*candidate.token_ids, rules.eos_token_id] for candidate in found])
            times["score"], _ = timed(lambda: _likelihoods(parts.captioner, memory, labels))
        times["rerank"], _ = timed(lambda: parts.rerank(embedding))
        return times

    return Way(run, parts.about())


@torch.no_grad()
def _likelihoods(captioner: PublishedCaptioner, memory: Tensor, labels: Tensor) -> Tensor:
    return captioner.caption_nll(memory, None, labels)


def generate(threads: int, sizes: Mapping[str, Any], embedder: str, candidates: int, tokens: int) -> Way:
    """The same encoder, and a decoder of the same sizes in transformers' ``generate`` with its own cache.

    Arguments are those of :class:`PublishedParts`.
    """
    parts = PublishedParts(threads, sizes, embedder, candidates, tokens)
    decoder, rules = parts.config.decoder, parts.rules(candidates)
    model: Any = BartForConditionalGeneration(
        BartConfig(  # type: ignore[no-untyped-call]
            vocab_size=decoder.vocab_size,
            d_model=parts.config.beats.dim,
            encoder_layers=1,  # never run
            encoder_attention_heads=decoder.heads,
            encoder_ffn_dim=8,
            decoder_layers=decoder.layers,
            decoder_attention_heads=decoder.heads,
            decoder_ffn_dim=decoder.ffn_dim,
            max_position_embeddings=decoder.max_positions,
            pad_token_id=decoder.pad_token_id,
            bos_token_id=decoder.start_token_id,
            decoder_start_token_id=decoder.start_token_id,
            eos_token_id=decoder.eos_token_id,
            forced_eos_token_id=decoder.eos_token_id,
        )
    ).eval()
    parts.captioner.model.decoder = torch.nn.Module()  # type: ignore[assignment]  # generate's stands in its place

    @torch.no_grad()
    def drawn(memory: Tensor) -> Tensor:
        hidden: Any = memory  # transformers asks for a FloatTensor, which no tensor is to mypy
        made: Tensor = model.generate(
            encoder_outputs=BaseModelOutput(last_hidden_state=hidden),
            do_sample=True,
            num_return_sequences=candidates,
            temperature=rules.temperature,
            top_p=rules.top_p,
            top_k=0,
            no_repeat_ngram_size=rules.no_repeat_ngram,
            min_length=tokens,
            max_length=tokens,
        )
        if made.shape != (candidates, tokens):
            raise DataError(f"transformers gave captions of shape {tuple(made.shape)}, not {(candidates, tokens)}")
        return made

    def run(index: int) -> Mapping[str, float]:
        features_ms, fbank = timed(lambda: filter_bank(window_samples(index)))
        encode_ms, (memory, embedding) = timed(lambda: parts.encode(fbank))
        torch.manual_seed(index)
        decode_ms, _ = timed(lambda: drawn(memory))
        rerank_ms, _ = timed(lambda: parts.rerank(embedding))
        return {"features": features_ms, "encode": encode_ms, "decode": decode_ms, "rerank": rerank_ms}

    return Way(run, parts.about())


def random_captioner(sizes: Mapping[str, Any]) -> Captioner:
    """A captioner with random weights, in evaluation mode."""
    model = Captioner(captioner_config(sizes)).eval()
    fold_weight_norm(model)
    with torch.no_grad():
        model.decoder.embed_tokens.weight.mul_(_SHARPNESS)
    return model.requires_grad_(False)
