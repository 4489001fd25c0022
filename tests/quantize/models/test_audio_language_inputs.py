"""Sounds, labels and prompts of every kind for CLAP, clapcap and Pengi; searches that cannot be made."""

from __future__ import annotations

import math
import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import GPT2Config

import quantize
from edge_aac.errors import ConfigError, DataError
from quantize.models.audio_language.beam_search import SearchRules, beam_search
from quantize.models.audio_language.clips import ClipLength
from quantize.models.audio_language.resampling import resample
from quantize.models.clap.clapcap import Clapcap
from quantize.models.clap.contract import SoundTextModel
from quantize.models.pengi.pengi import Pengi
from tests.quantize.models.audio_language_layout import CLIP_SAMPLES, RATE, write_clap, write_clapcap, write_pengi
from tests.quantize.models.published_layout import refused

SCRIPTS = ["犬が吠える", "собака лает", "كلب ينبح", "🐕🔊", "naïve café\u0301", "\u202eright to left", "a\x00b"]


def _noise(samples: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def clap(tmp_path_factory: pytest.TempPathFactory) -> SoundTextModel:
    return quantize.load_clap(write_clap(tmp_path_factory.mktemp("clap")))


@pytest.fixture(scope="module")
def clapcap(tmp_path_factory: pytest.TempPathFactory) -> Clapcap:
    return quantize.load_clapcap(write_clapcap(tmp_path_factory.mktemp("clapcap")))


@pytest.fixture(scope="module", params=["base", "base_no_text_enc"])
def pengi(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Pengi:
    return quantize.load_pengi(write_pengi(tmp_path_factory.mktemp("pengi"), name=request.param))


def test_shorter_sounds_are_repeated_and_longer_ones_cut() -> None:
    length = ClipLength(RATE, 10)
    short, long = torch.arange(4.0), torch.arange(100.0)
    assert length.batch(short).tolist() == [[0, 1, 2, 3, 0, 1, 2, 3, 0, 1]]
    assert ClipLength(RATE, 10, pads=True).batch(short).tolist() == [[0, 1, 2, 3, 0, 1, 2, 3, 0, 0]]
    assert length.batch([short, long]).shape == (2, 10)
    assert length.batch(long).tolist() == [list(range(10))]
    assert length.batch(np.arange(10.0)).tolist() == [list(range(10))]
    # As the published code draws it, and again the same.
    start = random.Random(3).randrange(90)
    for _ in range(2):
        assert length.batch(long, random.Random(3)).tolist() == [list(range(start, start + 10))]


def test_channels_are_laid_end_to_end_or_mixed() -> None:
    stereo = torch.stack([torch.zeros(5), torch.ones(5)])
    assert ClipLength(RATE, 10).clip(stereo, RATE).tolist() == [0.0] * 5 + [1.0] * 5
    assert ClipLength(RATE, 5, mixes=True).clip(stereo, RATE).tolist() == [0.5] * 5


@pytest.mark.parametrize(("rate", "wanted"), [(48_000, 44_100), (16_000, 44_100), (44_100, 16_000), (44_099, 44_100)])
def test_a_tone_stays_a_tone(rate: int, wanted: int) -> None:
    hertz, seconds = 1000.0, 0.5
    tone = torch.sin(2 * torch.pi * hertz * torch.arange(round(rate * seconds), dtype=torch.float64) / rate)
    found = resample(tone.float()[None], rate, wanted)[0]
    assert len(found) == -(-len(tone) * wanted // rate)
    want = torch.sin(2 * torch.pi * hertz * torch.arange(len(found), dtype=torch.float64) / wanted)
    middle = slice(len(found) // 4, -len(found) // 4)
    assert float((found[middle] - want[middle]).abs().max()) < 5e-3, "of a filter of six zero crossings"


def test_what_lies_above_half_the_new_rate_is_gone() -> None:
    tone = torch.sin(2 * torch.pi * 15_000 * torch.arange(48_000, dtype=torch.float64) / 48_000).float()
    assert float(resample(tone[None], 48_000, 16_000)[0, 1000:-1000].abs().max()) < 0.02


def test_a_long_sound_is_resampled_in_pieces_as_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = _noise(4000)[None]
    whole = resample(sound, 8000, 11_025)
    monkeypatch.setattr("quantize.models.audio_language.resampling._AT_ONCE", 100)
    torch.testing.assert_close(resample(sound, 8000, 11_025), whole)


def test_equal_rates_leave_samples_alone() -> None:
    sound = _noise(50)[None]
    assert resample(sound, RATE, RATE) is sound


@pytest.mark.parametrize("seconds", [0.1, 600.0])
def test_a_tenth_of_a_second_and_ten_minutes(seconds: float, clap: SoundTextModel, clapcap: Clapcap) -> None:
    sound = _noise(round(seconds * 2000))
    clip = clap.clip_length.clip(sound, 2000, random.Random(0))
    assert clip.shape == (CLIP_SAMPLES,)
    embedding = clap.embed_audio(clip)
    assert torch.isfinite(embedding).all()
    assert embedding.shape == (1, 10)
    # At the system's own rate, too.
    assert torch.isfinite(clap.embed_audio(sound)).all()
    assert clapcap.prefix(sound).shape == (1, 5, 16)


def test_silence_is_100_db_below(clap: SoundTextModel) -> None:
    log_mel = clap.log_mel(torch.zeros(CLIP_SAMPLES))
    assert log_mel.shape == (1, 1, CLIP_SAMPLES // 8 + 1, 16)
    assert (log_mel == -100.0).all()
    assert torch.isfinite(clap.embed_audio(torch.zeros(CLIP_SAMPLES))).all()


@pytest.mark.parametrize(
    ("waveform", "words"),
    [
        ([], ("no waveforms",)),
        (torch.zeros(0, CLIP_SAMPLES), ("no waveforms",)),
        (torch.zeros(0), ("at least one",)),
        (torch.zeros(2, 0), ("at least one",)),
        (torch.zeros(1, 2, 3), ("(1, 2, 3)",)),
        ([torch.zeros(3), torch.zeros(2, 3)], ("(2, 3)",)),
        (torch.tensor([0.0, torch.nan]), ("no number",)),
        (np.array([np.inf, 0.0]), ("no number",)),
    ],
)
def test_waveforms_that_are_none(waveform: Any, words: tuple[str, ...], clap: SoundTextModel) -> None:
    refused(lambda: clap.embed_audio(waveform), DataError, *words)


def test_recordings_that_are_none(clap: SoundTextModel) -> None:
    refused(lambda: clap.clip_length.clip(torch.zeros(1, 2, 3), RATE), DataError, "(1, 2, 3)")
    refused(lambda: clap.clip_length.clip(torch.zeros(8), 0), DataError, "0 Hz")


def test_labels_of_every_kind(clap: SoundTextModel) -> None:
    assert clap.embed_text([]).shape == (0, 10)
    labels = ["", " ", *SCRIPTS, "rain", "rain"]
    embeddings = clap.embed_text(labels)
    assert torch.isfinite(embeddings).all()
    torch.testing.assert_close(embeddings[-1], embeddings[-2])
    audio = clap.embed_audio([_noise(100), _noise(700, 1)])
    assert clap.similarity(audio, embeddings).shape == (2, len(labels))
    assert clap.similarity(audio, clap.embed_text([])).shape == (2, 0)


def test_many_labels_are_what_each_is_alone(clap: SoundTextModel) -> None:
    labels = [f"sound {number}" for number in range(130)]
    together = clap.embed_text(labels)
    assert together.shape == (130, 10)
    for number in (0, 64, 129):
        torch.testing.assert_close(together[number], clap.embed_text([labels[number]])[0], atol=1e-4, rtol=1e-4)


def test_a_label_of_ten_thousand_characters_is_refused_not_cut(clap: SoundTextModel) -> None:
    refused(lambda: clap.embed_text(["rain", "x" * 10_000]), DataError, "10002 tokens", "96")


def test_prompts_of_every_kind(pengi: Pengi) -> None:
    sounds = [_noise(100), _noise(900)]
    for prompt in ["", "not a question", "x" * 10_000, *SCRIPTS]:
        prefix = pengi.prefix(sounds, prompt)
        assert prefix.shape == (2, 10, 16)
        assert torch.isfinite(prefix).all()
    each = pengi.prefix(sounds, ["is there a dog?", "what?"])
    torch.testing.assert_close(each[:1], pengi.prefix(sounds[0], "is there a dog?"), atol=1e-5, rtol=1e-4)
    refused(lambda: pengi.prefix(sounds, []), DataError, "0 prompts for 2 waveforms")
    refused(lambda: pengi.prefix(sounds, ["one", "two", "three"]), DataError, "3 prompts for 2 waveforms")


def test_additional_texts(pengi: Pengi) -> None:
    prefix = pengi.prefix([_noise(100), _noise(900)], "what?")
    for nothing in (None, "", ["", None]):
        assert [len(one) for one in pengi.extended(prefix, nothing)] == [10, 10]
    assert [len(one) for one in pengi.extended(prefix, "a dog")] == [15, 15]
    published = pengi.extended(prefix, ["bark", "bark"], as_published=True)
    for number, letter in enumerate("ba"):
        (alone,) = pengi.extended(prefix[number : number + 1], letter)
        torch.testing.assert_close(published[number], alone)
    refused(lambda: pengi.extended(prefix, ["a"]), DataError, "1 additional texts for 2")
    refused(lambda: pengi.extended(prefix, ["", "a"], as_published=True), DataError, "character 1 of 'a'", "0 tokens")
    refused(lambda: pengi.extended(prefix, "é", as_published=True), DataError, "character 0", "2 tokens")


def test_answers_and_descriptions(pengi: Pengi) -> None:
    sounds = [_noise(100), _noise(9000)]
    found = pengi.generate(sounds, "what?", "a", beams=2, max_length=4)
    assert [len(one.texts) for one in found] == [2, 2]
    described = pengi.describe(sounds, beams=1, max_length=4, rng=random.Random(0))
    assert described == pengi.describe(sounds, beams=1, max_length=4, rng=random.Random(0))
    assert all("this audio contains sound events: " in one and one.endswith(".") for one in described)


def test_a_search_keeps_what_is_likeliest(clapcap: Clapcap) -> None:
    """Each score is that of the text by itself, without a cache; one beam is greedy."""
    prefix = clapcap.prefix(_noise(300))
    for one in clapcap.generate(_noise(300), beams=3, max_length=6):
        rows = zip(one.beams.token_ids, one.beams.lengths.tolist(), one.beams.scores.tolist(), strict=True)
        for ids, length, score in rows:
            logits = clapcap.logits(prefix, ids[None, :length])[0, prefix.shape[1] - 1 : -1]
            means = logits.log_softmax(dim=-1).gather(1, ids[:length, None]).mean()
            assert float(means) == pytest.approx(score, abs=1e-4)
        assert one.beams.scores.tolist() == sorted(one.beams.unsorted_scores.tolist(), reverse=True)
    (greedy,) = clapcap.generate(_noise(300), beams=1, max_length=6)
    ids = torch.zeros(1, 0, dtype=torch.long)
    for _ in range(int(greedy.beams.lengths[0])):
        ids = torch.cat([ids, clapcap.logits(prefix, ids)[:, -1:].argmax(dim=-1)], dim=1)
    assert greedy.beams.token_ids.tolist() == ids.tolist()


class _SameEveryStep(nn.Module):
    """Token 1 to token 2 as 3 to 5, token 0 never, whatever stood before."""

    def __init__(self) -> None:
        super().__init__()
        self.config = GPT2Config(vocab_size=3, n_positions=9)
        self.transformer = SimpleNamespace(wte=nn.Embedding(3, 4))

    def forward(self, inputs_embeds: torch.Tensor, **_: object) -> SimpleNamespace:
        logits = torch.tensor([0.0, 0.3, 0.5]).log()
        return SimpleNamespace(logits=logits.expand(*inputs_embeds.shape[:2], 3))


def test_a_stopped_text_keeps_its_length_and_costs_nothing_more() -> None:
    """Worked by hand: "2" stops at once; "1 2" comes to the mean of both."""
    gpt: Any = _SameEveryStep()
    found = beam_search(gpt, torch.zeros(1, 2, 4), 2, SearchRules(beams=2, max_length=6))
    stop, one = math.log(0.5 / 0.8), math.log(0.3 / 0.8)
    assert found.token_ids.tolist() == [[2, 0], [1, 2]]
    assert found.lengths.tolist() == [1, 2]
    assert found.scores.tolist() == pytest.approx([stop, (one + stop) / 2])


@pytest.mark.parametrize(
    ("asked", "kind", "words"),
    [
        ({"beams": 0}, ConfigError, ("beams is 0",)),
        ({"beams": 258}, ConfigError, ("beams is 258", "257")),
        ({"max_length": 0}, ConfigError, ("max_length is 0",)),
        ({"max_length": 93}, DataError, ("93 tokens", "96 positions")),
        ({"temperature": 0.0}, ConfigError, ("temperature is 0.0",)),
    ],
)
def test_searches_that_cannot_be_made(
    asked: dict[str, Any], kind: type[Any], words: tuple[str, ...], clapcap: Clapcap
) -> None:
    refused(lambda: clapcap.generate(_noise(300), **asked), kind, *words)


def test_more_tokens_than_positions(clapcap: Clapcap, pengi: Pengi) -> None:
    ids = torch.zeros(1, 92, dtype=torch.long)
    refused(lambda: clapcap.logits(clapcap.prefix(_noise(9)), ids), DataError, "92 tokens", "96 positions")
    refused(lambda: pengi.logits(pengi.prefix(_noise(9), "what?"), ids), DataError, "92 tokens", "96 positions")


def test_nothing_is_drawn_without_a_generator(clap: SoundTextModel) -> None:
    long = _noise(5000)
    torch.testing.assert_close(clap.embed_audio(long), clap.embed_audio(long[:CLIP_SAMPLES]))
