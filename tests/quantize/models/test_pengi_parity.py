"""Pengi with and without its text tower, stage by stage: what our code gives against what the original code gave.

Another folder of the layout of ``pengi_tiny``:

    EDGE_AAC_REFERENCE_PENGI=FOLDER pytest tests/quantize/models/test_pengi_parity.py
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

import quantize
from quantize.models.audio_language.beam_search import SearchRules
from quantize.models.audio_language.gpt2_text import END
from quantize.models.pengi.pengi import Pengi
from tests.quantize.models.audio_language_reference import LOG_MEL, Reference, close

Loaded = tuple[str, Pengi]


@pytest.fixture(scope="module")
def pengi_reference() -> Reference:
    return Reference.of("EDGE_AAC_REFERENCE_PENGI", "pengi_tiny")


@pytest.fixture(scope="module", params=["base", "no_text_enc"])
def loaded(pengi_reference: Reference, request: pytest.FixtureRequest) -> Loaded:
    file = {"base": "base.pth", "no_text_enc": "base_no_text_enc.pth"}[request.param]
    return request.param, quantize.load_pengi(pengi_reference.folder / "configs" / file)


def test_a_folder_is_its_first_file(pengi_reference: Reference) -> None:
    assert quantize.load_pengi(pengi_reference.folder).network.caption_encoder is not None


def test_clips_of_files(loaded: Loaded, pengi_reference: Reference) -> None:
    _, pengi = loaded
    close(pengi_reference.clips(pengi.clip_length), pengi_reference.expected["audio.waveform"], "audio.waveform")


def test_the_audio_tower(loaded: Loaded, pengi_reference: Reference) -> None:
    name, pengi = loaded
    stages, expected = pengi.audio_stages(pengi_reference.waveform), pengi_reference.expected
    assert float((stages["logmel"] - torch.from_numpy(expected["audio.logmel"])).abs().max()) < LOG_MEL
    wanted = [key for key in expected if key.startswith((f"{name}.audio.", f"{name}.audio0."))]
    assert pengi_reference.same(stages, f"{name}.audio", f"{name}.audio0") == len(wanted)


def test_prompts(loaded: Loaded, pengi_reference: Reference) -> None:
    name, pengi = loaded
    stages = pengi.prompt_stages(pengi_reference.given["prompts"])
    wanted = [key for key in pengi_reference.expected if key.startswith(f"{name}.prompt.")]
    assert pengi_reference.same(stages, f"{name}.prompt") == len(wanted) == len(stages)


def test_the_prompt_normalised_as_in_training(loaded: Loaded, pengi_reference: Reference) -> None:
    name, pengi = loaded
    given, expected = pengi_reference.given, pengi_reference.expected
    prefix = pengi.prefix(pengi_reference.waveform, given["prompts"], normalise_prompt=True)
    close(prefix, expected[f"{name}.prefix_of_model_forward"], "prefix")
    ids = torch.from_numpy(expected[f"{name}.caption_ids"])
    close(pengi.logits(prefix, ids), expected[f"{name}.logits_of_model_forward"], "logits")
    rows, _ = pengi.writer.text.batch(given["captions"], ids.shape[1])
    assert torch.equal(rows, ids)
    assert np.array_equal(pengi.writer.text.ids(END), expected[f"{name}.stop_token_encoding"])


def test_answers(loaded: Loaded, pengi_reference: Reference) -> None:
    name, pengi = loaded
    given, expected = pengi_reference.given, pengi_reference.expected
    for number, vectors in enumerate(pengi.prefix(pengi_reference.waveform, given["prompts"])):
        close(vectors, expected[f"{name}.plain.clip{number}.prefix"], "prefix")
    for beams in given["beam_sizes"]:
        found = pengi.generate(pengi_reference.waveform, given["prompts"], None, beams, given["max_len"])
        for number, one in enumerate(found):
            pengi_reference.same_beams(one, f"{name}.plain.beam{beams}.clip{number}")
        assert [list(one.texts) for one in found] == pengi_reference.texts[f"{name}.plain.beam{beams}"]


def test_an_additional_text_as_published(loaded: Loaded, pengi_reference: Reference) -> None:
    name, pengi = loaded
    given, expected = pengi_reference.given, pengi_reference.expected
    prefix = pengi.prefix(pengi_reference.waveform, given["prompts"])
    prefixes = pengi.extended(prefix, given["add_texts"], as_published=True)
    for number, vectors in enumerate(prefixes):
        close(vectors, expected[f"{name}.added.clip{number}.prefix"], "prefix")
    searched = {key.split(".")[2] for key in expected if key.startswith(f"{name}.added.beam")}
    assert searched
    for beams in searched:
        rules = SearchRules(int(beams.removeprefix("beam")), given["max_len"])
        found = pengi.writer.write(prefixes, rules)
        for number, one in enumerate(found):
            pengi_reference.same_beams(one, f"{name}.added.{beams}.clip{number}")
        assert [list(one.texts) for one in found] == pengi_reference.texts[f"{name}.added.{beams}"]


def test_descriptions(loaded: Loaded, pengi_reference: Reference) -> None:
    name, pengi = loaded
    found = pengi.describe(pengi_reference.waveform, 3, pengi_reference.given["max_len"])
    assert found == pengi_reference.texts[f"{name}.describe"]
