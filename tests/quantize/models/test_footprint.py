"""Costs counted on modules without memory, against the modules and against numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from rich.console import Console
from torch import nn

from edge_aac.errors import ConfigError
from quantize.models.captioner import Captioner
from quantize.models.config import BeatsConfig, CaptionerConfig, ConformerConfig, DecoderConfig, TextEmbedderConfig
from quantize.models.footprint import Footprint, comparison, footprint, macs
from quantize.models.instructor import TextEmbedder
from tests.quantize.models.published_layout import SMALL, refused

# Sizes with which the sums below can be followed.
HAND = CaptionerConfig(
    beats=BeatsConfig(
        patch_size=16,
        patch_embed_dim=6,
        layers=2,
        run_layers=1,
        dim=8,
        ffn_dim=10,
        heads=2,
        conv_pos=4,
        conv_pos_groups=2,
        relative_buckets=8,
        relative_max_distance=16,
        classes=3,
    ),
    conformer=ConformerConfig(
        layers=1, heads=2, ffn_dim=12, depthwise_kernel=3, conv_pos=6, conv_pos_groups=4, max_positions=200
    ),
    decoder=DecoderConfig(vocab_size=50, layers=2, heads=4, ffn_dim=14, max_positions=32),
    max_memory_positions=200,
    embedding_ffn_dim=16,
    embedding_dim=5,
)


@pytest.mark.parametrize(
    "text",
    [None, TextEmbedderConfig(vocab_size=40, dim=16, head_dim=8, heads=2, ffn_dim=24, layers=2, embedding_dim=6)],
)
def test_parameters_are_those_of_the_modules(small_config: CaptionerConfig, text: TextEmbedderConfig | None) -> None:
    for config in (SMALL, small_config, replace(small_config, sounds=7)):
        counted = footprint(config, text)
        modules = [Captioner(config), *([TextEmbedder.from_config(text)] if text else [])]
        assert counted.total_parameters == sum(p.numel() for module in modules for p in module.parameters())
        stored = sum(b.numel() for b in modules[0].buffers() if b.dtype == torch.float32)
        assert counted.total_bytes == 4 * (counted.total_parameters + stored)
        assert ("text embedder" in counted.parameters) == (text is not None)


def test_each_parameter_is_counted_in_its_part() -> None:
    counted, model = footprint(SMALL, None).parameters, Captioner(SMALL)

    def of(*modules: nn.Module) -> int:
        return sum(parameter.numel() for module in modules for parameter in module.parameters())

    beats, decoder = model.encoder, model.decoder
    assert counted == {
        "stem": of(beats.patch_embedding, beats.layer_norm, beats.post_extract_proj),
        "BEATs layers": of(beats.encoder),
        "BEATs classifier (not run)": of(beats.predictor),
        "Conformer": of(model.downsample_conv, model.postencoder),
        "token table": 60 * 16,
        "decoder": of(decoder) - 60 * 16 + of(model.cross_embed_positions),
        "audio-embedding head": of(model.encoder_embed_mlp),
    }


def test_the_published_captioner_has_217_million_parameters_and_takes_no_memory() -> None:
    counted = footprint(CaptionerConfig(), None)
    assert round(counted.total_parameters / 1e6) == 217
    assert counted.parameters["token table"] == 50265 * 768
    assert round((counted.parameters["decoder"] + counted.parameters["token table"]) / 1e6, 0) in (95, 96)


def test_macs_of_one_linear_layer_and_of_convolutions() -> None:
    with torch.device("meta"):
        linear, plain = nn.Linear(7, 5), nn.Conv1d(6, 4, 3)
        grouped = nn.Conv2d(8, 8, (3, 5), stride=2, padding=(1, 2), groups=4)
        assert macs(lambda: linear(torch.empty(3, 7))) == 3 * 7 * 5
        assert macs(lambda: plain(torch.empty(1, 6, 10))) == 8 * 4 * 6 * 3
        assert macs(lambda: grouped(torch.empty(2, 8, 6, 10))) == 2 * (3 * 5) * 8 * 2 * (3 * 5)


def _attention(queries: int, keys: int, dim: int) -> int:
    """Scores and their weighted sum, all heads together."""
    return 2 * queries * keys * dim


def test_macs_of_a_window_are_those_worked_out_by_hand() -> None:
    tokens, steps, dim = 62 * 8, 165, 8
    assert HAND.memory_steps == steps
    patches = tokens * 16 * 16 * 6 + tokens * 6 * dim
    positions = (tokens + 1) * dim * (dim // 2) * 4
    gate = tokens * dim * 8
    layer = 4 * tokens * dim * dim + gate + _attention(tokens, tokens, dim) + 2 * tokens * dim * 10
    downsample = steps * dim * dim * 4
    relative = (2 * steps - 1) * dim * dim + steps * (2 * steps - 1) * dim
    convolution = steps * (2 * dim * dim + 3 * dim + dim * dim)
    feed_forward = 2 * 2 * steps * dim * 12
    conformer = 4 * steps * dim * dim + _attention(steps, steps, dim) + relative + convolution + feed_forward
    head = dim * 16 + 16 * 5
    cross = 2 * 2 * steps * dim * dim
    # One of the two BEATs layers is run; transformers builds the Conformer's position convolution but never runs it.
    want = patches + positions + layer + downsample + conformer + head + cross
    assert footprint(HAND, None).encoder_macs == want


def test_macs_of_a_step_are_those_worked_out_by_hand() -> None:
    dim, steps = 8, 165
    # The product of a query with its own new key is taken element by element, and not counted.
    own = 4 * dim * dim + _attention(1, 20, dim)
    cross = 2 * dim * dim + _attention(1, steps, dim)
    want = 2 * (own + cross + 2 * dim * 14) + dim * 50
    assert footprint(HAND, None, cached_tokens=20).step_macs == want


def test_bytes_of_a_step_are_those_worked_out_by_hand() -> None:
    counted = footprint(HAND, None, candidates=3, cached_tokens=20)
    dim, layers = 8, 2
    linear, norm = dim * dim + dim, 2 * dim
    # Of cross-attention, queries and output alone: keys and values come from the window.
    layer = 4 * linear + 2 * linear + (14 * dim + 14) + (dim * 14 + dim) + 3 * norm
    table, bias, rows = 50 * dim, 50, (3 + 1) * dim
    assert counted.step_weight_bytes == 4 * (layers * layer + norm + table + bias + rows)
    assert counted.step_cache_bytes == 4 * 3 * layers * 2 * 20 * dim
    assert counted.step_cross_bytes == 4 * layers * 2 * 165 * dim
    assert counted.step_bytes == counted.step_weight_bytes + counted.step_cache_bytes + counted.step_cross_bytes


def test_more_candidates_cost_cache_but_no_weights_twice() -> None:
    one, six = (footprint(HAND, None, candidates=number) for number in (1, 6))
    assert six.step_cache_bytes == 6 * one.step_cache_bytes
    assert six.step_cross_bytes == one.step_cross_bytes
    assert six.step_weight_bytes - one.step_weight_bytes == 5 * 8 * 4


def test_teacher_and_student_side_by_side() -> None:
    text = TextEmbedderConfig(vocab_size=40, dim=16, head_dim=8, heads=2, ffn_dim=24, layers=1, embedding_dim=6)
    smaller = replace(HAND, decoder=replace(HAND.decoder, layers=1))
    teacher, student = footprint(HAND, None), footprint(smaller, text)
    table = comparison(teacher, student)
    assert table.rows["all parameters"] == (teacher.total_parameters, student.total_parameters)
    assert table.rows["text embedder, parameters"] == (0, student.parameters["text embedder"])
    have, want = table.rows["self-attention cache read per step, bytes"]
    assert have == 2 * want
    names = list(table.rows)
    assert names.index("text embedder, parameters") < names.index("all parameters")
    console = Console(width=120, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as shown:
        console.print(table.table())
    assert f"{teacher.encoder_macs:,}" in shown.get()
    assert len([line for line in shown.get().splitlines() if line.strip()]) == len(names) + 1


def test_what_cannot_be_decoded_or_compared_is_refused() -> None:
    refused(lambda: footprint(HAND, None, candidates=0), ConfigError, "0 candidates")
    refused(lambda: footprint(HAND, None, cached_tokens=33), ConfigError, "33 tokens", "32")
    one, other = (footprint(HAND, None, candidates=number) for number in (1, 2))
    assert isinstance(one, Footprint)
    refused(lambda: comparison(one, other), ConfigError, "different decoding")
