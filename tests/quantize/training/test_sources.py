"""Examples of scenes and of corpora: what is left out is counted, what is held out is never heard."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tokenizers import Tokenizer
from torch.nn import functional

from edge_aac.audio.features import filter_bank
from edge_aac.errors import ConfigError, DataError, InputMissingError
from quantize.data.clips import Waveform
from quantize.data.merging import PROMPT
from quantize.data.mixup import Mix, mix
from quantize.data.tokenizer import train_tokenizer
from quantize.models.captioner import Captioner
from quantize.training import sources
from quantize.training.batches import collate
from quantize.training.recipe import Recipe
from quantize.training.settings import CorpusRecipe, MixupRecipe, StoredRecipe, TrainSettings
from quantize.training.sources import CorpusSource, SceneSource, open_example_source
from quantize.training.train import store_examples

RATE = 16_000
CAPTIONS = ("rain falls on a roof", "a dog barks at a door", "a clock ticks in a room")


def taking(source: SceneSource | CorpusSource, count: int) -> TrainSettings:
    """The settings of a source's recipe, for so many examples an epoch."""
    return replace(source.recipe.train, scenes_per_epoch=count)


class Merger:
    """A language model that says the same of every pair, or what it is given."""

    def __init__(self, *answers: str) -> None:
        self.answers, self.prompts = answers, []

    def complete_all(self, prompts: Sequence[str], progress: Callable[[int, int], None] | None = None) -> list[str]:
        self.prompts = list(prompts)
        return [self.answers[index % len(self.answers)] for index in range(len(prompts))]


def write_sound(path: Path, seconds: float, level: float, seed: int) -> None:
    noise = level * np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    soundfile.write(path, np.clip(noise, -1, 1), RATE)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight files, of which two recordings have two stretches each; one file is gone and one is no sound."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "clips").mkdir()
    rows = ["file,caption_1,caption_2,recording"]
    for number in range(8):
        write_sound(folder / "clips" / f"{number}.wav", 11.0 if number < 4 else 3.0, 0.02 * (number + 1), number)
        second = "" if number == 7 else f"some sound of {number} things is heard"
        rows.append(f"{number}.wav,{CAPTIONS[number % 3]},{second},take {number // 2}")
    (folder / "clips" / "broken.wav").write_bytes(b"no sound at all")
    rows += ["broken.wav,a door slams shut loudly,,", "gone.wav,a bell rings far away,,"]
    (folder / "captions.csv").write_text("\n".join(rows), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def corpus_recipe(small_recipe: Recipe) -> Recipe:
    train = replace(small_recipe.train, captions_per_scene=3, freq_masks=0, time_masks=0)
    corpus = CorpusRecipe("folder", "captions.csv", "clips", held_out_share=0.25)
    return replace(small_recipe, corpus=corpus, train=train, mixup=MixupRecipe())


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer([*CAPTIONS, "some sound of 0 1 2 3 4 5 6 7 things is heard"], 900)


def test_what_cannot_be_used_is_left_out_and_listed(corpus_recipe: Recipe, corpus: Path, cache: Path) -> None:
    source = CorpusSource(corpus_recipe, corpus, cache)
    assert {clip.name for clip in source.report.broken} == {"broken.wav", "gone.wav"}
    assert all(clip.reason for clip in source.report.broken)
    assert len(source.report.ready) == 8
    assert len(source.clips) + len(source.held_out) == 8
    assert source.merges is None and source.mixups == ()


def test_no_recording_is_both_learnt_from_and_held_out(corpus_recipe: Recipe, corpus: Path, cache: Path) -> None:
    seen = set()
    for seed in range(4):
        recipe = replace(corpus_recipe, train=replace(corpus_recipe.train, seed=seed))
        source = CorpusSource(recipe, corpus, cache)
        here, there = ({clip.recording for clip in part} for part in (source.clips, source.held_out))
        assert here and there and not here & there
        seen.add(tuple(sorted(there)))
        assert {caption for clip in source.held_out for caption in clip.captions}
        assert sorted(source.fingerprint()["clips"]) == sorted(clip.name for clip in source.clips)
    assert len(seen) > 1


def test_a_table_of_its_own_is_held_out_whole(corpus_recipe: Recipe, corpus: Path, cache: Path) -> None:
    (corpus / "others").mkdir(exist_ok=True)
    write_sound(corpus / "others" / "x.wav", 2.0, 0.1, 50)
    (corpus / "held.csv").write_text("file,caption\nx.wav,a bell rings far away\n", encoding="utf-8")
    table = replace(corpus_recipe.corpus, held_out_captions="held.csv", held_out_audio="others")
    source = CorpusSource(replace(corpus_recipe, corpus=table), corpus, cache)
    assert [clip.name for clip in source.held_out] == ["x.wav"]
    assert len(source.clips) == 8
    nothing = replace(corpus_recipe.corpus, held_out_share=0.0)
    assert CorpusSource(replace(corpus_recipe, corpus=nothing), corpus, cache).validation() is None


def test_held_out_clips_that_cannot_be_used_are_listed_with_their_table(
    corpus_recipe: Recipe, corpus: Path, cache: Path
) -> None:
    """A clip of the same name may be among those that are learnt from."""
    (corpus / "partly").mkdir(exist_ok=True)
    write_sound(corpus / "partly" / "x.wav", 2.0, 0.1, 50)
    (corpus / "partly" / "1.wav").write_bytes(b"no sound at all")
    rows = "file,caption\nx.wav,a bell rings far away\n1.wav,a cat meows\n2.wav,a horn sounds\n"
    (corpus / "partly.csv").write_text(rows, encoding="utf-8")
    table = replace(corpus_recipe.corpus, held_out_captions="partly.csv", held_out_audio="partly")
    source = CorpusSource(replace(corpus_recipe, corpus=table), corpus, cache)
    broken = {clip.name: clip.reason for clip in source.report.broken}
    assert broken.keys() == {"broken.wav", "gone.wav", "partly.csv: 1.wav", "partly.csv: 2.wav"}
    assert all(broken.values())
    assert len(source.report.ready) == len(source.clips) + len(source.held_out) == 8 + 1


def test_a_held_out_table_that_cannot_be_used_is_no_reason_to_hold_out_others(
    corpus_recipe: Recipe, corpus: Path, cache: Path
) -> None:
    (corpus / "useless.csv").write_text("file,caption\nbroken.wav,a cat meows\n", encoding="utf-8")
    table = replace(corpus_recipe.corpus, held_out_captions="useless.csv")
    with pytest.raises(DataError, match=r"no clip of useless\.csv can be used: .*broken\.wav"):
        CorpusSource(replace(corpus_recipe, corpus=table), corpus, cache)


def test_clotho_is_read_as_published(corpus_recipe: Recipe, corpus: Path, cache: Path) -> None:
    header = "file_name,caption_1,caption_2,caption_3,caption_4,caption_5"
    rows = [f"{n}.wav," + ",".join(f"Caption {k} of the sound {n}." for k in range(5)) for n in range(4)]
    (corpus / "clotho.csv").write_text("\n".join([header, *rows]), encoding="utf-8")
    table = CorpusRecipe("clotho", "clotho.csv", "clips", held_out_share=0.3)
    source = open_example_source(replace(corpus_recipe, corpus=table), corpus, cache)
    assert isinstance(source, CorpusSource)
    assert len(list(source.captions())) == 5 * len(source.clips) == 15
    assert next(source.captions()).startswith("caption 0 of the sound")
    assert source.texts(4) == list(source.captions())[:4]
    assert len(source.texts(100)) == 15


def test_every_clip_comes_once_before_one_comes_again(
    corpus_recipe: Recipe, corpus: Path, cache: Path, tokenizer: Tokenizer
) -> None:
    source = CorpusSource(corpus_recipe, corpus, cache)
    count = len(source.clips)
    epochs = [source.examples(tokenizer, taking(source, 4), epoch, masked=False) for epoch in range(3)]
    drawn = [epoch[index].events[0] for epoch in epochs for index in range(4)][: 2 * count]
    assert sorted(drawn[:count]) == sorted(clip.name for clip in source.clips)
    assert len(set(drawn[count:])) == len(drawn) - count
    one, again = (source.examples(tokenizer, taking(source, 4), 1, masked=True)[2] for _ in range(2))
    assert torch.equal(one.fbank, again.fbank) and one.texts == again.texts


def test_examples_hold_a_window_and_as_many_captions_as_asked(
    corpus_recipe: Recipe, corpus: Path, cache: Path, tokenizer: Tokenizer
) -> None:
    """Clips with one or two captions say them again."""
    source = CorpusSource(corpus_recipe, corpus, cache)
    examples = source.examples(tokenizer, taking(source, len(source.clips)), 0, masked=False)
    by_name = {clip.name: clip for clip in source.clips}
    batch = collate([examples[index] for index in range(len(source.clips))])
    assert batch.token_ids.shape[0] == 3 * len(source.clips)
    assert batch.activity is None
    for index in range(len(source.clips)):
        example = examples[index]
        clip = by_name[example.events[0]]
        assert example.fbank.shape == (998, 128) and example.activity is None and example.mixup == ""
        assert len(example.texts) == len(example.token_ids) == 3
        assert set(example.texts) == set(clip.captions), "none is left out where they are fewer"
        if clip.path.name in {"4.wav", "5.wav", "6.wav", "7.wav"}:
            padded = np.pad(source.cache.waveform(clip), (0, 7 * RATE))
            assert np.abs(example.fbank.numpy() - filter_bank(padded)).max() < 1e-3


def mixing(recipe: Recipe, pairs: int, share: float) -> Recipe:
    return replace(recipe, mixup=MixupRecipe(pairs=pairs, pair_share=share))


def test_mixups_are_merged_by_the_language_model(
    corpus_recipe: Recipe, corpus: Path, cache: Path, tokenizer: Tokenizer
) -> None:
    model = Merger("Mixed caption: Rain falls while a dog barks.", "", "the the the dog barks at a and")
    source = CorpusSource(mixing(corpus_recipe, 6, 1.0), corpus, cache, model)  # type: ignore[arg-type]
    assert len(model.prompts) == 6 and all(prompt.startswith(PROMPT) for prompt in model.prompts)
    assert source.merges is not None
    assert (source.merges.pairs, source.merges.merged, source.merges.empty) == (6, 2, 2)
    assert source.merges.not_fluent + source.merges.too_long == 2
    assert [mixup.caption for mixup in source.mixups] == ["rain falls while a dog barks"] * 2
    assert list(source.captions())[-2:] == ["rain falls while a dog barks"] * 2
    names = {clip.name for clip in source.clips}
    for mixup in source.mixups:
        assert {mixup.first.name, mixup.second.name} <= names, "what is held out is not mixed in"
        assert mixup.first.recording != mixup.second.recording
    examples = source.examples(tokenizer, taking(source, 6), 0, masked=False)
    pairs = {(mixup.first.name, mixup.second.name) for mixup in source.mixups}
    for index in range(6):
        example = examples[index]
        assert example.mixup == "merged" and example.events in pairs
        assert example.texts == ("rain falls while a dog barks",) * 3
        assert bool(example.fbank.isfinite().all())
    assert json.dumps(source.fingerprint()).count("rain falls while a dog barks") == 2


def test_as_many_examples_are_mixups_as_asked(
    corpus_recipe: Recipe, corpus: Path, cache: Path, tokenizer: Tokenizer
) -> None:
    model = Merger("rain falls while a dog barks")
    source = CorpusSource(mixing(corpus_recipe, 4, 0.5), corpus, cache, model)  # type: ignore[arg-type]
    examples = source.examples(tokenizer, taking(source, 40), 0, masked=False)
    outcomes = [examples[index].mixup for index in range(40)]
    # 20 expected, with a standard deviation of 3.2.
    assert abs(outcomes.count("merged") - 20) < 4 * 3.2 and outcomes.count("") > 0


def test_clips_are_mixed_as_long_as_they_are(
    corpus_recipe: Recipe, tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The silence behind them has no part in the mix: cut only beyond 10 s, filled up afterwards."""
    (tmp_path / "clips").mkdir()
    for name, seconds, level in (("short", 2.0, 0.05), ("middle", 4.0, 0.2), ("long", 12.0, 0.1)):
        write_sound(tmp_path / "clips" / f"{name}.wav", seconds, level, len(name))
    rows = ["file,caption", *(f"{name}.wav,a {name} noise" for name in ("short", "middle", "long"))]
    (tmp_path / "captions.csv").write_text("\n".join(rows), encoding="utf-8")
    recipe = mixing(corpus_recipe, 3, 1.0)
    recipe = replace(recipe, corpus=replace(corpus_recipe.corpus, held_out_share=0.0))
    source = CorpusSource(recipe, tmp_path, tmp_path / "cache", Merger("rain falls while a dog barks"))  # type: ignore[arg-type]
    mixes: list[tuple[int, int, Mix]] = []

    def watched(first: Waveform, second: Waveform, rng: np.random.Generator, ratio_db: float) -> Mix:
        mixes.append((len(first), len(second), mix(first, second, rng, ratio_db)))
        return mixes[-1][2]

    monkeypatch.setattr(sources, "mix", watched)
    examples = source.examples(tokenizer, taking(source, 24), 0, masked=False)
    for index in range(24):
        example = examples[index]
        waveform = mixes[-1][2].waveform
        padded = np.pad(waveform, (0, 10 * RATE - len(waveform)))
        assert np.abs(example.fbank.numpy() - filter_bank(padded)).max() < 1e-3
    lengths = {frozenset((first, second)) for first, second, _ in mixes}
    assert lengths == {frozenset(RATE * n for n in pair) for pair in ((2, 4), (2, 10), (4, 10))}
    starts = [max(mixed.starts) for _, _, mixed in mixes]
    assert len(set(starts)) > 20, "the shorter lies at a random place"


def test_a_pair_with_a_silent_clip_is_left_unmixed(corpus_recipe: Recipe, tmp_path: Path, tokenizer: Tokenizer) -> None:
    (tmp_path / "clips").mkdir()
    write_sound(tmp_path / "clips" / "loud.wav", 3.0, 0.1, 1)
    soundfile.write(tmp_path / "clips" / "silent.wav", np.zeros(3 * RATE), RATE)
    rows = "file,caption_1,caption_2\nloud.wav,rain falls,water drips\nsilent.wav,a quiet room,nothing is heard\n"
    (tmp_path / "captions.csv").write_text(rows, encoding="utf-8")
    recipe = replace(mixing(corpus_recipe, 1, 0.5), corpus=replace(corpus_recipe.corpus, held_out_share=0.0))
    source = CorpusSource(recipe, tmp_path, tmp_path / "cache", Merger("rain falls while a dog barks"))  # type: ignore[arg-type]
    first = source.mixups[0].first
    examples = source.examples(tokenizer, taking(source, 20), 0, masked=False)
    made = [examples[index] for index in range(20)]
    unmixed = [example for example in made if example.mixup]
    assert {example.mixup for example in unmixed} == {"silent"} and 0 < len(unmixed) < 20
    for example in unmixed:
        assert example.events == (first.name,) and set(example.texts) == set(first.captions)
        padded = np.pad(source.cache.waveform(first), (0, 7 * RATE))
        assert np.abs(example.fbank.numpy() - filter_bank(padded)).max() < 1e-3
    assert store_examples(
        replace(recipe, train=replace(recipe.train, contrastive_weight=0.0), stored=StoredRecipe(count=20)),
        source, None, tmp_path / "stored", lambda done: None,
    )["silent"] > 0  # fmt: skip


def test_what_a_corpus_lacks_is_one_sentence(corpus_recipe: Recipe, corpus: Path, cache: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--llm-url.*pairs = 0"):
        CorpusSource(mixing(corpus_recipe, 3, 0.5), corpus, cache)
    with pytest.raises(DataError, match="fewer than the 1000 asked for"):
        CorpusSource(mixing(corpus_recipe, 1000, 0.5), corpus, cache, Merger("x"))  # type: ignore[arg-type]
    with pytest.raises(InputMissingError, match="nowhere"):
        CorpusSource(
            replace(corpus_recipe, corpus=replace(corpus_recipe.corpus, captions="nowhere.csv")), corpus, cache
        )
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "broken.wav").write_bytes(b"no sound at all")
    (tmp_path / "captions.csv").write_text("file,caption\nbroken.wav,a door slams shut\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"no clip of captions\.csv can be used"):
        CorpusSource(corpus_recipe, tmp_path, cache)


def test_held_out_likelihood_is_that_of_the_captions(
    corpus_recipe: Recipe, corpus: Path, cache: Path, tokenizer: Tokenizer
) -> None:
    source = CorpusSource(corpus_recipe, corpus, cache)
    torch.manual_seed(0)
    recipe = corpus_recipe.with_vocabulary(tokenizer.get_vocab_size())
    model = Captioner(recipe.model).eval()
    torch.nn.init.normal_(model.lm_head.weight, std=0.5)
    validation = source.validation()
    assert validation is not None
    got = validation(model, tokenizer)
    assert list(got) == ["held_out_nll"]
    clips = []
    for clip in source.held_out:
        waveform = source.cache.waveform(clip)
        if len(waveform) > 10 * RATE:
            start = int(np.random.default_rng(0).integers(len(waveform) - 10 * RATE + 1))
            waveform = waveform[start : start + 10 * RATE]
        fbank = torch.from_numpy(filter_bank(np.pad(waveform, (0, 10 * RATE - len(waveform)))))
        tokens = []
        with torch.no_grad():
            memory = model.encode(fbank[None])[0]
            for caption in clip.captions:
                ids = tokenizer.encode(caption).ids
                logits = model.logits(torch.tensor([[2, *ids[:-1]]]), memory)[0]
                tokens += functional.cross_entropy(logits, torch.tensor(ids), reduction="none").tolist()
        clips.append(np.mean(tokens))
    assert got["held_out_nll"] == pytest.approx(float(np.mean(clips)), rel=1e-4)
