"""What a student does not take from its teacher starts afresh and is named, and what does not fit is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from edge_aac.errors import ConfigError
from quantize.models.beats import Beats
from quantize.models.config import BeatsConfig, CaptionerConfig
from quantize.models.stem_axes import stem_sources
from quantize.models.student import build_student, evenly_spaced
from tests.quantize.models.published_layout import SMALL, refused, small_captioner
from tests.quantize.models.student_cases import (
    accounts_for_all,
    changed,
    narrowed,
    origins_of,
    outputs,
    scrambled,
)


def test_what_differs_in_kind_starts_afresh_and_is_named(small_config: CaptionerConfig) -> None:
    teacher = scrambled(SMALL)
    beats = replace(
        SMALL.beats,
        conv_stem=small_config.beats.conv_stem,
        conv_stem_strides=small_config.beats.conv_stem_strides,
        conv_pos=6,
        relative_max_distance=20,
        classes=7,
    )
    config = replace(SMALL, beats=beats, downsample_rate=2, embedding_dim=4)
    student = build_student(teacher, changed(config, "conformer", heads=8))
    fresh = {name for name, origin in origins_of(student).items() if origin == "fresh"}
    parts = (
        "encoder.patch_embedding.",
        "encoder.encoder.pos_conv.",
        "relative_attention_bias",
        "encoder.predictor.",
        "downsample_conv.",
        "cross_embed_positions",
        "encoder_embed_mlp.fc2",
        ".self_attn.linear_",
        ".pos_bias_",
    )
    assert all(any(part in name for name in fresh) for part in parts), fresh
    assert all(any(part in name for part in parts) for name in fresh), fresh
    assert "fresh: " in "\n".join(student.report.totals())
    assert all(torch.isfinite(output).all() for output in outputs(student.captioner))
    accounts_for_all(student)


@pytest.mark.parametrize(
    "changes",
    [
        {"conv_stem_strides": ((2, 2), (2, 2), (2, 2), (2, 4))},
        {"conv_stem": (4, 8, 8), "conv_stem_strides": ((2, 2),) * 3},
    ],
)
def test_a_stem_of_other_stages_starts_afresh_as_a_whole(
    small_config: CaptionerConfig, changes: dict[str, Any]
) -> None:
    config = replace(small_config, max_memory_positions=64)
    student = build_student(scrambled(config), changed(config, "beats", **changes))
    stem = {origin for name, origin in origins_of(student).items() if name.startswith("encoder.patch_embedding.")}
    assert stem == {"fresh"}
    accounts_for_all(student)


def test_positions_are_cut_or_extended() -> None:
    teacher = scrambled(SMALL)
    config = changed(replace(SMALL, max_memory_positions=200), "decoder", max_positions=20)
    student = build_student(teacher, config)
    have, want = teacher.state_dict(), student.captioner.state_dict()
    assert torch.equal(want["decoder.embed_positions.weight"], have["decoder.embed_positions.weight"][:22])
    assert torch.equal(want["cross_embed_positions.weight"][:170], have["cross_embed_positions.weight"])
    origins = {tensor.name: tensor for tensor in student.report.tensors}
    assert origins["decoder.embed_positions.weight"].origin == "cut"
    longer = origins["cross_embed_positions.weight"]
    assert (longer.origin, longer.taken, longer.numbers) == ("extended", 170 * 16, 202 * 16)
    accounts_for_all(student)


def test_kept_tokens_take_their_rows_and_biases_along() -> None:
    teacher = scrambled(SMALL)
    ids = [0, 1, 2, 3, 9, 17, 59]
    student = build_student(teacher, changed(SMALL, "decoder", vocab_size=7), ids).captioner
    memory = torch.randn(1, 5, 16)
    with torch.no_grad():
        want = teacher.logits(torch.tensor([[2, 9, 59]]), memory)[..., ids]
        assert torch.allclose(student.logits(torch.tensor([[2, 4, 6]]), memory), want, atol=1e-5)
    assert torch.equal(student.final_logits_bias, teacher.final_logits_bias[:, ids])


def test_tokens_that_do_not_fit_are_refused() -> None:
    teacher = small_captioner()
    fewer = changed(SMALL, "decoder", vocab_size=5)
    refused(lambda: build_student(teacher, fewer), ConfigError, "5 tokens", "60")
    refused(lambda: build_student(teacher, fewer, [0, 1, 2]), ConfigError, "3 ids")
    refused(lambda: build_student(teacher, fewer, [0, 1, 2, 3, 60]), ConfigError, "outside")
    refused(lambda: build_student(teacher, fewer, [0, 2, 1, 3, 4]), ConfigError, "pad_token_id")


def test_parts_that_the_teacher_lacks_the_student_lacks() -> None:
    config = changed(SMALL, "beats", patch_embed_dim=16)
    teacher = scrambled(config)
    del teacher.encoder.predictor
    teacher.encoder.post_extract_proj = nn.Identity()
    student = build_student(teacher, narrowed(config, patch_embed_dim=8))
    assert not hasattr(student.captioner.encoder, "predictor")
    assert isinstance(student.captioner.encoder.post_extract_proj, nn.Identity)
    assert set(origins_of(student).values()) <= {"copied", "cut"}
    wide, narrow = teacher.decoder.layernorm_embedding.bias.tolist(), student.captioner.decoder.layernorm_embedding.bias
    kept = [wide.index(value) for value in narrow.tolist()]
    assert torch.equal(student.captioner.encoder.layer_norm.bias, teacher.encoder.layer_norm.bias[kept])
    accounts_for_all(student)


class _Residual(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, inner, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)


def test_residual_blocks_of_a_stem_are_evenly_spaced_within_their_stage() -> None:
    def encoder(blocks: int) -> Beats:
        config = BeatsConfig(
            conv_stem=(4, 6),
            conv_stem_strides=((2, 2), (4, 4)),
            patch_embed_dim=8,
            layers=1,
            run_layers=1,
            dim=8,
            ffn_dim=8,
            heads=2,
            conv_pos=4,
            conv_pos_groups=2,
        )
        beats = Beats(config)
        first, norm, act, *rest = beats.patch_embedding.blocks
        residual = [_Residual(4, 5) for _ in range(blocks)]
        beats.patch_embedding.blocks = nn.Sequential(first, norm, act, *residual, *rest)
        return beats

    sources, axes = stem_sources(encoder(3), encoder(2), evenly_spaced)
    stem = "encoder.patch_embedding"
    assert sources[f"{stem}.blocks.4.conv1.weight"] == f"{stem}.blocks.5.conv1.weight"
    assert sources[f"{stem}.blocks.5.weight"] == f"{stem}.blocks.6.weight", "the second stage's convolution"
    assert sources[f"{stem}.fold.weight"] == f"{stem}.fold.weight"
    stage = axes[f"{stem}.blocks.0.weight"][0]
    inner = axes[f"{stem}.blocks.5.conv1.weight"][0]
    assert inner != stage
    assert axes[f"{stem}.blocks.5.conv1.weight"] == (inner, stage, "", "")
    assert axes[f"{stem}.blocks.5.bn1.running_var"] == (inner,)
    assert axes[f"{stem}.blocks.5.conv2.weight"] == (stage, inner, "", "")
    assert axes[f"{stem}.blocks.5.bn2.weight"] == (stage,)

    other = encoder(2)
    other.patch_embedding.blocks[0] = nn.Conv2d(1, 4, 5, stride=2, padding=2, bias=False)
    assert stem_sources(encoder(2), other, evenly_spaced) == ({}, {}), "another kernel"
