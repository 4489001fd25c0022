"""Objectives, measures, recipes and the training loop."""

from __future__ import annotations

import json
import math
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from edge_aac.errors import ConfigError, DataError, InputMissingError
from quantize.models.captioner import Captioner
from quantize.training.loop import parameter_groups
from quantize.training.metrics import event_scores, named_share, order_share
from quantize.training.objective import activity_loss, caption_cross_entropy, info_nce
from quantize.training.recipe import Recipe, load_recipe, parse_recipe
from quantize.training.settings import Folds
from quantize.training.sources import SceneSource
from quantize.training.train import Run, load_run
from tests.quantize.models.published_layout import refused


class Quiet:
    """No progress; stops the run after so many epochs or steps as a kill would."""

    def __init__(self, stop_after: int | None = None, stop_after_steps: int | None = None) -> None:
        self.stop_after = stop_after
        self.steps_left = stop_after_steps
        self.scores: list[dict[str, float]] = []

    def epoch(self, number: int, total: int, steps: int) -> None:
        if self.stop_after is not None and number > self.stop_after:
            raise KeyboardInterrupt

    def step(self, loss: float, scenes_per_s: float) -> None:
        assert math.isfinite(loss)
        if self.steps_left is not None:
            self.steps_left -= 1
            if not self.steps_left:
                raise KeyboardInterrupt

    def validated(self, scores: dict[str, float]) -> None:
        self.scores.append(scores)


def test_contrastive_loss_prefers_matching_pairs() -> None:
    same = torch.eye(4, dtype=torch.bool)
    vectors = torch.eye(4)
    assert info_nce(vectors, vectors, same, 0.1) < 1e-3
    assert info_nce(vectors, vectors.roll(1, 0), same, 0.1) > 5.0


def test_contrastive_loss_spares_scenes_with_the_same_sounds() -> None:
    audio = torch.eye(2)
    text = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    all_same = torch.ones(2, 2, dtype=torch.bool)
    assert float(info_nce(audio, text, all_same, 0.1)) == pytest.approx(0.0, abs=1e-6)
    assert float(info_nce(audio, text, torch.eye(2, dtype=torch.bool), 0.1)) > 1.0


def test_padding_takes_no_part_in_the_cross_entropy() -> None:
    logits = torch.randn(1, 4, 9)
    labels = torch.tensor([[3, 2, -100, -100]])
    whole = caption_cross_entropy(logits, labels, 0.0)
    assert torch.allclose(whole, caption_cross_entropy(logits[:, :2], labels[:, :2], 0.0))


def test_activity_loss_pools_short_sounds_into_their_token() -> None:
    activity = torch.zeros(1, 100, 1, dtype=torch.bool)
    activity[0, 57] = True
    logits = torch.full((1, 10, 1), -9.0)
    logits[0, 5] = 9.0
    assert activity_loss(logits, activity) < 1e-3


def test_event_measures_by_hand() -> None:
    captions = ["a dog barks while rain falls", "a rooster crows", "nothing but noise"]
    truths = [["rain", "dog_bark"], ["sneeze", "rooster"], ["rain"]]
    scores = event_scores(captions, truths)
    assert (scores.precision, scores.recall) == (1.0, 3 / 5)
    assert scores.f1 == pytest.approx(0.75)
    assert scores.exact == pytest.approx(1 / 3)
    assert named_share(captions, ["rain", "sneeze", "rain"]) == pytest.approx(1 / 3)
    assert order_share(captions[:1], [["dog_bark", "rain"]]) == 1.0
    assert order_share(captions[:1], [["rain", "dog_bark"]]) == 0.0


def test_recipes_are_checked() -> None:
    with pytest.raises(InputMissingError, match="esc10-tiny"):
        load_recipe("no-such-recipe")
    with pytest.raises(ConfigError, match="both trained on and validated on"):
        Folds(train=(1, 2), validation=(2,))
    with pytest.raises(ConfigError, match=r"unknown table \[nonsense\]"):
        parse_recipe({"nonsense": {}})
    with pytest.raises(ConfigError, match="the recipe lacks '"):
        parse_recipe({})


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (r"epochs = \d+", 'epochs = "many"', "epochs"),
        (r"train = \[1, 2, 3\]", "train = 3", "train"),
        (r"train = \[1, 2, 3\]\n", "", "train"),
        (r"top_p = .*", "top_q = 0.95", r"\[decoding\].*top_q"),
        (r"similarity = .*", 'similarity = "much"', r"\[rerank\].*similarity"),
        (r"same_similarity = .*", "same_similarity = 1.5", "same_similarity is 1.5"),
        (r"max_memory_positions = \d+", "max_memory_positions = 20", "memory steps"),
        (r"\[train\]", '[train]\nprecision = "fp16"', "precision"),
    ],
)
def test_a_wrong_value_is_one_sentence(old: str, new: str, words: str, tmp_path: Path) -> None:
    text = (Path("quantize/recipes") / "esc10-tiny.toml").read_text(encoding="utf-8")
    path = tmp_path / "mine.toml"
    changed, count = re.subn(f"(?m)^{old}", new, text)
    assert count
    path.write_text(changed, encoding="utf-8")
    with pytest.raises(ConfigError, match=words):
        load_recipe(str(path))


def test_recipe_with_an_unknown_key_names_it(tmp_path: Path) -> None:
    text = (Path("quantize/recipes") / "esc10-tiny.toml").read_text(encoding="utf-8")
    path = tmp_path / "mine.toml"
    path.write_text(text.replace("[train]\n", "[train]\nlearning_speed = 1\n"), encoding="utf-8")
    with pytest.raises(ConfigError, match="learning_speed"):
        load_recipe(str(path))
    path.write_text("= broken", encoding="utf-8")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_recipe(str(path))


def run_of(recipe: Recipe, recordings: Path, folder: Path) -> Run:
    return Run(recipe, SceneSource(recipe, recordings), folder)


def weights(run: Run) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in run.averaged.module.parameters()])


@dataclass(frozen=True)
class Unbroken:
    """A run of the small recipe to its end."""

    folder: Path
    progress: Quiet
    weights: torch.Tensor


@pytest.fixture(scope="module")
def unbroken(small_recipe: Recipe, recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Unbroken:
    folder, progress = tmp_path_factory.mktemp("finished"), Quiet()
    run = run_of(small_recipe, recordings, folder)
    run.train(progress)
    return Unbroken(folder, progress, weights(run))


def test_broken_run_resumes_to_the_weights_of_an_unbroken_one(
    unbroken: Unbroken, small_recipe: Recipe, recordings: Path, tmp_path: Path
) -> None:
    assert len(unbroken.progress.scores) == 2
    with pytest.raises(KeyboardInterrupt):
        run_of(small_recipe, recordings, tmp_path / "broken").train(Quiet(stop_after=1))
    resumed = run_of(small_recipe, recordings, tmp_path / "broken")
    assert resumed.epochs_done == 1
    resumed.train(Quiet())
    assert torch.equal(unbroken.weights, weights(resumed))


def test_run_broken_off_within_an_epoch_goes_on_at_its_checkpoint(
    unbroken: Unbroken, small_recipe: Recipe, recordings: Path, tmp_path: Path
) -> None:
    recipe = replace(small_recipe, train=replace(small_recipe.train, checkpoint_steps=2, workers=1))
    with pytest.raises(KeyboardInterrupt):
        run_of(recipe, recordings, tmp_path / "broken").train(Quiet(stop_after_steps=3))
    resumed = run_of(recipe, recordings, tmp_path / "broken")
    assert (resumed.epochs_done, resumed.steps_done) == (0, 2)
    resumed.train(Quiet())
    assert torch.equal(unbroken.weights, weights(resumed)), "more checkpoints and a process that mixes change nothing"


def test_captioner_trains_in_bf16(small_recipe: Recipe, recordings: Path, tmp_path: Path) -> None:
    recipe = replace(small_recipe, train=replace(small_recipe.train, precision="bf16"))
    run = run_of(recipe, recordings, tmp_path)
    run.train(Quiet())
    assert weights(run).dtype == torch.float32
    assert bool(weights(run).isfinite().all())


def test_run_learns_logs_and_can_be_loaded(small_recipe: Recipe, recordings: Path, tmp_path: Path) -> None:
    longer = replace(small_recipe, train=replace(small_recipe.train, epochs=3, scenes_per_epoch=40, batch_scenes=2))
    run_of(longer, recordings, tmp_path).train(Quiet())
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    epochs = [row for row in rows if "epoch" in row]
    assert [row["epoch"] for row in epochs] == [1, 2, 3]
    assert epochs[-1]["caption"] < epochs[0]["caption"]
    assert {"single_named", "scene_f1", "scene_order"} <= set(epochs[-1])
    assert any("step" in row and "learning_rate" in row for row in rows)
    trainee, tokenizer, recipe = load_run(tmp_path)
    assert recipe["name"] == "small"
    assert not trainee.training
    assert tokenizer.get_vocab_size() == recipe["model"]["decoder"]["vocab_size"]


def test_captions_longer_than_the_decoder_are_refused(small_recipe: Recipe, recordings: Path, tmp_path: Path) -> None:
    model = replace(small_recipe.model, decoder=replace(small_recipe.model.decoder, max_positions=4))
    run = run_of(replace(small_recipe, model=model), recordings, tmp_path)
    with pytest.raises(ConfigError, match="max_positions"):
        run.train(Quiet())


def test_too_short_a_recipe_is_refused(small_recipe: Recipe, recordings: Path, tmp_path: Path) -> None:
    short = replace(small_recipe, train=replace(small_recipe.train, epochs=1, scenes_per_epoch=4))
    with pytest.raises(ConfigError, match="1 training steps"):
        run_of(short, recordings, tmp_path)


def test_folder_of_another_recipe_is_refused(small_recipe: Recipe, recordings: Path, tmp_path: Path) -> None:
    run_of(small_recipe, recordings, tmp_path)
    other = replace(small_recipe, train=replace(small_recipe.train, learning_rate=0.5))
    with pytest.raises(ConfigError, match="another recipe"):
        run_of(other, recordings, tmp_path)


def test_a_run_goes_on_with_what_it_began_with(small_recipe: Recipe, recordings: Path, tmp_path: Path) -> None:
    run_of(small_recipe, recordings, tmp_path / "run")
    run_of(small_recipe, recordings, tmp_path / "run")
    fewer = tmp_path / "fewer"
    shutil.copytree(recordings, fewer)
    rows = (fewer / "clips.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (fewer / "clips.csv").write_text("".join(row for row in rows if not row.startswith("1-1-rain")), encoding="utf-8")
    refused(lambda: run_of(small_recipe, fewer, tmp_path / "run"), ConfigError, "other recordings (--data)", "--run")
    # One that began before there was such a table.
    (tmp_path / "run" / "run.json").unlink()
    (tmp_path / "run" / "pretraining").mkdir()
    (tmp_path / "run" / "pretraining" / "last.pt").touch()
    run_of(small_recipe, fewer, tmp_path / "run")
    assert not (tmp_path / "run" / "run.json").exists()


@pytest.fixture(scope="module")
def finished(unbroken: Unbroken) -> Path:
    return unbroken.folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "copied"))


def test_an_unfinished_run_is_not_loaded(copied: Path) -> None:
    path = copied / "last.pt"
    state = torch.load(path, weights_only=True)
    torch.save({**state, "epochs_done": 0}, path)
    assert "recipe.json" not in str(refused(lambda: load_run(copied), InputMissingError, "0 of its 2 epochs"))
    torch.save({**state, "epochs_done": 1}, path)
    refused(lambda: load_run(copied), InputMissingError, "1 of its 2 epochs", "edge-aac train", "set epochs to 1 in")
    table = json.loads((copied / "recipe.json").read_text(encoding="utf-8"))
    table["train"]["epochs"] = 1
    (copied / "recipe.json").write_text(json.dumps(table), encoding="utf-8")
    load_run(copied)


@pytest.mark.parametrize("name", ["last.pt", "recipe.json", "tokenizer.json"])
def test_a_damaged_run_is_one_sentence(name: str, copied: Path) -> None:
    path = copied / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert name in str(refused(lambda: load_run(copied), DataError))
    path.write_text("{}", encoding="utf-8")
    assert name in str(refused(lambda: load_run(copied), DataError))
    path.unlink()
    refused(lambda: load_run(copied), InputMissingError)


def test_a_run_trained_on_a_gpu_is_loaded_without_one(
    copied: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = copied / "last.pt"
    state = torch.load(path, weights_only=True)
    monkeypatch.setattr("torch.serialization.location_tag", lambda storage: "cuda:7")
    torch.save(state, path)
    monkeypatch.undo()
    with pytest.raises(RuntimeError):
        torch.load(path, weights_only=True)
    states = [load_run(folder)[0].state_dict() for folder in (copied, finished)]
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


def test_what_is_decayed_is_what_the_shipped_weights_were_trained_with(small_recipe: Recipe) -> None:
    captioner = Captioner(small_recipe.model)
    names = {parameter: name for name, parameter in captioner.named_parameters()}
    decayed, free = ({names[each].rsplit(".", 1)[1] for each in g["params"]} for g in parameter_groups(captioner, 0.1))
    assert {"grep_a", "pos_bias_u", "pos_bias_v", "original0", "weight"} <= decayed and "bias" not in decayed
    assert {"bias", "weight"} <= free


def test_loading_an_empty_run_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError, match="edge-aac train"):
        load_run(tmp_path)
