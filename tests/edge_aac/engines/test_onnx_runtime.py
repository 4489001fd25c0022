"""Graphs on the CPU: names, shapes, and what the built-in bundle's graphs promise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from edge_aac.bundle.manifest import GraphRole
from edge_aac.bundle.store import DEFAULT_BUNDLE, Bundle, open_bundle
from edge_aac.engines import onnx_runtime
from edge_aac.engines.choice import load_engine
from edge_aac.engines.contract import Engine, EngineOptions
from edge_aac.engines.onnx_runtime import SMALL_GRAPH_BYTES, OnnxRuntimeEngine
from edge_aac.errors import DataError, DeviceError
from tests.edge_aac.models.tiny_bundle import Tiny, text_embedder

_ONE_THREAD = EngineOptions(threads=1)
_CAPACITY, _MEMORY_STEPS = 9, 13


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return open_bundle(DEFAULT_BUNDLE)


@pytest.fixture
def small_graph(tmp_path: Path) -> Path:
    path = tmp_path / "small.onnx"
    onnx.save(text_embedder(Tiny()), path)
    assert path.stat().st_size < SMALL_GRAPH_BYTES
    return path


def _engine(bundle: Bundle, role: GraphRole) -> Engine:
    return load_engine(bundle, role, _ONE_THREAD)[0]


def _inputs(bundle: Bundle, count: int, step: int, seed: int = 0, windows: int = 1) -> dict[str, np.ndarray]:
    shapes = bundle.manifest.graphs["decoder"][0].shapes
    random = np.random.default_rng(seed)
    inputs: dict[str, np.ndarray] = {
        "token_ids": random.integers(4, bundle.manifest.vocabulary_size, (count, 1)),
        "step": np.array([step], np.int64),
        "memory_padding": np.zeros((windows, _MEMORY_STEPS), bool),
    }
    sizes = {"rows": count, "windows": windows, "capacity": _CAPACITY, "memory_steps": _MEMORY_STEPS}
    for name in _states(bundle, "self_keys", "self_values", "cross_keys", "cross_values"):
        shape = [sizes[size] if isinstance(size, str) else size for size in shapes[name]]
        inputs[name] = random.standard_normal(shape).astype(np.float32)
    return inputs


def _states(bundle: Bundle, *kinds: str) -> list[str]:
    """Names of the inputs of these kinds, one a layer."""
    return [name for name in bundle.manifest.graphs["decoder"][0].shapes if name.rpartition("_")[0] in kinds]


def test_what_the_manifest_says_of_shapes_is_true(bundle: Bundle) -> None:
    layers = range(len(_states(bundle, "self_keys")))
    states = {f"{kind}_{i}" for kind in ("self_keys", "self_values", "cross_keys", "cross_values") for i in layers}
    names = {
        "stem": {"patches"},
        "encoder": {"vectors" if "stem" in bundle.manifest.graphs else "fbank"},
        "decoder": {"token_ids", "step", "memory_padding", *states},
        "text_embedder": {"token_ids", "attention_mask"},
    }
    assert len(layers) > 1
    for role, forms in bundle.manifest.graphs.items():
        engine, graph = load_engine(bundle, role, _ONE_THREAD)
        assert graph in forms
        assert set(engine.input_shapes) == names[role]
        for name, shape in engine.input_shapes.items():
            assert list(shape) == graph.shapes[name]


def test_encoder(bundle: Bundle) -> None:
    engine = _engine(bundle, "encoder")
    ((name, (_, *sizes)),) = engine.input_shapes.items()
    heard = np.random.default_rng(0).standard_normal((2, *map(int, sizes))).astype(np.float32)  # type: ignore[arg-type]
    both = engine.run({name: heard})
    assert both["audio_embedding"].shape == (2, bundle.manifest.embedding_size)
    for kind in ("cross_keys", "cross_values"):
        layers = _states(bundle, kind)
        windows, heads, memory_steps, head_size = bundle.manifest.graphs["decoder"][0].shapes[layers[0]]
        assert (windows, memory_steps) == ("windows", "memory_steps")
        assert (*both[kind].shape[:3], both[kind].shape[4]) == (2, len(layers), heads, head_size)
    # Windows in a batch do not see each other.
    alone = engine.run({name: heard[1:]})
    for name, array in alone.items():
        assert array.dtype == np.float32
        assert np.abs(array[0] - both[name][1]).max() < 1e-4


def test_decoder_ignores_the_rows_after_the_step(bundle: Bundle) -> None:
    engine = _engine(bundle, "decoder")
    for step in (0, 1, 7):
        inputs = _inputs(bundle, 3, step)
        before = engine.run(inputs)
        assert before["logits"].shape == (3, bundle.manifest.vocabulary_size)
        for name in _states(bundle, "self_keys", "self_values"):
            inputs[name] = inputs[name].copy()
            inputs[name][:, :, step:] = 1e3
        after = engine.run(inputs)
        for name, array in before.items():
            assert np.array_equal(array, after[name]), f"{name} at step {step} depends on rows of an older window"


def test_decoder_sees_the_rows_before_the_step(bundle: Bundle) -> None:
    engine = _engine(bundle, "decoder")
    inputs = _inputs(bundle, 1, 4)
    before = engine.run(inputs)["logits"]
    for name in _states(bundle, "self_keys", "self_values", "cross_keys", "cross_values"):
        changed = inputs[name].copy()
        changed[..., 3, :] *= -2
        assert not np.allclose(engine.run({**inputs, name: changed})["logits"], before), name


def test_a_decoder_of_open_capacity_knows_no_rows_but_those_it_is_given(bundle: Bundle) -> None:
    engine = _engine(bundle, "decoder")
    inputs = _inputs(bundle, 2, 5)
    longer = dict(inputs)
    for name in _states(bundle, "self_keys", "self_values"):
        longer[name] = np.pad(inputs[name], ((0, 0), (0, 0), (0, 7), (0, 0)), constant_values=9.0)
    before, after = engine.run(inputs), engine.run(longer)
    for name, array in before.items():
        assert np.abs(array - after[name]).max() < 1e-4, name


def test_decoder_candidates_do_not_see_each_other(bundle: Bundle) -> None:
    engine = _engine(bundle, "decoder")
    inputs = _inputs(bundle, 4, 3)
    together = engine.run(inputs)
    alone = dict(inputs, token_ids=inputs["token_ids"][2:3])
    for name in _states(bundle, "self_keys", "self_values"):
        alone[name] = inputs[name][2:3]
    assert np.abs(engine.run(alone)["logits"][0] - together["logits"][2]).max() < 1e-4


def test_decoder_windows_do_not_see_each_other(bundle: Bundle) -> None:
    """Two rows a window: what a row gives depends on its own window's memory, which is the one that it should be."""
    engine = _engine(bundle, "decoder")
    inputs = _inputs(bundle, 6, 3, windows=3)
    together = engine.run(inputs)
    for window in range(3):
        rows = slice(2 * window, 2 * window + 2)
        alone = dict(inputs, token_ids=inputs["token_ids"][rows])
        alone["memory_padding"] = inputs["memory_padding"][window : window + 1]
        for name in _states(bundle, "self_keys", "self_values"):
            alone[name] = inputs[name][rows]
        for name in _states(bundle, "cross_keys", "cross_values"):
            alone[name] = inputs[name][window : window + 1]
        given = engine.run(alone)
        assert np.abs(given["logits"] - together["logits"][rows]).max() < 1e-5
        assert np.abs(given["new_values"] - together["new_values"][:, rows]).max() < 1e-5


def test_decoder_does_not_attend_to_padding(bundle: Bundle) -> None:
    engine = _engine(bundle, "decoder")
    inputs = _inputs(bundle, 4, 3, windows=2)
    inputs["memory_padding"][1, 9:] = True
    masked = engine.run(inputs)["logits"]
    rubbish, cut = dict(inputs), _inputs(bundle, 4, 3, windows=2)
    for name in _states(bundle, "cross_keys", "cross_values"):
        rubbish[name] = inputs[name].copy()
        rubbish[name][1, :, 9:] = 1e3
        cut[name] = np.ascontiguousarray(inputs[name][:, :, :9])
    cut["memory_padding"] = inputs["memory_padding"][:, :9]
    assert np.array_equal(engine.run(rubbish)["logits"], masked)
    shorter = engine.run(cut)["logits"]
    assert np.abs(shorter[2:] - masked[2:]).max() < 1e-4
    assert np.abs(shorter[:2] - masked[:2]).max() > 1e-2, "of the first window, nothing is padding"


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


@pytest.mark.parametrize(
    ("threads", "size_bytes", "given"),
    [(0, None, 1), (0, SMALL_GRAPH_BYTES - 1, 1), (0, SMALL_GRAPH_BYTES, 0), (3, None, 3), (3, SMALL_GRAPH_BYTES, 3)],
)
def test_threads_go_by_the_size_of_the_weights(
    small_graph: Path, threads: int, size_bytes: int | None, given: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = _session_options(monkeypatch)
    OnnxRuntimeEngine(small_graph, threads, size_bytes)
    assert [option.intra_op_num_threads for option in options] == [given]


@pytest.mark.parametrize(("threads", "size_bytes", "runs"), [(0, None, 5), (0, SMALL_GRAPH_BYTES, 1), (1, None, 1)])
def test_runs_side_by_side_where_each_keeps_one_core_busy(
    small_graph: Path, threads: int, size_bytes: int | None, runs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_runtime, "usable_cores", lambda: 5)
    assert OnnxRuntimeEngine(small_graph, threads, size_bytes).runs_at_once == runs


def test_weights_beside_a_graph_count_as_its_size(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    options = _session_options(monkeypatch)
    monkeypatch.setattr(Bundle, "size", lambda *_: SMALL_GRAPH_BYTES)
    load_engine(bundle, "text_embedder", EngineOptions())
    assert [option.intra_op_num_threads for option in options] == [0]


def _session_options(monkeypatch: pytest.MonkeyPatch) -> list[onnxruntime.SessionOptions]:
    """Fills with what each session is made with."""
    made: list[onnxruntime.SessionOptions] = []
    session = onnxruntime.InferenceSession

    def remember(path: str, options: onnxruntime.SessionOptions, **others: Any) -> onnxruntime.InferenceSession:
        made.append(options)
        return session(path, options, **others)

    monkeypatch.setattr(onnxruntime, "InferenceSession", remember)
    return made


def test_a_bundle_without_the_graph(bundle: Bundle) -> None:
    manifest = bundle.manifest.model_copy(update={"graphs": {}})
    with pytest.raises(DataError, match="no encoder graph"):
        load_engine(Bundle(bundle.folder, manifest), "encoder", _ONE_THREAD)


def test_a_graph_for_other_backends_only(bundle: Bundle) -> None:
    other = bundle.manifest.graphs["encoder"][0].model_copy(update={"backend": "abacus"})
    manifest = bundle.manifest.model_copy(update={"graphs": {"encoder": [other]}})
    with pytest.raises(DeviceError, match="abacus"):
        load_engine(Bundle(bundle.folder, manifest), "encoder", _ONE_THREAD)
