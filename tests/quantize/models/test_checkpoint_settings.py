"""Configurations of published weights that this code cannot do: named with their file and their setting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge_aac.errors import ConfigError
from quantize.models.checkpoint import load_captioner_weights
from tests.quantize.models.published_layout import (
    BEATS_TABLE,
    CAPTIONER_TABLE,
    CONFORMER_TABLE,
    refused,
    write_captioner,
    write_json,
)

TABLES = {
    "config.json": CAPTIONER_TABLE,
    "beats_config.json": BEATS_TABLE,
    "conformer_config.json": CONFORMER_TABLE,
}


@pytest.mark.parametrize(
    ("file", "name", "value"),
    [
        ("config.json", "use_weighted_encoder_repr", True),
        ("config.json", "use_conv_downsample", False),
        ("config.json", "use_encoder_embed_mlp", False),
        ("config.json", "scale_embedding", True),
        ("config.json", "activation_function", "relu"),
        ("beats_config.json", "layer_norm_first", True),
        ("beats_config.json", "deep_norm", False),
        ("beats_config.json", "conv_bias", True),
        ("beats_config.json", "gru_rel_pos", False),
        ("conformer_config.json", "position_embeddings_type", "rotary"),
        ("conformer_config.json", "hidden_act", "gelu"),
        # What is no usable number.
        ("config.json", "decoder_layers", "six"),
        ("config.json", "decoder_layers", None),
        ("config.json", "decoder_layers", 0),
        ("config.json", "decoder_layers", 1.5),
        ("config.json", "decoder_layers", True),
        ("config.json", "dropout", -0.1),
        ("config.json", "pad_token_id", -1),
        ("config.json", "d_model", "wide"),
        ("config.json", "encoder_repr_layer_idx", "ten"),
        ("config.json", "encoder_repr_layer_idx", 4),
        ("config.json", "encoder_repr_layer_idx", -5),
        ("config.json", "encoder_repr_layer_idx", None),
        ("beats_config.json", "encoder_layers", [3]),
        ("conformer_config.json", "num_attention_heads", {}),
        # Sizes that do not go together.
        ("config.json", "d_model", 24),
        ("conformer_config.json", "hidden_size", 24),
    ],
)
def test_settings_that_cannot_be_done(file: str, name: str, value: Any, tmp_path: Path) -> None:
    folder = write_captioner(tmp_path)
    write_json(folder / file, {**TABLES[file], name: value})
    error = refused(lambda: load_captioner_weights(folder), ConfigError, str(folder / file), name, str(value))
    assert error.exit_code == 78


@pytest.mark.parametrize(
    ("file", "name", "value", "words"),
    [
        ("config.json", "decoder_attention_heads", 5, "decoder's 5 heads"),
        ("config.json", "pad_token_id", 60, "token id 60"),
        ("config.json", "max_cross_position_embeddings", 100, "max_memory_positions"),
        ("conformer_config.json", "num_attention_heads", 3, "Conformer's 3 heads"),
        ("conformer_config.json", "num_conv_pos_embedding_groups", 3, "Conformer's 3 conv_pos_groups"),
        ("conformer_config.json", "intermediate_size", 1 << 62, "no model"),
        ("beats_config.json", "encoder_attention_heads", 3, "3 heads"),
        ("beats_config.json", "input_patch_size", 500, "no memory steps"),
    ],
)
def test_sizes_that_make_no_captioner(file: str, name: str, value: int, words: str, tmp_path: Path) -> None:
    folder = write_captioner(tmp_path)
    write_json(folder / file, {**TABLES[file], name: value})
    refused(lambda: load_captioner_weights(folder), ConfigError, str(folder), words)
