"""CLAP of 2022 to a bundle that the runtime runs: same embeddings as `load_clap`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import quantize
from edge_aac.bundle.store import check_all, open_bundle
from edge_aac.cli import main
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import DeviceError
from edge_aac.models.clip_encoder import ClipEncoder
from quantize.bundles.convert import Provenance
from quantize.bundles.convert_clap import convert_clap
from quantize.models.audio_language.audio_stages import unit
from tests.quantize.models import clap_2022_layout as layout


@pytest.mark.parametrize("given", ["", layout.FILE])
def test_folder_or_file_becomes_a_bundle_that_embeds_alike(tmp_path: Path, given: str) -> None:
    weights = layout.write_clap_2022(tmp_path / "clap")
    with pytest.raises(SystemExit) as ended:
        main(["convert", str(weights / given), "--output", str(tmp_path / "bundle")])
    assert not ended.value.code
    bundle = open_bundle(str(tmp_path / "bundle"))
    check_all(bundle)
    manifest = bundle.manifest
    assert (manifest.kind, manifest.sample_rate, manifest.window_s) == ("dual_encoder", layout.RATE, layout.DURATION_S)
    encoder, clap = ClipEncoder(bundle, EngineOptions("onnxruntime", 1)), quantize.load_clap(weights)
    for clip, want in zip(layout.clips().numpy(), clap.embed_audio(layout.clips()).numpy(), strict=True):
        np.testing.assert_allclose(encoder.embed_clip(clip), want, atol=1e-3)
    texts = [*layout.TEXTS, layout.LONG_TEXT]
    np.testing.assert_allclose(encoder.embed(texts), unit(clap.embed_text(texts)).numpy(), atol=1e-3)
    assert encoder.logit_scale == pytest.approx(float(torch.exp(layout.numbers("logit_scale", ()))), rel=1e-5)


def test_without_optimum_a_text_tower_is_not_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optimum.exporters.onnx", None)
    folder, output = layout.write_clap_2022(tmp_path / "clap"), tmp_path / "bundle"
    with pytest.raises(DeviceError, match="a bert is exported with optimum, which is not installed") as caught:
        convert_clap(folder, output, Provenance("clap", "1", "unknown", ()), lambda line: None)
    assert "\n" not in str(caught.value) and not output.exists()
