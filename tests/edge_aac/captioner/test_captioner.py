"""The captioner with the built-in bundle: what it gives, whatever the bundle has learnt to say."""

from __future__ import annotations

import numpy as np
import pytest

from edge_aac.captioner.bundle import DEFAULT_BUNDLE
from edge_aac.captioner.captioner import Captioner, window_rng
from edge_aac.engines.engine import EngineOptions


@pytest.fixture(scope="module")
def captioner() -> Captioner:
    return Captioner.open(DEFAULT_BUNDLE, EngineOptions(threads=1))


def _fbank(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.5, (998, 128)).astype(np.float32)


def _plain(captioner: Captioner, fbank: np.ndarray, seed: int) -> list[tuple[str, float, float, float]]:
    ranked = captioner.caption(fbank, window_rng(seed, 0)).ranked
    return [(each.text, each.hybrid, each.log_likelihood, each.similarity) for each in ranked]


def test_what_a_window_gives(captioner: Captioner) -> None:
    captioned = captioner.caption(_fbank(0), window_rng(0, 0))
    manifest = captioner.bundle.manifest
    assert captioned.candidates == manifest.decoding.candidates
    assert 1 <= len(captioned.ranked) <= captioned.candidates
    assert captioned.audio_embedding.shape == (manifest.embedding_size,)
    texts = [caption.text for caption in captioned.ranked]
    assert len(texts) == len(set(texts))
    hybrids = [caption.hybrid for caption in captioned.ranked]
    assert hybrids == sorted(hybrids, reverse=True)
    assert captioned.best is captioned.ranked[0]
    audio = captioned.audio_embedding / np.linalg.norm(captioned.audio_embedding)
    for caption in captioned.ranked:
        assert caption.log_likelihood < 0
        assert -1.001 <= caption.similarity <= 1.001
        assert np.linalg.norm(caption.embedding) == pytest.approx(1, abs=1e-4)
        assert caption.similarity == pytest.approx(float(audio @ caption.embedding), abs=1e-5)
        weights = manifest.rerank
        mixed = weights.log_likelihood * caption.log_likelihood + weights.similarity * caption.similarity
        assert caption.hybrid == pytest.approx(mixed, abs=1e-9)


def test_latency(captioner: Captioner) -> None:
    latency = captioner.caption(_fbank(0), window_rng(0, 0)).latency_ms
    assert min(latency.encode, latency.decode, latency.rerank) > 0
    assert latency.total == pytest.approx(latency.encode + latency.decode + latency.rerank)


def test_same_seed_same_captions_whatever_came_before(captioner: Captioner) -> None:
    first = _plain(captioner, _fbank(1), 7)
    _plain(captioner, _fbank(2), 8)
    assert _plain(captioner, _fbank(1), 7) == first
    assert _plain(Captioner.open(DEFAULT_BUNDLE, EngineOptions(threads=1)), _fbank(1), 7) == first


def test_the_number_of_candidates(captioner: Captioner) -> None:
    few = Captioner(captioner.bundle, EngineOptions(threads=1), candidates=2)
    captioned = few.caption(_fbank(0), window_rng(0, 0))
    assert captioned.candidates == 2
    assert few.rules.candidates == 2
    assert captioner.bundle.manifest.decoding.candidates != 2, "the bundle itself must not change"


def test_windows_have_generators_of_their_own() -> None:
    draws = [window_rng(seed, start).random() for seed in (0, 1) for start in (0, 32_000, 10**12)]
    assert len(set(draws)) == len(draws)
    assert window_rng(5, 160).random() == window_rng(5, 160).random()
    window_rng(2**63 - 1, 0)
