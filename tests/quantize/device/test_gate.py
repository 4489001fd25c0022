"""The gate: what captions as its parent does passes, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edge_aac.audio.windows import Window
from edge_aac.bundle.manifest import BundleFile, GraphRole
from edge_aac.bundle.store import DEFAULT_BUNDLE, Bundle, open_bundle
from edge_aac.engines.choice import load_engine
from edge_aac.engines.contract import EngineOptions
from edge_aac.models.encoding import Encoded
from edge_aac.models.seq2seq import Captioner
from quantize.device.check_windows import SOUNDS, check_scene, check_windows
from quantize.device.gate import Agreement, CheckCaptions, agreement, caption_check_windows, lowest_cosine
from quantize.device.timing import Samples, collect_samples, max_abs_difference, timing
from quantize.graphs.int8 import dynamic_int8
from quantize.graphs.layer_range import layer_range, probes, runs_onnx
from quantize.graphs.onnx_file import load_structure

ONE_THREAD = EngineOptions("onnxruntime", 1)
WINDOWS = 6
GOOD = Agreement(
    windows=40,
    audio_cosine=0.99,
    text_cosine=0.99,
    captions_equal=0.95,
    log_likelihood_difference=0.02,
    confidence_difference=0.1,
)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """The built-in bundle as it was exported."""
    whole = open_bundle(DEFAULT_BUNDLE)
    exported = {role: [form for form in f if not form.parent_sha256] for role, f in whole.manifest.graphs.items()}
    return Bundle(whole.folder, whole.manifest.model_copy(update={"graphs": exported}))


@pytest.fixture(scope="module")
def reference(bundle: Bundle) -> CheckCaptions:
    return caption_check_windows(bundle, check_windows(WINDOWS), ONE_THREAD)


@pytest.fixture(scope="module")
def samples(bundle: Bundle, reference: CheckCaptions) -> Samples:
    engines = {role: load_engine(bundle, role, ONE_THREAD)[0] for role in bundle.manifest.graphs}
    return collect_samples(bundle, engines, check_windows(3), reference.captions)


def _spoiled(bundle: Bundle, output: Path, nodes: str) -> Path:
    """The encoder with the weights of some matrix products negated."""
    model = load_structure(bundle.path(bundle.manifest.graphs["encoder"][0]))
    products = {node.input[1] for node in model.graph.node if node.op_type == "MatMul" and node.name.startswith(nodes)}
    spoiled = [tensor for tensor in model.graph.initializer if tensor.name in products]
    assert spoiled
    for tensor in spoiled:
        tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor), tensor.name))
    onnx.save_model(model, str(output))
    return output


def _with_encoder(bundle: Bundle, path: Path) -> Bundle:
    class Changed(Bundle):
        def checked(self, file: BundleFile) -> Path:
            return path if file == self.manifest.graphs["encoder"][0] else bundle.checked(file)

    return Changed(bundle.folder, bundle.manifest)


def test_confidences_differ_by_the_largest_of_each_window() -> None:
    ones = np.eye(2, 3, dtype=np.float32)
    parent = CheckCaptions(
        ones, ("a", "b"), np.array([-1.0, -1.0]), ones, np.array([[0.1, 0.9], [0.5, 0.5]], np.float32)
    )
    form = replace(parent, sounds=np.array([[0.3, 0.8], [0.5, 0.6]], np.float32))
    assert agreement(parent, form).confidence_difference == pytest.approx(0.15)
    broken = replace(parent, sounds=np.array([[np.nan, 0.8], [0.5, 0.6]], np.float32))
    assert any("confidences" in complaint for complaint in agreement(parent, broken).complaints())
    assert agreement(replace(parent, sounds=None), replace(parent, sounds=None)).confidence_difference == 0.0


def test_what_just_passes_and_what_just_fails() -> None:
    assert GOOD.complaints() == []
    for field, value in (
        ("audio_cosine", 0.9899),
        ("text_cosine", 0.9899),
        ("captions_equal", 0.9499),
        ("log_likelihood_difference", 0.0201),
        ("confidence_difference", 0.1001),
    ):
        for bad in (value, float("nan")):
            (complaint,) = replace(GOOD, **{field: bad}).complaints()
            assert any(character.isdigit() for character in complaint) or "nan" in complaint


def test_a_captioner_agrees_with_itself(bundle: Bundle, reference: CheckCaptions) -> None:
    again = agreement(reference, caption_check_windows(bundle, check_windows(WINDOWS), ONE_THREAD))
    assert again == Agreement(WINDOWS, pytest.approx(1.0), pytest.approx(1.0), 1.0, 0.0)
    assert again.complaints() == []


def test_each_window_is_encoded_once(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[int] = []
    encode = Captioner.encode

    def counted(self: Captioner, windows: Sequence[Window], cancelled: Callable[[], bool]) -> Encoded:
        encoded.append(len(windows))
        return encode(self, windows, cancelled)

    monkeypatch.setattr(Captioner, "encode", counted)
    found = caption_check_windows(bundle, check_windows(3), ONE_THREAD)
    assert sum(encoded) == 3
    assert found.sounds is not None and len(found.sounds) == len(found.audio) == 3


def test_the_worst_window_counts() -> None:
    one = np.eye(3, dtype=np.float32)
    other = one.copy()
    other[2] = (0.0, 1.0, 1.0)
    assert lowest_cosine(one, other) == pytest.approx(2**-0.5)
    assert lowest_cosine(one, 5 * one) == pytest.approx(1.0)
    assert np.isnan(lowest_cosine(one, np.full((3, 3), np.nan)))


def test_captions_are_compared_window_by_window(reference: CheckCaptions) -> None:
    turned = replace(reference, captions=reference.captions[1:] + reference.captions[:1])
    equal = sum(a == b for a, b in zip(reference.captions, turned.captions, strict=True)) / WINDOWS
    assert agreement(reference, turned).captions_equal == equal < 0.95


def test_log_likelihoods_are_compared_by_their_means(reference: CheckCaptions) -> None:
    shifted = replace(reference, log_likelihoods=1.03 * reference.log_likelihoods)
    assert agreement(reference, shifted).log_likelihood_difference == pytest.approx(0.03)


def test_a_spoiled_encoder_is_refused_and_its_layers_are_named(
    bundle: Bundle, reference: CheckCaptions, samples: Samples, tmp_path: Path
) -> None:
    where = "/postencoder/layers.1/ffn1/"
    path = _spoiled(bundle, tmp_path / "spoiled.onnx", f"{where}output_dense")
    form = caption_check_windows(_with_encoder(bundle, path), check_windows(WINDOWS), ONE_THREAD)
    assert agreement(reference, form).complaints()
    parent = bundle.path(bundle.manifest.graphs["encoder"][0])
    tensors = probes(parent, path)
    assert 2 < len(tensors) <= 24
    names = list(tensors)
    found = layer_range(tensors, runs_onnx(parent, names), runs_onnx(path, names), samples.encoder[:1])
    first, last = found.removeprefix("from ").split(" (")[0].split(" to ")
    order = [node.name for node in onnx.load(str(parent)).graph.node]
    assert order.index(first) < order.index(f"{where}output_dense/MatMul") < order.index(last), found


def test_a_faithful_int8_encoder_passes(bundle: Bundle, reference: CheckCaptions, tmp_path: Path) -> None:
    parent = bundle.path(bundle.manifest.graphs["encoder"][0])
    dynamic_int8(parent, tmp_path / "int8.onnx")
    form = caption_check_windows(_with_encoder(bundle, tmp_path / "int8.onnx"), check_windows(WINDOWS), ONE_THREAD)
    compared = agreement(reference, form)
    assert compared.complaints() == []
    assert compared.audio_cosine < 1.0, "or it was not quantised"


@pytest.mark.parametrize("role", ["encoder", "decoder", "text_embedder"])
def test_every_graph_is_timed_and_compared_on_what_the_captioner_gives_it(
    bundle: Bundle, samples: Samples, role: GraphRole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quantize.device.timing.MAX_PAIRS", 9)
    reference = load_engine(bundle, role, ONE_THREAD)[0]

    class Twentyfold:
        """Runs everything twenty times: more than a busy machine makes of one."""

        input_shapes = reference.input_shapes

        def run(self, inputs: object) -> object:
            for _ in range(19):
                reference.run(inputs)  # type: ignore[arg-type]
            return reference.run(inputs)  # type: ignore[arg-type]

    found = timing(role, reference, Twentyfold(), samples)  # type: ignore[arg-type]
    assert found.ratio > 2.0
    assert found.form_ms > found.reference_ms > 0
    assert max_abs_difference(role, reference, Twentyfold(), samples) == 0.0  # type: ignore[arg-type]
    dynamic_int8(bundle.path(bundle.manifest.graphs[role][0]), tmp_path / "int8.onnx")
    from edge_aac.engines.onnx_runtime import OnnxRuntimeEngine

    assert 0 < max_abs_difference(role, reference, OnnxRuntimeEngine(tmp_path / "int8.onnx", 1), samples) < 1.0


def test_check_windows_are_many_different_and_always_the_same() -> None:
    scenes = [check_scene(number) for number in range(2 * len(SOUNDS))]
    assert all(scene.shape == (160_000,) and scene.dtype == np.float32 for scene in scenes)
    assert all(np.abs(scene).max() <= 1.0 and scene.any() for scene in scenes)
    levels = [20 * np.log10(np.sqrt(np.mean(np.square(scene)))) for scene in scenes]
    assert max(levels) - min(levels) > 10
    assert len({scene.tobytes() for scene in scenes}) == len(scenes)
    assert np.array_equal(scenes[3], check_scene(3))
    assert not np.array_equal(scenes[3], check_scene(3, seed=1))
    assert check_windows(1)[0].shape == (998, 128)
