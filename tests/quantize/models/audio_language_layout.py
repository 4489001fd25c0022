"""Small CLAP, clapcap and Pengi in their published layouts, with random weights and tokens that are bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPTextConfig, GPT2Config

from quantize.models.clap.clapcap import ClapcapNetwork, MapperSizes
from quantize.models.clap.microsoft import ClapNetwork
from quantize.models.htsat.config import HtsatConfig
from quantize.models.pengi.network import PengiNetwork, PengiSizes, PromptTowerSizes
from tests.quantize.models.published_layout import scramble, write_json

HTSAT = HtsatConfig(
    fft=64,
    hop=8,
    mel_bins=16,
    image=32,
    patch=2,
    dim=8,
    depths=(2, 2),
    heads=(2, 4),
    window=4,
    mlp_ratio=2.0,
    classes=3,
)
HTSAT_TABLE = {
    "frontend": {"sample_rate": 8000, "window_size": 64, "hop_size": 8, "mel_bins": 16, "fmin": 0, "fmax": 4000},
    "model": {
        "spec_size": 32,
        "patch_size": 2,
        "patch_stride": [2, 2],
        "num_classes": 3,
        "embed_dim": 8,
        "depths": [2, 2],
        "num_heads": [2, 4],
        "window_size": 4,
        "mlp_ratio": 2.0,
    },
}
GPT2_TABLE = {"model_type": "gpt2", "vocab_size": 257, "n_positions": 96, "n_embd": 16, "n_layer": 2, "n_head": 2}
CLIP_TABLE = {
    "model_type": "clip_text_model",
    "vocab_size": 514,
    "hidden_size": 12,
    "intermediate_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 24,
}
DIM, CLIP_DIM, LENGTH, PREFIX = 10, 14, 6, 5
RATE, CLIP_SAMPLES = 8000, 400
AUDIO_TABLE = {"audioenc_name": "HTSAT", "sampling_rate": RATE, "duration": CLIP_SAMPLES / RATE, "n_fft": 7}


def clap_network(seed: int = 0) -> ClapNetwork:
    torch.manual_seed(seed)
    return _scrambled(ClapNetwork(HTSAT, GPT2Config(**GPT2_TABLE), DIM))


def clapcap_network() -> ClapcapNetwork:
    torch.manual_seed(1)
    return _scrambled(ClapcapNetwork(HTSAT, DIM, MapperSizes(LENGTH, PREFIX, 2), GPT2Config(**GPT2_TABLE)))


def pengi_network(text_tower: bool = True) -> PengiNetwork:
    torch.manual_seed(2)
    prompt = PromptTowerSizes(CLIPTextConfig(**CLIP_TABLE), CLIP_DIM, DIM) if text_tower else None
    return _scrambled(PengiNetwork(PengiSizes(HTSAT, DIM, prompt, GPT2Config(**GPT2_TABLE), LENGTH, PREFIX, 2)))


def state_of(network: nn.Module) -> dict[str, Tensor]:
    """As a file holds it: with the tables of windows and GPT-2's masks."""
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for name, buffer in network.named_buffers():
        if name.endswith(("attn_mask", "relative_position_index")):
            state[name] = buffer.clone()
    for name in [name for name in state if name.endswith("attn.c_attn.weight")]:
        head = name.removesuffix("c_attn.weight")
        state[f"{head}bias"] = torch.ones(1, 1, 96, 96, dtype=torch.uint8).tril()
        state[f"{head}masked_bias"] = torch.tensor(-1e4)
    return state


def write_clap(folder: Path, state: Mapping[str, Tensor] | None = None, **settings: Any) -> Path:
    """The folder; ``settings`` are changes to ``config_2023.yml``."""
    _save(folder / "CLAP_weights_2023.pth", state_of(clap_network()) if state is None else state)
    write_json(folder / "configs" / "config_2023.yml", {**AUDIO_TABLE, "text_len": 12, **settings})
    return _with_gpt2(folder)


def write_clapcap(folder: Path, state: Mapping[str, Tensor] | None = None, **settings: Any) -> Path:
    _save(folder / "clapcap_weights_2023.pth", state_of(clapcap_network()) if state is None else state)
    write_json(folder / "configs" / "config_clapcap.yml", {**AUDIO_TABLE, **settings})
    return _with_gpt2(folder)


def write_pengi(folder: Path, state: Mapping[str, Tensor] | None = None, name: str = "base", **settings: Any) -> Path:
    _save(folder / "configs" / f"{name}.pth", state_of(pengi_network(name == "base")) if state is None else state)
    table = {
        "text_model": "someone/clip_small",
        "audioenc_name": "HTSAT",
        "dataset_config": {
            "sampling_rate": RATE,
            "duration": CLIP_SAMPLES / RATE,
            "enc_text_len": 20 if name == "base" else LENGTH,
        },
    }
    write_json(folder / "configs" / f"{name}.yml", {**table, **settings})
    write_json(folder / "clip_small" / "config.json", CLIP_TABLE)
    letters = [*_bytes(), *(f"{letter}</w>" for letter in _bytes())]
    _write_pair(folder / "clip_small", [*letters, "<|startoftext|>", "<|endoftext|>"])
    return _with_gpt2(folder)


def _scrambled(network: Any) -> Any:
    scramble(network.eval())
    with torch.no_grad():  # an odd log-mel is of no use: a filter bank is not negative
        for name, tensor in network.state_dict().items():
            if name.endswith("melW"):
                tensor.abs_()
    return network


def _save(path: Path, state: Mapping[str, Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": dict(state), "epoch": 3, "optimizer": {"state": {0: {"step": torch.ones(())}}}}, path)


def _with_gpt2(folder: Path) -> Path:
    write_json(folder / "htsat_config.json", HTSAT_TABLE)
    write_json(folder / "gpt2" / "config.json", GPT2_TABLE)
    _write_pair(folder / "gpt2", [*_bytes(), "<|endoftext|>"])
    return folder


def _write_pair(folder: Path, vocabulary: list[str]) -> None:
    """``vocab.json`` and ``merges.txt``, without any merges."""
    table = {token: number for number, token in enumerate(vocabulary)}
    (folder / "vocab.json").write_text(json.dumps(table), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")


def _bytes() -> list[str]:
    """GPT-2's letter for each byte, in its order: "!" is 0, the space 220."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [*map(chr, printable), *(chr(256 + number) for number in range(256 - len(printable)))]
