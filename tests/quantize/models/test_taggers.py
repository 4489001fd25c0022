"""Taggers behind one protocol: what each gives over time, against the network that it wraps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soxr
import torch

from edge_aac.errors import DataError
from quantize.models.beats import Beats
from quantize.models.config import BeatsConfig
from quantize.models.efficientat import EfficientAt
from quantize.models.taggers import BeatsTagger, EfficientAtTagger, Tagger, load_tagger

SOUND = torch.from_numpy(np.random.default_rng(0).normal(0.0, 0.1, (2, 48_000)).astype(np.float32))
SMALL = BeatsConfig(
    patch_embed_dim=12, layers=2, run_layers=2, dim=16, ffn_dim=20, heads=2, conv_pos=8, conv_pos_groups=4
)


def taggers() -> list[Tagger]:
    torch.manual_seed(0)
    whole = EfficientAt(0.1).eval()
    convolutional = EfficientAt(0.1, convolutional_head=True).eval()
    return [EfficientAtTagger(whole), EfficientAtTagger(convolutional), BeatsTagger(Beats(SMALL).eval())]


@pytest.mark.parametrize("tagger", taggers(), ids=["mlp", "convolutional", "beats"])
def test_shapes_and_times(tagger: Tagger) -> None:
    tags = tagger.tag(SOUND)
    steps = tags.features.shape[1]
    assert tags.features.shape == (2, steps, tagger.feature_size)
    assert tags.local.shape == (2, steps, tagger.classes)
    assert tags.logits.shape == (2, tagger.classes)
    assert abs(steps * tags.step_s - 3.0) <= tags.step_s
    assert not tags.features.requires_grad


@pytest.mark.parametrize("convolutional", [False, True])
def test_logits_are_those_of_the_network_at_32_khz(convolutional: bool) -> None:
    torch.manual_seed(0)
    network = EfficientAt(0.1, convolutional_head=convolutional).eval()
    tags = EfficientAtTagger(network).tag(SOUND)
    rows = [soxr.resample(row, 16_000, 32_000, "HQ") for row in SOUND.numpy()]
    with torch.no_grad():
        logits, feature = network(network.mel(torch.from_numpy(np.stack(rows))))
    torch.testing.assert_close(tags.logits, logits, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(tags.features.mean(1), feature, atol=1e-5, rtol=1e-4)


def test_a_batch_is_its_rows() -> None:
    for tagger in taggers():
        both, first = tagger.tag(SOUND), tagger.tag(SOUND[:1])
        torch.testing.assert_close(both.local[:1], first.local, atol=1e-5, rtol=1e-4)


def test_what_is_heard_late_shows_late() -> None:
    """BEATs' tokens are averaged over the mel axis and stay in their order of time."""
    torch.manual_seed(0)
    tagger = BeatsTagger(Beats(SMALL).eval())
    quiet = torch.zeros(1, 48_000)
    late = quiet.clone()
    late[:, 40_000:] = SOUND[:1, :8_000]
    change = (tagger.tag(late).features - tagger.tag(quiet).features).norm(dim=-1)[0]
    half = len(change) // 2
    assert change[half:].mean() > 2.0 * change[:half].mean()


def test_files_are_told_apart(tmp_path: Path) -> None:
    torch.save(EfficientAt(0.1).state_dict(), tmp_path / "mn01_as.pt")
    assert isinstance(load_tagger(tmp_path / "mn01_as.pt"), EfficientAtTagger)
    torch.save({"weights": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(DataError, match="no EfficientAT tagger"):
        load_tagger(tmp_path / "other.pt")
