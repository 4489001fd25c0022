"""Graphs of whole bundles as TensorRT gets them: the shipped one, the reference model, one of the published size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto

from edge_aac.bundle.store import DEFAULT_BUNDLE, open_bundle
from quantize.bundles.onnx_writer import write_onnx
from quantize.device.check_windows import check_windows
from quantize.graphs.attention import attentions
from quantize.graphs.folding import constant_integers
from quantize.graphs.int8 import half
from quantize.graphs.onnx_file import OnnxFile
from quantize.graphs.prepared import prepare
from quantize.graphs.qdq_lint import lint
from quantize.models.captioner import Captioner
from quantize.models.config import CaptionerConfig
from quantize.models.graph_modules import decoder_spec, encoder_spec, fold_batch_norm, fold_weight_norm
from tests.quantize.graphs.int8_cases import FLOAT, kinds, run

VERSIONS = ("10.3", "10.13", "11.4")
GATE = 1e-3
SIZES = {"rows": 6, "windows": 2, "texts": 2, "capacity": 11, "memory_steps": 9, "tokens": 9}


def _inputs(path: Path) -> dict[str, np.ndarray]:
    """Random ones; the second of two windows and texts is shorter."""
    rng = np.random.default_rng(0)
    given: dict[str, np.ndarray] = {}
    for entry in onnx.load(str(path), load_external_data=False).graph.input:
        shape = [dim.dim_value or SIZES[dim.dim_param] for dim in entry.type.tensor_type.shape.dim]
        kind = entry.type.tensor_type.elem_type
        if kind == TensorProto.BOOL:
            given[entry.name] = np.arange(shape[1]) >= np.array([[shape[1]], [2 * shape[1] // 3]])[: shape[0]]
        elif kind == FLOAT:
            given[entry.name] = rng.standard_normal(shape).astype(np.float32)
        elif entry.name == "attention_mask":
            given[entry.name] = (np.arange(shape[1]) < np.array([[shape[1]], [5]])).astype(np.int64)
        else:
            given[entry.name] = np.full(shape, 5, np.int64)
    return given


def _check(path: Path, folder: Path, fused: int, attended: int, reason: str = "joined before the softmax") -> None:
    """The form is clean, and the graph before its types change gives its parent's numbers."""
    form, prepared = folder / f"{path.stem}.fp16.onnx", folder / f"{path.stem}.prepared.onnx"
    half(path, form)
    for version in VERSIONS:
        assert [found for found in lint(form, version) if found.rule != "unquantized"] == []
    assert constant_integers(OnnxFile(form)) == []
    assert "BatchNormalization" not in kinds(form)
    judged = attentions(form)
    assert (sum(each.fuses for each in judged), len(judged)) == (fused, attended), [each.line for each in judged]
    assert all(len(each.reasons) == 1 and reason in each.line for each in judged if not each.fuses)
    file = OnnxFile(path)
    prepare(file)
    file.save(prepared)
    inputs = _inputs(path)
    want, have = run(path, inputs), run(prepared, inputs)
    for name in want:
        assert np.abs(np.subtract(want[name], have[name], dtype=np.float32)).max() < GATE, name


@pytest.mark.parametrize(("role", "fused", "attended"), [("encoder", 2, 2), ("decoder", 3, 6), ("text_embedder", 2, 2)])
def test_the_shipped_bundle(role: str, fused: int, attended: int, tmp_path: Path) -> None:
    _check(open_bundle(DEFAULT_BUNDLE).folder / f"{role}.fp32.onnx", tmp_path, fused, attended)


@pytest.mark.parametrize(("role", "attended"), [("encoder", 5), ("decoder", None), ("text_embedder", 2)])
def test_the_reference_model(role: str, attended: int | None, published: Path, tmp_path: Path) -> None:
    """Its heads are too small for the fused kernels; what is exported anew is folded before any form is made."""
    path = published / f"{role}.fp32.onnx"
    assert "BatchNormalization" not in kinds(path)
    assert not [found for found in lint(path, "10.2") if found.rule in {"computed-input", "axes-type"}]
    if attended is not None:
        _check(path, tmp_path, 0, attended, "no multiple of 8 from 16 to 256")


@pytest.fixture(scope="module")
def full_size(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """One layer of each kind at the published width: every pattern is there."""
    folder = tmp_path_factory.mktemp("full-size")
    sizes = CaptionerConfig()
    config = replace(
        sizes,
        beats=replace(sizes.beats, layers=1, run_layers=1),
        conformer=replace(sizes.conformer, layers=1),
        decoder=replace(sizes.decoder, layers=1, vocab_size=500),
    )
    torch.manual_seed(0)
    captioner = Captioner(config).eval()
    fold_weight_norm(captioner)
    fold_batch_norm(captioner)
    windows = torch.from_numpy(np.stack(check_windows(2)))
    steps = (2, 1, config.decoder.heads, 9, config.beats.dim // config.decoder.heads)
    specs = {
        "encoder": encoder_spec(captioner, windows, takes_padding=True),
        "decoder": decoder_spec(captioner, (torch.randn(steps), torch.randn(steps)), 8),
    }
    return {role: write_onnx(spec, folder / f"{role}.onnx")[0] for role, spec in specs.items()}


@pytest.mark.parametrize(("role", "fused"), [("encoder", 2), ("decoder", 1)])
def test_the_published_size(role: str, fused: int, full_size: Mapping[str, Path], tmp_path: Path) -> None:
    path = full_size[role]
    assert not [found for found in lint(path, "10.2") if found.rule in {"computed-input", "axes-type"}]
    # Positions that no window reaches are not stored.
    assert path.stat().st_size < 3_000_000
    _check(path, tmp_path, fused, 2)
