"""Students out of teachers: what is kept is the teacher's, what is not is named, and nothing else changes."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from quantize.models.captioner import Captioner
from quantize.models.config import CaptionerConfig
from quantize.models.student import build_student, evenly_spaced
from tests.quantize.models.published_layout import SMALL, small_captioner
from tests.quantize.models.student_cases import (
    accounts_for_all,
    changed,
    narrowed,
    origins_of,
    outputs,
    same_outputs,
    scrambled,
)


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
    teacher = scrambled(small_config if convolutions else SMALL)
    student = build_student(teacher, teacher.config)
    assert same_outputs(teacher, student.captioner)
    assert {tensor.origin for tensor in student.report.tensors} == {"copied"}
    assert student.report.taken == student.report.parameters
    assert student.captioner.lm_head.weight is student.captioner.decoder.embed_tokens.weight
    accounts_for_all(student)
    with torch.no_grad():
        student.captioner.downsample_conv.weight.zero_()
    assert teacher.downsample_conv.weight.any(), "the student must hold its own numbers"


def test_fewer_layers_are_the_chosen_ones_of_the_teacher() -> None:
    config = changed(
        changed(changed(SMALL, "beats", layers=7, run_layers=5), "conformer", layers=4), "decoder", layers=5
    )
    teacher = scrambled(config)
    fewer = changed(
        changed(changed(config, "beats", layers=4, run_layers=3), "conformer", layers=2), "decoder", layers=3
    )
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
    accounts_for_all(student)


def test_a_copied_beats_layer_does_what_it_did_under_another_number_of_layers() -> None:
    teacher = scrambled(SMALL)
    student = build_student(teacher, changed(SMALL, "beats", layers=2, run_layers=2))
    assert student.captioner.encoder.encoder.layers[0].alpha != teacher.encoder.encoder.layers[0].alpha
    assert {t.factor for t in student.report.tensors} == {1.0, math.sqrt(math.sqrt(2 / 3))}
    assert same_outputs(teacher, student.captioner, atol=1e-4)


def _silence_units(teacher: Captioner, dead: dict[str, list[int]]) -> None:
    """Zero what reads the units of these feed-forward modules, so that they say nothing."""
    with torch.no_grad():
        for name, units in dead.items():
            module = teacher.get_submodule(name)
            reader = module.output_dense if hasattr(module, "output_dense") else module.fc2
            reader.weight[:, units] = 0.0


def test_units_that_say_nothing_can_be_cut_without_a_trace() -> None:
    teacher = scrambled(SMALL)
    dead = {
        **{f"encoder.encoder.layers.{layer}": [0, 3, 4, 19] for layer in range(3)},
        "postencoder.layers.0.ffn1": [1, 2],
        "postencoder.layers.0.ffn2": [26, 27],
        "decoder.layers.0": [5, 6, 7],
        "decoder.layers.1": [0, 18, 35],
        "encoder_embed_mlp": [2, 40, 41, 43],
    }
    _silence_units(teacher, dead)
    config = changed(changed(changed(SMALL, "beats", ffn_dim=16), "conformer", ffn_dim=26), "decoder", ffn_dim=33)
    student = build_student(teacher, replace(config, embedding_ffn_dim=40))
    assert same_outputs(teacher, student.captioner, atol=1e-4)
    assert set(origins_of(student).values()) == {"copied", "cut"}
    accounts_for_all(student)
    # The same cut of a teacher all of whose units speak does change something.
    assert not same_outputs(
        small_captioner(), build_student(small_captioner(), student.captioner.config).captioner, atol=1e-4
    )


def test_silent_channels_of_a_convolutional_stem_can_be_cut_without_a_trace(small_config: CaptionerConfig) -> None:
    teacher = scrambled(small_config)
    stem = teacher.encoder.patch_embedding
    convolutions = [part for part in stem.modules() if isinstance(part, nn.Conv2d)]
    with torch.no_grad():
        convolutions[2].weight[:, [0, 5]] = 0.0
        stem.fold.weight[:, [1, 2, 3]] = 0.0
    student = build_student(teacher, changed(small_config, "beats", conv_stem=(4, 6, 8, 5)))
    assert same_outputs(teacher, student.captioner, atol=1e-4)
    cut = [name for name, origin in origins_of(student).items() if origin == "cut"]
    assert any(name.endswith("running_var") for name in cut)
    accounts_for_all(student)


@pytest.mark.parametrize("room", ["beats", "conformer", "decoder"])
def test_smaller_heads_keep_units_of_their_own_and_scale_their_keys(room: str) -> None:
    teacher = scrambled(changed(SMALL, "decoder", heads=4))
    student = build_student(teacher, narrowed(teacher.config))
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
    config = changed(SMALL, "decoder", heads=2)
    teacher = scrambled(config)
    attention = teacher.decoder.layers[0].self_attn
    silent = [1, 2, 5, 6, 8, 9, 12, 15]
    kept = [0, 3, 4, 7, 10, 11, 13, 14]
    with torch.no_grad():
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj):
            projection.weight[silent] = 0.0
            projection.bias[silent] = 0.0
        attention.out_proj.weight[:, silent] = 0.0
    student = build_student(teacher, narrowed(config, heads=2))
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
    teacher = scrambled(changed(SMALL, "decoder", heads=4))
    with torch.no_grad():
        *others, last = teacher.encoder.encoder.layers
        for layer in others:
            layer.self_attn.out_proj.weight[:, :8] *= 1e-3
        # By itself this layer would keep the other head, but the position table has one column for all layers.
        last.self_attn.out_proj.weight[:, 8:] *= 0.5
        teacher.decoder.layers[1].self_attn.v_proj.weight[[*range(4), *range(8, 12)]] *= 1e-3
    config = changed(narrowed(teacher.config, heads=1), "decoder", heads=2)
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
    teacher = scrambled(SMALL)
    student = build_student(teacher, narrowed(SMALL))
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
    for output in outputs(student.captioner):
        assert torch.isfinite(output).all()
    assert [tuple(output.shape) for output in outputs(student.captioner)] == [(2, 39, 8), (2, 6), (2, 4, 60)]
    origins = origins_of(student)
    assert "fresh" not in origins.values()
    assert origins["encoder.encoder.pos_conv.0.parametrizations.weight.original0"] == "cut", (
        "the same shape, not numbers"
    )
    accounts_for_all(student)


def test_channels_of_the_conformers_convolution_go_with_their_gates() -> None:
    teacher = scrambled(SMALL)
    student = build_student(teacher, narrowed(SMALL)).captioner
    wide, narrow = (model.postencoder.layers[0].conv_module for model in (teacher, student))
    kept = [wide.batch_norm.running_mean.tolist().index(value) for value in narrow.batch_norm.running_mean.tolist()]
    assert torch.equal(narrow.depthwise_conv.weight, wide.depthwise_conv.weight[kept])
    residual = [
        teacher.postencoder.layer_norm.bias.tolist().index(v) for v in student.postencoder.layer_norm.bias.tolist()
    ]
    gates = [*kept, *(channel + 16 for channel in kept)]
    assert torch.equal(narrow.pointwise_conv1.weight, wide.pointwise_conv1.weight[gates][:, residual])


def test_the_mode_of_the_teacher_is_kept() -> None:
    teacher = small_captioner()
    assert not build_student(teacher, SMALL).captioner.training
    assert build_student(teacher.train(), SMALL).captioner.training
