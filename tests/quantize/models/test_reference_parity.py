"""The published system, stage by stage: what our code gives against what the original code gave.

Any other model of the same layout can be put in place of the tiny references:

    export EDGE_AAC_REFERENCE_CAPTIONER=FOLDER EDGE_AAC_REFERENCE_INSTRUCTOR=FOLDER
    pytest tests/quantize/models/test_reference_parity.py tests/quantize/bundles/test_convert_parity.py
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import quantize
from edge_aac.bundle.manifest import DecodingRules
from quantize.models.instructor import Instructor
from quantize.models.published import PublishedCaptioner
from tests.edge_aac.models.drawn_tokens import drawn_as

CASES = ("full", "padded")
TOLERANCE = 1e-3  # of a tensor's standard deviation

Expected = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def captioner(captioner_folder: Path) -> PublishedCaptioner:
    return quantize.load_captioner(captioner_folder)


@pytest.fixture(scope="module")
def instructor(instructor_folder: Path) -> Instructor:
    return quantize.load_instructor(instructor_folder)


def _close(got: torch.Tensor | np.ndarray, want: np.ndarray, tolerance: float = TOLERANCE) -> None:
    got = np.asarray(got)
    assert got.shape == want.shape
    assert float(np.abs(got - want).max() / want.std()) < tolerance


def _ids(captioner: PublishedCaptioner, case: str, expected: Expected, method: str) -> list[int]:
    memory, padding, _ = captioner.encode(expected[f"{case}.waveform"], expected[f"{case}.padding_mask"])
    # The longest that the reference was allowed to become is not written down; one that filled it ends in the end.
    longest = max(30, expected[f"{case}.{method}_ids"].shape[1])
    rules = captioner.rules.model_copy(update={"method": method, "max_length": longest})
    (candidate,) = captioner.decode(memory, padding, rules)
    return [rules.start_token_id, *candidate.token_ids, rules.eos_token_id]


@pytest.mark.parametrize("case", CASES)
def test_filter_bank(captioner: PublishedCaptioner, expected: Expected, case: str) -> None:
    got = captioner.filter_bank(expected[f"{case}.waveform"])
    assert got.shape == expected[f"{case}.fbank"].shape
    assert float(np.abs(got.numpy() - expected[f"{case}.fbank"]).max()) < 5e-3


@pytest.mark.parametrize("case", CASES)
def test_encoder(captioner: PublishedCaptioner, expected: Expected, case: str) -> None:
    waveform, padding_mask = expected[f"{case}.waveform"], expected[f"{case}.padding_mask"]
    _close(captioner.beats_hidden(waveform, padding_mask), expected[f"{case}.beats_hidden"])
    memory, memory_padding, embedding = captioner.encode(waveform, padding_mask)
    _close(memory, expected[f"{case}.memory"])
    assert np.array_equal(memory_padding, expected[f"{case}.memory_padding_mask"])
    _close(embedding, expected[f"{case}.audio_embedding"])


@pytest.mark.parametrize("case", CASES)
def test_decoder(captioner: PublishedCaptioner, expected: Expected, case: str) -> None:
    memory, padding, _ = captioner.encode(expected[f"{case}.waveform"], expected[f"{case}.padding_mask"])
    _close(captioner.logits(memory, padding, expected["decoder_input_ids"]), expected[f"{case}.logits"])
    nll = captioner.caption_nll(memory, padding, expected["labels"])
    assert nll.shape == expected[f"{case}.label_nll"].shape
    assert float(np.abs(nll.numpy() - expected[f"{case}.label_nll"]).max()) < 1e-3


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("method", ["greedy", "beam"])
def test_decoding(captioner: PublishedCaptioner, expected: Expected, case: str, method: str) -> None:
    assert _ids(captioner, case, expected, method) == expected[f"{case}.{method}_ids"][0].tolist()


def test_no_mask_is_a_mask_of_nothing(captioner: PublishedCaptioner, expected: Expected) -> None:
    if expected["full.padding_mask"].any():
        pytest.skip("this reference's full case is padded")
    memory, padding, embedding = captioner.encode(expected["full.waveform"])
    assert not padding.any()
    _close(memory, expected["full.memory"])
    _close(embedding, expected["full.audio_embedding"])


def test_sampling(expected: Expected) -> None:
    given = expected["sampling.logits"], expected["sampling.prefix_ids"]
    assert drawn_as(expected["sampling.probs"], *given, DecodingRules())


def test_instructor(instructor: Instructor, instructor_folder: Path) -> None:
    given = json.loads((instructor_folder / "expected_inputs.json").read_text(encoding="utf-8"))
    with np.load(instructor_folder / "expected.npz") as arrays:
        want = arrays["embeddings"]
    got = instructor.embed(given["texts"], instruction=given["instruction"])
    assert got.shape == want.shape
    assert float(np.abs(got - want).max()) < 1e-4
    # One by one as in a batch: padding changes nothing.
    alone = np.concatenate([instructor.embed([text], instruction=given["instruction"]) for text in given["texts"]])
    assert float(np.abs(alone - want).max()) < 1e-4
