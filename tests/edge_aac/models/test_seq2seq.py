"""The captioner with the built-in bundle, whatever that says, and with graphs that look at what they are given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge_aac.bundle.manifest import DecodingMethod, FamiliarityRule
from edge_aac.bundle.store import DEFAULT_BUNDLE, Bundle
from edge_aac.engines.contract import EngineOptions, GraphDescription, TensorDescription
from edge_aac.errors import ConfigError, DataError
from edge_aac.models import seq2seq as captioner_module
from edge_aac.models.choices import Choices
from edge_aac.models.seq2seq import Captioner, window_rng
from tests.edge_aac.fake_engines import FakeDecoderEngine, FakeEncoderEngine, FakeTextEmbedder, prefix_logits
from tests.edge_aac.fakes import SPECIAL_TOKENS, described, word_tokenizer


@pytest.fixture(scope="module")
def captioner() -> Captioner:
    return Captioner.open(DEFAULT_BUNDLE, EngineOptions(threads=1))


def _fbank(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.5, (998, 128)).astype(np.float32)


def _plain(captioner: Captioner, fbank: np.ndarray, seed: int) -> list[tuple[str, float, float, float | None]]:
    ranked = described(captioner, fbank, window_rng(seed, 0)).ranked
    return [(each.text, each.hybrid, each.log_likelihood, each.similarity) for each in ranked]


def test_what_a_window_gives(captioner: Captioner) -> None:
    captioned = described(captioner, _fbank(0), window_rng(0, 0))
    manifest = captioner.bundle.manifest
    assert captioned.candidates == manifest.decoding.candidates
    assert 1 <= len(captioned.ranked) <= captioned.candidates
    assert captioned.audio_embedding.shape == (manifest.embedding_size,)
    texts = [caption.text for caption in captioned.ranked]
    assert len(texts) == len(set(texts))
    hybrids = [caption.hybrid for caption in captioned.ranked]
    faulty = [bool(caption.errors) for caption in captioned.ranked]
    assert faulty == sorted(faulty)
    for kind in (False, True):
        of_kind = [hybrid for hybrid, errors in zip(hybrids, faulty, strict=True) if errors == kind]
        assert of_kind == sorted(of_kind, reverse=True)
    assert captioned.best is captioned.ranked[0]
    audio = captioned.audio_embedding / np.linalg.norm(captioned.audio_embedding)
    for caption in captioned.ranked:
        assert caption.log_likelihood < 0
        assert caption.similarity is not None
        assert -1.001 <= caption.similarity <= 1.001
        assert np.linalg.norm(caption.embedding) == pytest.approx(1, abs=1e-4)
        assert caption.similarity == pytest.approx(float(audio @ caption.embedding), abs=1e-5)
        weights = manifest.rerank
        mixed = weights.log_likelihood * caption.log_likelihood + weights.similarity * caption.similarity
        assert caption.hybrid == pytest.approx(mixed, abs=1e-9)


def test_latency(captioner: Captioner) -> None:
    latency = described(captioner, _fbank(0), window_rng(0, 0)).latency_ms
    assert min(latency.encode, latency.decode, latency.rerank) > 0
    assert latency.total == pytest.approx(latency.encode + latency.decode + latency.rerank)


def test_same_seed_same_captions_whatever_came_before(captioner: Captioner) -> None:
    first = _plain(captioner, _fbank(1), 7)
    _plain(captioner, _fbank(2), 8)
    assert _plain(captioner, _fbank(1), 7) == first
    assert _plain(Captioner.open(DEFAULT_BUNDLE, EngineOptions(threads=1)), _fbank(1), 7) == first


def test_the_number_of_candidates(captioner: Captioner) -> None:
    own = captioner.bundle.manifest.decoding.candidates
    more = Captioner(captioner.bundle, EngineOptions(threads=1), candidates=own + 1)
    captioned = described(more, _fbank(0), window_rng(0, 0))
    assert captioned.candidates == own + 1
    assert more.rules.candidates == own + 1
    assert captioner.bundle.manifest.decoding.candidates == own, "the bundle itself must not change"


@pytest.mark.parametrize("method", ["greedy", "beam"])
def test_a_method_without_chance_gives_one_caption(captioner: Captioner, method: DecodingMethod) -> None:
    sure = Captioner(captioner.bundle, EngineOptions(threads=1), choices=Choices(method=method))
    first = described(sure, _fbank(0), window_rng(0, 0))
    assert (first.candidates, len(first.ranked)) == (1, 1)
    assert _plain(sure, _fbank(0), 1) == _plain(sure, _fbank(0), 2)


def test_choices_win_over_the_bundle(captioner: Captioner) -> None:
    choices = Choices(max_length=7, likelihood_weight=2.0, similarity_weight=0.0, fluency_check=False)
    chosen = Captioner(captioner.bundle, EngineOptions(threads=1), choices=choices)
    assert (chosen.rules.max_length, captioner.rules.max_length) == (7, captioner.bundle.manifest.decoding.max_length)
    for caption in described(chosen, _fbank(0), window_rng(0, 0)).ranked:
        assert (caption.similarity, caption.errors) == (None, ())
        assert caption.hybrid == pytest.approx(2 * caption.log_likelihood)
        assert len(caption.text.split()) <= 5


def test_a_caption_longer_than_the_bundle_can_count(captioner: Captioner) -> None:
    longest = captioner.bundle.manifest.decoding.max_positions
    with pytest.raises(ConfigError, match=f"max_length {longest + 1} exceeds"):
        Captioner(captioner.bundle, EngineOptions(threads=1), choices=Choices(max_length=longest + 1))


def test_a_caption_shorter_than_the_bundle_allows(captioner: Captioner) -> None:
    shortest = captioner.bundle.manifest.decoding.min_length
    with pytest.raises(ConfigError, match=f"max_length {shortest} leaves no caption"):
        Captioner(captioner.bundle, EngineOptions(threads=1), choices=Choices(max_length=shortest))
    Captioner(captioner.bundle, EngineOptions(threads=1), choices=Choices(max_length=shortest + 1))


def test_padding_is_nothing_to_a_bundle_that_was_trained_without(captioner: Captioner) -> None:
    whole = described(captioner, _fbank(3), window_rng(0, 0))
    short = described(captioner, _fbank(3), window_rng(0, 0), sound_samples=16_000)
    assert [(caption.text, caption.hybrid) for caption in short.ranked] == [
        (caption.text, caption.hybrid) for caption in whole.ranked
    ]
    assert np.array_equal(short.audio_embedding, whole.audio_embedding)


_WORDS = ("rain", "falls", "dog", "barks", "bird", "sings")


class _AnyText(dict[tuple[int, ...], list[float]]):
    """The same vector for every text; keeps the texts' tokens."""

    def __missing__(self, key: tuple[int, ...]) -> list[float]:
        self[key] = [0.6, 0.8]
        return self[key]


class _FamiliarityEncoder(FakeEncoderEngine):
    """An encoder without padding that scores familiarity."""

    def __init__(self, decoder: FakeDecoderEngine, familiarity: float) -> None:
        super().__init__(decoder.cross_keys, decoder.cross_values, None)
        self.familiarity = familiarity

    @property
    def description(self) -> GraphDescription:
        plain = super().description
        return replace(plain, outputs={**plain.outputs, "familiarity": TensorDescription("float32", ("windows",))})

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {**super().run(inputs), "familiarity": np.array([self.familiarity], np.float32)}


def _rule(bundle: Bundle, rule: FamiliarityRule | None) -> Bundle:
    """The bundle with another rule for familiarity, and an encoder that hears filter banks itself and has the score."""
    encoder = bundle.manifest.graphs["encoder"][0]
    scoring = encoder.model_copy(update={"shapes": {**encoder.shapes, "familiarity": ["windows"]}})
    changes = {
        "familiarity": rule,
        **{"patches": None, "sureness": None, "sounds": None},
        "graphs": {**bundle.manifest.graphs, "encoder": [scoring]},
        "vocabulary_size": len(SPECIAL_TOKENS) + len(_WORDS),
    }
    return Bundle(bundle.folder, bundle.manifest.model_copy(update=changes))


@pytest.mark.parametrize("method", ["nucleus", "greedy", "beam"])
@pytest.mark.parametrize(("familiarity", "familiar"), [(-1.6, False), (-1.5, True), (3.0, True), (float("nan"), False)])
def test_an_unfamiliar_window_is_described_in_the_words_for_it(
    captioner: Captioner, monkeypatch: pytest.MonkeyPatch, method: DecodingMethod, familiarity: float, familiar: bool
) -> None:
    words: list[str] = []
    for seed in range(8):
        decoder = FakeDecoderEngine(prefix_logits(10, seed))
        rule = FamiliarityRule(threshold=-1.5, words=["rain", "falls", "dog", "bird"])
        bundle = _rule(captioner.bundle, rule)
        scoring = _with_graphs(
            bundle, _FamiliarityEncoder(decoder, familiarity), decoder, monkeypatch, choices=Choices(method)
        )
        captioned = described(scoring, _fbank(0), window_rng(seed, 0))
        assert captioned.familiar == familiar
        assert captioned.familiarity == pytest.approx(familiarity, nan_ok=True)
        words += [word for caption in captioned.ranked for word in caption.text.split()]
    assert words
    assert ({"barks", "sings"} & set(words) != set()) == familiar


def test_the_threshold_can_be_chosen(captioner: Captioner, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = FakeDecoderEngine(prefix_logits(10, 0))
    bundle = _rule(captioner.bundle, FamiliarityRule(threshold=-1.5, words=["rain"]))
    chosen = _with_graphs(
        bundle, _FamiliarityEncoder(decoder, -5.0), decoder, monkeypatch, choices=Choices(min_familiarity=-6.0)
    )
    assert described(chosen, _fbank(0), window_rng(0, 0)).familiar
    assert bundle.manifest.familiarity and bundle.manifest.familiarity.threshold == -1.5


def test_a_bundle_without_familiarity(captioner: Captioner, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = FakeDecoderEngine(prefix_logits(10, 0))
    without = _rule(captioner.bundle, None)
    captioned = described(
        _with_graphs(without, _FamiliarityEncoder(decoder, -5.0), decoder, monkeypatch), _fbank(0), window_rng(0, 0)
    )
    assert (captioned.familiarity, captioned.familiar) == (None, True)
    with pytest.raises(ConfigError, match="cannot tell how familiar"):
        _with_graphs(
            without, _FamiliarityEncoder(decoder, 0.0), decoder, monkeypatch, choices=Choices(min_familiarity=0.0)
        )
    with pytest.raises(DataError, match="'stone', a word for unfamiliar sounds"):
        rule = FamiliarityRule(threshold=0.0, words=["rain", "stone"])
        _with_graphs(_rule(captioner.bundle, rule), _FamiliarityEncoder(decoder, 0.0), decoder, monkeypatch)
    silent = _FamiliarityEncoder(decoder, 0.0)
    monkeypatch.setattr(_FamiliarityEncoder, "description", FakeEncoderEngine.description)
    with pytest.raises(DataError, match="its encoder none to give"):
        _with_graphs(
            _rule(captioner.bundle, FamiliarityRule(threshold=0.0, words=["rain"])), silent, decoder, monkeypatch
        )


def _with_graphs(  # noqa: PLR0913, PLR0917 - the parts of a captioner
    bundle: Bundle,
    encoder: FakeEncoderEngine,
    decoder: FakeDecoderEngine,
    monkeypatch: pytest.MonkeyPatch,
    texts: _AnyText | None = None,
    choices: Choices | None = None,
) -> Captioner:
    """A captioner of these graphs; the decoder insists on the cross-attention that it was made with."""
    embedder = FakeTextEmbedder(_AnyText() if texts is None else texts)
    bundle = bundle if isinstance(encoder, _FamiliarityEncoder) else _rule(bundle, None)
    engines = {"encoder": encoder, "decoder": decoder, "text_embedder": embedder}
    monkeypatch.setattr(
        captioner_module, "load_engine", lambda _, role, __: (engines[role], bundle.manifest.graphs[role][0])
    )
    monkeypatch.setattr(captioner_module, "load_tokenizer", lambda _: word_tokenizer(_WORDS))
    return Captioner(bundle, choices=choices)


def _padded(decoder: FakeDecoderEngine, padding: list[bool]) -> FakeEncoderEngine:
    """An encoder that gives what the decoder insists on, which insists on being told what of it is padding."""
    decoder.padding = np.array([padding])
    return FakeEncoderEngine(decoder.cross_keys, decoder.cross_values, decoder.padding)


@pytest.mark.parametrize(
    ("sound_samples", "sound_frames"),
    [
        (160_000, 998),
        (159_521, 998),
        (159_520, 997),
        (80_000, 500),
        (80_001, 501),
        (160, 1),
        (161, 2),
        (1, 1),
    ],
)
def test_a_frame_is_padding_where_no_sound_begins_in_it(
    captioner: Captioner, monkeypatch: pytest.MonkeyPatch, sound_samples: int, sound_frames: int
) -> None:
    decoder = FakeDecoderEngine(prefix_logits(10, 0))
    encoder = _padded(decoder, [False] * decoder.memory_steps)
    padded = _with_graphs(captioner.bundle, encoder, decoder, monkeypatch)
    fbank = _fbank(0)
    described(padded, fbank, window_rng(0, 0), sound_samples=sound_samples)
    (inputs,) = encoder.inputs
    assert np.array_equal(inputs["fbank"][0], fbank)
    mask = inputs["frame_padding"]
    assert (mask.shape, mask.dtype) == ((1, 998), np.bool_)
    assert np.array_equal(mask[0], np.arange(998) >= sound_frames)


@pytest.mark.parametrize(
    "padding",
    [
        [False] * 5,
        [False] * 2 + [True] * 3,
        [False, True, False, False, True],
    ],
)
def test_no_step_of_padding_is_attended_to(
    captioner: Captioner, monkeypatch: pytest.MonkeyPatch, padding: list[bool]
) -> None:
    decoder = FakeDecoderEngine(prefix_logits(10, 0))
    encoder = _padded(decoder, padding)
    # The decoder's engine itself asserts that it is told what is padding.
    captioned = described(
        _with_graphs(captioner.bundle, encoder, decoder, monkeypatch),
        _fbank(0),
        window_rng(0, 0),
        sound_samples=100_000,
    )
    assert decoder.batches == 1
    assert np.array_equal(captioned.audio_embedding, encoder.audio_embedding)
    assert captioned.best.similarity == pytest.approx(1.0)


def test_an_encoder_that_takes_no_padding_is_given_none(captioner: Captioner, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = FakeDecoderEngine(prefix_logits(10, 0))
    encoder = FakeEncoderEngine(decoder.cross_keys, decoder.cross_values)
    plain = _with_graphs(captioner.bundle, encoder, decoder, monkeypatch)
    described(plain, _fbank(0), window_rng(0, 0), sound_samples=16_000)
    assert [set(inputs) for inputs in encoder.inputs] == [{"fbank"}]


def test_the_bundles_instruction_stands_before_the_texts(captioner: Captioner, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder, texts = FakeDecoderEngine(prefix_logits(10, 0)), _AnyText()
    manifest = captioner.bundle.manifest.model_copy(update={"instruction": "bird sings "})
    bundle = Bundle(captioner.bundle.folder, manifest)
    encoder = FakeEncoderEngine(decoder.cross_keys, decoder.cross_values)
    captioned = described(_with_graphs(bundle, encoder, decoder, monkeypatch, texts), _fbank(0), window_rng(0, 0))
    assert len(texts) == len(captioned.ranked)
    assert {ids[:2] for ids in texts} == {tuple(word_tokenizer(_WORDS).encode("bird sings").ids)}


def test_all_of_a_window_is_padding(captioner: Captioner, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = FakeDecoderEngine(prefix_logits(10, 0))
    padded = _with_graphs(captioner.bundle, _padded(decoder, [True] * 5), decoder, monkeypatch)
    with pytest.raises(DataError, match="all of the window is padding"):
        described(padded, _fbank(0), window_rng(0, 0))


def test_windows_have_generators_of_their_own() -> None:
    draws = [window_rng(seed, start).random() for seed in (0, 1) for start in (0, 32_000, 10**12)]
    assert len(set(draws)) == len(draws)
    assert window_rng(5, 160).random() == window_rng(5, 160).random()
    window_rng(2**63 - 1, 0)
