"""A text student: its captions, its losses, its run that goes on where it was killed, and its scores."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from tokenizers import Tokenizer
from torch import nn

from edge_aac.errors import ConfigError, DataError, InputMissingError
from quantize.data.caption_corpus import distinct_captions
from quantize.data.captions import MIN_WORDS
from quantize.data.lexicon import LEXICON
from quantize.data.scenes import SceneRecipe
from quantize.data.tokenizer import train_tokenizer
from quantize.models.config import TextEmbedderConfig
from quantize.models.instructor import TextEmbedder
from quantize.models.sentence_embedder import SentenceEmbedder
from quantize.training.settings import TextStudentSettings
from quantize.training.teacher_texts import teacher_embeddings
from quantize.training.text_scores import spearman, text_student_scores
from quantize.training.text_student import (
    TextDistillation,
    check_text_distillation,
    distillation_losses,
    load_text_student,
    split_texts,
    student_embedder,
)
from tests.quantize.training.distill_cases import RecordedProgress

TEXTS = distinct_captions(260, np.random.default_rng(3))
SETTINGS = TextStudentSettings(
    epochs=4, scenes_per_epoch=160, batch_scenes=16, warmup_steps=5, held_out_texts=60, checkpoint_steps=4,
    ema_decay=0.9, learning_rate=5e-3,
)  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(TEXTS, 500)


@pytest.fixture(scope="module")
def teacher(tokenizer: Tokenizer) -> SentenceEmbedder:
    return _teacher(tokenizer, seed=7)


def _teacher(tokenizer: Tokenizer, seed: int) -> SentenceEmbedder:
    torch.manual_seed(seed)
    config = TextEmbedderConfig(tokenizer.get_vocab_size(), 24, 8, 3, 32, 1, 12)
    return student_embedder(TextEmbedder.from_config(config), tokenizer)


@pytest.fixture(scope="module")
def config(tokenizer: Tokenizer) -> TextEmbedderConfig:
    return TextEmbedderConfig(tokenizer.get_vocab_size(), 16, 8, 2, 24, 1, 12, dropout=0.1)


def _rows(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def test_captions_are_distinct_and_the_same_for_a_seed() -> None:
    assert len(set(TEXTS)) == len(TEXTS) == 260
    assert distinct_captions(260, np.random.default_rng(3)) == TEXTS
    assert all(len(text.split()) >= MIN_WORDS for text in TEXTS)
    everything = " ".join(distinct_captions(3000, np.random.default_rng(0)))
    for label, sound in LEXICON.items():
        assert sum(phrase.gerund in everything for phrase in sound.phrases) == len(sound.phrases), label
    assert {"then", "while", "followed", "twice", "distance", "background"} <= set(everything.split())


def test_captions_of_some_classes_name_no_other() -> None:
    labels = ("dog_bark", "rain")
    other = {name for label, sound in LEXICON.items() if label not in labels for name in sound.names}
    own = {name for label in labels for name in LEXICON[label].names}
    words = {word for text in distinct_captions(200, np.random.default_rng(1), labels) for word in text.split()}
    assert words & own
    assert not words & (other - own)


def test_more_captions_than_the_grammar_has() -> None:
    with pytest.raises(ConfigError, match="ask for fewer"):
        distinct_captions(20, np.random.default_rng(0), recipe=SceneRecipe(event_counts=(1.0, 0.0, 0.0)))


def test_losses_are_zero_for_the_teachers_own_embeddings() -> None:
    teacher = nn.functional.normalize(torch.randn(8, 6), dim=-1)
    same = distillation_losses(teacher, teacher, SETTINGS)
    assert all(abs(float(term)) < 1e-6 for term in same.values())
    # Turned round, all similarities stay as they are.
    turned = distillation_losses(teacher.flip(-1), teacher, SETTINGS)
    assert float(turned["pairwise"]) < 1e-10
    assert float(turned["cosine"]) > 1e-2


def test_losses_are_the_formulas() -> None:
    student = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    teacher = torch.tensor([[0.0, 1.0], [0.6, 0.8]])
    terms = distillation_losses(student, teacher, replace(SETTINGS, cosine_weight=2.0, pairwise_weight=3.0))
    assert float(terms["cosine"]) == pytest.approx(0.5)
    assert float(terms["pairwise"]) == pytest.approx(2 * (0.8 - 0.6) ** 2 / 4, abs=1e-6)
    assert float(terms["loss"]) == pytest.approx(2 * 0.5 + 3 * 0.02, abs=1e-6)


def test_held_out_texts_are_never_trained_on() -> None:
    split = split_texts([*TEXTS, *TEXTS[:50]], replace(SETTINGS, corpus_texts=150))
    assert (len(split.trained), len(split.held_out), split.repeated, split.beyond) == (150, 60, 50, 50)
    assert not set(split.trained) & set(split.held_out)
    assert set(split.trained) | set(split.held_out) < set(TEXTS)
    with pytest.raises(DataError, match="too few"):
        split_texts(TEXTS[:75] * 3, SETTINGS)


def test_student_comes_near_its_teacher_on_texts_it_has_not_seen(
    teacher: SentenceEmbedder, tokenizer: Tokenizer, config: TextEmbedderConfig, tmp_path: Path
) -> None:
    settings = replace(SETTINGS, epochs=20)
    progress = RecordedProgress()
    run = TextDistillation(teacher, TEXTS, tokenizer, config, settings, tmp_path)
    scores = run.train(progress)
    assert len(progress.losses) == 20 * 160 // 16
    assert not run.student.training
    held_out = split_texts(TEXTS, settings).held_out
    torch.manual_seed(settings.seed)
    untrained = TextEmbedder.from_config(config).eval()
    before, after = (
        text_student_scores(teacher.embed(held_out), student_embedder(model, tokenizer).embed(held_out))
        for model in (untrained, load_text_student(tmp_path))
    )
    assert after["cosine"] > before["cosine"] + 0.3
    assert after["spearman"] > before["spearman"] + 0.2
    assert after["similarity_error_mean"] < before["similarity_error_mean"]
    assert scores == pytest.approx(after, abs=1e-6)
    last = _rows(tmp_path)[-1]
    assert {name: last[name] for name in after} == pytest.approx(after, abs=1e-6)
    counts = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))["texts"]
    assert (counts["trained"], counts["held_out"]) == (200, 60)


def test_an_epoch_ends_with_the_texts(
    teacher: SentenceEmbedder, tokenizer: Tokenizer, config: TextEmbedderConfig, tmp_path: Path
) -> None:
    progress = RecordedProgress()
    settings = replace(SETTINGS, epochs=1, scenes_per_epoch=5000)
    TextDistillation(teacher, TEXTS, tokenizer, config, settings, tmp_path).train(progress)
    assert len(progress.losses) == 200 // 16


def test_batches_hold_texts_of_like_length_and_every_text_once(
    teacher: SentenceEmbedder, tokenizer: Tokenizer, config: TextEmbedderConfig, tmp_path: Path
) -> None:
    run = TextDistillation(teacher, TEXTS, tokenizer, config, SETTINGS, tmp_path)
    lengths = [len(ids) for ids, _ in run.trainer.dataset(0)]
    spread = [max(part) - min(part) for part in (lengths[at : at + 16] for at in range(0, len(lengths), 16))]
    assert np.mean(spread) < (max(lengths) - min(lengths)) / 3
    orders = [[tuple(ids.tolist()) for ids, _ in run.trainer.dataset(epoch)] for epoch in (0, 1, 0)]
    assert len(set(orders[0])) == len(orders[0]) == 200 // 16 * 16
    assert orders[0] == orders[2] != orders[1]


@pytest.mark.parametrize("killed_at", [3, 17, 33])
def test_killed_run_ends_with_the_weights_of_one_that_was_not(
    killed_at: int, teacher: SentenceEmbedder, tokenizer: Tokenizer, config: TextEmbedderConfig, tmp_path: Path
) -> None:
    def run(folder: str) -> TextDistillation:
        return TextDistillation(teacher, TEXTS, tokenizer, config, SETTINGS, tmp_path / folder)

    whole = run("whole")
    whole.train(RecordedProgress())
    with pytest.raises(KeyboardInterrupt):
        run("killed").train(RecordedProgress(steps_left=killed_at))
    with pytest.raises(InputMissingError, match="not finished"):
        load_text_student(tmp_path / "killed")
    resumed = run("killed")
    resumed.train(RecordedProgress())
    load_text_student(tmp_path / "killed")
    one, other = whole.student.state_dict(), resumed.student.state_dict()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert [row.get("step") for row in _rows(tmp_path / "killed")] == [
        row.get("step") for row in _rows(tmp_path / "whole")
    ]


def test_folder_of_another_run(
    teacher: SentenceEmbedder, tokenizer: Tokenizer, config: TextEmbedderConfig, tmp_path: Path
) -> None:
    settings = replace(SETTINGS, epochs=1)
    TextDistillation(teacher, TEXTS, tokenizer, config, settings, tmp_path).train(RecordedProgress())
    with pytest.raises(ConfigError, match=r"other settings; give a new folder"):
        TextDistillation(teacher, TEXTS, tokenizer, config, SETTINGS, tmp_path)
    with pytest.raises(ConfigError, match=r"other texts, teacher_sha256"):
        TextDistillation(_teacher(tokenizer, seed=8), TEXTS[1:], tokenizer, config, settings, tmp_path)
    (tmp_path / "last.pt").write_bytes(b"rubbish")
    with pytest.raises(DataError, match=r"last\.pt is no whole checkpoint"):
        load_text_student(tmp_path)
    with pytest.raises(DataError, match=r"last\.pt"):
        TextDistillation(teacher, TEXTS, tokenizer, config, settings, tmp_path)


def test_sizes_that_do_not_fit(
    teacher: SentenceEmbedder, tokenizer: Tokenizer, config: TextEmbedderConfig, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"12 dimensions.* 10: set embedding_dim = 12 in \[text\]"):
        TextDistillation(teacher, TEXTS, tokenizer, replace(config, embedding_dim=10), SETTINGS, tmp_path)
    with pytest.raises(ConfigError, match="set vocab_size to"):
        TextDistillation(teacher, TEXTS, tokenizer, replace(config, vocab_size=20), SETTINGS, tmp_path)
    for name, value in (("epochs", 0), ("corpus_texts", 100), ("ema_decay", 1.0)):
        with pytest.raises(ConfigError, match=name):
            TextStudentSettings(**{name: value})
    assert not list(tmp_path.iterdir())


def test_what_does_not_fit_is_known_without_a_tokenizer(teacher: SentenceEmbedder, config: TextEmbedderConfig) -> None:
    """So that it can be told before the captioner is trained, whose tokenizer it is."""
    config = replace(config, vocab_size=1)
    assert check_text_distillation(teacher, TEXTS, config, SETTINGS) == split_texts(TEXTS, SETTINGS)
    with pytest.raises(ConfigError, match=r"\[text\]"):
        check_text_distillation(teacher, TEXTS, replace(config, embedding_dim=10), SETTINGS)
    with pytest.raises(DataError, match="too few"):
        check_text_distillation(teacher, TEXTS[:75], config, SETTINGS)


def test_teacher_runs_once_for_each_text(teacher: SentenceEmbedder, tokenizer: Tokenizer, tmp_path: Path) -> None:
    built: list[str] = []

    def build(instruction: str) -> nn.Module:
        built.append(instruction)
        return teacher.build(instruction)

    counted = replace(teacher, build=build)
    first = teacher_embeddings(counted, TEXTS, tmp_path)
    assert np.array_equal(first, teacher.embed(TEXTS))
    built.clear()
    assert np.array_equal(teacher_embeddings(counted, TEXTS, tmp_path), first)
    assert built == [""]  # for the fingerprint alone
    other = teacher_embeddings(_teacher(tokenizer, seed=8), TEXTS, tmp_path)
    assert float(np.abs(other - first).max()) > 1e-2
    instructed = teacher_embeddings(replace(counted, default_instruction="birds: "), TEXTS, tmp_path)
    assert float(np.abs(instructed - first).max()) > 1e-2
    (chunk,) = (path for path in tmp_path.iterdir() if np.array_equal(np.load(path), first))
    chunk.write_bytes(chunk.read_bytes()[:200])
    with pytest.raises(DataError, match="delete it"):
        teacher_embeddings(teacher, TEXTS, tmp_path)


def test_scores_of_the_same_and_of_others() -> None:
    rng = np.random.default_rng(0)
    teacher = _unit(rng.standard_normal((30, 8)))
    same = text_student_scores(teacher, teacher)
    assert same["spearman"] == pytest.approx(1.0)
    assert same["cosine"] == pytest.approx(1.0)
    assert same["similarity_error_max"] == pytest.approx(0.0, abs=1e-12)
    noisy = _unit(teacher + 0.3 * rng.standard_normal((30, 8)))
    scores = text_student_scores(teacher, noisy)
    pairs = np.triu_indices(30, k=1)
    one, other = (teacher @ teacher.T)[pairs], (noisy @ noisy.T)[pairs]
    assert scores["spearman"] == pytest.approx(spearmanr(one, other).statistic)
    assert scores["similarity_error_max"] == pytest.approx(np.abs(one - other).max())
    assert scores["similarity_error_mean"] == pytest.approx(np.abs(one - other).mean())
    assert scores["cosine"] == pytest.approx(np.mean(np.sum(teacher * noisy, axis=1)))
    assert "cosine" not in text_student_scores(teacher, _unit(rng.standard_normal((30, 5))))
    with pytest.raises(DataError, match="three"):
        text_student_scores(teacher, teacher[:29])
    with pytest.raises(DataError, match="three"):
        text_student_scores(teacher[:2], teacher[:2])


def test_rank_correlation_with_ties() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.integers(5, size=60), rng.integers(7, size=60)
    assert spearman(one, one + other) == pytest.approx(spearmanr(one, one + other).statistic)
    assert spearman(one, -one) == pytest.approx(-1.0)
    assert spearman(one, np.zeros(60)) == 0.0


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
