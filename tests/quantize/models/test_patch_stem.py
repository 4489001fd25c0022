"""The stem of patches of time: each vector of its own stretch of sound alone, and a captioner around it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from edge_aac.errors import ConfigError
from quantize.models.beats import Beats
from quantize.models.captioner import Captioner
from quantize.models.config import WINDOW_FRAMES, BeatsConfig, CaptionerConfig, captioner_config
from quantize.models.footprint import footprint
from quantize.models.patch_stem import PatchStem
from quantize.models.stem_axes import stem_sources
from quantize.models.student import build_student, evenly_spaced
from tests.quantize.models.published_layout import scramble
from tests.quantize.models.student_cases import accounts_for_all, changed, origins_of, same_outputs, scrambled

_PATCHES, _HOP, _FRAMES = 19, 50, 98


def _patched(config: CaptionerConfig, **changes: Any) -> CaptionerConfig:
    stem: dict[str, Any] = {"conv_stem": (), "conv_stem_strides": (), "stem_width": 0.1, "layers": 0, "run_layers": 0}
    return replace(changed(config, "beats", **{**stem, **changes}), downsample_rate=1)


@pytest.fixture(scope="module")
def stem(small_config: CaptionerConfig) -> PatchStem:
    torch.manual_seed(1)
    module = PatchStem(_patched(small_config).beats).eval()
    scramble(module)
    return module


@torch.no_grad()
def test_a_window_is_nineteen_patches_each_of_its_own_second(stem: PatchStem) -> None:
    fbank = torch.randn(2, 1, WINDOW_FRAMES, 128)
    maps = stem(fbank)
    assert maps.shape == (2, 16, _PATCHES, 1)
    for number in range(_PATCHES):
        cut = fbank[:, 0, _HOP * number : _HOP * number + _FRAMES]
        assert cut.shape[1] == _FRAMES
        assert torch.allclose(stem.vectors(cut), maps[:, :, number, 0], atol=1e-5)
    disturbed = fbank.clone()
    disturbed[:, :, 400] += 5.0
    moved = (stem(disturbed) != maps).any(dim=1)[:, :, 0].any(dim=0)
    # Patches 7 (350 to 447) and 8 (400 to 497) hold frame 400.
    assert moved.nonzero().flatten().tolist() == [7, 8]


@torch.no_grad()
def test_shorter_sound_has_fewer_patches(small_config: CaptionerConfig, stem: PatchStem) -> None:
    config = _patched(small_config)
    for half_seconds in (2, 3, 7, 20):
        frames = 50 * half_seconds - 2
        assert stem(torch.zeros(1, 1, frames, 128)).shape[2] == half_seconds - 1
        assert config.memory_steps_of(frames) == half_seconds - 2
    assert stem(torch.zeros(1, 1, 147, 128)).shape[2] == 1, "49 frames more fill no second patch"
    assert config.memory_steps == 18
    assert config.memory_steps_of(_FRAMES - 1) < 1


@torch.no_grad()
def test_a_patch_is_padding_where_all_of_it_is(small_config: CaptionerConfig) -> None:
    model = scrambled(_patched(small_config))
    heard = torch.tensor([998, 500, 510, 150, 1])
    mask = torch.arange(WINDOW_FRAMES) >= heard[:, None]
    fbank = torch.randn(5, WINDOW_FRAMES, 128)
    _, padding = model.beats_hidden(fbank, mask)
    assert padding is not None
    # Patch 9 begins at frame 450, patch 10 at frame 500.
    assert (~padding).sum(dim=1).tolist() == [19, 10, 11, 3, 1]
    assert (padding == padding.cummax(dim=1).values).all()
    memory, memory_padding, embedding = model.encode(fbank, mask)
    assert memory_padding is not None and memory_padding.shape == memory.shape[:2] == (5, 18)
    assert (~memory_padding).sum(dim=1).tolist() == [18, 10, 11, 3, 1]
    assert torch.isfinite(embedding).all()


def test_every_weight_learns_without_a_layer(small_config: CaptionerConfig) -> None:
    model = Captioner(_patched(small_config, dropout=0.1)).train()
    hidden, _ = model.beats_hidden(torch.randn(2, WINDOW_FRAMES, 128))
    assert hidden.shape == (2, _PATCHES, 16)
    hidden.square().mean().backward()
    still = [
        name
        for name, weight in model.encoder.named_parameters()
        if weight.grad is None and not name.startswith("predictor.")
    ]
    assert not still
    assert not model.encoder.encoder.layers


def test_layers_above_the_stem_run_as_before(small_config: CaptionerConfig) -> None:
    config = _patched(small_config, layers=2, run_layers=2).beats
    model = Beats(config).eval()
    assert model(torch.zeros(1, WINDOW_FRAMES, 128))[0].shape == (1, _PATCHES, 16)
    none_run = Beats(replace(config, run_layers=0)).eval()
    assert none_run(torch.zeros(1, WINDOW_FRAMES, 128))[0].shape == (1, _PATCHES, 16)


def test_a_recipe_names_the_sizes() -> None:
    table = {"beats": {"stem_width": 0.5, "layers": 0, "run_layers": 0, "dim": 192, "heads": 4}, "downsample_rate": 1}
    config = captioner_config({**table, "conformer": {"heads": 4}, "decoder": {"heads": 4}})
    assert config.beats.stem_width == 0.5
    assert config.memory_steps == 18
    counted = footprint(config, None)
    assert "BEATs layers" in counted.parameters, "position convolution and norm"
    assert counted.encoder_macs > 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stem_width": -0.1}, "stem_width is -0.1"),
        ({"stem_width": float("nan")}, "stem_width is nan"),
        ({"stem_width": 5.0}, "stem_width is 5.0"),
        ({"stem_width": 0.5, "conv_stem": (8,), "conv_stem_strides": ((2, 2),)}, "two kinds of stem"),
        ({"stem_width": 0.5, "stem_frames": 40}, "would not be heard"),
        ({"stem_width": 0.5, "stem_frames": 100}, "do not fill the 998 frames"),
        ({"stem_width": 0.5, "stem_frames": 1048}, "do not fill the 998 frames"),
        ({"stem_frames": 0}, "stem_frames is 0"),
        ({"stem_hop_frames": 0}, "stem_hop_frames is 0"),
        ({"layers": -1}, "layers is -1"),
        ({"layers": 0}, "run_layers 10"),
    ],
)
def test_sizes_that_make_no_stem_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        BeatsConfig(**changes)


def test_a_student_takes_the_whole_stem_of_its_teacher(small_config: CaptionerConfig) -> None:
    config = _patched(small_config)
    teacher = scrambled(config)
    student = build_student(teacher, config)
    assert set(origins_of(student).values()) == {"copied"}
    assert same_outputs(student.captioner, teacher)
    finer = build_student(teacher, _patched(small_config, stem_hop_frames=25))
    assert {origins_of(finer)[name] for name in origins_of(finer) if "patch_embedding" in name} == {"copied"}


def test_a_narrower_stem_is_cut_from_its_teachers(small_config: CaptionerConfig) -> None:
    teacher = scrambled(_patched(small_config, stem_width=0.5))
    student = build_student(teacher, _patched(small_config, stem_width=0.4))
    stem = {name: origin for name, origin in origins_of(student).items() if ".patch_embedding." in name}
    assert set(stem.values()) <= {"copied", "cut"}
    assert "cut" in stem.values()
    accounts_for_all(student)


@pytest.mark.parametrize("teacher", [{"stem_width": 0.1}, {"conv_stem": (4, 8), "conv_stem_strides": ((4, 4),) * 2}])
def test_a_wider_stem_and_one_of_another_kind_start_afresh(
    small_config: CaptionerConfig, teacher: dict[str, Any]
) -> None:
    given = _patched(small_config, **{"stem_width": 0.0, **teacher})
    student = build_student(scrambled(replace(given, max_memory_positions=128)), _patched(small_config, stem_width=0.5))
    stem = {name: origin for name, origin in origins_of(student).items() if ".patch_embedding." in name}
    assert "fresh" in stem.values()
    if "conv_stem" in teacher:
        assert set(stem.values()) == {"fresh"}
    accounts_for_all(student)


@torch.no_grad()
def test_units_of_one_label_are_one_and_the_same(small_config: CaptionerConfig) -> None:
    """Units that are put in another order, in all tensors that a label names, change nothing."""
    teacher = Beats(_patched(small_config, stem_width=0.2).beats).eval()
    scramble(teacher)
    sources, axes = stem_sources(teacher, teacher, evenly_spaced)
    state = {f"encoder.{name}": tensor for name, tensor in teacher.state_dict().items() if "patch_embedding" in name}
    assert sources.keys() == axes.keys() == state.keys()
    patches = torch.randn(3, _FRAMES, 128)
    assert isinstance(teacher.patch_embedding, PatchStem)
    want = teacher.patch_embedding.vectors(patches)
    orders: dict[str, torch.Tensor] = {}
    for name, labels in axes.items():
        for axis, label in enumerate(labels):
            if label not in {"", "encoder.patch"} and state[name].ndim:
                count = state[name].shape[axis]
                order = orders.setdefault(label, torch.randperm(count))
                assert len(order) == count, (name, label)
                state[name].copy_(state[name].index_select(axis, order))
    assert len(orders) > 20
    assert torch.allclose(teacher.patch_embedding.vectors(patches), want, atol=1e-4)
