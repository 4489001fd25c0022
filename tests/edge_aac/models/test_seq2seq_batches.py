"""The built-in bundle on several windows at once, and faults of single ones."""

from __future__ import annotations

import math
import threading
from functools import cache

import numpy as np
import pytest

from edge_aac.audio.features import filter_bank
from edge_aac.audio.sources.demo import synthesise_demo
from edge_aac.audio.windows import WINDOW_SAMPLES, Window
from edge_aac.bundle.manifest import DecodingMethod, GraphRole
from edge_aac.bundle.store import DEFAULT_BUNDLE, Bundle
from edge_aac.engines import choice, onnx_runtime
from edge_aac.engines.contract import EngineOptions
from edge_aac.engines.onnx_runtime import OnnxRuntimeEngine
from edge_aac.errors import DataError
from edge_aac.models.choices import Choices
from edge_aac.models.contract import CancelledError, Description, Undecoded, WindowModel
from edge_aac.models.seq2seq import Captioner, window_rng
from edge_aac.timebase import SAMPLE_RATE
from tests.waiting import PATIENCE_S


@pytest.fixture(scope="module")
def captioner() -> Captioner:
    return Captioner.open(DEFAULT_BUNDLE, EngineOptions(threads=1))


@cache
def _rain(seed: int) -> np.ndarray:
    return filter_bank(synthesise_demo(WINDOW_SAMPLES / SAMPLE_RATE, seed)[:WINDOW_SAMPLES])


def _window(seed: int) -> Window:
    """Noise, or every second time rain and a clock."""
    fbank = np.random.default_rng(seed).normal(0, 0.5, (998, 128)).astype(np.float32)
    if seed % 2:
        fbank = _rain(seed).copy()
    return Window(seed * 160, WINDOW_SAMPLES, fbank, -20.0, -3.0, -20.0)


def _described(model: WindowModel, windows: list[Window], seed: int = 0) -> list[Description]:
    found = model.describe(windows, [window_rng(seed, window.start) for window in windows])
    assert all(isinstance(each, Description) for each in found)
    return [each for each in found if isinstance(each, Description)]


def _same(one: Description, other: Description) -> bool:
    """Caption for caption; the text embedder's padding may show in the last bits of a similarity."""
    if [(c.text, c.log_likelihood) for c in one.ranked] != [(c.text, c.log_likelihood) for c in other.ranked]:
        return False
    hybrids = ([caption.hybrid for caption in each.ranked] for each in (one, other))
    return np.allclose(*hybrids, rtol=0, atol=1e-6) and np.array_equal(one.audio_embedding, other.audio_embedding)


@pytest.mark.parametrize("method", ["nucleus", "greedy", "beam"])
def test_a_window_s_captions_do_not_depend_on_the_others(captioner: Captioner, method: DecodingMethod) -> None:
    model = Captioner(captioner.bundle, EngineOptions(threads=1), choices=Choices(method=method))
    windows = [_window(seed) for seed in range(7)]
    together = _described(model, windows)
    assert len({description.best.text for description in together}) > 1, "or any would do"
    for window, description in zip(windows, together, strict=True):
        assert _same(_described(model, [window])[0], description)
    assert all(_same(a, b) for a, b in zip(_described(model, windows[::-1]), together[::-1], strict=True))


def test_no_window(captioner: Captioner) -> None:
    assert captioner.describe([], []) == []


def test_each_window_needs_its_own_generator(captioner: Captioner) -> None:
    with pytest.raises(ValueError, match="2 windows, 1 generators"):
        captioner.describe([_window(0), _window(1)], [window_rng(0, 0)])


def test_latency_is_an_equal_share(captioner: Captioner) -> None:
    found = _described(captioner, [_window(seed) for seed in range(3)])
    assert len({description.latency_ms for description in found}) == 1
    assert found[0].latency_ms.total > 0


def test_one_window_that_holds_no_numbers(captioner: Captioner) -> None:
    windows = [_window(seed) for seed in range(4)]
    windows[2].fbank[100, 5] = math.nan
    found = captioner.describe(windows, [window_rng(0, window.start) for window in windows])
    assert isinstance(found[2], DataError) and "NaN" in str(found[2])
    for number in (0, 1, 3):
        description = found[number]
        assert isinstance(description, Description)
        assert _same(_described(captioner, [windows[number]])[0], description)


def test_a_batch_is_given_up_on_request(captioner: Captioner) -> None:
    checks: list[bool] = []

    def cancelled() -> bool:
        checks.append(True)
        return len(checks) > allowed

    windows = [_window(seed) for seed in range(3)]
    for allowed in (0, 2, 5):  # before anything is computed, while windows are encoded, and after the last of them
        checks.clear()
        with pytest.raises(CancelledError):
            captioner.describe(windows, [window_rng(0, 0)] * 3, cancelled)
        assert len(checks) == allowed + 1


def test_what_a_model_says_of_itself(captioner: Captioner) -> None:
    manifest = captioner.bundle.manifest
    identity = captioner.identity
    assert (identity.bundle, identity.version) == (manifest.name, manifest.version)
    assert (identity.backend, identity.precision) == ("onnxruntime", "fp32")
    assert captioner.same_similarity == manifest.same_similarity
    embeddings = captioner.embed(["a dog barks", "rain falls"])
    assert embeddings.shape == (2, manifest.embedding_size)
    assert np.linalg.norm(embeddings, axis=1) == pytest.approx([1.0, 1.0], abs=1e-5)


def test_without_weight_no_text_is_embedded(captioner: Captioner, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Captioner(captioner.bundle, EngineOptions(threads=1), choices=Choices(similarity_weight=0.0))

    def embed(texts: object) -> None:
        raise AssertionError(texts)

    monkeypatch.setattr(model.reranker, "embed", embed)
    assert [caption.embedding for caption in _described(model, [_window(0)])[0].ranked][0] is None


def test_windows_are_encoded_side_by_side(captioner: Captioner, monkeypatch: pytest.MonkeyPatch) -> None:
    """On two cores: a run of one window each, in two threads, and the same numbers."""
    monkeypatch.setattr(onnx_runtime, "usable_cores", lambda: 2)
    both, met = threading.Barrier(2), list[int]()
    run = OnnxRuntimeEngine.run

    def meet(self: OnnxRuntimeEngine, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if heard := inputs.keys() & {"fbank", "vectors"}:
            assert [len(inputs[name]) for name in heard] == [1]
            met.append(both.wait(timeout=PATIENCE_S))
        return run(self, inputs)

    model = Captioner(captioner.bundle, EngineOptions())
    windows = [_window(seed) for seed in range(4)]
    with monkeypatch.context() as watched:
        watched.setattr(OnnxRuntimeEngine, "run", meet)
        found = _described(model, windows)
    assert len(met) == len(windows)
    assert all(_same(a, b) for a, b in zip(found, _described(captioner, windows), strict=True))


@pytest.mark.parametrize(
    ("role", "decoded", "embedded"), [("encoder", 1, 1), ("decoder", 3, 1), ("text_embedder", 1, 3)]
)
def test_what_is_scaled_by_the_run_is_run_alone(
    captioner: Captioner, role: GraphRole, decoded: int, embedded: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """INT8 for processors finds its ranges anew at each run: neighbours would change a window's numbers."""
    graphs = dict(captioner.bundle.manifest.graphs)
    graphs[role] = [graphs[role][0].model_copy(update={"precision": "int8"})]
    bundle = Bundle(captioner.bundle.folder, captioner.bundle.manifest.model_copy(update={"graphs": graphs}))
    monkeypatch.setattr(choice, "check_form", lambda *_: None)  # the form is INT8 in name alone
    model, batches, texts = Captioner(bundle, EngineOptions(threads=1)), [], []
    decode, rank = model.decoder.decode, model.reranker.rank
    monkeypatch.setattr(model.decoder, "decode", lambda memory, *rest: batches.append(0) or decode(memory, *rest))
    monkeypatch.setattr(model.reranker, "rank", lambda found, audio: texts.append(0) or rank(found, audio))
    windows = [_window(seed) for seed in range(3)]
    assert all(_same(a, b) for a, b in zip(_described(model, windows), _described(captioner, windows), strict=True))
    assert (len(batches), len(texts)) == (decoded, embedded)


@pytest.mark.parametrize("kept", [[], [1], [0, 3], [0, 1, 2, 3]])
def test_only_wanted_windows_are_decoded_and_as_they_would_be_alone(captioner: Captioner, kept: list[int]) -> None:
    windows = [_window(seed) for seed in range(4)]
    whole, rngs = _described(captioner, windows), [window_rng(0, window.start) for window in windows]
    asked: list[int] = []

    def wanted(number: int, embedding: np.ndarray) -> bool:
        asked.append(number)
        assert np.array_equal(embedding, whole[number].audio_embedding)
        return number in kept

    found = captioner.describe_wanted(windows, rngs, wanted)
    assert asked == [0, 1, 2, 3]
    for number, (one, description) in enumerate(zip(found, whole, strict=True)):
        if number in kept:
            assert isinstance(one, Description) and _same(one, description)
        else:
            assert isinstance(one, Undecoded) and np.array_equal(one.audio_embedding, description.audio_embedding)
            assert (one.latency_ms.encode > 0.0, one.latency_ms.decode, one.latency_ms.rerank) == (True, 0.0, 0.0)
            assert rngs[number].random() == window_rng(0, windows[number].start).random(), "nothing was drawn for it"


def test_a_faulty_window_is_told_from_one_that_is_not_wanted(captioner: Captioner) -> None:
    windows = [_window(seed) for seed in range(3)]
    windows[2].fbank[100, 5] = math.nan
    rngs = [window_rng(0, window.start) for window in windows]
    found = captioner.describe_wanted(windows, rngs, lambda number, _: number == 2)
    assert [type(one) for one in found] == [Undecoded, Undecoded, DataError]
