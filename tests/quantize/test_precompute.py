"""Teachers' outputs in shards: what the teacher itself gives, resumed, refused, batched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from edge_aac.errors import ConfigError, DataError, InputMissingError
from quantize.data.shards import ShardWriter
from quantize.models.config import CaptionerConfig
from quantize.models.sentence_embedder import SentenceEmbedder
from quantize.training.batches import Example, collate
from quantize.training.distill import _PRECOMPUTED_EPOCH, TeacherModel, precompute, student_vocabulary
from quantize.training.objective import IGNORED, TopTokens, token_distillation
from quantize.training.precompute import ShardDataset, TeacherShards, precomputed
from quantize.training.recipe import Recipe
from quantize.training.sources import SceneSource
from quantize.training.teacher import Teacher, TeacherSignals, joined
from tests.quantize.distill_cases import small_teacher
from tests.quantize.published_layout import refused

HALF = 2e-3
"""Half precision keeps 11 bits; the teacher's batches of another length add a little."""


def write(
    folder: Path, recipe: Recipe, source: SceneSource, teacher: TeacherModel, embedder: SentenceEmbedder | None
) -> Path:
    precompute(recipe, source, teacher, embedder, folder, lambda done: None)
    return folder


@pytest.fixture(scope="module")
def shards(
    taught_recipe: Recipe,
    scene_source: SceneSource,
    teacher: TeacherModel,
    sentence_embedder: SentenceEmbedder,
    tmp_path_factory: pytest.TempPathFactory,
) -> TeacherShards:
    folder = tmp_path_factory.mktemp("shards")
    return TeacherShards.open(
        write(folder, taught_recipe, scene_source, teacher, sentence_embedder), taught_recipe.distill
    )


@pytest.fixture(scope="module")
def guide(taught_recipe: Recipe, shards: TeacherShards, teacher: TeacherModel) -> Teacher:
    settings = taught_recipe.distill
    return Teacher(teacher.captioner, shards.kept_ids, settings.top_tokens, settings.temperature)


@pytest.fixture(scope="module")
def examples(taught_recipe: Recipe, scene_source: SceneSource, shards: TeacherShards) -> list[Example]:
    """The same examples, made again."""
    made = scene_source.examples(shards.tokenizer, _PRECOMPUTED_EPOCH, taught_recipe.distill.scenes, masked=False)
    return [made[index] for index in range(taught_recipe.distill.scenes)]


def close(one: Tensor, other: Tensor) -> bool:
    return bool(torch.allclose(one, other, rtol=HALF, atol=HALF * float(other.abs().max())))


def test_read_back_they_are_the_teachers_own(
    shards: TeacherShards, guide: Teacher, examples: list[Example], sentence_embedder: SentenceEmbedder
) -> None:
    assert len(shards.reader) == len(examples) == 12
    for index, example in enumerate(examples):
        got, batch = precomputed(shards.reader[index]), collate([example])
        expected = guide.signals(batch.fbank, batch.decoder_input_ids)
        assert close(got.fbank, example.fbank)
        assert (got.texts, got.token_ids, got.events) == (example.texts, example.token_ids, example.events)
        assert got.activity is not None and example.activity is not None
        assert torch.equal(got.activity, example.activity)
        assert got.signals is not None and got.text_embedding is not None
        for name in ("hidden", "memory", "audio_embedding", "activity_logits"):
            assert getattr(got.signals, name).shape == getattr(expected, name).shape
            assert close(getattr(got.signals, name), getattr(expected, name)), name
        counted = batch.labels != IGNORED
        length = batch.token_ids.shape[1]
        assert close(got.signals.tokens.log_probs[:, :length][counted], expected.tokens.log_probs[counted])
        likeliest = got.signals.tokens.token_ids[:, :length, 0][counted]
        assert float((likeliest == expected.tokens.token_ids[..., 0][counted]).float().mean()) > 0.95
        assert close(got.text_embedding, torch.from_numpy(sentence_embedder.embed(example.texts[:1])[0]))


def test_the_vocabulary_is_cut_and_comes_with_the_shards(
    shards: TeacherShards, teacher: TeacherModel, taught_recipe: Recipe, scene_source: SceneSource
) -> None:
    vocabulary = student_vocabulary(taught_recipe, teacher, scene_source)
    assert vocabulary.kept_ids is not None
    assert len(vocabulary.kept_ids) < teacher.tokenizer.get_vocab_size()
    assert torch.equal(shards.kept_ids, vocabulary.kept_ids)
    assert shards.tokenizer.to_str() == vocabulary.tokenizer.to_str()
    text = "a dog barks while rain falls"
    assert shards.kept_ids[shards.tokenizer.encode(text).ids].tolist() == teacher.tokenizer.encode(text).ids


def test_a_batch_from_shards_teaches_what_the_teacher_beside_the_student_does(
    shards: TeacherShards, guide: Teacher, examples: list[Example]
) -> None:
    """Captions of other lengths than those they were computed with: top tokens are cut and padded to the batch's."""
    lengths = [max(map(len, example.token_ids)) for example in examples]
    short, long = int(np.argmin(lengths)), int(np.argmax(lengths))
    assert lengths[short] < lengths[long]
    for rows in ([short], [long], [short, long], [long, short, 0]):
        batch = collate([precomputed(shards.reader[row]) for row in rows])
        beside = collate([examples[row] for row in rows])
        assert torch.equal(batch.token_ids, beside.token_ids)
        assert batch.signals is not None and beside.signals is None
        assert batch.signals.tokens.token_ids.shape == (*batch.token_ids.shape, guide.top)
        expected = guide.signals(beside.fbank, beside.decoder_input_ids)
        student = torch.randn(*batch.token_ids.shape, len(shards.kept_ids), generator=torch.Generator().manual_seed(1))
        one, other = (
            token_distillation(student, signals.tokens, batch.labels, guide.temperature)
            for signals in (batch.signals, expected)
        )
        assert float(one) == pytest.approx(float(other), rel=5e-3)


def test_joined_signals_keep_their_rows() -> None:
    def part(length: int, value: float) -> TeacherSignals:
        tokens = TopTokens(torch.full((2, length, 3), value), torch.full((2, length, 3), int(value)))
        return TeacherSignals(*(torch.full((1, 4, 2), value) for _ in range(4)), tokens)

    both = joined([part(3, 5.0), part(7, 6.0)], 5)
    assert both.hidden[:, 0, 0].tolist() == [5.0, 6.0]
    assert both.tokens.token_ids[..., 0].tolist() == [[5, 5, 5, 0, 0]] * 2 + [[6] * 5] * 2
    assert both.tokens.log_probs.shape == (4, 5, 3)


def test_an_epoch_goes_through_all_examples_before_one_comes_again(
    shards: TeacherShards, taught_recipe: Recipe
) -> None:
    settings = replace(taught_recipe.train, scenes_per_epoch=8)
    epochs = [ShardDataset(shards, settings, epoch) for epoch in range(3)]
    texts = [sample.record["texts"] for sample in shards.reader]
    assert all(len(epoch) == 8 for epoch in epochs)
    order = [texts.index(list(epoch[index].texts)) for epoch in epochs for index in range(8)]
    assert sorted(order[:12]) == sorted(order[12:]) == list(range(12))
    assert order[:12] != order[12:]


def test_what_is_read_is_masked_for_its_epoch_and_not_on_disk(shards: TeacherShards, taught_recipe: Recipe) -> None:
    settings = replace(taught_recipe.train, scenes_per_epoch=12, freq_masks=1, time_masks=1)
    one, again, later = (ShardDataset(shards, settings, epoch) for epoch in (0, 0, 1))
    whole = {tuple(s.record["texts"]): precomputed(s).fbank for s in shards.reader}
    changed = 0
    for index in range(12):
        example = one[index]
        assert torch.equal(example.fbank, again[index].fbank)
        assert example.signals is not None
        changed += int(not torch.equal(example.fbank, whole[example.texts]))
    assert changed >= 8
    by_text = {example.texts: example.fbank for example in (later[index] for index in range(12))}
    assert any(not torch.equal(by_text[one[index].texts], one[index].fbank) for index in range(12))


def without_padding(folder: Path, recipe: Recipe) -> Iterator[tuple[object, ...]]:
    for sample in TeacherShards.open(folder, recipe.distill).reader:
        example = precomputed(sample)
        assert example.signals is not None
        length = max(map(len, example.token_ids))
        plain = [getattr(example.signals, entry.name) for entry in fields(example.signals) if entry.name != "tokens"]
        tokens = example.signals.tokens.log_probs[:, :length], example.signals.tokens.token_ids[:, :length]
        yield sample.key, example.texts, example.token_ids, [part.tolist() for part in (example.fbank, *plain, *tokens)]


def test_broken_off_it_goes_on_behind_the_last_whole_shard(
    taught_recipe: Recipe,
    scene_source: SceneSource,
    teacher: TeacherModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("quantize.training.precompute.ShardWriter", partial(ShardWriter, samples_per_shard=4))
    monkeypatch.setattr("quantize.training.precompute._BATCH", 4)
    recipe = replace(taught_recipe, train=replace(taught_recipe.train, contrastive_weight=0.0))
    whole = write(tmp_path / "whole", recipe, scene_source, teacher, None)

    def struck(done: int) -> None:
        if done == 8:
            raise KeyboardInterrupt

    broken = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        precompute(recipe, scene_source, teacher, None, broken, struck)
    refused(lambda: TeacherShards.open(broken, recipe.distill), DataError, "unfinished")
    told: list[int] = []
    precompute(recipe, scene_source, teacher, None, broken, told.append)
    assert told == [12], "what was written is not computed again"
    assert list(without_padding(broken, recipe)) == list(without_padding(whole, recipe))
    precompute(recipe, scene_source, teacher, None, broken, told.append)
    assert told == [12], "and nothing of a finished folder"


def test_other_settings_than_it_was_made_with_are_refused(shards: TeacherShards, taught_recipe: Recipe) -> None:
    settings = taught_recipe.distill
    refused(
        lambda: TeacherShards.open(shards.folder, replace(settings, temperature=3.0)),
        ConfigError,
        "temperature 2.0",
        "3.0",
    )
    refused(
        lambda: TeacherShards.open(shards.folder, replace(settings, top_tokens=7)),
        ConfigError,
        "6 tokens",
        "wants 2.0 and 7",
    )
    TeacherShards.open(shards.folder, replace(settings, token_weight=5.0, hidden_weight=0.0))
    refused(lambda: TeacherShards.open(shards.folder / "nowhere", settings), InputMissingError)


def test_another_teacher_is_refused(
    shards: TeacherShards,
    teacher: TeacherModel,
    taught_recipe: Recipe,
    scene_source: SceneSource,
    sentence_embedder: SentenceEmbedder,
    small_config: CaptionerConfig,
    tmp_path: Path,
) -> None:
    shards.check_teacher(teacher.weights)
    other = small_teacher(small_config, ["quite another caption", "of another teacher"], tmp_path, seed=4)
    refused(lambda: shards.check_teacher(other.weights), ConfigError, "not those of", str(other.weights))
    before = {path.name: path.read_bytes() for path in shards.folder.iterdir()}
    with pytest.raises(ConfigError, match="another|other"):
        write(shards.folder, taught_recipe, scene_source, other, sentence_embedder)
    assert {path.name: path.read_bytes() for path in shards.folder.iterdir()} == before, "what was there is spoilt"


def test_a_missing_sentence_embedder_is_told_before_hours_are_spent(
    taught_recipe: Recipe, scene_source: SceneSource, teacher: TeacherModel, tmp_path: Path
) -> None:
    refused(
        lambda: write(tmp_path / "out", taught_recipe, scene_source, teacher, None),
        ConfigError,
        "--sentence-embedder",
    )
    assert not (tmp_path / "out").exists()


def test_the_teacher_stays_frozen_and_in_evaluation_mode(guide: Teacher) -> None:
    guide.train()
    assert not guide.training and not guide.captioner.training
    assert not any(parameter.requires_grad for parameter in guide.parameters())
