"""Microsoft's CLAP, stage by stage: what our code gives against what the original code gave.

Another folder of the layout of ``clap_tiny``:

    EDGE_AAC_REFERENCE_CLAP=FOLDER pytest tests/quantize/models/test_clap_parity.py
"""

from __future__ import annotations

import pytest
import torch

import quantize
from quantize.models.clap.microsoft import Clap
from tests.quantize.models.audio_language_reference import Reference, close


@pytest.fixture(scope="module")
def clap_reference() -> Reference:
    return Reference.of("EDGE_AAC_REFERENCE_CLAP", "clap_tiny")


@pytest.fixture(scope="module")
def clap(clap_reference: Reference) -> Clap:
    loaded = quantize.load_clap(clap_reference.folder)
    assert isinstance(loaded, Clap)
    return loaded


def test_clips_of_files(clap: Clap, clap_reference: Reference) -> None:
    """Resampled, laid end to end, repeated or cut where Python's generator says."""
    close(clap_reference.clips(clap.clip_length), clap_reference.expected["audio.waveform"], "audio.waveform")


def test_the_audio_tower(clap: Clap, clap_reference: Reference) -> None:
    stages = clap.audio_stages(clap_reference.waveform)
    wanted = [key for key in clap_reference.expected if key.startswith(("audio.", "audio0."))]
    assert clap_reference.same(stages, "audio", "audio0") == len(wanted) - 1, "all but the lengths of the files"
    torch.testing.assert_close(clap.log_mel(clap_reference.waveform), stages["logmel"])
    torch.testing.assert_close(clap.embed_audio(clap_reference.waveform), stages["embedding"])


def test_the_text_tower(clap: Clap, clap_reference: Reference) -> None:
    texts = clap_reference.given["texts"]
    stages = clap.text_stages(texts)
    wanted = [key for key in clap_reference.expected if key.startswith("text.")]
    assert clap_reference.same(stages, "text") == len(wanted)
    torch.testing.assert_close(clap.embed_text(texts), stages["embedding"])


def test_a_text_longer_than_text_len_is_not_cut(clap: Clap, clap_reference: Reference) -> None:
    long = clap_reference.given["long_text"]
    stages = clap.text_stages([long])
    assert stages["input_ids"].shape[1] > clap.settings.text_len
    assert clap_reference.same(stages, "long_text") == len(stages)
    # Beside others it is as it is alone, where the original code raises.
    others = clap_reference.given["texts"]
    among = clap.embed_text([*others, long])
    torch.testing.assert_close(among[-1:], stages["embedding"], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(among[:-1], clap.embed_text(others), atol=1e-5, rtol=1e-4)


def test_similarity(clap: Clap, clap_reference: Reference) -> None:
    expected = clap_reference.expected
    audio, text = clap.embed_audio(clap_reference.waveform), clap.embed_text(clap_reference.given["texts"])
    found = clap.similarity(audio, text)
    close(found, expected["similarity"], "similarity")
    close(found.softmax(dim=-1), expected["probabilities"], "probabilities")
    scale = float(clap.network.logit_scale.exp())
    assert scale == pytest.approx(float(expected["logit_scale_exp"]), rel=1e-5)
