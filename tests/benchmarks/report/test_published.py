"""Bundles with random weights are such as the runtime loads: the text embedder beside them, and their INT8 forms."""

from __future__ import annotations

from pathlib import Path

import pytest

for needed in ("torch", "transformers", "onnx"):
    pytest.importorskip(needed, reason="such bundles are made with it: pip install 'edge-aac[train]'")

import torch  # noqa: E402

from benchmarks.full_size import EMBEDDING_DIM, INSTRUCTORS, make_instructor  # noqa: E402
from benchmarks.report.int8_copies import int8_copies, quantise  # noqa: E402
from benchmarks.report.torch_ways import INSTRUCTION_TOKENS  # noqa: E402
from benchmarks.report.ways import captioner  # noqa: E402
from edge_aac.bundle.store import DEFAULT_BUNDLE, open_bundle  # noqa: E402
from edge_aac.models.tokens import to_arrays  # noqa: E402
from quantize.models.instructor import CAPTION_INSTRUCTION, TextEmbedder, load_instructor_weights  # noqa: E402


def test_the_text_embedder_is_read_as_the_published_one_is(tmp_path: Path) -> None:
    make_instructor(tmp_path, "tiny")
    read = load_instructor_weights(tmp_path)
    dim = INSTRUCTORS["tiny"][0]
    assert (read.dim, read.transformer.config.d_model) == (EMBEDDING_DIM, dim)
    ids, mask = to_arrays(read.tokenizer, ["token7 token9 token11"], CAPTION_INSTRUCTION)
    assert ids.shape == (1, INSTRUCTION_TOKENS + 3), "torch's text embedder reads as many tokens of a caption"
    with torch.no_grad():
        embedding = TextEmbedder(read.transformer, read.dense)(torch.from_numpy(ids), torch.from_numpy(mask))
    assert embedding.shape == (1, EMBEDDING_DIM) and torch.linalg.norm(embedding) == pytest.approx(1.0, abs=1e-4)


def test_every_graph_runs_in_int8(tmp_path: Path) -> None:
    source = open_bundle(DEFAULT_BUNDLE)
    quantise(source, tmp_path / "int8")
    told: list[str] = []
    assert int8_copies([str(tmp_path / "int8")], tmp_path / "copies", told.append) == {} and not told, "it has its own"
    way = captioner(1, str(tmp_path / "int8"), tokens=8)
    assert way.about["precisions"] == dict.fromkeys(source.manifest.graphs, "int8")
    assert min(way.run(0).values()) > 0.0
    forms = open_bundle(str(tmp_path / "int8")).manifest.graphs
    assert {role: form[1].sha256 for role, form in forms.items()} == {
        role: form[0].sha256 for role, form in source.manifest.graphs.items()
    }, "costs are counted on what was exported"
