"""The encoder's pretraining: what the captioner begins with, done once, and only where a recipe asks for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from edge_aac.errors import ConfigError
from quantize.data import sound_bank
from quantize.data.lexicon import LABELS
from quantize.data.sound_bank import MixRecipe
from quantize.models.beats import Beats
from quantize.training.distributed import World
from quantize.training.pretrain import (
    FOLDER,
    EncoderPretraining,
    MixBatch,
    collate_mixes,
    encoder_scores,
    mix_terms,
)
from quantize.training.recipe import Recipe
from quantize.training.settings import TrainerSettings
from quantize.training.sources import SceneSource
from quantize.training.train import Run, load_run
from tests.quantize.training.distill_cases import RecordedProgress, epoch_rows

SETTINGS = TrainerSettings(
    epochs=2, scenes_per_epoch=8, batch_scenes=4, warmup_steps=2, checkpoint_steps=1, learning_rate=2e-3, workers=0
)


@pytest.fixture
def recipe(small_recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    monkeypatch.setattr(sound_bank, "NOISES", 4)
    train = replace(small_recipe.train, epochs=1, scenes_per_epoch=8, batch_scenes=2, corpus_scenes=8)
    train = replace(train, validation_scenes=2, captions_per_scene=1)
    mixes = MixRecipe(variants_per_clip=1, frames=128)
    return replace(small_recipe, train=train, mixes=mixes, pretrain=SETTINGS)


@pytest.fixture
def source(recipe: Recipe, recordings: Path) -> SceneSource:
    return SceneSource(recipe, recordings)


class BeforeCaptions(RecordedProgress):
    """Breaks the run off when the captioner's first epoch begins: the one of a single epoch."""

    def epoch(self, number: int, total: int, steps: int) -> None:
        super().epoch(number, total, steps)
        if total == 1:
            raise KeyboardInterrupt


def test_the_captioner_begins_with_the_averaged_encoder(recipe: Recipe, source: SceneSource, tmp_path: Path) -> None:
    run = Run(recipe, source, tmp_path)
    drawn = {name: tensor.clone() for name, tensor in run.trainer.trainee.captioner.state_dict().items()}
    progress = BeforeCaptions()
    with pytest.raises(KeyboardInterrupt):
        run.train(progress)
    assert progress.epochs == [(1, 2), (2, 2), (1, 1)] and len(progress.losses) == 4
    kept = torch.load(tmp_path / FOLDER / "last.pt", weights_only=True)
    now = run.trainer.trainee.captioner.state_dict()
    changed = 0
    for name, tensor in now.items():
        if name.startswith("encoder."):
            assert torch.equal(tensor, kept["averaged"]["module." + name.removeprefix("encoder.")]), name
            changed += int(not torch.equal(tensor, drawn[name]))
        else:
            assert torch.equal(tensor, drawn[name]), name
    assert changed > 20

    progress = RecordedProgress()
    Run(recipe, source, tmp_path).train(progress)
    assert progress.epochs == [(1, 1)], "a finished pretraining is not repeated"
    load_run(tmp_path)


def test_broken_off_within_it_goes_on_there(recipe: Recipe, source: SceneSource, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        Run(recipe, source, whole).train(BeforeCaptions())
    with pytest.raises(KeyboardInterrupt):
        Run(recipe, source, broken).train(RecordedProgress(steps_left=2))
    assert not (broken / "last.pt").exists()
    progress = BeforeCaptions()
    with pytest.raises(KeyboardInterrupt):
        Run(recipe, source, broken).train(progress)
    assert len(progress.losses) == 3
    states = [torch.load(folder / FOLDER / "last.pt", weights_only=True)["averaged"] for folder in (whole, broken)]
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


def test_killed_within_it_a_run_keeps_its_outliers(recipe: Recipe, source: SceneSource, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        Run(recipe, source, tmp_path).train(RecordedProgress(steps_left=2))
    heard = SceneSource(recipe, source.data)
    heard.outliers = source.clips[:1]
    with pytest.raises(ConfigError, match=r"other outliers \(--outliers\): give the same"):
        Run(recipe, heard, tmp_path)
    assert not (tmp_path / "outliers.json").exists()


def test_it_is_scored_on_recordings_that_it_does_not_see(recipe: Recipe, source: SceneSource, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        Run(recipe, source, tmp_path).train(BeforeCaptions())
    rows = epoch_rows(tmp_path / FOLDER)
    assert [row["epoch"] for row in rows] == [1, 2]
    assert all(0.0 <= row[name] <= 1.0 for row in rows for name in ("clips_right", "scene_sounds_right"))


def test_scores_of_an_encoder_that_knows_one_class(source: SceneSource, recipe: Recipe) -> None:
    class OnlyRain(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = torch.nn.Parameter(torch.zeros(len(LABELS)))
            self.bias.data[LABELS.index("rain")] = 5.0
            self.bias.data[LABELS.index("dog_bark")] = 1.0

        def forward(self, fbank: torch.Tensor) -> tuple[torch.Tensor, None]:
            return fbank[:, :8, : len(LABELS)] * 0.0, None

        def predictor(self, hidden: torch.Tensor) -> torch.Tensor:
            return hidden + self.bias

    held_out = source.held_out()
    assert held_out is not None
    scores = encoder_scores(OnlyRain(), held_out)  # type: ignore[arg-type]
    assert scores["clips_right"] == pytest.approx(1 / 3)
    expected = [len({"rain", "dog_bark"} & set(scene.labels)) / 2 for scene in held_out.scenes]
    assert scores["scene_sounds_right"] == pytest.approx(sum(expected) / len(expected))


def test_it_learns_which_sound_is_heard(recipe: Recipe, source: SceneSource, tmp_path: Path) -> None:
    longer = replace(recipe, pretrain=replace(SETTINGS, epochs=4, scenes_per_epoch=24, learning_rate=1e-2))
    torch.manual_seed(0)
    EncoderPretraining(Beats(recipe.model.beats), longer, source, tmp_path, World()).train(RecordedProgress())
    first, *_, last = epoch_rows(tmp_path / FOLDER)
    assert last["loss"] < 0.9 * first["loss"]


def test_mixes_are_stacked_and_only_their_activity_counts(recipe: Recipe) -> None:
    batch = collate_mixes([(torch.full((128, 128), float(n)), torch.zeros(128, 10, dtype=torch.bool)) for n in (0, 1)])
    assert isinstance(batch, MixBatch)
    assert batch.fbank.shape == (2, 128, 128) and batch.activity.shape == (2, 128, 10)
    encoder = Beats(recipe.model.beats).eval()
    torch.nn.init.zeros_(encoder.predictor.weight)
    torch.nn.init.constant_(encoder.predictor.bias, -30.0)
    assert float(mix_terms(encoder, batch)["loss"].detach()) == pytest.approx(0.0, abs=1e-9)
    torch.nn.init.constant_(encoder.predictor.bias, 30.0)
    assert float(mix_terms(encoder, batch)["loss"].detach()) == pytest.approx(30.0)


def test_without_the_table_nothing_is_pretrained(recipe: Recipe, source: SceneSource, tmp_path: Path) -> None:
    plain = replace(recipe, pretrain=None)
    run = Run(plain, SceneSource(plain, source.data), tmp_path)
    assert not (tmp_path / FOLDER).exists()
    with_it = Run(recipe, source, tmp_path / "with")
    # Pretraining takes none of the random numbers that the captioner's own weights are drawn from.
    states = [one.trainer.trainee.state_dict() for one in (run, with_it)]
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
    progress = RecordedProgress()
    run.train(progress)
    assert progress.epochs == [(1, 1)] and not (tmp_path / FOLDER).exists()


def test_a_corpus_has_no_single_sounds(recipe: Recipe, scene_source: SceneSource, tmp_path: Path) -> None:
    class Other:
        captions = staticmethod(lambda: iter(["a dog barks at rain"] * 5))
        validation = staticmethod(lambda: None)

    with pytest.raises(ConfigError, match=r"\[pretrain\].*leave it out"):
        Run(recipe, Other(), tmp_path)  # type: ignore[arg-type]
