"""Students out of teachers: what is kept is the teacher's, what is not is named, and nothing else changes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from edge_aac.errors import ConfigError
from quantize.models.beats import Beats
from quantize.models.captioner import Captioner
from quantize.models.config import BeatsConfig, CaptionerConfig
from quantize.models.stem_axes import stem_sources
from quantize.models.student import Student, build_student, evenly_spaced
from tests.quantize.models.published_layout import SMALL, refused, scramble, small_captioner

FRAMES = 240


def _with(config: CaptionerConfig, room: str, **changes: Any) -> CaptionerConfig:
    return replace(config, **{room: replace(getattr(config, room), **changes)})


def _narrow(config: CaptionerConfig, **changes: Any) -> CaptionerConfig:
    return _with(config, "beats", dim=8, **changes)


def _scrambled(config: CaptionerConfig) -> Captioner:
    torch.manual_seed(3)
    model = Captioner(config).eval()
    scramble(model)
    return model


@torch.no_grad()
def _outputs(model: Captioner, frames: int = FRAMES) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    fbank = torch.randn(2, frames, 128, generator=generator)
    memory, _, embedding = model.encode(fbank)
    return [memory, embedding, model.logits(torch.tensor([[2, 7, 9, 4], [2, 5, 5, 8]]), memory)]


def _same(one: Captioner, other: Captioner, atol: float = 0.0) -> bool:
    pairs = zip(_outputs(one), _outputs(other), strict=True)
    return all(torch.allclose(a, b, atol=atol, rtol=1e-4 if atol else 0.0) for a, b in pairs)


def _origins(student: Student) -> dict[str, str]:
    return {tensor.name: tensor.origin for tensor in student.report.tensors}


def _accounts_for_all(student: Student) -> None:
    report = student.report
    assert report.parameters == sum(parameter.numel() for parameter in student.captioner.parameters())
    assert sum(numbers for _, numbers in report.counts().values()) == report.parameters
    named = {tensor.name for tensor in report.tensors}
    assert {name for name, _ in student.captioner.named_parameters()} <= named
    stored = set(student.captioner.state_dict())
    aliases = {"lm_head.weight", *(name for name in stored if "relative_attention_bias" in name)}
    assert stored - aliases <= named <= stored


@pytest.mark.parametrize(
    ("have", "want", "chosen"),
    [
        (12, 6, [0, 2, 4, 7, 9, 11]),
        (12, 12, list(range(12))),
        (3, 2, [0, 2]),
        (5, 1, [0]),
        (2, 3, [0, 1, None]),
        (4, 0, []),
        (0, 1, [None]),
    ],
)
def test_layers_are_evenly_spaced(have: int, want: int, chosen: list[int | None]) -> None:
    assert evenly_spaced(have, want) == chosen


@pytest.mark.parametrize("convolutions", [False, True])
def test_a_student_of_the_same_sizes_is_its_teacher_to_the_bit(
    convolutions: bool, small_config: CaptionerConfig
) -> None:
    teacher = _scrambled(small_config if convolutions else SMALL)
    student = build_student(teacher, teacher.config)
    assert _same(teacher, student.captioner)
    assert {tensor.origin for tensor in student.report.tensors} == {"copied"}
    assert student.report.taken == student.report.parameters
    assert student.captioner.lm_head.weight is student.captioner.decoder.embed_tokens.weight
    _accounts_for_all(student)
    with torch.no_grad():
        student.captioner.downsample_conv.weight.zero_()
    assert teacher.downsample_conv.weight.any(), "the student must hold its own numbers"


def test_fewer_layers_are_the_chosen_ones_of_the_teacher() -> None:
    config = _with(_with(_with(SMALL, "beats", layers=7, run_layers=5), "conformer", layers=4), "decoder", layers=5)
    teacher = _scrambled(config)
    fewer = _with(_with(_with(config, "beats", layers=4, run_layers=3), "conformer", layers=2), "decoder", layers=3)
    student = build_student(teacher, fewer)
    have, want = teacher.state_dict(), student.captioner.state_dict()
    factor = math.sqrt(math.sqrt(4 / 7))
    chosen = {"encoder.encoder": [0, 2, 4, 5], "postencoder": [0, 3], "decoder": [0, 2, 4]}
    checked = 0
    for room, layers in chosen.items():
        for number, layer in enumerate(layers):
            prefix = f"{room}.layers.{number}."
            for name in [name for name in want if name.startswith(prefix)]:
                source = have[f"{room}.layers.{layer}.{name.removeprefix(prefix)}"]
                branch_end = room == "encoder.encoder" and (".out_proj." in name or ".fc2." in name)
                assert torch.equal(want[name], source * factor if branch_end else source), name
                checked += 1
    assert checked == sum(".layers." in name for name in want)
    _accounts_for_all(student)


def test_a_copied_beats_layer_does_what_it_did_under_another_number_of_layers() -> None:
    teacher = _scrambled(SMALL)
    student = build_student(teacher, _with(SMALL, "beats", layers=2, run_layers=2))
    assert student.captioner.encoder.encoder.layers[0].alpha != teacher.encoder.encoder.layers[0].alpha
    assert {t.factor for t in student.report.tensors} == {1.0, math.sqrt(math.sqrt(2 / 3))}
    assert _same(teacher, student.captioner, atol=1e-4)


def _silence_units(teacher: Captioner, dead: dict[str, list[int]]) -> None:
    """Zero what reads the units of these feed-forward modules, so that they say nothing."""
    with torch.no_grad():
        for name, units in dead.items():
            module = teacher.get_submodule(name)
            reader = module.output_dense if hasattr(module, "output_dense") else module.fc2
            reader.weight[:, units] = 0.0


def test_units_that_say_nothing_can_be_cut_without_a_trace() -> None:
    teacher = _scrambled(SMALL)
    dead = {
        **{f"encoder.encoder.layers.{layer}": [0, 3, 4, 19] for layer in range(3)},
        "postencoder.layers.0.ffn1": [1, 2],
        "postencoder.layers.0.ffn2": [26, 27],
        "decoder.layers.0": [5, 6, 7],
        "decoder.layers.1": [0, 18, 35],
        "encoder_embed_mlp": [2, 40, 41, 43],
    }
    _silence_units(teacher, dead)
    config = _with(_with(_with(SMALL, "beats", ffn_dim=16), "conformer", ffn_dim=26), "decoder", ffn_dim=33)
    student = build_student(teacher, replace(config, embedding_ffn_dim=40))
    assert _same(teacher, student.captioner, atol=1e-4)
    assert set(_origins(student).values()) == {"copied", "cut"}
    _accounts_for_all(student)
    # The same cut of a teacher all of whose units speak does change something.
    assert not _same(small_captioner(), build_student(small_captioner(), student.captioner.config).captioner, atol=1e-4)


def test_silent_channels_of_a_convolutional_stem_can_be_cut_without_a_trace(small_config: CaptionerConfig) -> None:
    teacher = _scrambled(small_config)
    stem = teacher.encoder.patch_embedding
    convolutions = [part for part in stem.modules() if isinstance(part, nn.Conv2d)]
    with torch.no_grad():
        convolutions[2].weight[:, [0, 5]] = 0.0
        stem.fold.weight[:, [1, 2, 3]] = 0.0
    student = build_student(teacher, _with(small_config, "beats", conv_stem=(4, 6, 8, 5)))
    assert _same(teacher, student.captioner, atol=1e-4)
    cut = [name for name, origin in _origins(student).items() if origin == "cut"]
    assert any(name.endswith("running_var") for name in cut)
    _accounts_for_all(student)


@pytest.mark.parametrize("room", ["beats", "conformer", "decoder"])
def test_smaller_heads_keep_units_of_their_own_and_scale_their_keys(room: str) -> None:
    teacher = _scrambled(_with(SMALL, "decoder", heads=4))
    student = build_student(teacher, _narrow(teacher.config))
    heads = getattr(teacher.config, room).heads
    prefix = {"beats": "encoder.encoder.layers.1", "conformer": "postencoder.layers.0", "decoder": "decoder.layers.0"}
    keys = "linear_k" if room == "conformer" else "k_proj"
    name = f"{prefix[room]}.self_attn.{keys}.bias"
    have, want = teacher.get_parameter(name), student.captioner.get_parameter(name)
    assert want.shape == (8,)
    for head in range(heads):
        ours = want.view(heads, -1)[head] * 2**0.5
        theirs = have.view(heads, -1)[head]
        assert all(torch.isclose(theirs, value).any() for value in ours), "each head keeps units of its own"


def test_attention_whose_dropped_units_are_zero_is_unchanged() -> None:
    """Queries and keys of the kept units score as they did among the silent ones, under the smaller scale."""
    config = _with(SMALL, "decoder", heads=2)
    teacher = _scrambled(config)
    attention = teacher.decoder.layers[0].self_attn
    silent = [1, 2, 5, 6, 8, 9, 12, 15]
    kept = [0, 3, 4, 7, 10, 11, 13, 14]
    with torch.no_grad():
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj):
            projection.weight[silent] = 0.0
            projection.bias[silent] = 0.0
        attention.out_proj.weight[:, silent] = 0.0
    student = build_student(teacher, _narrow(config, heads=2))
    name = "decoder.layers.0.self_attn"
    cut = student.captioner.get_submodule(name)
    assert torch.equal(cut.v_proj.bias, attention.v_proj.bias[kept])
    assert torch.allclose(cut.k_proj.bias, attention.k_proj.bias[kept] / 2**0.5)
    query, key = torch.randn(3, 16), torch.randn(3, 16)
    query[:, silent] = key[:, silent] = 0.0
    wide = (query.view(3, 2, 8).transpose(0, 1) * attention.scale) @ key.view(3, 2, 8).permute(1, 2, 0)
    small = key[:, kept] / 2**0.5
    narrow = (query[:, kept].view(3, 2, 4).transpose(0, 1) * cut.scale) @ small.view(3, 2, 4).permute(1, 2, 0)
    assert torch.allclose(wide, narrow, atol=1e-6)


def test_whole_heads_are_kept_by_what_they_say() -> None:
    """Half the width with half the heads of the same size: the loudest heads stay, in BEATs the same in all layers."""
    teacher = _scrambled(_with(SMALL, "decoder", heads=4))
    with torch.no_grad():
        *others, last = teacher.encoder.encoder.layers
        for layer in others:
            layer.self_attn.out_proj.weight[:, :8] *= 1e-3
        # By itself this layer would keep the other head, but the position table has one column for all layers.
        last.self_attn.out_proj.weight[:, 8:] *= 0.5
        teacher.decoder.layers[1].self_attn.v_proj.weight[[*range(4), *range(8, 12)]] *= 1e-3
    config = _with(_narrow(teacher.config, heads=1), "decoder", heads=2)
    student = build_student(teacher, config).captioner
    table = teacher.encoder.encoder.layers[0].self_attn.relative_attention_bias.weight
    layers = student.encoder.encoder.layers
    assert torch.equal(layers[0].self_attn.relative_attention_bias.weight, table[:, 1:])
    for number, layer in enumerate(layers):
        source = teacher.encoder.encoder.layers[number].self_attn
        assert layer.self_attn.relative_attention_bias is layers[0].self_attn.relative_attention_bias
        assert torch.equal(layer.self_attn.v_proj.bias, source.v_proj.bias[8:])
        assert torch.equal(layer.self_attn.grep_a, source.grep_a[:, 1:])
        assert torch.equal(layer.self_attn.grep_linear.weight, source.grep_linear.weight)
    bias = teacher.decoder.layers[1].self_attn.v_proj.bias
    assert torch.equal(student.decoder.layers[1].self_attn.v_proj.bias, bias[[*range(4, 8), *range(12, 16)]])


def test_a_narrower_student_keeps_the_same_residual_channels_everywhere() -> None:
    teacher = _scrambled(SMALL)
    student = build_student(teacher, _narrow(SMALL))
    have = teacher.state_dict()
    kept = [
        have["decoder.layernorm_embedding.bias"].tolist().index(value)
        for value in student.captioner.decoder.layernorm_embedding.bias.tolist()
    ]
    # One of each of the four groups of BEATs' position convolution is half of its four channels.
    assert [sum(channel // 4 == group for channel in kept) for group in range(4)] == [2, 2, 2, 2]
    want = student.captioner.state_dict()
    assert torch.equal(want["decoder.embed_tokens.weight"], have["decoder.embed_tokens.weight"][:, kept])
    assert torch.equal(want["downsample_conv.weight"], have["downsample_conv.weight"][kept][:, kept])
    assert torch.equal(want["encoder.predictor.weight"], have["encoder.predictor.weight"][:, kept])
    for name in ("encoder.encoder.pos_conv.0", "postencoder.pos_conv_embed.conv"):
        wide, narrow = teacher.get_submodule(name), student.captioner.get_submodule(name)
        per_group = 16 // narrow.groups
        for row, channel in enumerate(kept):
            inputs = [other % per_group for other in kept if other // per_group == channel // per_group]
            assert torch.allclose(narrow.weight[row], wide.weight[channel][inputs], atol=1e-6), name
    for output in _outputs(student.captioner):
        assert torch.isfinite(output).all()
    assert [tuple(output.shape) for output in _outputs(student.captioner)] == [(2, 39, 8), (2, 6), (2, 4, 60)]
    origins = _origins(student)
    assert "fresh" not in origins.values()
    assert origins["encoder.encoder.pos_conv.0.parametrizations.weight.original0"] == "cut", (
        "the same shape, not numbers"
    )
    _accounts_for_all(student)


def test_channels_of_the_conformers_convolution_go_with_their_gates() -> None:
    teacher = _scrambled(SMALL)
    student = build_student(teacher, _narrow(SMALL)).captioner
    wide, narrow = (model.postencoder.layers[0].conv_module for model in (teacher, student))
    kept = [wide.batch_norm.running_mean.tolist().index(value) for value in narrow.batch_norm.running_mean.tolist()]
    assert torch.equal(narrow.depthwise_conv.weight, wide.depthwise_conv.weight[kept])
    residual = [
        teacher.postencoder.layer_norm.bias.tolist().index(v) for v in student.postencoder.layer_norm.bias.tolist()
    ]
    gates = [*kept, *(channel + 16 for channel in kept)]
    assert torch.equal(narrow.pointwise_conv1.weight, wide.pointwise_conv1.weight[gates][:, residual])


def test_what_differs_in_kind_starts_afresh_and_is_named(small_config: CaptionerConfig) -> None:
    teacher = _scrambled(SMALL)
    beats = replace(
        SMALL.beats,
        conv_stem=small_config.beats.conv_stem,
        conv_stem_strides=small_config.beats.conv_stem_strides,
        conv_pos=6,
        relative_max_distance=20,
        classes=7,
    )
    config = replace(SMALL, beats=beats, downsample_rate=2, embedding_dim=4)
    student = build_student(teacher, _with(config, "conformer", heads=8))
    fresh = {name for name, origin in _origins(student).items() if origin == "fresh"}
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
    assert all(torch.isfinite(output).all() for output in _outputs(student.captioner))
    _accounts_for_all(student)


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
    student = build_student(_scrambled(config), _with(config, "beats", **changes))
    stem = {origin for name, origin in _origins(student).items() if name.startswith("encoder.patch_embedding.")}
    assert stem == {"fresh"}
    _accounts_for_all(student)


def test_positions_are_cut_or_extended() -> None:
    teacher = _scrambled(SMALL)
    config = _with(replace(SMALL, max_memory_positions=200), "decoder", max_positions=20)
    student = build_student(teacher, config)
    have, want = teacher.state_dict(), student.captioner.state_dict()
    assert torch.equal(want["decoder.embed_positions.weight"], have["decoder.embed_positions.weight"][:22])
    assert torch.equal(want["cross_embed_positions.weight"][:170], have["cross_embed_positions.weight"])
    origins = {tensor.name: tensor for tensor in student.report.tensors}
    assert origins["decoder.embed_positions.weight"].origin == "cut"
    longer = origins["cross_embed_positions.weight"]
    assert (longer.origin, longer.taken, longer.numbers) == ("extended", 170 * 16, 202 * 16)
    _accounts_for_all(student)


def test_kept_tokens_take_their_rows_and_biases_along() -> None:
    teacher = _scrambled(SMALL)
    ids = [0, 1, 2, 3, 9, 17, 59]
    student = build_student(teacher, _with(SMALL, "decoder", vocab_size=7), ids).captioner
    memory = torch.randn(1, 5, 16)
    with torch.no_grad():
        want = teacher.logits(torch.tensor([[2, 9, 59]]), memory)[..., ids]
        assert torch.allclose(student.logits(torch.tensor([[2, 4, 6]]), memory), want, atol=1e-5)
    assert torch.equal(student.final_logits_bias, teacher.final_logits_bias[:, ids])


def test_tokens_that_do_not_fit_are_refused() -> None:
    teacher = small_captioner()
    fewer = _with(SMALL, "decoder", vocab_size=5)
    refused(lambda: build_student(teacher, fewer), ConfigError, "5 tokens", "60")
    refused(lambda: build_student(teacher, fewer, [0, 1, 2]), ConfigError, "3 ids")
    refused(lambda: build_student(teacher, fewer, [0, 1, 2, 3, 60]), ConfigError, "outside")
    refused(lambda: build_student(teacher, fewer, [0, 2, 1, 3, 4]), ConfigError, "pad_token_id")


def test_parts_that_the_teacher_lacks_the_student_lacks() -> None:
    config = _with(SMALL, "beats", patch_embed_dim=16)
    teacher = _scrambled(config)
    del teacher.encoder.predictor
    teacher.encoder.post_extract_proj = nn.Identity()
    student = build_student(teacher, _narrow(config, patch_embed_dim=8))
    assert not hasattr(student.captioner.encoder, "predictor")
    assert isinstance(student.captioner.encoder.post_extract_proj, nn.Identity)
    assert set(_origins(student).values()) <= {"copied", "cut"}
    wide, narrow = teacher.decoder.layernorm_embedding.bias.tolist(), student.captioner.decoder.layernorm_embedding.bias
    kept = [wide.index(value) for value in narrow.tolist()]
    assert torch.equal(student.captioner.encoder.layer_norm.bias, teacher.encoder.layer_norm.bias[kept])
    _accounts_for_all(student)


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


def test_the_mode_of_the_teacher_is_kept() -> None:
    teacher = small_captioner()
    assert not build_student(teacher, SMALL).captioner.training
    assert build_student(teacher.train(), SMALL).captioner.training
