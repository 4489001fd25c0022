"""LAION's CLAP to a bundle that the runtime runs: what `load_clap` gives, fused and not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import quantize
from edge_aac.bundle.store import check_all, open_bundle
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import DataError
from edge_aac.models.clip_encoder import ClipEncoder
from quantize.bundles.convert_clap import convert_clap, looks_like_clap, provenance_of_clap
from quantize.models.clap.contract import SoundTextModel
from tests.quantize.models.audio_language_reference import LOG_MEL
from tests.quantize.models.laion_layout import write_laion
from tests.quantize.models.published_layout import reference
from tests.system.command import write_wav

TEXTS = ["a dog barks", "rain falls on the roof", "sing!", ""]


@pytest.fixture(scope="module", params=["plain", "fused"])
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[SoundTextModel, ClipEncoder]:
    if request.param == "fused":
        folder = reference("EDGE_AAC_REFERENCE_AUDIOBERT", "audiobert_tiny") / "clap-htsat-fused"
    else:
        folder = tmp_path_factory.mktemp("laion")
        write_laion(folder)
    assert looks_like_clap(folder)
    output = tmp_path_factory.mktemp("bundles") / "laion"
    convert_clap(folder, output, provenance_of_clap(folder, "laion"), lambda _line: None)
    bundle = open_bundle(str(output))
    check_all(bundle)
    return quantize.load_clap(folder), ClipEncoder(bundle, EngineOptions("onnxruntime", 1))


def test_sounds(both: tuple[SoundTextModel, ClipEncoder]) -> None:
    clap, bundle = both
    samples = clap.clip_length.samples
    rng = np.random.default_rng(1)
    for length in (samples // 5, samples):
        clip = clap.clip_length.batch((0.1 * rng.standard_normal(length)).astype(np.float32))
        assert float(np.abs(bundle.log_mel(clip[0].numpy()) - clap.log_mel(clip)[0, 0].numpy()).max()) < LOG_MEL
        assert float(np.abs(bundle.embed_clip(clip[0].numpy()) - clap.embed_audio(clip)[0].numpy()).max()) < 1e-3


def test_texts(both: tuple[SoundTextModel, ClipEncoder]) -> None:
    clap, bundle = both
    np.testing.assert_allclose(bundle.embed(TEXTS), clap.embed_text(TEXTS).numpy(), atol=1e-3)
    with pytest.raises(DataError, match="shorten it"):
        bundle.embed(["a" * 10_000])


def test_similarity(both: tuple[SoundTextModel, ClipEncoder]) -> None:
    clap, bundle = both
    audio, text = torch.ones(1, bundle.embed(["x"]).shape[1]), clap.embed_text(TEXTS)
    scale = bundle.logit_scale
    assert scale is not None
    cosines = (audio / audio.norm()) @ text.T
    torch.testing.assert_close(clap.similarity(audio, text), scale * cosines, atol=1e-3, rtol=1e-4)


def test_files(both: tuple[SoundTextModel, ClipEncoder], tmp_path: Path) -> None:
    """Channels are mixed, and a short sound is repeated as a whole."""
    clap, bundle = both
    rate = clap.clip_length.sample_rate
    stereo = (0.1 * np.random.default_rng(2).standard_normal((clap.clip_length.samples // 3, 2))).astype(np.float32)
    path = write_wav(tmp_path / "stereo.wav", stereo, rate, subtype="FLOAT")
    (part,) = bundle.hear(path)
    want = clap.embed_audio(clap.clip_length.clip(stereo.T, rate))[0].numpy()
    assert float(np.abs(part.embedding - want / np.linalg.norm(want)).max()) < 1e-3
    assert bundle.clip.mixes
