"""Graphs on the CPU: names, shapes, and what the built-in bundle's graphs promise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_aac.captioner.bundle import DEFAULT_BUNDLE, Bundle, GraphRole, open_bundle
from edge_aac.engines.engine import Engine, EngineOptions, load_engine
from edge_aac.engines.onnx_runtime import OnnxRuntimeEngine
from edge_aac.errors import DataError, DeviceError

_ONE_THREAD = EngineOptions(threads=1)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return open_bundle(DEFAULT_BUNDLE)


def _engine(bundle: Bundle, role: GraphRole) -> Engine:
    return load_engine(bundle, role, _ONE_THREAD)[0]


def _inputs(bundle: Bundle, count: int, step: int, seed: int = 0) -> dict[str, np.ndarray]:
    shapes = bundle.manifest.graphs["decoder"][0].shapes
    random = np.random.default_rng(seed)
    inputs: dict[str, np.ndarray] = {
        "token_ids": random.integers(4, bundle.manifest.vocabulary_size, (count, 1)),
        "step": np.array([step], np.int64),
    }
    for name in ("self_keys", "self_values", "cross_keys", "cross_values"):
        shape = [count if isinstance(size, str) else size for size in shapes[name]]
        inputs[name] = random.standard_normal(shape).astype(np.float32)
    return inputs


def test_what_the_manifest_says_of_shapes_is_true(bundle: Bundle) -> None:
    for role, forms in bundle.manifest.graphs.items():
        engine, graph = load_engine(bundle, role, _ONE_THREAD)
        assert graph in forms
        for name in {
            "encoder": ["fbank"],
            "decoder": ["token_ids", "step", "self_keys", "self_values", "cross_keys", "cross_values"],
            "text_embedder": ["token_ids", "attention_mask"],
        }[role]:
            assert list(engine.input_shape(name)) == graph.shapes[name]


def test_encoder(bundle: Bundle) -> None:
    fbank = np.random.default_rng(0).standard_normal((2, 998, 128)).astype(np.float32)
    engine = _engine(bundle, "encoder")
    both = engine.run({"fbank": fbank})
    shapes = bundle.manifest.graphs["decoder"][0].shapes
    assert both["audio_embedding"].shape == (2, bundle.manifest.embedding_size)
    assert list(both["cross_keys"].shape[1:]) == shapes["cross_keys"]
    assert list(both["cross_values"].shape[1:]) == shapes["cross_values"]
    # Windows in a batch do not see each other.
    alone = engine.run({"fbank": fbank[1:]})
    for name, array in alone.items():
        assert array.dtype == np.float32
        assert np.abs(array[0] - both[name][1]).max() < 1e-4


def test_decoder_ignores_the_rows_after_the_step(bundle: Bundle) -> None:
    engine = _engine(bundle, "decoder")
    for step in (0, 1, 7):
        inputs = _inputs(bundle, 3, step)
        before = engine.run(inputs)
        assert before["logits"].shape == (3, bundle.manifest.vocabulary_size)
        for name in ("self_keys", "self_values"):
            stale = inputs[name].copy()
            stale[:, :, :, step:] = 1e3
            inputs[name] = stale
        after = engine.run(inputs)
        for name, array in before.items():
            assert np.array_equal(array, after[name]), f"{name} at step {step} depends on rows of an older window"


def test_decoder_sees_the_rows_before_the_step(bundle: Bundle) -> None:
    engine = _engine(bundle, "decoder")
    inputs = _inputs(bundle, 1, 4)
    before = engine.run(inputs)["logits"]
    inputs["self_values"] = inputs["self_values"] + np.float32(0.5)
    assert not np.allclose(engine.run(inputs)["logits"], before)


def test_decoder_candidates_do_not_see_each_other(bundle: Bundle) -> None:
    engine = _engine(bundle, "decoder")
    inputs = _inputs(bundle, 4, 3)
    together = engine.run(inputs)
    alone = dict(inputs, token_ids=inputs["token_ids"][2:3])
    for name in ("self_keys", "self_values"):
        alone[name] = np.ascontiguousarray(inputs[name][:, 2:3])
    assert np.abs(engine.run(alone)["logits"][0] - together["logits"][2]).max() < 1e-4


def test_text_embeddings_have_unit_length_and_ignore_padding(bundle: Bundle) -> None:
    engine = _engine(bundle, "text_embedder")
    ids = np.array([[0, 9, 11, 2]])
    plain = engine.run({"token_ids": ids, "attention_mask": np.ones_like(ids)})["embedding"]
    padded = engine.run(
        {"token_ids": np.array([[0, 9, 11, 2, 7, 8]]), "attention_mask": np.array([[1, 1, 1, 1, 0, 0]])}
    )["embedding"]
    assert plain.shape == (1, bundle.manifest.embedding_size)
    assert np.linalg.norm(plain) == pytest.approx(1, abs=1e-5)
    assert np.abs(plain - padded).max() < 1e-5


@pytest.mark.parametrize("content", [b"", b"no graph", b"\x08\x08" * 100])
def test_a_file_that_is_no_graph(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.onnx"):
        OnnxRuntimeEngine(path, 1)


def test_a_bundle_without_the_graph(bundle: Bundle) -> None:
    manifest = bundle.manifest.model_copy(update={"graphs": {}})
    with pytest.raises(DataError, match="no encoder graph"):
        load_engine(Bundle(bundle.folder, manifest), "encoder", _ONE_THREAD)


def test_a_graph_for_other_backends_only(bundle: Bundle) -> None:
    other = bundle.manifest.graphs["encoder"][0].model_copy(update={"backend": "abacus"})
    manifest = bundle.manifest.model_copy(update={"graphs": {"encoder": [other]}})
    with pytest.raises(DeviceError, match="abacus"):
        load_engine(Bundle(bundle.folder, manifest), "encoder", _ONE_THREAD)
