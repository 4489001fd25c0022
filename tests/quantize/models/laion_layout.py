"""LAION's CLAP in the layout of transformers, small and with weights of chance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import ClapConfig, ClapModel

from tests.quantize.models.published_layout import byte_tokenizer, scramble, write_json

EXTRACTOR = {
    "sampling_rate": 4000,
    "max_length_s": 2,
    "hop_length": 32,
    "fft_window_size": 128,
    "frequency_max": 2000,
    "feature_size": 64,
    "truncation": "rand_trunc",
    "nb_max_samples": 8000,
    "feature_extractor_type": "ClapFeatureExtractor",
}


def laion_table() -> dict[str, Any]:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 20}
    return {
        "model_type": "clap",
        "projection_dim": 10,
        "text_config": {**sizes, "vocab_size": 90, "max_position_embeddings": 40},
        "audio_config": {
            "hidden_size": 16,
            "patch_embeds_hidden_size": 8,
            "depths": [1, 2],
            "num_attention_heads": [2, 2],
            "num_mel_bins": 64,
            "num_classes": 3,
            "enable_fusion": False,
        },
    }


def write_laion(folder: Path) -> ClapModel:
    """Write the folder; the model in it."""
    torch.manual_seed(0)
    model = ClapModel(ClapConfig.from_dict(laion_table())).eval()
    indices = {name: tensor.clone() for name, tensor in model.state_dict().items() if not tensor.is_floating_point()}
    scramble(model)
    model.load_state_dict(indices, strict=False)
    torch.save(dict(model.state_dict()), folder / "pytorch_model.bin")
    write_json(folder / "config.json", laion_table())
    write_json(folder / "preprocessor_config.json", EXTRACTOR)
    byte_tokenizer(90).save(str(folder / "tokenizer.json"))
    return model
