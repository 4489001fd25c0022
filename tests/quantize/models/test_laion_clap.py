"""LAION's CLAP in the layout of transformers: loaded by its keys, embedded as transformers does, and refused."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tokenizers import Tokenizer
from transformers import ClapFeatureExtractor, ClapModel

import quantize
from edge_aac.errors import ConfigError, DataError, InputMissingError
from quantize.models.clap.laion import LaionClap
from tests.quantize.models.laion_layout import EXTRACTOR, laion_table, write_laion
from tests.quantize.models.published_layout import reference, refused, write_json

TEXTS = ["a dog barks", "", "rain falls on the roof of a car"]
SAMPLES = 8000


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ClapModel]:
    folder = tmp_path_factory.mktemp("laion")
    return folder, write_laion(folder)


@pytest.fixture(scope="module")
def clap(written: tuple[Path, ClapModel]) -> LaionClap:
    loaded = quantize.load_clap(written[0])
    assert isinstance(loaded, LaionClap)
    return loaded


def _sounds() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    tone = 0.5 * np.sin(np.arange(SAMPLES))
    clicks = np.arange(700) % 350 == 0
    return [sound.astype(np.float32) for sound in (0.1 * rng.standard_normal(3000), tone, clicks)]


def test_sounds_as_transformers_embeds_them(clap: LaionClap, written: tuple[Path, ClapModel]) -> None:
    extractor = ClapFeatureExtractor(**{key: value for key, value in EXTRACTOR.items() if not key.startswith("nb_")})
    features = extractor(_sounds(), sampling_rate=4000, return_tensors="pt")["input_features"].float()
    with torch.no_grad():
        want = written[1].get_audio_features(input_features=features)
    torch.testing.assert_close(clap.log_mel(_sounds()), features, atol=1e-3, rtol=0)
    got = clap.embed_audio(_sounds())
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-4)
    assert float((got[0] - got[1]).abs().max()) > 2e-4, "or all sounds embed alike"


def test_texts_as_transformers_embeds_them(clap: LaionClap, written: tuple[Path, ClapModel]) -> None:
    tokenizer = Tokenizer.from_file(str(written[0] / "tokenizer.json"))
    for text, got in zip(TEXTS[::2], clap.embed_text(TEXTS)[::2], strict=True):
        ids = torch.tensor([tokenizer.encode(text).ids])
        with torch.no_grad():
            want = written[1].get_text_features(input_ids=ids, attention_mask=torch.ones_like(ids))
        torch.testing.assert_close(got[None], want, atol=1e-5, rtol=1e-4)
    assert clap.embed_text([]).shape == (0, 10)


def test_similarity(clap: LaionClap, written: tuple[Path, ClapModel]) -> None:
    audio, text = clap.embed_audio(_sounds()), clap.embed_text(TEXTS[::2])
    want = written[1].logit_scale_a.exp() * audio @ text.T
    torch.testing.assert_close(clap.similarity(3 * audio, 5 * text), want, atol=1e-4, rtol=1e-4)


def test_longer_sounds_are_cut_where_the_generator_says(clap: LaionClap) -> None:
    long = np.concatenate(_sounds())
    start = random.Random(4).randrange(len(long) - SAMPLES)
    got = clap.embed_audio(long, random.Random(4))
    torch.testing.assert_close(got, clap.embed_audio(long[start : start + SAMPLES]))
    stereo = np.stack([long, long])
    torch.testing.assert_close(clap.embed_audio(clap.clip_length.clip(stereo, 4000)), clap.embed_audio(long))


def test_a_long_label_is_refused(clap: LaionClap) -> None:
    refused(lambda: clap.embed_text(["a" * 10_000]), DataError, "38")


def test_files_in_the_folder(written: tuple[Path, ClapModel]) -> None:
    folder, _ = written
    assert isinstance(quantize.load_clap(folder / "pytorch_model.bin"), LaionClap)


def _copy(folder: Path, to: Path) -> Path:
    to.mkdir()
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "tokenizer.json"])
def test_a_part_that_is_not_there(name: str, written: tuple[Path, ClapModel], tmp_path: Path) -> None:
    folder = _copy(written[0], tmp_path / "copy")
    (folder / name).unlink()
    refused(lambda: quantize.load_clap(folder), InputMissingError, name)


def test_parts_of_others(written: tuple[Path, ClapModel], tmp_path: Path) -> None:
    folder = _copy(written[0], tmp_path / "copy")
    write_json(folder / "preprocessor_config.json", {**EXTRACTOR, "fft_window_size": "wide"})
    refused(lambda: quantize.load_clap(folder), ConfigError, "preprocessor_config.json")
    table = laion_table()
    write_json(folder / "config.json", {**table, "text_config": {**table["text_config"], "pad_token_id": None}})
    refused(lambda: quantize.load_clap(folder), ConfigError, "padding token")
    write_json(folder / "config.json", {"model_type": "bert"})
    refused(lambda: quantize.load_clap(folder), ConfigError, "'bert' model")
    torch.save({"encoder.weight": torch.zeros(1)}, folder / "pytorch_model.bin")
    refused(lambda: quantize.load_clap(folder), DataError, "its keys are encoder.weight")
    state = torch.load(written[0] / "pytorch_model.bin", weights_only=True)
    del state["logit_scale_a"]
    write_json(folder / "config.json", laion_table())
    torch.save(state, folder / "pytorch_model.bin")
    refused(lambda: quantize.load_clap(folder), DataError, "1 missing (logit_scale_a)")


def test_the_fused_model_as_the_original_code_ran_it() -> None:
    """Without the mark of a longer sound, which its extractor gives one of them at random."""
    folder = reference("EDGE_AAC_REFERENCE_AUDIOBERT", "audiobert_tiny")
    given = json.loads((folder / "inputs.json").read_text())
    facts = json.loads((folder / "expected.json").read_text())
    clap = quantize.load_clap(folder / "clap-htsat-fused")
    with np.load(folder / "expected.npz") as arrays:
        audio, text = arrays["clap.embeds_not_longer"], arrays["retrieval.animal_sounds.text_embeds"]
        mel = arrays["clap.mel"]
    sounds = []
    for name in given["clips"][: len(audio)]:
        samples, rate = soundfile.read(folder / name, dtype="float32")
        assert rate == clap.clip_length.sample_rate
        sounds.append(samples)
    assert float(np.abs(clap.log_mel(sounds[0])[0, 0, ::6].numpy() - mel).max()) < 1e-2
    np.testing.assert_allclose(clap.embed_audio(sounds).numpy(), audio, atol=5e-4 * audio.std())
    got = clap.embed_text(facts["retrieval.animal_sounds.prompts"])
    np.testing.assert_allclose(got.numpy(), text, atol=5e-4 * text.std())
