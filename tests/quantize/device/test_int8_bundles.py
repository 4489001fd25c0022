"""The INT8 and FP16 forms of whole bundles: the shipped one, and the reference model converted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edge_aac.bundle.manifest import GraphRole
from edge_aac.bundle.store import DEFAULT_BUNDLE, open_bundle
from quantize.graphs.calibration import observe
from quantize.graphs.calibration_windows import encoder_inputs
from quantize.graphs.int8 import dynamic_int8, explicit_int8, half
from quantize.graphs.qdq_lint import int8_products, lint
from quantize.graphs.sound_inputs import SoundInputs
from tests.quantize.graphs.int8_cases import FLOAT, HALF, cosine, demo_inputs, io_types, min_cosine, run

SHIPPED = open_bundle(DEFAULT_BUNDLE)


def _exported(role: GraphRole) -> Path:
    """A graph of the shipped bundle in fp32, as it was exported."""
    return next(SHIPPED.folder / graph.file for graph in SHIPPED.manifest.graphs[role] if graph.precision == "fp32")


def _encoder_inputs(count: int, seed: int) -> list[dict[str, Any]]:
    """Of the shipped bundle's encoder, behind its stem where it has one."""
    parents = {role: _exported(role) for role in SHIPPED.manifest.graphs}
    sound = SoundInputs.of_files(parents, SHIPPED.manifest.patches)
    return [dict(inputs) for inputs in sound.of("encoder", (one["fbank"][0] for one in demo_inputs(count, seed)))]


@pytest.fixture(scope="module")
def shipped_forms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, parent = tmp_path_factory.mktemp("shipped"), _exported("encoder")
    ranges = observe(parent, _encoder_inputs(12, seed=0)).ranges
    explicit_int8(parent, folder / "explicit.onnx", ranges)
    dynamic_int8(parent, folder / "dynamic.onnx")
    dynamic_int8(parent, folder / "static.onnx", ranges=ranges)
    return {"fp32": parent, **{name: folder / f"{name}.onnx" for name in ("explicit", "dynamic", "static")}}


@pytest.mark.parametrize("form", ["explicit", "dynamic", "static"])
def test_the_shipped_encoder_hears_the_same(shipped_forms: dict[str, Path], form: str, tmp_path: Path) -> None:
    lowest = min_cosine(tmp_path) if form == "explicit" else 0.99
    for inputs in _encoder_inputs(4, seed=1):
        want, have = run(shipped_forms["fp32"], inputs), run(shipped_forms[form], inputs)
        assert cosine(want["audio_embedding"], have["audio_embedding"]) >= lowest
        assert cosine(want["cross_keys"], have["cross_keys"]) >= lowest
        assert cosine(want["cross_values"], have["cross_values"]) >= lowest


def test_the_shipped_explicit_form_breaks_no_rule(shipped_forms: dict[str, Path]) -> None:
    count = int8_products(shipped_forms["explicit"])
    # What is behind a stem has few layers.
    assert count.int8 == count.expected > (10 if SHIPPED.manifest.patches else 40)
    for version in ("10.3", "10.13", "11.4"):
        assert lint(shipped_forms["explicit"], version) == []


@pytest.mark.parametrize("role", ["decoder", "text_embedder"])
def test_the_shipped_bundle_in_half(role: GraphRole, tmp_path: Path) -> None:
    parent, path = _exported(role), tmp_path / f"{role}.fp16.onnx"
    half(parent, path)
    rng = np.random.default_rng(0)
    wanted, halved = {}, {}
    for entry in onnx.load(str(parent), load_external_data=False).graph.input:
        named = {"rows": 6, "windows": 2, "texts": 3}
        sizes = [dim.dim_value or named.get(dim.dim_param, 9) for dim in entry.type.tensor_type.shape.dim]
        if entry.type.tensor_type.elem_type == onnx.TensorProto.BOOL:
            wanted[entry.name] = halved[entry.name] = np.arange(sizes[1]) >= np.array([[sizes[1]], [5]])
        elif entry.type.tensor_type.elem_type == FLOAT:
            halved[entry.name] = rng.standard_normal(sizes).astype(np.float16)
            wanted[entry.name] = halved[entry.name].astype(np.float32)
        else:
            wanted[entry.name] = halved[entry.name] = np.full(sizes, 1 if "ids" not in entry.name else 17, np.int64)
    want, have = run(parent, wanted), run(path, halved)
    for name in want:
        assert cosine(want[name], have[name]) > 0.9999, name
    stays = {"logits", "embedding"}
    assert {n for n, array in have.items() if array.dtype == np.float32} == stays & have.keys()


def test_the_published_encoder_hears_the_same(published: Path, tmp_path: Path) -> None:
    """It is told what is padding: a truth value that must come out as it was."""
    parent = published / "encoder.fp32.onnx"
    windows = (inputs["fbank"][0] for inputs in demo_inputs(8, seed=0))
    ranges = observe(parent, encoder_inputs(windows, takes_padding=True)).ranges
    forms = {"explicit": tmp_path / "explicit.onnx", "dynamic": tmp_path / "dynamic.onnx"}
    explicit_int8(parent, forms["explicit"], ranges)
    dynamic_int8(parent, forms["dynamic"], ranges=ranges)
    assert lint(forms["explicit"]) == []
    count = int8_products(forms["explicit"])
    lowest = {"explicit": min_cosine(tmp_path), "dynamic": 0.99}
    assert count.int8 == count.expected > 40
    for number, inputs in enumerate(demo_inputs(3, seed=1)):
        padding = np.arange(998)[None] >= 998 - 300 * number
        want = run(parent, {**inputs, "frame_padding": padding})
        for path in forms.values():
            have = run(path, {**inputs, "frame_padding": padding})
            assert np.array_equal(want["memory_padding"], have["memory_padding"])
            for name in ("audio_embedding", "cross_keys", "cross_values"):
                assert cosine(want[name], have[name]) >= lowest[path.stem], (path.name, name)


def test_the_published_decoder_in_half(published: Path, tmp_path: Path) -> None:
    half(published / "decoder.fp32.onnx", tmp_path / "d.onnx")
    types = io_types(tmp_path / "d.onnx")
    assert types["logits"] == FLOAT
    states = {name: kind for name, kind in types.items() if name.startswith(("self_", "cross_", "new_"))}
    assert len(states) > 4 and set(states.values()) == {HALF}


@pytest.mark.parametrize("tokens", [4, 40])
def test_the_published_text_embedder_in_half(published: Path, tmp_path: Path, tokens: int) -> None:
    """Of a text too short for anything to come after its instruction, the mean is 0 / 1e-9: 0, and no NaN."""
    half(published / "text_embedder.fp32.onnx", tmp_path / "t.onnx")
    mask = np.ones((2, tokens), np.int64)
    mask[1, tokens // 2 :] = 0
    texts = {"token_ids": np.random.default_rng(0).integers(2, 30, (2, tokens)), "attention_mask": mask}
    want = run(published / "text_embedder.fp32.onnx", texts)["embedding"]
    have = run(tmp_path / "t.onnx", texts)["embedding"]
    assert want.any() == (tokens == 40)
    assert np.allclose(want, have, atol=2e-3)
