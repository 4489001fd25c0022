"""Costs of models of which no graph exists: of their sizes alone, counted on torch's "meta" device.

The full-size published captioner and INSTRUCTOR. The numbers mean the same as those that
:mod:`benchmarks.graph_costs` reads off an ONNX graph; a test exports small models and compares.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from math import prod

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import T5Config, T5EncoderModel

from benchmarks.full_size import EMBEDDING_DIM, INSTRUCTORS
from benchmarks.graph_costs import GraphCosts
from quantize.models.captioner import Captioner
from quantize.models.config import WINDOW_FRAMES, CaptionerConfig
from quantize.models.footprint import FLOAT_BYTES, encode_window, footprint
from quantize.models.instructor import TextEmbedder

TOKEN_ID_BYTES = 8

_ENCODER = re.compile(
    r"encoder\.(?!predictor\.)|downsample_conv\.|postencoder\.|cross_embed_positions\.|encoder_embed_mlp\."
    r"|decoder\.layers\.\d+\.encoder_attn\.[kv]_proj\."
)
_BEATS_LAYER = re.compile(r"encoder\.encoder\.layers\.(\d+)\.")
# Built by transformers, but with relative positions never run; and the two parts of a weight that is stored as one.
_NOT_RUN = re.compile(r"postencoder\.pos_conv_embed\.|\.parametrizations\.weight\.original0$")
_POSITION_TABLE = re.compile(r"cross_embed_positions\.|relative_attention_bias\.")


def captioner_costs(config: CaptionerConfig, candidates: int, cached_tokens: int) -> dict[str, GraphCosts]:
    """A window through the encoder, and one decoding step of all candidates.

    Args:
        config: sizes of the captioner.
        candidates: decoded together.
        cached_tokens: capacity of the self-attention cache.

    Raises:
        ConfigError: so many candidates or tokens cannot be decoded.
    """
    counted = footprint(config, None, candidates, cached_tokens)
    return {
        "encoder": _encoder(config, counted.encoder_macs),
        "decoder": _step(config, counted.step_macs, counted.step_weight_bytes, candidates, cached_tokens),
    }


def instructor_costs(size: str, texts: int, tokens: int) -> GraphCosts:
    """INSTRUCTOR as published, of one of the sizes in :data:`benchmarks.full_size.INSTRUCTORS`, for so many texts."""
    dim, layers, heads, head_dim, ffn = INSTRUCTORS[size]
    config = T5Config(
        d_model=dim, num_layers=layers, num_heads=heads, d_kv=head_dim, d_ff=ffn, feed_forward_proj="relu"
    )
    with torch.device("meta"):
        dense = torch.nn.Linear(dim, EMBEDDING_DIM, bias=False)
        return text_embedder_costs(TextEmbedder(T5EncoderModel(config), dense).eval(), texts, tokens)


def text_embedder_costs(embedder: TextEmbedder, texts: int, tokens: int) -> GraphCosts:
    """A T5 text embedder on the "meta" device, for so many texts of so many tokens each."""
    ids = torch.zeros(texts, tokens, dtype=torch.long, device="meta")
    weight_macs, other_macs = _macs(lambda: embedder(ids, torch.ones_like(ids)))
    stored = sum(parameter.numel() for parameter in embedder.parameters())
    config = embedder.transformer.config
    tables = config.vocab_size * config.d_model + config.relative_attention_num_buckets * config.num_heads
    rows = config.d_model * min(texts * tokens, config.vocab_size)
    rows += config.num_heads * min(tokens * tokens, config.relative_attention_num_buckets)
    norms = (2 * config.num_layers + 1) * config.d_model
    dim = embedder.get_parameter("dense.weight").shape[0]
    single = dim * config.d_model if texts == 1 else 0  # the projection of a single text
    return GraphCosts(
        weight_macs=weight_macs - single,
        other_macs=other_macs + single,
        depthwise_macs=0,
        folded_macs=0,
        product_weights=stored - tables - norms - single,
        stored=stored,
        read=stored - tables + rows,
        inputs={},
        outputs={"embedding": texts * dim},
        other_bytes=2 * texts * tokens * TOKEN_ID_BYTES,
    )


def _encoder(config: CaptionerConfig, macs: int) -> GraphCosts:
    with torch.device("meta"):
        captioner = Captioner(config).eval()
        thin, depthwise = _thin_convolutions(captioner, lambda: encode_window(captioner))
        weight_macs, other_macs = _macs(lambda: encode_window(captioner))
    assert weight_macs + other_macs == macs, "both count the same window"
    thin_macs, depthwise_macs = sum(thin.values()), sum(depthwise.values())
    dim, steps = config.beats.dim, config.memory_steps
    # The audio embedding is of one row; relative positions are the same for every window.
    head = config.embedding_ffn_dim * (dim + config.embedding_dim)
    folded = config.conformer.layers * (2 * steps - 1) * dim * dim
    parameters = {name: p for name, p in captioner.named_parameters() if _runs(name, config.beats.run_layers)}
    learnt = sum(parameter.numel() for parameter in parameters.values())
    tables = sum(p.numel() for name, p in parameters.items() if _POSITION_TABLE.search(name))
    statistics = sum(b.numel() for name, b in captioner.named_buffers() if ".running_" in name)
    products = sum(
        p.numel()
        for name, p in parameters.items()
        if p.ndim > 1
        and not _POSITION_TABLE.search(name)
        and not name.endswith((".pos_bias_u", ".pos_bias_v", ".grep_a"))
        if not name.startswith("encoder_embed_mlp.") and ".linear_pos." not in name
        if not name.startswith((*thin, *depthwise))
    )
    # Of cross-attention's positions, of the relative distances, and of the Conformer's table, which is computed.
    rows = steps * dim + (tables - (config.max_memory_positions + 2) * dim) + (2 * steps - 1) * dim
    kept = config.decoder.layers * steps * dim
    return GraphCosts(
        weight_macs=weight_macs - head - folded - thin_macs - depthwise_macs,
        other_macs=other_macs + head + thin_macs,
        depthwise_macs=depthwise_macs,
        folded_macs=folded,
        product_weights=products,
        stored=learnt + statistics + (2 * steps - 1) * dim,
        read=learnt - tables + statistics + rows,
        inputs={"fbank": WINDOW_FRAMES * config.beats.mel_bins},
        outputs={"cross_keys": kept, "cross_values": kept, "audio_embedding": config.embedding_dim},
        other_bytes=0,
    )


def _step(config: CaptionerConfig, macs: int, weight_bytes: int, candidates: int, cached_tokens: int) -> GraphCosts:
    dim, layers, vocabulary = config.beats.dim, config.decoder.layers, config.decoder.vocab_size
    read = weight_bytes // FLOAT_BYTES
    # Attention over the cache and the window, keys and values; the rest are products with weights.
    attention = layers * 2 * (cached_tokens + config.memory_steps) * dim
    own = {f"self_{kind}": layers * candidates * cached_tokens * dim for kind in ("keys", "values")}
    cross = {f"cross_{kind}": layers * config.memory_steps * dim for kind in ("keys", "values")}
    new = {f"new_{kind}": layers * candidates * dim for kind in ("keys", "values")}
    return GraphCosts(
        weight_macs=candidates * (macs - attention) if candidates > 1 else 0,
        other_macs=candidates * (attention if candidates > 1 else macs),
        depthwise_macs=0,
        folded_macs=0,
        product_weights=layers * (6 * dim * dim + 2 * dim * config.decoder.ffn_dim) + vocabulary * dim,
        stored=read - (candidates + 1) * dim + (config.decoder.max_positions + 2) * dim,
        read=read,
        inputs={**own, **cross},
        outputs={"logits": candidates * vocabulary, **new},
        other_bytes=(candidates + 1) * TOKEN_ID_BYTES + config.memory_steps,  # a byte of padding's mask each
    )


def _thin_convolutions(model: torch.nn.Module, run: Callable[[], object]) -> tuple[dict[str, int], dict[str, int]]:
    """Convolutions that stay FP16, and those of each channel by itself: name and dot → MACs of one run."""
    thin: dict[str, int] = {}
    depthwise: dict[str, int] = {}

    def count(name: str, layer: torch.nn.Conv1d | torch.nn.Conv2d, made: torch.Tensor) -> None:
        if layer.groups > 1 or layer.in_channels == 1:
            each = depthwise if 1 < layer.groups == layer.in_channels else thin
            each[f"{name}."] = each.get(f"{name}.", 0) + made.numel() * prod(layer.weight.shape[1:])

    hooks = [
        layer.register_forward_hook(lambda layer, _, made, name=name: count(name, layer, made))  # type: ignore[misc]
        for name, layer in model.named_modules()
        if isinstance(layer, torch.nn.Conv1d | torch.nn.Conv2d)
    ]
    with torch.no_grad():
        run()
    for hook in hooks:
        hook.remove()
    return thin, depthwise


def _macs(run: Callable[[], object]) -> tuple[int, int]:
    """MACs of products with weights, and of all others.

    Linear layers and convolutions come to torch as the operators ``mm``, ``addmm`` and ``convolution``; what multiplies
    two activations, as attention does, in batches.
    """
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        run()
    counts = {str(operator): flops // 2 for operator, flops in counter.get_flop_counts()["Global"].items()}
    other = sum(macs for operator, macs in counts.items() if "bmm" in operator or "attention" in operator)
    return sum(counts.values()) - other, other


def _runs(name: str, run_layers: int) -> bool:
    layer = _BEATS_LAYER.match(name)
    if layer and int(layer.group(1)) >= run_layers:
        return False
    return bool(_ENCODER.match(name)) and not _NOT_RUN.search(name)
