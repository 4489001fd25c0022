"""Microsoft's CLAP of 2022: what our code gives against what the original code gave.

``clap_2022_expected.npz`` holds what the classes of the package msclap 1.3.3 (with torchlibrosa 0.1.0) computed for the
weights, clips and texts of ``clap_2022_layout``. Replaced there: the channels of its convolutions, BERT's sizes and the
tokenizer's words. ``logmel`` is every fifth frame and third mel bin; blocks are every fourth place.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import quantize
from edge_aac.errors import ConfigError, DataError, InputMissingError
from quantize.models.clap.microsoft_2022 import Clap2022
from tests.quantize.models import clap_2022_layout as layout
from tests.quantize.models.audio_language_reference import LOG_MEL, close
from tests.quantize.models.clap_2022_layout import write_clap_2022


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    with np.load(Path(__file__).with_name("clap_2022_expected.npz")) as arrays:
        return {name: arrays[name] for name in arrays.files}


@pytest.fixture(scope="module")
def clap(tmp_path_factory: pytest.TempPathFactory) -> Clap2022:
    loaded = quantize.load_clap(write_clap_2022(tmp_path_factory.mktemp("clap")) / layout.FILE)
    assert isinstance(loaded, Clap2022)
    return loaded


def test_the_audio_tower(clap: Clap2022, expected: dict[str, np.ndarray]) -> None:
    stages = clap.audio_stages(layout.clips())
    want = expected["logmel"]
    close(stages["logmel"][:, :, ::5, ::3], want, "logmel", LOG_MEL / float(want.std()))
    for name in ("conv_block1", "conv_block6"):
        close(stages[name][:, :, ::4, ::4], expected[name], name)
    for name in ("latent", "clipwise", "embedding"):
        close(stages[name], expected[name], name)
    torch.testing.assert_close(clap.embed_audio(layout.clips()), stages["embedding"])


def test_the_text_tower(clap: Clap2022, expected: dict[str, np.ndarray]) -> None:
    stages = clap.text_stages(layout.TEXTS)
    for name in ("input_ids", "attention_mask", "embedding"):
        close(stages[name], expected[f"text_{name}"], name)
    torch.testing.assert_close(clap.embed_text(layout.TEXTS), stages["embedding"])


def test_a_text_longer_than_text_len_is_not_cut(clap: Clap2022, expected: dict[str, np.ndarray]) -> None:
    stages = clap.text_stages([layout.LONG_TEXT])
    assert stages["input_ids"].shape[1] > clap.settings.text_len
    close(stages["input_ids"], expected["long_input_ids"], "long_input_ids")
    close(stages["embedding"], expected["long_embedding"], "long_embedding")
    with pytest.raises(DataError, match="40 that BERT has positions for"):
        clap.embed_text(["a dog barks " * 12])


def test_similarities(clap: Clap2022, expected: dict[str, np.ndarray]) -> None:
    found = clap.similarity(clap.embed_audio(layout.clips()), clap.embed_text(layout.TEXTS))
    close(found, expected["similarity"], "similarity")


def test_the_published_sizes_are_those_of_the_published_file() -> None:
    """196.3 million parameters, as the reference counts them: with the pooler and the Fourier transform."""
    from transformers import BertConfig

    from quantize.models.clap.cnn14 import Cnn14Sizes
    from quantize.models.clap.microsoft_2022 import Clap2022Network, Clap2022Settings

    settings = Clap2022Settings()
    sizes = Cnn14Sizes(settings.window_size, settings.hop_size, 64, (64, 128, 256, 512, 1024, 2048), 2048, 527)
    with torch.device("meta"):
        network = Clap2022Network(sizes, BertConfig(), 1024)
    pooler = 768 * 768 + 768
    assert sum(weight.numel() for weight in network.parameters()) + pooler == pytest.approx(196.3e6, abs=0.05e6)


def _without(name: str) -> Callable[[Path], Any]:
    return lambda folder: write_clap_2022(folder, {key: kept for key, kept in layout.state().items() if key != name})


@pytest.mark.parametrize(
    ("spoil", "kind", "words"),
    [
        (lambda folder: (folder / "bert-small/tokenizer.json").unlink(), InputMissingError, "has no tokenizer.json"),
        (
            lambda folder: write_clap_2022(folder, text_model="hub/bert-large"),
            InputMissingError,
            "no folder bert-large",
        ),
        (lambda folder: write_clap_2022(folder, duration=0.1), ConfigError, "too short for 6 blocks"),
        (lambda folder: write_clap_2022(folder, audioenc_name="HTSAT"), ConfigError, "audioenc_name"),
        (_without("logit_scale"), DataError, "1 missing (logit_scale)"),
        (_without("audio_encoder.base.conv_block6.conv1.weight"), DataError, "lacks audio_encoder.base.conv_block6"),
        (
            lambda folder: (folder / "bert-small/config.json").write_text('{"model_type": "gpt2"}'),
            ConfigError,
            "must be bert",
        ),
    ],
)
def test_what_is_missing_or_wrong_is_one_sentence(
    tmp_path: Path, spoil: Callable[[Path], Any], kind: type[Exception], words: str
) -> None:
    spoil(write_clap_2022(tmp_path))
    with pytest.raises(kind) as caught:
        quantize.load_clap(tmp_path)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_tokenizer_without_marks_is_not_berts(tmp_path: Path) -> None:
    write_clap_2022(tmp_path)
    bare = layout.tokenizer()
    bare.post_processor = None  # type: ignore[assignment]
    bare.save(str(tmp_path / "bert-small/tokenizer.json"))
    with pytest.raises(DataError, match=r"\[CLS\] and \[SEP\]"):
        quantize.load_clap(tmp_path)
