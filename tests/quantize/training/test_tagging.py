"""The encoder's distillation from a tagger: what is stored, what is compared, and that it learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soxr
import torch
from torch import Tensor, nn

from edge_aac.errors import ConfigError
from quantize.models.captioner import Captioner
from quantize.models.config import BeatsConfig, CaptionerConfig, ConformerConfig, DecoderConfig
from quantize.models.efficientat import EfficientAt
from quantize.models.taggers import EfficientAtTagger
from quantize.training.settings import ListeningSettings, TaggingSettings
from quantize.training.tagged_mixtures import TaggedBatch, TaggedMixtures, collate_tagged, patch_weights, write_tagged
from quantize.training.tagging import Tagging, TaggingObjective, _posterior_loss
from tests.quantize.training.distill_cases import RecordedProgress

BEATS = BeatsConfig(
    stem_width=0.2,
    patch_embed_dim=24,
    layers=0,
    run_layers=0,
    dim=16,
    ffn_dim=20,
    heads=2,
    conv_pos=4,
    conv_pos_groups=4,
    classes=5,
)
SMALL = CaptionerConfig(
    beats=BEATS,
    conformer=ConformerConfig(
        layers=1, heads=2, ffn_dim=24, depthwise_kernel=5, conv_pos=4, conv_pos_groups=4, max_positions=40
    ),
    decoder=DecoderConfig(vocab_size=20, layers=1, heads=2, ffn_dim=20, max_positions=8),
    downsample_rate=1,
    max_memory_positions=40,
    embedding_ffn_dim=16,
    embedding_dim=8,
)
SETTINGS = TaggingSettings(
    mixtures=12,
    mixture_s=2.0,
    epochs=6,
    scenes_per_epoch=120,
    batch_scenes=6,
    learning_rate=5e-3,
    warmup_steps=5,
    workers=0,
)


class Tones:
    """Each mixture is a tone of its own, at a moment of its own."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> npt.NDArray[np.float32]:
        rng = np.random.default_rng(index)
        time = np.arange(32_000) / 16_000
        start = rng.uniform(0.0, 1.0)
        tone = np.sin(2 * np.pi * (200.0 + 300.0 * index) * time) * ((time > start) & (time < start + 0.8))
        return (0.2 * tone + 1e-3 * rng.standard_normal(32_000)).astype(np.float32)


@pytest.fixture(scope="module")
def tagger() -> EfficientAtTagger:
    """Random weights, but with the statistics of the tones: so it tells them apart."""
    torch.manual_seed(3)
    network = EfficientAt(0.1).requires_grad_(False)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    sound = np.stack([soxr.resample(Tones()[index], 16_000, 32_000, "HQ") for index in range(12)])
    network.train()(network.mel(torch.from_numpy(sound)))
    return EfficientAtTagger(network.eval())


@pytest.fixture(scope="module")
def mixtures(tmp_path_factory: pytest.TempPathFactory, tagger: EfficientAtTagger) -> Path:
    folder = tmp_path_factory.mktemp("tagged") / "mixtures"
    counts: list[int] = []
    write_tagged(Tones(), tagger, BEATS, folder, {"tones": 12}, counts.append)
    assert counts[-1] == 12
    return folder


def test_each_patch_is_compared_with_what_is_heard_in_it() -> None:
    weights = patch_weights(498, 16, 0.32, BEATS)
    assert weights.shape == (9, 16)
    torch.testing.assert_close(weights.sum(1), torch.ones(9))
    centres = weights @ (0.32 * (torch.arange(16) + 0.5))
    assert (centres - (0.5 * torch.arange(9) + 0.49)).abs().max() < 0.02


def test_the_last_patch_of_a_tagger_that_drops_a_remainder() -> None:
    weights = patch_weights(998, 62, 0.16, BEATS)  # 62 steps end at 9.92 s
    torch.testing.assert_close(weights.sum(1), torch.ones(19))
    assert float(weights[-1, -1]) > 0.16


def test_what_is_stored_is_what_the_tagger_hears(mixtures: Path, tagger: EfficientAtTagger) -> None:
    unmasked = replace(SETTINGS, masks=0)
    data = TaggedMixtures(mixtures, unmasked, 0)
    stored = data.reader[5].arrays
    tags = tagger.tag(torch.from_numpy(Tones()[5])[None])
    np.testing.assert_allclose(stored["logits"], tags.logits[0], atol=5e-3)
    np.testing.assert_allclose(stored["overall"], tags.features[0].mean(0), atol=5e-3)
    assert stored["fbank"].shape == (198, 128)
    assert stored["local"].shape == (3, tagger.feature_size)
    seen = {float(data[index].logits[0, 0]) for index in range(12)}
    assert len(seen) == len({float(sample.arrays["logits"][0]) for sample in data.reader})


def test_an_epoch_masks_anew_and_a_run_again_masks_alike(mixtures: Path) -> None:
    first, again, later = (TaggedMixtures(mixtures, SETTINGS, epoch)[3].fbank for epoch in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, later)


def test_mixtures_of_another_tagger_are_refused(mixtures: Path, tagger: EfficientAtTagger) -> None:
    with pytest.raises(ConfigError, match="another metadata"):
        write_tagged(Tones(), tagger, BEATS, mixtures, {"tones": 13}, lambda _: None)


def test_posteriors_that_agree_cost_nothing() -> None:
    logits = torch.randn(4, 7)
    assert float(_posterior_loss(logits, logits)) == pytest.approx(0.0, abs=1e-6)
    assert float(_posterior_loss(logits + 0.5, logits)) > 0.01


def test_it_learns_what_the_tagger_hears(mixtures: Path, tagger: EfficientAtTagger, tmp_path: Path) -> None:
    run = Tagging(SMALL, SETTINGS, tagger, mixtures, tmp_path)
    batch = collate_tagged([TaggedMixtures(mixtures, replace(SETTINGS, masks=0), 0)[index] for index in range(12)])
    weights = _learnt(run, batch)
    captioner = Captioner(SMALL)
    missing, unexpected = captioner.load_state_dict(weights, strict=False)
    assert not unexpected
    assert {name.partition(".")[0] for name in missing}.isdisjoint({"encoder", "downsample_conv", "postencoder"})


def _learnt(run: Tagging, batch: TaggedBatch) -> dict[str, Tensor]:
    """The weights of a run, which ends nearer to the tagger than it began."""
    objective = run.trainer._terms.objective[0]  # type: ignore[union-attr, index]
    assert isinstance(objective, TaggingObjective)

    def terms() -> dict[str, float]:
        with torch.no_grad():
            return {name: float(term) for name, term in objective(run.trainer.trainee.eval(), batch).items()}

    before = terms()
    weights = run.train(RecordedProgress())
    after = terms()
    assert all(after[name] < 0.8 * before[name] for name in ("local", "overall", "classes")), (before, after)
    return weights


STEM = ListeningSettings(
    epochs=6, scenes_per_epoch=120, batch_scenes=6, learning_rate=1e-2, warmup_steps=5, workers=0, masks=0
)


def test_epochs_of_the_stem_alone_hear_every_second_patch_in_turn(mixtures: Path) -> None:
    whole = TaggedMixtures(mixtures, STEM, 0)[3]
    even, odd = (TaggedMixtures(mixtures, replace(STEM, masks=0), epoch, BEATS.stem_hop_frames) for epoch in (0, 1))
    assert torch.equal(even[3].fbank, whole.fbank)
    assert torch.equal(even[3].local, whole.local[:, ::2])
    index = next(index for index in range(12) if torch.equal(odd[index].logits, whole.logits))
    assert torch.equal(odd[index].fbank, whole.fbank[:, BEATS.stem_hop_frames :])
    assert torch.equal(odd[index].local_logits, whole.local_logits[:, 1::2])


def test_a_stem_learns_alone_and_then_stays(mixtures: Path, tagger: EfficientAtTagger, tmp_path: Path) -> None:
    alone = Tagging(SMALL, STEM, tagger, mixtures, tmp_path)
    batch = collate_tagged([TaggedMixtures(mixtures, STEM, 0, BEATS.stem_hop_frames)[index] for index in range(12)])
    taught = _learnt(alone, batch)

    stays = replace(SETTINGS, epochs=2, scenes_per_epoch=12, stem_stays=True)
    weights = Tagging(SMALL, stays, tagger, mixtures, tmp_path, taught=taught).train(RecordedProgress())
    assert taught
    for name, tensor in taught.items():
        assert torch.equal(weights[name], tensor), name
    fresh = Captioner(SMALL).state_dict()
    assert any(not torch.equal(tensor, fresh[name]) for name, tensor in weights.items() if "postencoder" in name)
