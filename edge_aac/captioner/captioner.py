"""The captioner: encode a window, decode candidates, rerank them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_aac.captioner.bundle import Bundle, open_bundle
from edge_aac.captioner.decoding import CandidateDecoder, never
from edge_aac.captioner.rerank import Reranker, ScoredCaption
from edge_aac.captioner.tokens import load_tokenizer
from edge_aac.engines.engine import EngineOptions, load_engine


@dataclass(frozen=True)
class Latency:
    """Milliseconds spent on one window."""

    encode: float
    decode: float
    rerank: float

    @property
    def total(self) -> float:
        return self.encode + self.decode + self.rerank


@dataclass(frozen=True)
class CaptionedWindow:
    """What the captioner says of a window.

    Attributes:
        ranked: the distinct captions, best first.
        audio_embedding: (E,) as the encoder gave it.
        candidates: how many were drawn.
        latency_ms: where the time went.
    """

    ranked: list[ScoredCaption]
    audio_embedding: npt.NDArray[np.float32]
    candidates: int
    latency_ms: Latency

    @property
    def best(self) -> ScoredCaption:
        return self.ranked[0]


class Captioner:
    """Captions windows with one bundle.

    Holds the decoder's cache, so one captioner serves one thread at a time.

    Args:
        bundle: checked, from :func:`edge_aac.captioner.bundle.open_bundle`.
        options: backend and threads.
        candidates: how many to draw a window; None for the bundle's own default.
    """

    def __init__(self, bundle: Bundle, options: EngineOptions | None = None, candidates: int | None = None) -> None:
        options = options or EngineOptions()
        manifest = bundle.manifest
        self.bundle = bundle
        self.rules = manifest.decoding
        if candidates is not None:
            self.rules = manifest.decoding.model_copy(update={"candidates": candidates})
        self._encoder, self.encoder_graph = load_engine(bundle, "encoder", options)
        self._decoder = CandidateDecoder(load_engine(bundle, "decoder", options)[0])
        self._reranker = Reranker(
            load_engine(bundle, "text_embedder", options)[0],
            load_tokenizer(bundle.path(manifest.tokenizers.decoder)),
            load_tokenizer(bundle.path(manifest.tokenizers.text)),
            manifest.rerank,
        )

    @classmethod
    def open(cls, name_or_path: str, options: EngineOptions | None = None, candidates: int | None = None) -> Captioner:
        """Open a bundle by name or path and load it."""
        return cls(open_bundle(name_or_path), options, candidates)

    def caption(
        self, fbank: npt.NDArray[np.float32], rng: np.random.Generator, cancelled: Callable[[], bool] = never
    ) -> CaptionedWindow:
        """Caption one window.

        Args:
            fbank: (998, 128) normalised filter bank.
            rng: seeded by the caller; the same generator state gives the same captions.
            cancelled: asked before every decoding step.

        Raises:
            CancelledError: ``cancelled`` said so.
        """
        started = time.perf_counter()
        encoded = self._encoder.run({"fbank": fbank[np.newaxis]})
        encode_done = time.perf_counter()
        candidates = self._decoder.decode(
            encoded["cross_keys"][0], encoded["cross_values"][0], self.rules, rng, cancelled
        )
        decode_done = time.perf_counter()
        audio_embedding = encoded["audio_embedding"][0]
        ranked = self._reranker.rank(candidates, audio_embedding)
        latency = Latency(
            encode=1e3 * (encode_done - started),
            decode=1e3 * (decode_done - encode_done),
            rerank=1e3 * (time.perf_counter() - decode_done),
        )
        return CaptionedWindow(ranked, audio_embedding, len(candidates), latency)


def window_rng(seed: int, start_sample: int) -> np.random.Generator:
    """The generator of the window that starts at ``start_sample``.

    Each window has its own, so a skipped or silent window changes nothing for those after it.
    """
    return np.random.default_rng([seed, start_sample])
