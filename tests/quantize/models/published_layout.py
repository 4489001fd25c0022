"""Small models in the published layouts, with random weights, and where the reference models are."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from transformers import T5Config, T5EncoderModel

from edge_aac.errors import EdgeAacError
from quantize.models.captioner import Captioner
from quantize.models.config import BeatsConfig, CaptionerConfig, ConformerConfig, DecoderConfig

SHARED = Path(__file__).parents[4] / "shared" / "reference"

# Sizes that differ wherever they can, so that no two of them are mixed up unseen.
SMALL = CaptionerConfig(
    beats=BeatsConfig(
        patch_embed_dim=12,
        layers=3,
        run_layers=2,
        dim=16,
        ffn_dim=20,
        heads=2,
        conv_pos=8,
        conv_pos_groups=4,
        relative_buckets=24,
        relative_max_distance=40,
        classes=5,
    ),
    conformer=ConformerConfig(
        layers=1, heads=4, ffn_dim=28, depthwise_kernel=5, conv_pos=6, conv_pos_groups=2, max_positions=170, dropout=0.2
    ),
    decoder=DecoderConfig(vocab_size=60, layers=2, heads=8, ffn_dim=36, max_positions=32, dropout=0.3),
    max_memory_positions=168,
    embedding_ffn_dim=44,
    embedding_dim=6,
)
CAPTIONER_TABLE = {
    "model_type": "bart",
    "d_model": 16,
    "vocab_size": 60,
    "decoder_layers": 2,
    "decoder_attention_heads": 8,
    "decoder_ffn_dim": 36,
    "max_position_embeddings": 32,
    "pad_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
    "dropout": 0.3,
    "encoder_repr_layer_idx": 2,
    "encoder_downsample_rate": 3,
    "max_cross_position_embeddings": 168,
    "embed_predictor_ffn_dim": 44,
    "embed_predictor_out_dim": 6,
    "activation_function": "gelu",
    "scale_embedding": False,
    "use_conv_downsample": True,
    "use_encoder_embed_mlp": True,
    "use_weighted_encoder_repr": False,
    "lsm_weight": 0.1,
}
CONFORMER_TABLE = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 28,
    "conv_depthwise_kernel_size": 5,
    "num_conv_pos_embeddings": 6,
    "num_conv_pos_embedding_groups": 2,
    "max_source_positions": 170,
    "hidden_dropout": 0.2,
    "hidden_act": "swish",
    "position_embeddings_type": "relative",
    "layer_norm_eps": 1e-5,
}
BEATS_TABLE = {
    "input_patch_size": 16,
    "embed_dim": 12,
    "encoder_layers": 3,
    "encoder_embed_dim": 16,
    "encoder_ffn_embed_dim": 20,
    "encoder_attention_heads": 2,
    "conv_pos": 8,
    "conv_pos_groups": 4,
    "num_buckets": 24,
    "max_distance": 40,
    "predictor_class": 5,
    "finetuned_model": True,
    "layer_norm_first": False,
    "deep_norm": True,
    "conv_bias": False,
    "activation_fn": "gelu",
    "relative_position_embedding": True,
    "gru_rel_pos": True,
}
T5_TABLE = {
    "model_type": "t5",
    "vocab_size": 48,
    "d_model": 16,
    "d_kv": 4,
    "d_ff": 24,
    "num_heads": 2,
    "num_layers": 2,
    "dropout_rate": 0.1,
    "feed_forward_proj": "gated-gelu",
}
# From the transformer's width to that of the captioner's audio embedding.
DENSE_TABLE = {
    "in_features": 16,
    "out_features": 6,
    "bias": False,
    "activation_function": "torch.nn.modules.linear.Identity",
}
SENTENCE = "sentence_transformers.models."
TEXTS = ("a dog barks at a door", "rain falls on the roof of a car", "represent the audio caption: birds sing")


def reference(variable: str, name: str) -> Path:
    """The folder that an environment variable names, else the tiny model in the shared folder; skips without both."""
    folder = Path(os.environ.get(variable) or SHARED / name)
    if not folder.is_dir():
        if os.environ.get(variable):
            pytest.fail(f"{variable} names {folder}, which is no folder")
        pytest.skip(f"{name} is not beside this checkout, and {variable} is not set")
    return folder


def refused(load: Callable[[], Any], kind: type[EdgeAacError], *words: str) -> EdgeAacError:
    """The complaint of ``load``: of this kind, one sentence, with these words in it."""
    with pytest.raises(EdgeAacError) as caught:
        load()
    assert isinstance(caught.value, kind), caught.value
    assert len(str(caught.value).splitlines()) == 1, caught.value
    assert ": " in str(caught.value) or "; " in str(caught.value), "it names no mend"
    for word in words:
        assert word in str(caught.value)
    return caught.value


def scramble(module: nn.Module) -> None:
    """Random numbers for all that a file of weights holds: norms, statistics and biases do not start at random."""
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif tensor.is_floating_point():
                tensor.normal_(std=0.5)


def small_captioner(seed: int = 0) -> Captioner:
    torch.manual_seed(seed)
    model = Captioner(SMALL).eval()
    scramble(model)
    return model


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def write_captioner(folder: Path, state: Mapping[str, Tensor] | None = None, **changes: Any) -> Path:
    """A captioner as published, with ``state`` in ``pytorch_model.bin``; ``changes`` are to ``config.json``."""
    write_json(folder / "config.json", {**CAPTIONER_TABLE, **changes})
    write_json(folder / "conformer_config.json", CONFORMER_TABLE)
    write_json(folder / "beats_config.json", BEATS_TABLE)
    torch.save(dict(small_captioner().state_dict() if state is None else state), folder / "pytorch_model.bin")
    return folder


def unigram_tokenizer(size: int = 40) -> Tokenizer:
    """As T5's: pieces with a mark for the space, ``</s>`` at the end."""
    letters = [*"\u2581abcdefghijklmnopqrstuvwxyz:R", "\u2581a", "\u2581the", "er", "in"]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((piece, -2.0 - len(piece)) for piece in letters)]
    pieces += [(f"<extra{number}>", -20.0) for number in range(size - len(pieces))]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return tokenizer


def byte_tokenizer(size: int) -> Tokenizer:
    """As BART's: a byte-level BPE with BART's special tokens, ``size`` tokens in all."""
    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator([f"{text} {text[::-1]}" for text in TEXTS], trainer)
    assert tokenizer.get_vocab_size() == size
    return tokenizer


def write_instructor(
    folder: Path,
    transformer: nn.Module | None = None,
    dense: Mapping[str, Any] | None = None,
    dense_state: Mapping[str, Tensor] | None = None,
    **changes: Any,
) -> Path:
    """INSTRUCTOR as published, of 16 dimensions where no ``dense`` is given; ``changes`` are to ``config.json``."""
    table = {**T5_TABLE, **changes}
    if transformer is None:
        torch.manual_seed(1)
        transformer = T5EncoderModel(T5Config.from_dict({**table}))
        scramble(transformer)
    kinds = ["Transformer", "Pooling", *(["Dense"] if dense else []), "Normalize"]
    paths = ["", *(f"{number}_{kind}" for number, kind in enumerate(kinds[1:], 1))]
    listed = [
        {"idx": number, "name": str(number), "path": path, "type": SENTENCE + kind}
        for number, (kind, path) in enumerate(zip(kinds, paths, strict=True))
    ]
    write_json(folder / "modules.json", listed)
    write_json(folder / "config.json", table)
    write_json(
        folder / "1_Pooling" / "config.json", {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
    )
    torch.save(dict(transformer.state_dict()), folder / "pytorch_model.bin")
    unigram_tokenizer().save(str(folder / "tokenizer.json"))
    if dense:
        write_json(folder / "2_Dense" / "config.json", dense)
        torch.save(dict(dense_state or {}), folder / "2_Dense" / "pytorch_model.bin")
    return folder
