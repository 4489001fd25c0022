"""Published weights, converted: what the bundle gives in ONNX Runtime against what the original code gave.

Any other model of the same layout can be put in place of the tiny references, as in ``test_reference_parity.py``.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from edge_aac.bundle.manifest import GraphRole
from edge_aac.bundle.store import Bundle, open_bundle
from edge_aac.engines.choice import load_engine
from edge_aac.engines.contract import Engine, EngineOptions
from edge_aac.models.decoding import CandidateDecoder
from edge_aac.models.encoding import memory_of
from edge_aac.models.rerank import Reranker
from edge_aac.models.tokens import load_tokenizer
from quantize.models.beats import pool_padding
from quantize.models.checkpoint import load_captioner_weights
from quantize.models.published_config import captioner_config_of
from tests.system.command import CAPTION_FIELDS, FILE_TIMES, noise, records, run_edge_aac, write_wav

CASES = ("full", "padded")
TOLERANCE = 1e-3  # of a tensor's standard deviation

Expected = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def bundle(published: Path) -> Bundle:
    """Converted once."""
    lines = (published.parent / "lines").read_text(encoding="utf-8").splitlines()
    measured = [line for line in lines if "max abs difference from torch" in line]
    assert [line.partition(":")[0] for line in measured] == ["encoder", "decoder", "text_embedder"]
    return open_bundle(str(published))


def _engine(bundle: Bundle, role: GraphRole) -> Engine:
    return load_engine(bundle, role, EngineOptions())[0]


def _close(got: np.ndarray, want: np.ndarray) -> None:
    assert got.shape == want.shape
    assert float(np.abs(got - want).max() / want.std()) < TOLERANCE


def _encoded(bundle: Bundle, expected: Expected, case: str) -> dict[str, np.ndarray]:
    fbank = expected[f"{case}.fbank"]
    padding = pool_padding(torch.from_numpy(expected[f"{case}.padding_mask"]), fbank.shape[1]).numpy()
    assert padding.any() or case == "full"
    return _engine(bundle, "encoder").run({"fbank": fbank, "frame_padding": padding})


@pytest.mark.parametrize("case", CASES)
def test_encoder(bundle: Bundle, expected: Expected, captioner_folder: Path, case: str) -> None:
    encoded = _encoded(bundle, expected, case)
    _close(encoded["audio_embedding"], expected[f"{case}.audio_embedding"])
    assert np.array_equal(encoded["memory_padding"].astype(bool), expected[f"{case}.memory_padding_mask"])
    model = load_captioner_weights(captioner_folder)
    with torch.no_grad():
        memory = model.positioned(torch.from_numpy(expected[f"{case}.memory"]))
        keys, values = model.decoder.cross_keys_values(memory)
    _close(encoded["cross_keys"], keys.numpy())
    _close(encoded["cross_values"], values.numpy())


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("method", ["greedy", "beam"])
def test_decoding(bundle: Bundle, expected: Expected, case: str, method: str) -> None:
    encoded = _encoded(bundle, expected, case)
    want = expected[f"{case}.{method}_ids"][0].tolist()
    # The longest that the reference was allowed to become is not written down; one that filled it ends in the end.
    changes = {"method": method, "max_length": max(30, len(want))}
    rules = bundle.manifest.decoding.model_copy(update=changes)
    decoder = CandidateDecoder(_engine(bundle, "decoder"))
    ((found,),) = decoder.decode(memory_of(encoded), rules, [np.random.default_rng(0)])
    assert [rules.start_token_id, *found.token_ids, rules.eos_token_id] == want


def test_text_embedder(bundle: Bundle, instructor_folder: Path) -> None:
    given = json.loads((instructor_folder / "expected_inputs.json").read_text(encoding="utf-8"))
    with np.load(instructor_folder / "expected.npz") as arrays:
        want = arrays["embeddings"]
    manifest = bundle.manifest
    assert manifest.instruction == given["instruction"]
    decoder_tokenizer, text_tokenizer = (
        load_tokenizer(bundle.path(file)) for file in (manifest.tokenizers.decoder, manifest.tokenizers.text)
    )
    reranker = Reranker(
        _engine(bundle, "text_embedder"), decoder_tokenizer, text_tokenizer, manifest.rerank, manifest.instruction
    )
    got = reranker.embed(given["texts"])
    assert got.shape == want.shape
    assert float(np.abs(got - want).max()) < 1e-3
    # One by one as in a batch: padding changes nothing.
    alone = np.concatenate([reranker.embed([text]) for text in given["texts"]])
    assert float(np.abs(alone - want).max()) < 1e-3


def test_published_rules_are_in_the_manifest(bundle: Bundle, captioner_folder: Path) -> None:
    decoder = captioner_config_of(captioner_folder)[0].decoder
    rules = bundle.manifest.decoding
    assert (rules.method, rules.candidates, rules.temperature, rules.top_p) == ("nucleus", 50, 0.5, 0.95)
    assert (rules.min_length, rules.max_length, rules.no_repeat_ngram, rules.beams) == (5, 30, 3, 4)
    ids = (rules.start_token_id, rules.eos_token_id, rules.pad_token_id)
    assert ids == (decoder.start_token_id, decoder.eos_token_id, decoder.pad_token_id)
    assert rules.max_positions == decoder.max_positions


def test_files_are_captioned(bundle: Bundle, tmp_path: Path) -> None:
    sounds = [write_wav(tmp_path / f"{seconds}.wav", noise(seconds)) for seconds in (15, 7)]
    done = run_edge_aac("caption", *sounds, "--bundle", bundle.folder, "--candidates", "5", "--seed", "1")
    assert (done.returncode, done.stderr) == (0, "")
    captions = records(done.stdout)
    assert [(record["start_s"], record["end_s"]) for record in captions] == [(0.0, 10.0), (5.0, 15.0), (0.0, 7.0)]
    for record in captions:
        assert set(record) == CAPTION_FIELDS | FILE_TIMES
        assert record["candidates"] == 5
        assert record["model"]["bundle"] == "published"
        assert record["caption"]


def test_the_demo_scene_streams(bundle: Bundle) -> None:
    arguments = ("--device", "demo:?seconds=14", "--format", "json", "--candidates", "4")
    done = run_edge_aac("stream", "--bundle", str(bundle.folder), *arguments)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    captions = [record for record in records(done.stdout) if record["schema"] == "edge-aac/caption/1"]
    assert captions
    assert all(set(record) >= CAPTION_FIELDS for record in captions)
