"""A small CLAP of 2022 in its published layout. Its numbers follow from the names of its weights, so that the original
code could be given the same ones: what it gave for them is in ``clap_2022_expected.npz``."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor

RATE, DURATION_S, FFT, HOP, MEL_BINS = 4000, 1, 128, 32, 64
WIDTHS, OUT, CLASSES, DIM = (4, 8, 12, 16, 20, 24), 18, 5, 14
SETTINGS: dict[str, Any] = {
    "text_model": "someone/bert-small",
    "text_len": 20,
    "audioenc_name": "Cnn14",
    "sampling_rate": RATE,
    "duration": DURATION_S,
    "n_fft": 7,  # read by nothing, as the published one
    "hop_size": HOP,
    "window_size": FFT,
    "mel_bins": MEL_BINS,
    "fmin": 20,
    "fmax": 2000,
}
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "dog", "bark", "##s", "rain", "fall", "##ing", "this", "is", "sound")
BERT: dict[str, Any] = {
    "model_type": "bert",
    "vocab_size": len(WORDS),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
}
TEXTS = ("a dog barks", "rain falling", "", "This is a sound of a DOG barking")
LONG_TEXT = "a dog barks " * 8
FILE = "CLAP_weights_2022.pth"


def numbers(name: str, shape: tuple[int, ...]) -> Tensor:
    """Weights of a name, such that what goes in shows in what comes out."""
    seed = zlib.crc32(name.encode())
    count = int(np.prod(shape))
    values = np.sin(np.arange(1, count + 1) * 12.9898 + seed % 1000) * 43758.5453
    spread = (values - np.floor(values)).reshape(shape) - 0.5
    if name.endswith("bn0.running_mean"):
        spread = spread - 25.0  # dB
    elif name.endswith("bn0.running_var"):
        spread = 400.0 * (spread + 1.0)
    elif name.endswith("running_var") or (name.endswith("weight") and len(shape) == 1):
        spread = spread + 1.0
    elif name.endswith("melW"):
        spread = spread + 0.5
    elif len(shape) > 1 and "embeddings" not in name:
        spread = spread * (24.0 / np.prod(shape[1:])) ** 0.5  # keeps the size of what a rectifier halves
    return torch.from_numpy(np.asarray(spread, np.float32))


def shapes() -> dict[str, tuple[int, ...]]:
    """Every key that a file has, but the Fourier transform, and its shape."""
    audio, text = "audio_encoder.base.", "caption_encoder.base."
    found: dict[str, tuple[int, ...]] = {"logit_scale": (), f"{audio}logmel_extractor.melW": (FFT // 2 + 1, MEL_BINS)}

    def norm(name: str, width: int) -> None:
        found.update({f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")})

    def linear(name: str, given: int, made: int) -> None:
        found.update({f"{name}.weight": (made, given), f"{name}.bias": (made,)})

    norm(f"{audio}bn0", MEL_BINS)
    for number, (before, width) in enumerate(zip((1, *WIDTHS), WIDTHS, strict=False), start=1):
        block = f"{audio}conv_block{number}."
        found.update({f"{block}conv1.weight": (width, before, 3, 3), f"{block}conv2.weight": (width, width, 3, 3)})
        norm(f"{block}bn1", width)
        norm(f"{block}bn2", width)
    linear(f"{audio}fc1", WIDTHS[-1], OUT)
    linear(f"{audio}fc_audioset", OUT, CLASSES)
    width, inner = BERT["hidden_size"], BERT["intermediate_size"]
    rows = {"word": BERT["vocab_size"], "position": BERT["max_position_embeddings"], "token_type": 2}
    found.update({f"{text}embeddings.{name}_embeddings.weight": (count, width) for name, count in rows.items()})
    layer_norms = [f"{text}embeddings.LayerNorm"]
    for number in range(BERT["num_hidden_layers"]):
        layer = f"{text}encoder.layer.{number}."
        for part in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            linear(f"{layer}{part}", width, width)
        linear(f"{layer}intermediate.dense", width, inner)
        linear(f"{layer}output.dense", inner, width)
        layer_norms += [f"{layer}attention.output.LayerNorm", f"{layer}output.LayerNorm"]
    linear(f"{text}pooler.dense", width, width)
    for tower, given in (("audio_encoder", OUT), ("caption_encoder", width)):
        found[f"{tower}.projection.linear1.weight"] = (DIM, given)
        found[f"{tower}.projection.linear2.weight"] = (DIM, DIM)
        layer_norms.append(f"{tower}.projection.layer_norm")
    for name in layer_norms:
        size = DIM if "projection" in name else width
        found.update({f"{name}.{part}": (size,) for part in ("weight", "bias")})
    return found


def state() -> dict[str, Tensor]:
    """As the published file holds it, with BERT's position numbers and pooler."""
    found = {name: numbers(name, shape) for name, shape in shapes().items()}
    places = np.arange(FFT)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * places / FFT)
    turns = 2 * np.pi * np.outer(np.arange(FFT // 2 + 1), places) / FFT
    for part, rows in (("conv_real", np.cos(turns)), ("conv_imag", -np.sin(turns))):
        basis = torch.from_numpy((rows * window)[:, None].astype(np.float32))
        found[f"audio_encoder.base.spectrogram_extractor.stft.{part}.weight"] = basis
    found["caption_encoder.base.embeddings.position_ids"] = torch.arange(BERT["max_position_embeddings"])[None]
    return found


def clips() -> Tensor:
    """Two sounds of a clip's length, (2, samples): a sweep, and pulses in what is nearly noise."""
    time = np.arange(RATE * DURATION_S) / RATE
    sweep = 0.5 * np.sin(2 * np.pi * (100 + 700 * time) * time)
    rough = np.sin(np.arange(len(time)) ** 2 * 0.37)
    pulses = 0.3 * rough * (np.sin(2 * np.pi * 5 * time) > 0)
    return torch.from_numpy(np.stack([sweep, pulses]).astype(np.float32))


def tokenizer() -> Tokenizer:
    """BERT's in small: lower case, WordPiece, [CLS] and [SEP] around a text."""
    found = Tokenizer(models.WordPiece({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    found.normalizer = normalizers.BertNormalizer(lowercase=True)
    found.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    found.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return found


def write_clap_2022(folder: Path, weights: dict[str, Tensor] | None = None, **settings: Any) -> Path:
    """The folder; ``settings`` are changes to ``config_2022.yml``."""
    bert = folder / "bert-small"
    bert.mkdir(parents=True, exist_ok=True)
    torch.save({"model": state() if weights is None else weights, "optimizer": {"step": torch.ones(())}}, folder / FILE)
    (folder / "config_2022.yml").write_text(json.dumps({**SETTINGS, **settings}), encoding="utf-8")
    (bert / "config.json").write_text(json.dumps(BERT), encoding="utf-8")
    tokenizer().save(str(bert / "tokenizer.json"))
    return folder
