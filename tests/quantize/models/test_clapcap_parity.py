"""clapcap, stage by stage: what our code gives against what the original code gave.

Another folder of the layout of ``clapcap_tiny``:

    EDGE_AAC_REFERENCE_CLAPCAP=FOLDER pytest tests/quantize/models/test_clapcap_parity.py
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

import quantize
from quantize.models.audio_language.gpt2_text import END
from quantize.models.clap.clapcap import Clapcap
from tests.quantize.models.audio_language_reference import Reference, close


@pytest.fixture(scope="module")
def clapcap_reference() -> Reference:
    return Reference.of("EDGE_AAC_REFERENCE_CLAPCAP", "clapcap_tiny")


@pytest.fixture(scope="module")
def clapcap(clapcap_reference: Reference) -> Clapcap:
    return quantize.load_clapcap(clapcap_reference.folder)


def test_clips_of_files(clapcap: Clapcap, clapcap_reference: Reference) -> None:
    close(clapcap_reference.clips(clapcap.clip_length), clapcap_reference.expected["audio.waveform"], "audio.waveform")


def test_the_audio_tower(clapcap: Clapcap, clapcap_reference: Reference) -> None:
    stages = clapcap.audio_stages(clapcap_reference.waveform)
    wanted = [key for key in clapcap_reference.expected if key.startswith(("audio.", "audio0."))]
    assert clapcap_reference.same(stages, "audio", "audio0") == len(wanted)


def test_the_mapper(clapcap: Clapcap, clapcap_reference: Reference) -> None:
    embedding = clapcap.embed_audio(clapcap_reference.waveform)
    stages = clapcap.mapper_stages(embedding)
    wanted = [key for key in clapcap_reference.expected if key.startswith("mapper_") or key == "prefix"]
    assert sorted(wanted) == sorted(stages)
    for name, got in stages.items():
        close(got, clapcap_reference.expected[name], name)
    torch.testing.assert_close(clapcap.prefix(clapcap_reference.waveform), stages["prefix"])


def test_logits(clapcap: Clapcap, clapcap_reference: Reference) -> None:
    ids = torch.from_numpy(clapcap_reference.expected["caption_ids"])
    prefix = clapcap.prefix(clapcap_reference.waveform)[: len(ids)]
    close(clapcap.logits(prefix, ids), clapcap_reference.expected["logits"], "logits")
    # The captions themselves, with their end.
    text = clapcap.writer.text
    rows, _ = text.batch(clapcap_reference.given["captions"], ids.shape[1])
    assert torch.equal(rows, ids)
    assert np.array_equal(text.ids(END), clapcap_reference.expected["stop_token_encoding"])


def test_captions(clapcap: Clapcap, clapcap_reference: Reference) -> None:
    given, texts = clapcap_reference.given, clapcap_reference.texts
    for beams in given["beam_sizes"]:
        found = clapcap.generate(clapcap_reference.waveform, beams, given["entry_length"])
        for number, one in enumerate(found):
            clapcap_reference.same_beams(one, f"beam{beams}.clip{number}")
        assert [one.texts[0] for one in found] == texts[f"beam{beams}"]


def test_captions_at_a_low_temperature(clapcap: Clapcap, clapcap_reference: Reference) -> None:
    given, texts = clapcap_reference.given, clapcap_reference.texts
    compared = 0
    for name, want in texts.items():
        head, _, temperature = name.partition("_temperature_")
        if not temperature:
            continue
        beams = int(head.removeprefix("beam"))
        found = clapcap.generate(clapcap_reference.waveform, beams, given["entry_length"], float(temperature))
        assert [one.texts[0] for one in found] == want
        compared += 1
    assert compared
