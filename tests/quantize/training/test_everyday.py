"""A captioner of everyday sounds from a store and a tagger to a finished run: each step once, the stem as it was."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from edge_aac.audio.features import filter_bank
from edge_aac.errors import ConfigError
from edge_aac.toml_files import parse_toml
from quantize.data.everyday.events import HeardEvent, believed
from quantize.data.everyday.lexicon import english
from quantize.data.everyday.scenes import EverydaySceneRecipe, EverydayScenes
from quantize.data.everyday.story import Story, Told
from quantize.data.everyday.wording import caption
from quantize.models.sentence_embedder import SentenceEmbedder, load_sentence_embedder
from quantize.training import everyday, everyday_source
from quantize.training.batches import collate
from quantize.training.distributed import World
from quantize.training.everyday import MIXTURES, SCENES, EverydayTraining
from quantize.training.everyday_source import EverydaySource, heard_by_patch
from quantize.training.objective import activity_of_tokens
from quantize.training.recipe import Recipe, load_recipe, parse_recipe
from quantize.training.sources import VALIDATION_SEED, open_example_source
from quantize.training.stored import StoredDataset, StoredExamples
from quantize.training.train import load_run
from quantize.training.trainee import forward
from tests.quantize.data.everyday.stored_tones import ToneTagger, stored_tones
from tests.quantize.training.distill_cases import RecordedProgress, write_sentence_embedder
from tests.quantize.training.everyday_cases import small_everyday_recipe

LEXICON = english()


@dataclass(frozen=True)
class Finished:
    """A finished run and what it went through."""

    training: EverydayTraining
    source: EverydaySource
    taught: dict[str, Tensor]
    embedder: SentenceEmbedder
    losses: list[float]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("everyday")
    stored_tones(folder / "store")
    (folder / "tagger.pt").write_bytes(b"a tagger of tones")
    embedder = load_sentence_embedder(write_sentence_embedder(folder / "embedder"))
    training = _training(folder, small_everyday_recipe())
    training.hear_sounds(lambda done: None)
    training.hear_mixtures(lambda done: None)
    progress = RecordedProgress()
    taught = training.teach(progress, lambda line: None)
    source = training.source(taught)
    training.store_scenes(source, embedder, lambda done: None)
    training.captioner(source, taught, embedder).train(progress)
    return Finished(training, source, taught, embedder, progress.losses)


def _training(folder: Path, recipe: Recipe) -> EverydayTraining:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(everyday, "load_tagger", lambda path: ToneTagger())
        training = EverydayTraining(
            recipe, folder / "store", folder / "tagger.pt", folder / "heard", folder / "run", World()
        )
        assert training.tagger is not None
    return training


def test_it_is_trained_from_end_to_end(finished: Finished) -> None:
    assert len(finished.losses) == 4 + 4 + 4 and np.isfinite(finished.losses).all()
    trainee, tokenizer, table = load_run(finished.training.run)
    assert table["name"] == "small" and tokenizer.get_vocab_size() <= 1200
    assert trainee.captioner.sound_head is not None
    assert trainee.captioner.sound_head.out_features == len(LEXICON.order)


def test_the_recipe_says_how_many_captions_the_tokenizer_is_trained_on(finished: Finished) -> None:
    assert len(list(finished.source.captions())) == 20 * finished.source.recipe.train.corpus_scenes == 2000
    assert 20 * load_recipe("everyday").train.corpus_scenes == 20_000


def test_the_stem_stays_as_the_tagger_taught_it_and_the_rest_does_not(finished: Finished) -> None:
    trainee, _, _ = load_run(finished.training.run)
    weights = trainee.captioner.state_dict()
    stem = [name for name in finished.taught if name.startswith("encoder.patch_embedding.")]
    assert stem and all(torch.equal(weights[name], finished.taught[name]) for name in stem)
    others = [
        name
        for name, tensor in finished.taught.items()
        if name not in stem and "predictor" not in name and tensor.is_floating_point()
    ]
    assert any(not torch.equal(weights[name], finished.taught[name]) for name in others)


def test_vectors_are_those_of_the_whole_encoder(finished: Finished) -> None:
    """What is learnt from vectors holds for a captioner that hears the sound itself."""
    trainee, _, _ = load_run(finished.training.run)
    captioner = trainee.captioner
    waveform = finished.source.scenes.scene(0, 1).waveform
    vectors = finished.source.vectors(waveform)
    fbank = torch.from_numpy(filter_bank(waveform))[None]
    with torch.no_grad():
        whole, _ = captioner.beats_hidden(fbank)
        of_vectors = captioner.encoder.hidden_of_vectors(vectors[None])
    assert vectors.shape == (19, 24)
    torch.testing.assert_close(of_vectors, whole, atol=1e-5, rtol=1e-4)


def test_stored_scenes_are_the_source_s(finished: Finished) -> None:
    training, source = finished.training, finished.source
    stored = StoredExamples.open(training.run / SCENES)
    train = replace(training.recipe.train, seed=training.recipe.stored.seed, scenes_per_epoch=8, captions_per_scene=3)
    fresh = source.examples(None, train, 1_000_000, masked=False)[3]
    kept = stored.reader[3]
    assert fresh.vectors is not None and fresh.activity is not None
    np.testing.assert_allclose(kept.arrays["vectors"], fresh.vectors.half())
    np.testing.assert_allclose(kept.arrays["activity"], fresh.activity.half())
    assert tuple(kept.record["texts"]) == fresh.texts
    assert kept.arrays["text_embedding"].shape == (8,)


def test_a_batch_of_stored_scenes_needs_no_filter_bank(finished: Finished) -> None:
    trainee, tokenizer, _ = load_run(finished.training.run)
    stored = StoredExamples.open(finished.training.run / SCENES)
    epoch = StoredDataset(stored, tokenizer, finished.training.recipe.train, 40, 0)
    batch = collate([epoch[0], epoch[1]])
    assert batch.fbank.shape == (2, 0) and batch.vectors is not None and batch.vectors.shape == (2, 19, 24)
    outputs = forward(trainee.captioner, batch)
    assert batch.activity is not None
    assert batch.activity.shape == (2, 19, len(LEXICON.order))
    # The convolution before the Conformer hears two patches: each step tells of both.
    assert outputs.activity_logits.shape == (2, 18, len(LEXICON.order))
    told = activity_of_tokens(batch.activity, 18)
    assert torch.equal(told, torch.maximum(batch.activity[:, :-1], batch.activity[:, 1:]))


def test_a_run_goes_on_and_none_of_another_stem(finished: Finished) -> None:
    training = finished.training
    progress = RecordedProgress()
    taught = training.teach(progress, lambda line: None)
    training.captioner(training.source(taught), taught, finished.embedder).train(progress)
    assert progress.losses == [], "all was done"
    other = {name: tensor + 0.01 if tensor.is_floating_point() else tensor for name, tensor in taught.items()}
    with pytest.raises(ConfigError, match="stem"):
        training.captioner(training.source(other), other, finished.embedder)


def test_what_the_tagger_heard_of_another_store_is_refused(finished: Finished) -> None:
    training = finished.training
    rows = training.data / "rows.csv"
    before = rows.read_text(encoding="utf-8")
    try:
        rows.write_text(before.replace("dog_bark", "cow"), encoding="utf-8")
        with pytest.raises(ConfigError, match="another store"):
            training.hear_sounds(lambda done: None)
        with pytest.raises(ConfigError, match="another metadata"):
            training.hear_mixtures(lambda done: None)
    finally:
        rows.write_text(before, encoding="utf-8")
    assert (training.heard / MIXTURES).is_dir()


def test_a_validation_judges_recordings_by_their_labels(finished: Finished) -> None:
    validation = finished.source.validation()
    assert validation is not None
    trainee, tokenizer, _ = load_run(finished.training.run)
    scores = validation(trainee.captioner, tokenizer)
    assert set(scores) == {"everyday_named", "everyday_right", "scene_f1", "scene_order"}
    assert all(0.0 <= value <= 1.0 for value in scores.values())


def test_true_captions_are_right_in_the_validation(finished: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    source, recipe = finished.source, finished.training.recipe
    scenes = EverydayScenes(
        source.store, finished.training.events, LEXICON, EverydaySceneRecipe(), VALIDATION_SEED, (1, 2, 3)
    )
    rng = np.random.default_rng(0)
    told = [caption(LEXICON, scenes.scene(0, index).events, rng) for index in range(recipe.train.validation_scenes)]
    monkeypatch.setattr(everyday_source, "_greedy", lambda *_: ["rain falls", *told])
    validation = source.validation()
    assert validation is not None
    trainee, tokenizer, _ = load_run(finished.training.run)
    scores = validation(trainee.captioner, tokenizer)
    assert scores["everyday_named"] == scores["everyday_right"] == scores["scene_f1"] == 1.0


def test_what_lasts_through_is_in_each_moment() -> None:
    rain, siren, bark = (
        Told(name, HeardEvent(believed(LEXICON, name), 0.0, 1.0)) for name in ("rain", "siren", "dog_bark")
    )
    assert everyday_source._moments(Story(((siren,), (bark,)), through=rain)) == [
        ["siren", "rain"],
        ["dog_bark", "rain"],
    ]


def test_another_tagging_run_is_refused(finished: Finished) -> None:
    training = finished.training
    assert training.recipe.tagging is not None
    other = replace(training.recipe, tagging=replace(training.recipe.tagging, epochs=3))
    with pytest.raises(ConfigError, match="another recipe"):
        replace(training, recipe=other).teach(RecordedProgress(), lambda line: None)


def test_a_recipe_that_needs_a_tagger_is_not_trained_without_one(finished: Finished) -> None:
    with pytest.raises(ConfigError, match="audio tagger"):
        open_example_source(finished.training.recipe, finished.training.data, finished.training.run)


def test_absent_sounds_are_of_the_lexicon_or_labels(finished: Finished) -> None:
    recipe = finished.training.recipe
    assert recipe.changed(absent=("siren", "clock_tick")).folds.absent == ("siren", "clock_tick")
    with pytest.raises(ConfigError, match="everyday lexicon"):
        recipe.changed(absent=("nothing_of_that_name",))
    with pytest.raises(ConfigError, match="known are"):
        load_recipe("esc10-tiny").changed(absent=("siren",))


def test_a_patch_holds_what_is_heard_in_a_third_of_it(finished: Finished) -> None:
    events = [
        HeardEvent(believed(LEXICON, "siren", 0.9), 2.0, 3.0),
        HeardEvent(believed(LEXICON, "dog_bark", 0.8), 5.1, 5.2),
    ]
    heard = heard_by_patch(LEXICON, events, 19, finished.source.stem)
    siren, bark, dog = (heard[:, LEXICON.order.index(name)] for name in ("siren", "dog_bark", "dog"))
    # Patches of 0.98 s begin every half second: that at 2.5 s holds half a second of the siren.
    assert np.flatnonzero(siren).tolist() == [3, 4, 5] and siren.max() == pytest.approx(0.9)
    assert np.flatnonzero(bark).tolist() == [9, 10] and np.array_equal(bark > 0, dog > 0)
    assert heard.sum(axis=0)[LEXICON.order.index("rain")] == 0.0


def _table() -> dict[str, Any]:
    _, table = parse_toml((resources.files("quantize") / "recipes" / "everyday.toml").read_bytes())
    return dict(table)


def test_half_a_recipe_is_refused() -> None:
    for lacking in ("tagging", "everyday"):
        with pytest.raises(ConfigError, match="go together"):
            parse_recipe({name: table for name, table in _table().items() if name not in (lacking, "sureness")})
    with pytest.raises(ConfigError, match="leave them out"):
        parse_recipe({name: table for name, table in _table().items() if name not in ("everyday", "tagging")})
    with pytest.raises(ConfigError, match="stem_width"):
        table = _table()
        model = {**table["model"], "max_memory_positions": 600}
        parse_recipe({**table, "model": {**model, "beats": {**model["beats"], "stem_width": 0.0}}})
    with pytest.raises(ConfigError, match="takes no"):
        parse_recipe({**_table(), "familiarity": {"scenes": 10}})
