"""The published configuration files → our sizes. What a file lacks, or is not there at all, has the published value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_aac.bundle.manifest import DecodingRules
from edge_aac.errors import ConfigError
from quantize.models.config import BeatsConfig, CaptionerConfig, ConformerConfig, DecoderConfig, config_from
from quantize.models.weight_files import read_json

PUBLISHED_CANDIDATES = 50
PUBLISHED_MAX_LENGTH = 30

# Settings that are no sizes: token ids begin at 0, the others are fractions.
_TOKEN_IDS = ("pad_token_id", "decoder_start_token_id", "eos_token_id")
_FRACTIONS = ("dropout", "hidden_dropout", "layer_norm_eps")

# What the published code can be told to do otherwise, and we cannot.
_CAPTIONER_MUST = {
    "use_conv_downsample": True,
    "use_encoder_embed_mlp": True,
    "use_weighted_encoder_repr": False,
    "scale_embedding": False,
    "activation_function": "gelu",
}
_BEATS_MUST = {
    "layer_norm_first": False,
    "deep_norm": True,
    "conv_bias": False,
    "activation_fn": "gelu",
    "relative_position_embedding": True,
    "gru_rel_pos": True,
}
_CONFORMER_MUST = {"position_embeddings_type": "relative", "hidden_act": "swish"}


def captioner_config_of(folder: Path) -> tuple[CaptionerConfig, bool]:
    """Sizes of the captioner in ``folder``, and whether its BEATs has a predictor.

    Raises:
        InputMissingError: there is no ``config.json``.
        ConfigError: it asks for what this code does not do, or its sizes make no model.
        DataError: it is not JSON.
    """
    source = folder / "config.json"
    table = read_json(source)
    _demand(table, _CAPTIONER_MUST, source)
    beats_table = read_json(folder / "beats_config.json", optional=True)
    beats, has_predictor = beats_config(beats_table, folder / "beats_config.json")
    # As in the list of hidden states that it is an index of: 0 is the input of layer 1, -1 the last.
    index = table.get("encoder_repr_layer_idx", 10)
    run_layers = index + beats.layers + 1 if isinstance(index, int) and index < 0 else index
    if type(index) is not int or not 0 <= run_layers <= beats.layers:
        raise ConfigError(
            f"{source}: encoder_repr_layer_idx is {index!r}; it must count {beats.layers} layers from 0 or from -1"
        )
    beats = replace(beats, run_layers=run_layers)
    conformer = _conformer_config(read_json(folder / "conformer_config.json", optional=True), beats.dim, folder)
    if (dim := table.get("d_model", 768)) != beats.dim:
        raise ConfigError(f"{source}: d_model is {dim}, but the encoder's width is {beats.dim}: they must be equal")
    decoder = _renamed(
        table,
        {
            "vocab_size": "vocab_size",
            "decoder_layers": "layers",
            "decoder_attention_heads": "heads",
            "decoder_ffn_dim": "ffn_dim",
            "max_position_embeddings": "max_positions",
            "pad_token_id": "pad_token_id",
            "decoder_start_token_id": "start_token_id",
            "eos_token_id": "eos_token_id",
            "dropout": "dropout",
        },
        source,
    )
    whole = _renamed(
        table,
        {
            "encoder_downsample_rate": "downsample_rate",
            "max_cross_position_embeddings": "max_memory_positions",
            "embed_predictor_ffn_dim": "embedding_ffn_dim",
            "embed_predictor_out_dim": "embedding_dim",
        },
        source,
    )
    rooms = {"beats": beats, "conformer": conformer, "decoder": _sized(DecoderConfig, decoder, source)}
    return _sized(CaptionerConfig, {**whole, **rooms}, source), has_predictor


def published_rules(config: CaptionerConfig) -> DecodingRules:
    """The published system's rules of decoding, with this model's tokens and as far as it has positions."""
    decoder = config.decoder
    return DecodingRules(
        candidates=PUBLISHED_CANDIDATES,
        max_length=min(PUBLISHED_MAX_LENGTH, decoder.max_positions),
        max_positions=decoder.max_positions,
        start_token_id=decoder.start_token_id,
        eos_token_id=decoder.eos_token_id,
        pad_token_id=decoder.pad_token_id,
    )


def beats_config(table: Mapping[str, Any], source: Path) -> tuple[BeatsConfig, bool]:
    """Sizes of a BEATs from its own configuration, all layers run, and whether it has a predictor. Errors as above."""
    _demand(table, _BEATS_MUST, source)
    names = {
        "input_patch_size": "patch_size",
        "embed_dim": "patch_embed_dim",
        "encoder_layers": "layers",
        "encoder_embed_dim": "dim",
        "encoder_ffn_embed_dim": "ffn_dim",
        "encoder_attention_heads": "heads",
        "conv_pos": "conv_pos",
        "conv_pos_groups": "conv_pos_groups",
        "num_buckets": "relative_buckets",
        "max_distance": "relative_max_distance",
        "predictor_class": "classes",
    }
    sizes = _renamed(table, names, source)
    sizes["run_layers"] = sizes.get("layers", BeatsConfig().layers)
    return _sized(BeatsConfig, sizes, source), bool(table.get("finetuned_model", True))


def _conformer_config(table: Mapping[str, Any], dim: int, folder: Path) -> ConformerConfig:
    source = folder / "conformer_config.json"
    _demand(table, _CONFORMER_MUST, source)
    if (width := table.get("hidden_size", dim)) != dim:
        raise ConfigError(f"{source}: hidden_size is {width}, but the encoder's width is {dim}: they must be equal")
    names = {
        "num_hidden_layers": "layers",
        "num_attention_heads": "heads",
        "intermediate_size": "ffn_dim",
        "conv_depthwise_kernel_size": "depthwise_kernel",
        "num_conv_pos_embeddings": "conv_pos",
        "num_conv_pos_embedding_groups": "conv_pos_groups",
        "layer_norm_eps": "layer_norm_eps",
        "max_source_positions": "max_positions",
        "hidden_dropout": "dropout",
    }
    config: ConformerConfig = _sized(ConformerConfig, _renamed(table, names, source), source)
    return config


def _renamed(table: Mapping[str, Any], names: Mapping[str, str], source: Path) -> dict[str, Any]:
    """What ``table`` holds of ``names``, under our names; what it lacks keeps the published default."""
    given = {theirs: table[theirs] for theirs in names if theirs in table}
    for name, value in given.items():
        if name in _FRACTIONS:
            usable, wanted = type(value) in {int, float} and 0 <= value < 1, "a fraction"
        else:
            smallest = 0 if name in _TOKEN_IDS else 1
            usable, wanted = type(value) is int and value >= smallest, f"a whole number from {smallest}"
        if not usable:
            raise ConfigError(f"{source}: {name} is {value!r}; it must be {wanted}")
    return {names[theirs]: value for theirs, value in given.items()}


def _sized(kind: type[Any], table: Mapping[str, Any], source: Path) -> Any:
    try:
        return config_from(kind, table)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from error


def _demand(table: Mapping[str, Any], must: Mapping[str, Any], source: Path) -> None:
    for name, wanted in must.items():
        if table.get(name, wanted) != wanted:
            raise ConfigError(f"{source}: {name} is {table[name]!r}; only {wanted!r} is supported, as published")
