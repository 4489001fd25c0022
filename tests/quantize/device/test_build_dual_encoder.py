"""`edge-aac build-engine` of a dual encoder that hears a stream's windows: stem, encoder and text embedder.

TensorRT is stood in for, as in test_build_plans.py.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_aac.bundle.store import DEFAULT_BUNDLE, check_all, open_bundle
from edge_aac.engines.contract import EngineOptions
from edge_aac.models.contract import Description
from edge_aac.models.registry import open_model
from quantize.bundles.dual_encoder import write_dual_encoder
from quantize.captioning import heard
from quantize.device.build import BuildOptions
from quantize.device.kinds.choice import checked_kind
from tests.quantize.device.build_cases import built, precisions

pytestmark = pytest.mark.usefixtures("quick_build")

LABELS = ("a dog barks", "rain falls", "a clock ticks")


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return write_dual_encoder(open_bundle(DEFAULT_BUNDLE), tmp_path / "labels", "labels", LABELS)


def test_int8_forms_of_what_ranks_windows(labels: Path, windows: list[np.ndarray]) -> None:
    exported = open_model(open_bundle(str(labels)), EngineOptions("onnxruntime", 1), {})
    report, _ = built(BuildOptions(str(labels), backend="onnxruntime", threads=1))
    assert report.failure == "" and report.written and report.check_windows == len(windows)
    bundle = open_bundle(str(labels))
    check_all(bundle)
    roles = list(bundle.manifest.graphs)
    assert {form.role for form in report.forms} <= set(roles) and "decoder" not in roles
    for form in report.forms:
        assert form.agreement is not None and form.agreement.captions_equal == 1.0
        assert (precisions(labels)[form.role][0] == "onnxruntime int8") == form.written
    assert any(form.written for form in report.forms)
    model = open_model(bundle, EngineOptions("onnxruntime", 1), {})
    rngs = [np.random.default_rng(0) for _ in windows]
    given = [heard(fbank) for fbank in windows]
    for one, other in zip(exported.describe(given, rngs), model.describe(given, rngs), strict=True):
        assert isinstance(one, Description) and isinstance(other, Description)
        left, right = one.audio_embedding, other.audio_embedding
        assert float(left @ right / np.linalg.norm(left) / np.linalg.norm(right)) >= 0.99


def test_weights_in_blocks_of_what_ranks_windows(labels: Path, only_blocks: None, windows: list[np.ndarray]) -> None:
    report, _ = built(BuildOptions(str(labels), backend="onnxruntime", threads=1))
    assert report.failure == "" and {form.graph.precision for form in report.forms} == {"int8_blocks"}
    assert "text_embedder" in {form.role for form in report.forms if form.written}
    bundle = open_bundle(str(labels))
    check_all(bundle)
    model = open_model(bundle, EngineOptions("onnxruntime", 1), {})
    given = [heard(fbank) for fbank in windows]
    together = model.describe(given, [np.random.default_rng(0) for _ in windows])
    for window, one in zip(given, together, strict=True):
        (alone,) = model.describe([window], [np.random.default_rng(0)])
        assert isinstance(one, Description) and isinstance(alone, Description)
        assert np.allclose(one.audio_embedding, alone.audio_embedding, atol=1e-5), "rows have ranges of their own"


def test_shapes_of_its_plans(labels: Path, windows: list[np.ndarray]) -> None:
    bundle = open_bundle(str(labels))
    kind, options = checked_kind(bundle), EngineOptions("onnxruntime", 1)
    parents = {role: forms[0] for role, forms in bundle.manifest.graphs.items()}
    reference = kind.outputs(bundle, windows[:1], options, None)
    samples = kind.samples(bundle, windows[:1], options, reference)
    assert {role for role in parents if samples.of(role)} == set(parents)
    texts = kind.profiles("text_embedder", parents, samples, 2, None)["token_ids"]
    assert texts[:2] == ((1, 1), (8, 32)) and texts[2][0] == 16 and texts[2][1] > 500
    assert kind.profiles("text_embedder", parents, samples, 2, 40)["token_ids"][2][0] == 40
    heard_first = "stem" if "stem" in parents else "encoder"
    (largest,) = {shapes[2][0] for shapes in kind.profiles(heard_first, parents, samples, 2, None).values()}
    assert largest >= 2, "two streams"
