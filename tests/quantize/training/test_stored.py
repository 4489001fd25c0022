"""Stored examples and a teacher's outputs for them: what the two themselves give, resumed, refused, batched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from edge_aac.errors import ConfigError, DataError, InputMissingError
from quantize.data.shards import ShardReader, ShardWriter
from quantize.models.config import CaptionerConfig
from quantize.models.sentence_embedder import SentenceEmbedder
from quantize.training.batches import Example, collate
from quantize.training.distill import TeacherModel, store_signals, student_vocabulary
from quantize.training.objective import IGNORED, TopTokens, token_distillation
from quantize.training.recipe import Recipe
from quantize.training.sources import SceneSource
from quantize.training.stored import EXAMPLES, TEACHER, StoredDataset, StoredExamples, StoredSignals
from quantize.training.teacher import Teacher, TeacherSignals, joined
from quantize.training.train import STORED_EPOCH, Run, store_examples
from tests.quantize.models.published_layout import refused
from tests.quantize.training.distill_cases import RecordedProgress, small_teacher

HALF = 2e-3
"""Half precision keeps 11 bits; the teacher's batches of another length add a little."""


@dataclass(frozen=True)
class Stored:
    """A folder with both, opened."""

    folder: Path
    examples: StoredExamples
    signals: StoredSignals


def ignored(done: int) -> None: ...


@pytest.fixture(scope="module")
def stored(
    taught_recipe: Recipe,
    scene_source: SceneSource,
    teacher: TeacherModel,
    sentence_embedder: SentenceEmbedder,
    tmp_path_factory: pytest.TempPathFactory,
) -> Stored:
    folder = tmp_path_factory.mktemp("stored")
    store_examples(taught_recipe, scene_source, sentence_embedder, folder, ignored)
    examples = StoredExamples.open(folder)
    store_signals(taught_recipe, scene_source, teacher, examples, folder, ignored)
    return Stored(folder, examples, StoredSignals.open(folder, examples, taught_recipe.distill, teacher.weights))


@pytest.fixture(scope="module")
def guide(taught_recipe: Recipe, stored: Stored, teacher: TeacherModel) -> Teacher:
    settings = taught_recipe.distill
    return Teacher(teacher.captioner, stored.signals.kept_ids, settings.top_tokens, settings.temperature)


def unmasked(recipe: Recipe, **changes: Any) -> Recipe:
    return replace(recipe, train=replace(recipe.train, freq_masks=0, time_masks=0, **changes))


def reading(stored: Stored, recipe: Recipe, epoch: int = 0) -> StoredDataset:
    limit = recipe.model.decoder.max_positions
    return StoredDataset(stored.examples, stored.signals.tokenizer, recipe.train, limit, epoch, stored.signals)


def close(one: Tensor, other: Tensor) -> bool:
    return bool(torch.allclose(one, other, rtol=HALF, atol=HALF * float(other.abs().max())))


def test_stored_examples_are_those_of_the_source(
    stored: Stored, taught_recipe: Recipe, scene_source: SceneSource, sentence_embedder: SentenceEmbedder
) -> None:
    made = taught_recipe.stored
    train = replace(taught_recipe.train, seed=made.seed, scenes_per_epoch=made.count, captions_per_scene=made.captions)
    fresh = scene_source.examples(None, train, STORED_EPOCH, masked=False)
    assert len(stored.examples) == 12 and stored.examples.has_text_embeddings
    assert stored.examples.text_embedding_dim == sentence_embedder.dim
    for index, sample in enumerate(stored.examples.reader):
        example = fresh[index]
        assert close(torch.from_numpy(sample.arrays["fbank"]).float(), example.fbank)
        assert (sample.record["texts"], sample.record["events"]) == (list(example.texts), list(example.events))
        assert len(example.texts) == 3
        assert example.activity is not None
        assert np.array_equal(np.unpackbits(sample.arrays["activity"], axis=0).astype(bool), example.activity.numpy())
        embedding = torch.from_numpy(sentence_embedder.embed(example.texts[:1])[0])
        assert close(torch.from_numpy(sample.arrays["text_embedding"]).float(), embedding)


def test_what_is_read_is_what_the_teacher_says_of_it(stored: Stored, guide: Teacher, taught_recipe: Recipe) -> None:
    dataset = reading(stored, unmasked(taught_recipe))
    for index in range(12):
        example = dataset[index]
        batch = collate([replace(example, signals=None)])
        expected = guide.signals(batch.fbank, batch.decoder_input_ids)
        assert example.signals is not None
        for name in ("hidden", "memory", "audio_embedding", "activity_logits"):
            assert getattr(example.signals, name).shape == getattr(expected, name).shape
            assert close(getattr(example.signals, name), getattr(expected, name)), name
        got = collate([example]).signals
        assert got is not None
        counted = batch.labels != IGNORED
        assert close(got.tokens.log_probs[counted], expected.tokens.log_probs[counted])
        likeliest = got.tokens.token_ids[..., 0][counted] == expected.tokens.token_ids[..., 0][counted]
        assert float(likeliest.float().mean()) > 0.95


def test_captions_are_drawn_anew_and_the_embedded_one_stays_first(stored: Stored, taught_recipe: Recipe) -> None:
    """Two of three at a time; each with its own of the teacher's outputs, as the test above says."""
    decoded: dict[tuple[str, ...], set[str]] = {}
    for epoch in range(6):
        dataset = reading(stored, taught_recipe, epoch)
        for index in range(12):
            example = dataset[index]
            assert len(example.token_ids) == 2
            texts = {stored.signals.tokenizer.decode(ids).strip() for ids in example.token_ids}
            decoded.setdefault(example.texts, set()).update(texts)
    by_first = {sample.record["texts"][0]: set(sample.record["texts"]) for sample in stored.examples.reader}
    assert {texts[0] for texts in decoded} == set(by_first)
    assert all(texts_of_it <= by_first[texts[0]] for texts, texts_of_it in decoded.items())
    assert sum(texts_of_it == by_first[texts[0]] for texts, texts_of_it in decoded.items()) >= 10


def test_more_captions_than_are_stored_come_again(stored: Stored, taught_recipe: Recipe) -> None:
    example = reading(stored, unmasked(taught_recipe, captions_per_scene=5))[0]
    assert len(example.token_ids) == 5 and example.token_ids[:2] == example.token_ids[3:]
    assert example.signals is not None and example.signals.tokens.token_ids.shape[0] == 5


def test_a_batch_that_is_read_teaches_what_the_teacher_beside_the_student_does(
    stored: Stored, guide: Teacher, taught_recipe: Recipe
) -> None:
    """Captions of other lengths than those they were computed with: top tokens are cut and padded to the batch's."""
    dataset = reading(stored, unmasked(taught_recipe))
    lengths = [max(map(len, dataset[index].token_ids)) for index in range(12)]
    short, long = int(np.argmin(lengths)), int(np.argmax(lengths))
    assert lengths[short] < lengths[long]
    for rows in ([short], [long], [short, long], [long, short, 0]):
        batch = collate([dataset[row] for row in rows])
        assert batch.signals is not None
        assert batch.signals.tokens.token_ids.shape == (*batch.token_ids.shape, guide.top)
        expected = guide.signals(batch.fbank, batch.decoder_input_ids)
        tokens = len(stored.signals.kept_ids)
        student = torch.randn(*batch.token_ids.shape, tokens, generator=torch.Generator().manual_seed(1))
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


def test_the_vocabulary_is_cut_and_lies_beside(
    stored: Stored, teacher: TeacherModel, taught_recipe: Recipe, scene_source: SceneSource
) -> None:
    vocabulary, signals = student_vocabulary(taught_recipe, teacher, scene_source), stored.signals
    assert vocabulary.kept_ids is not None
    assert len(vocabulary.kept_ids) < teacher.tokenizer.get_vocab_size()
    assert torch.equal(signals.kept_ids, vocabulary.kept_ids)
    assert signals.tokenizer.to_str() == vocabulary.tokenizer.to_str()
    text = "a dog barks while rain falls"
    assert signals.kept_ids[signals.tokenizer.encode(text).ids].tolist() == teacher.tokenizer.encode(text).ids


def test_all_examples_are_gone_through_before_one_comes_again(stored: Stored, taught_recipe: Recipe) -> None:
    recipe = unmasked(taught_recipe, scenes_per_epoch=8)
    firsts = [sample.record["texts"][0] for sample in stored.examples.reader]
    assert len(set(firsts)) == 12
    epochs = [reading(stored, recipe, epoch) for epoch in range(3)]
    assert all(len(epoch) == 8 for epoch in epochs)
    order = [firsts.index(epoch[index].texts[0]) for epoch in epochs for index in range(8)]
    assert sorted(order[:12]) == sorted(order[12:]) == list(range(12))
    assert order[:12] != order[12:]


def test_what_is_read_is_masked_for_its_epoch_and_not_on_disk(stored: Stored, taught_recipe: Recipe) -> None:
    one, again, later = (reading(stored, taught_recipe, epoch) for epoch in (0, 0, 1))
    whole = {s.record["texts"][0]: torch.from_numpy(s.arrays["fbank"]).float() for s in stored.examples.reader}
    later_ones = {example.texts[0]: example.fbank for example in (later[index] for index in range(12))}
    masked = differing = 0
    for index in range(12):
        example = one[index]
        assert torch.equal(example.fbank, again[index].fbank)
        masked += int(not torch.equal(example.fbank, whole[example.texts[0]]))
        differing += int(not torch.equal(example.fbank, later_ones[example.texts[0]]))
    assert masked >= 8 and differing >= 8


def contents(folder: Path) -> Iterator[tuple[object, ...]]:
    for part in (EXAMPLES, TEACHER):
        for sample in ShardReader(folder / part):
            yield sample.key, {name: array.tolist() for name, array in sample.arrays.items()}, sample.record


def test_broken_off_both_go_on_behind_their_last_whole_shard(
    taught_recipe: Recipe,
    scene_source: SceneSource,
    teacher: TeacherModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("quantize.training.stored.ShardWriter", partial(ShardWriter, samples_per_shard=4))
    monkeypatch.setattr("quantize.training.stored._BATCH", 4)
    recipe = unmasked(taught_recipe, contrastive_weight=0.0)

    def make(folder: Path, progress: Any = ignored) -> None:
        store_examples(recipe, scene_source, None, folder, progress)

    def run_teacher(folder: Path, progress: Any = ignored) -> None:
        store_signals(recipe, scene_source, teacher, StoredExamples.open(folder), folder, progress)

    def struck(done: int) -> None:
        if done == 8:
            raise KeyboardInterrupt

    make(tmp_path / "whole")
    run_teacher(tmp_path / "whole")
    broken = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        make(broken, struck)
    refused(lambda: StoredExamples.open(broken), DataError, "unfinished")
    progress: list[int] = []
    make(broken, progress.append)
    with pytest.raises(KeyboardInterrupt):
        run_teacher(broken, struck)
    examples = StoredExamples.open(broken)
    assert not examples.has_text_embeddings
    refused(lambda: StoredSignals.open(broken, examples, recipe.distill, teacher.weights), DataError, "unfinished")
    run_teacher(broken, progress.append)
    assert progress == [12, 12], "what was written is not computed again"
    assert list(contents(broken)) == list(contents(tmp_path / "whole"))
    make(broken, progress.append)
    run_teacher(broken, progress.append)
    assert progress == [12, 12], "and nothing of what is finished"


def test_other_settings_than_they_were_made_with_are_refused(
    stored: Stored, taught_recipe: Recipe, teacher: TeacherModel
) -> None:
    def opened(folder: Path = stored.folder, **changes: Any) -> StoredSignals:
        settings = replace(taught_recipe.distill, **changes)
        return StoredSignals.open(folder, stored.examples, settings, teacher.weights)

    refused(lambda: opened(temperature=3.0), ConfigError, "temperature 2.0", "3.0")
    refused(lambda: opened(top_tokens=7), ConfigError, "6 tokens", "wants 2.0 and 7")
    refused(lambda: opened(stored.folder / "nowhere"), InputMissingError)
    opened(token_weight=5.0, hidden_weight=0.0)


def test_another_teacher_is_refused_and_spoils_nothing(
    stored: Stored, taught_recipe: Recipe, scene_source: SceneSource, small_config: CaptionerConfig, tmp_path: Path
) -> None:
    other = small_teacher(small_config, ["quite another caption", "of another teacher"], tmp_path, seed=4)
    refused(
        lambda: StoredSignals.open(stored.folder, stored.examples, taught_recipe.distill, other.weights),
        ConfigError,
        "not those of",
        str(other.weights),
    )
    before = {path.name: path.read_bytes() for path in (stored.folder / TEACHER).iterdir()}
    with pytest.raises(ConfigError):
        store_signals(taught_recipe, scene_source, other, stored.examples, stored.folder, ignored)
    assert {path.name: path.read_bytes() for path in (stored.folder / TEACHER).iterdir()} == before


def test_other_examples_are_refused(
    stored: Stored, taught_recipe: Recipe, scene_source: SceneSource, sentence_embedder: SentenceEmbedder
) -> None:
    for changed in (
        replace(taught_recipe, stored=replace(taught_recipe.stored, seed=2)),
        replace(taught_recipe, scenes=replace(taught_recipe.scenes, gain_db=1.0)),
    ):
        with pytest.raises(ConfigError):
            store_examples(changed, scene_source, sentence_embedder, stored.folder, ignored)
    assert len(StoredExamples.open(stored.folder)) == 12


def test_a_missing_sentence_embedder_is_reported_before_hours_are_spent(
    taught_recipe: Recipe, scene_source: SceneSource, tmp_path: Path
) -> None:
    refused(
        lambda: store_examples(taught_recipe, scene_source, None, tmp_path / "out", ignored),
        ConfigError,
        "--sentence-embedder",
    )
    assert not (tmp_path / "out").exists()


def test_a_teacher_learns_from_the_stored_examples_too(
    stored: Stored, taught_recipe: Recipe, scene_source: SceneSource, tmp_path: Path
) -> None:
    """They bring the sentence embeddings, so that the embedder itself is not needed."""
    run = Run(taught_recipe, scene_source, tmp_path, stored=stored.examples)
    progress = RecordedProgress()
    run.train(progress)
    assert len(progress.losses) == 6 and np.isfinite(progress.losses).all()
    batch: Example = run.trainer.dataset(0)[0]
    assert batch.signals is None and batch.text_embedding is not None


def test_the_teacher_stays_frozen_and_in_evaluation_mode(guide: Teacher) -> None:
    guide.train()
    assert not guide.training and not guide.captioner.training
    assert not any(parameter.requires_grad for parameter in guide.parameters())
