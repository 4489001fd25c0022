"""A prompted student from a captioner's stored scenes to a bundle that `edge-aac ask` opens."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.optim.swa_utils import AveragedModel
from typer.testing import CliRunner

from edge_aac.audio.features import filter_bank
from edge_aac.audio.sources.demo import synthesise_demo
from edge_aac.bundle.store import open_bundle
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import ConfigError, DataError, InputMissingError, UsageError
from edge_aac.models.prompted import Prompted
from quantize.bundles.prompted_student import PROMPTS, export_prompted
from quantize.cli.distill import distill
from quantize.data.everyday.lexicon import english
from quantize.data.everyday.questions import Question
from quantize.data.tokenizer import EOS_ID, PAD_ID, train_tokenizer
from quantize.files import ATTRIBUTIONS
from quantize.models.filter_bank import FilterBankGraph
from quantize.models.prompted_student import PromptedConfig, PromptedWriter
from quantize.training import everyday
from quantize.training.asked_scenes import (
    CAPTION_PROMPT,
    EVENTS,
    AskedScenes,
    KeptEvents,
    PromptTokenizer,
    collate_asked,
    keep_events,
    read_events,
)
from quantize.training.distributed import World
from quantize.training.everyday import EverydayTraining
from quantize.training.everyday_source import EverydaySource
from quantize.training.objective import IGNORED
from quantize.training.prompted import (
    Encoder,
    PromptedTraining,
    load_prompted_run,
    new_writer,
    question_scores,
)
from quantize.training.prompted_recipe import PromptedRecipe, load_prompted_recipe
from quantize.training.recipe import Recipe
from quantize.training.train import STORED_EPOCH
from quantize.training.trainee import new_trainee
from tests.quantize.data.everyday.stored_tones import ToneTagger, stored_tones
from tests.quantize.training.distill_cases import RecordedProgress
from tests.quantize.training.everyday_cases import small_everyday_recipe

SMALL = PromptedConfig(vocab_size=1600, dim=16, layers=1, heads=2, prompt_tokens=32, answer_tokens=40, dropout=0.0)
RECIPE = """
[bundle]
name = "small-ask"
version = "1"
[writer]
dim = 16
layers = 1
heads = 2
prompt_tokens = 32
answer_tokens = 40
dropout = 0.0
[train]
epochs = 2
scenes_per_epoch = 8
batch_scenes = 4
warmup_steps = 2
learning_rate = 5e-3
tokenizer_scenes = 300
validation_scenes = 6
workers = 0
"""


@dataclass(frozen=True)
class Finished:
    """A captioner's finished run in ``folder / "run"``, and the scenes that it learnt from."""

    folder: Path
    encoder: Encoder
    source: EverydaySource
    recipe: PromptedRecipe
    losses: list[float]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("prompted")
    stored_tones(folder / "store")
    (folder / "tagger.pt").write_bytes(b"a tagger of tones")
    recipe = small_everyday_recipe()
    recipe = replace(recipe, train=replace(recipe.train, contrastive_weight=0.0))
    _write_captioner(recipe, folder / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(everyday, "load_tagger", lambda path: ToneTagger())
        training = EverydayTraining(
            recipe, folder / "store", folder / "tagger.pt", folder / "heard", folder / "run", World()
        )
        training.hear_sounds(lambda done: None)
    encoder = Encoder.load(folder / "run")
    training.store_scenes(_source(encoder, folder), None, lambda done: None)
    (folder / "ask.toml").write_text(RECIPE, encoding="utf-8")
    own = load_prompted_recipe(str(folder / "ask.toml"))
    progress = RecordedProgress()
    scores = PromptedTraining(own, encoder, _source(encoder, folder), folder / "asked").train(progress)
    assert {"accuracy", "majority"} < scores.keys()
    return Finished(folder, encoder, _source(encoder, folder), own, progress.losses)


def _write_captioner(recipe: Recipe, run: Path) -> None:
    """A captioner of random weights as the finished run of a recipe leaves it."""
    run.mkdir()
    tokenizer = train_tokenizer(["a dog barks", "rain falls"], 300)
    tokenizer.save(str(run / "tokenizer.json"))
    recipe = recipe.with_vocabulary(tokenizer.get_vocab_size())
    (run / "recipe.json").write_text(json.dumps(asdict(recipe)), encoding="utf-8")
    torch.manual_seed(0)
    weights = AveragedModel(new_trainee(recipe)).state_dict()
    torch.save({"averaged": weights, "epochs_done": recipe.train.epochs}, run / "last.pt")


def _source(encoder: Encoder, folder: Path) -> EverydaySource:
    return encoder.source(folder / "store", folder / "heard")


def test_the_filter_bank_of_graphs_is_the_runtime_s() -> None:
    noise = np.random.default_rng(0).normal(0.0, 0.1, 160_000).astype(np.float32)
    for sound in (noise, synthesise_demo(10.0, 0).astype(np.float32), np.zeros(160_000, np.float32)):
        found = FilterBankGraph()(torch.from_numpy(sound)[None])[0].numpy()
        np.testing.assert_allclose(found, filter_bank(sound), atol=5e-4)


def test_events_of_stored_scenes_are_those_that_were_drawn(finished: Finished, tmp_path: Path) -> None:
    lines = (finished.folder / "asked" / EVENTS).read_text(encoding="utf-8").splitlines()
    scenes = finished.source.scenes
    assert [read_events(line) for line in lines] == [scenes.scene(STORED_EPOCH, number).events for number in range(8)]
    # What a process that was killed left is gone on behind its last whole line.
    (tmp_path / EVENTS).write_text("\n".join(lines[:3]) + "\n" + lines[3][:10], encoding="utf-8")
    training = PromptedTraining(finished.recipe, finished.encoder, finished.source, finished.folder / "asked")
    keep_events(finished.source, training.examples, tmp_path, lambda done: None)
    assert (tmp_path / EVENTS).read_text(encoding="utf-8").splitlines() == lines


def test_scenes_of_another_store_are_refused(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = PromptedTraining(finished.recipe, finished.encoder, finished.source, finished.folder / "asked")
    scenes = finished.source.scenes
    monkeypatch.setattr(scenes, "seed", scenes.seed + 1)
    with pytest.raises(DataError, match="is not the one"):
        keep_events(finished.source, training.examples, tmp_path, lambda done: None)


def test_an_epoch_asks_each_scene_as_often_and_pads_prompts(finished: Finished) -> None:
    training = PromptedTraining(finished.recipe, finished.encoder, finished.source, finished.folder / "asked")
    kept = KeptEvents.read(finished.folder / "asked" / EVENTS, english())
    assert [len(kept.lines), len(kept.sounds)] == [8, 8] and any(kept.sounds)
    epoch = AskedScenes(training.examples, kept, english(), training.tokens, 1, 0, 8, 4)
    batch = collate_asked([epoch[0], epoch[1]])
    assert batch.vectors.shape == (2, 19, 24) and batch.prompt_ids.shape == (8, SMALL.prompt_tokens)
    assert torch.equal(collate_asked([epoch[0], epoch[1]]).prompt_ids, batch.prompt_ids)
    assert ((batch.answer_ids == EOS_ID).sum(dim=1) == 1).all()
    assert ((batch.labels == IGNORED) == (batch.answer_ids == PAD_ID)).all()
    told = training.tokenizer.decode_batch(batch.prompt_ids.tolist())
    assert sum(text.strip() == CAPTION_PROMPT for text in told) >= 2
    assert all(text.strip() == CAPTION_PROMPT or text.endswith("?") for text in told)


def test_prompts_and_answers_that_are_too_long_are_left_out() -> None:
    tokens = PromptTokenizer(train_tokenizer(["is there rain?", "yes"] * 9, 400), replace(SMALL, prompt_tokens=6))
    asked = tokens.asked("is there rain?", "yes")
    assert asked is not None and len(asked.prompt_ids) == 6 and asked.prompt_ids[-1] == PAD_ID
    assert tokens.asked("is there rain? is there rain?", "yes") is None
    assert tokens.asked("is there rain?", "yes " * 50) is None


def test_only_the_language_model_learns(finished: Finished) -> None:
    assert len(finished.losses) == 4 and np.isfinite(finished.losses).all()
    trained, tokenizer, recipe = load_prompted_run(finished.folder / "asked")
    torch.manual_seed(recipe.train.seed)
    before = new_writer(recipe.writer, finished.encoder.captioner)
    changed = [
        name for name, value in before.state_dict().items() if not torch.equal(value, trained.state_dict()[name])
    ]
    assert {"sound.weight", "gpt.transformer.wte.weight"} <= set(changed)
    assert not any(parameter.requires_grad for parameter in finished.encoder.captioner.parameters())
    assert recipe.writer.vocab_size == tokenizer.get_vocab_size()


def test_answers_are_learnt() -> None:
    """Two sounds, told apart by the first step of the memory: each is named where it is asked for."""
    torch.manual_seed(0)
    config = replace(SMALL, vocab_size=12, prompt_tokens=2, answer_tokens=3)
    writer = PromptedWriter(config, memory_dim=4, memory_steps=3)
    memory = torch.zeros(2, 3, 4)
    memory[0, 0, 0] = memory[1, 0, 1] = 1.0
    prompts = torch.tensor([[5, PAD_ID], [6, PAD_ID]] * 2)
    answers = torch.tensor([[7, EOS_ID], [8, EOS_ID], [9, EOS_ID], [8, EOS_ID]])
    optimizer = torch.optim.AdamW(writer.parameters(), lr=1e-2)
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(writer(memory, prompts, answers).flatten(0, 1), answers.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert torch.equal(writer.eval().greedy(memory.repeat_interleave(2, dim=0), prompts), answers)


def test_a_run_goes_on_and_none_of_another_captioner_or_recipe(finished: Finished) -> None:
    progress = RecordedProgress()
    folder = finished.folder / "asked"
    PromptedTraining(finished.recipe, finished.encoder, finished.source, folder).train(progress)
    assert progress.losses == [], "all was done"
    other = replace(finished.recipe, train=replace(finished.recipe.train, seed=2))
    with pytest.raises(ConfigError, match="another recipe"):
        PromptedTraining(other, finished.encoder, finished.source, folder)
    with pytest.raises(InputMissingError, match="no run of a prompted student"):
        load_prompted_run(finished.folder / "run")


def test_a_recipe_whose_prompts_are_too_short_is_refused_before_it_learns(finished: Finished, tmp_path: Path) -> None:
    short = replace(finished.recipe, writer=replace(finished.recipe.writer, prompt_tokens=3))
    with pytest.raises(ConfigError, match=r"3 tokens, but 'is there a dog barking\?' has \d+: give prompt_tokens = "):
        PromptedTraining(short, finished.encoder, finished.source, tmp_path / "asked")
    assert list((tmp_path / "asked").iterdir()) == [], "the folder takes the recipe that is mended"


def test_the_bundle_answers_as_torch_does(finished: Finished) -> None:
    output = finished.folder / "bundle"
    folders = (finished.folder / "asked", finished.folder / "run")
    options = {"--recipe": "ask.toml", "--teacher": "run", "--data": "store", "--examples": "heard", "--run": "asked"}
    words = [word for name, value in options.items() for word in (name, str(finished.folder / value))]
    result = CliRunner().invoke(distill, ["--kind", "prompted", *words, "--output", str(output)])
    assert result.exit_code == 0, result.exception
    told = [line.partition(":")[0] for line in result.stderr.splitlines() if "max abs difference" in line]
    assert told == ["encoder", "prompt_encoder", "decoder"]
    table = json.loads((output / "manifest.json").read_text(encoding="utf-8"))
    assert table["prompts"] == PROMPTS and (output / ATTRIBUTIONS).is_file()
    model = Prompted(open_bundle(str(output)), EngineOptions(threads=1))
    sound = synthesise_demo(10.0, 3).astype(np.float32)
    heard = model.hear(sound)
    writer, tokenizer, _ = load_prompted_run(folders[0])
    captioner = Encoder.load(folders[1]).captioner
    with torch.no_grad():
        memory, _, embedding = captioner.encode(torch.from_numpy(filter_bank(sound))[None])
        np.testing.assert_allclose(heard.audio_embedding, embedding[0].numpy(), atol=2e-3)
        np.testing.assert_allclose(heard.prefix, writer.sound(memory)[0].numpy(), atol=2e-3)
    prompt, task = model.manifest.prompt_of("is there a dog barking?", None)
    assert (prompt, task) == ("is there a dog barking?", None)
    answer = model.answer(heard, prompt)
    assert not answer.cut and "</s>" not in answer.texts[0] and answer.texts[0] == answer.texts[0].strip()
    assert model.manifest.prompt_of("a dog barking", "presence")[0] == prompt
    assert "<pad>" in tokenizer.get_vocab()


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (("--data", "x", "--examples", "x", "--run", "x"), "needs --teacher FOLDER"),
        (("--teacher", "x", "--data", "x", "--examples", "x"), "needs --run FOLDER"),
        (("--tagger", "x"), "--tagger is not for --kind prompted"),
        (("--folds", "1"), "--folds is not for --kind prompted"),
    ],
)
def test_what_the_verb_refuses(words: tuple[str, ...], match: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGE_AAC_DATA", raising=False)
    error = CliRunner().invoke(distill, ["--kind", "prompted", "--recipe", "everyday-ask", *words]).exception
    assert isinstance(error, UsageError) and match in str(error)


def test_a_captioner_of_other_sounds_is_no_teacher(finished: Finished, tmp_path: Path) -> None:
    recipe = replace(finished.encoder.recipe, everyday=None, tagging=None, stem=None)
    _write_captioner(replace(recipe, sureness=None), tmp_path / "run")
    with pytest.raises(ConfigError, match="no run of a recipe with"):
        Encoder.load(tmp_path / "run")


def test_a_bundle_over_another_captioner_is_refused(finished: Finished, tmp_path: Path) -> None:
    run = tmp_path / "asked"
    run.mkdir()
    for name in ("last.pt", "prompted.json", "tokenizer.json"):
        (run / name).write_bytes((finished.folder / "asked" / name).read_bytes())
    (run / "run.json").write_text('{"teacher": "another"}', encoding="utf-8")
    with pytest.raises(DataError, match="another captioner"):
        export_prompted(run, finished.folder / "run", finished.folder / "store", tmp_path / "b", {}, print)


def test_scores_stand_beside_the_commonest_answer() -> None:
    asked = [Question("presence", "?", answer) for answer in ("yes", "no", "no")] + [Question("count", "?", "two")]
    scores = question_scores(asked, ["yes", "no", "yes", "one"])
    assert scores["accuracy"] == 0.5 and scores["majority"] == 0.75
    assert (scores["presence"], scores["presence_majority"]) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert (scores["count"], scores["count_majority"]) == (0.0, 1.0)


def test_recipes(tmp_path: Path) -> None:
    recipe = load_prompted_recipe("everyday-ask")
    assert recipe.name == "everyday-ask" and recipe.train.prompts_per_scene > 1
    with pytest.raises(InputMissingError, match="everyday-ask"):
        load_prompted_recipe("nobody's")
    path = tmp_path / "own.toml"
    for text, match in (
        ("[bundle]\nname='a'\nversion='1'\n[writer]\n", "lacks 'train'"),
        ("[bundle]\nname='a'\nversion='1'\n[writer]\ndim=10\nheads=4\n[train]\n", "not a multiple"),
        ("[model]\n", "unknown table"),
        ("not toml", "not valid TOML"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError, match=match):
            load_prompted_recipe(str(path))
