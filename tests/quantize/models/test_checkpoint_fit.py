"""Weights that are whole but of another model: all that does not fit, in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from edge_aac.errors import DataError, EdgeAacError
from quantize.models.checkpoint import StateMismatchError, load_captioner_weights
from tests.quantize.models.published_layout import refused, small_captioner, write_captioner

State = dict[str, Tensor]


@pytest.fixture
def state() -> State:
    return dict(small_captioner().state_dict())


def _refused(folder: Path, kind: type[EdgeAacError], *words: str) -> EdgeAacError:
    return refused(lambda: load_captioner_weights(folder), kind, *words)


def test_all_that_does_not_fit_is_in_one_sentence(tmp_path: Path, state: State) -> None:
    del state["downsample_conv.bias"]
    state["stranger.weight"] = torch.zeros(2)
    state["encoder_embed_mlp.fc1.weight"] = torch.zeros(3, 4)
    error = _refused(
        write_captioner(tmp_path, state),
        StateMismatchError,
        str(tmp_path),
        "1 missing (downsample_conv.bias)",
        "1 unexpected (stranger.weight)",
        "1 misshapen (encoder_embed_mlp.fc1.weight is (3, 4), expected (44, 16))",
    )
    assert isinstance(error, StateMismatchError)
    assert error.exit_code == 65
    assert error.missing == ["downsample_conv.bias"]
    assert error.unexpected == ["stranger.weight"]
    assert error.misshapen == {"encoder_embed_mlp.fc1.weight": ((3, 4), (44, 16))}


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"downsample_conv.bias": None}, "missing"),
        ({"stranger.weight": torch.zeros(2)}, "unexpected"),
        ({"downsample_conv.bias": torch.zeros(2)}, "misshapen"),
    ],
)
def test_each_fault_alone_is_refused(
    changes: dict[str, Tensor | None], kind: str, tmp_path: Path, state: State
) -> None:
    changed = {name: tensor for name, tensor in {**state, **changes}.items() if tensor is not None}
    error = _refused(write_captioner(tmp_path, changed), StateMismatchError, f"keys 1 {kind} ({min(changes)}")
    assert isinstance(error, StateMismatchError)
    assert [name for name in ("missing", "unexpected", "misshapen") if getattr(error, name)] == [kind]


@pytest.mark.parametrize("half", ["weight_g", "weight_v"])
def test_half_a_weight_norm_is_missing(half: str, tmp_path: Path, state: State) -> None:
    module = "encoder.encoder.pos_conv.0"
    numbers = {"weight_g": 0, "weight_v": 1}
    for name, number in numbers.items():
        state[f"{module}.{name}"] = state.pop(f"{module}.parametrizations.weight.original{number}")
    del state[f"{module}.{half}"]
    error = _refused(write_captioner(tmp_path, state), StateMismatchError, "1 missing")
    assert error.missing == [f"{module}.parametrizations.weight.original{numbers[half]}"]


def test_many_keys_are_counted(tmp_path: Path, state: State) -> None:
    gone = sorted(name for name in state if name.startswith("decoder.layers.1."))
    for name in gone:
        del state[name]
    _refused(write_captioner(tmp_path, state), StateMismatchError, f"{len(gone)} missing", f"and {len(gone) - 6} more)")


def test_a_file_of_another_model_lists_both_sides(tmp_path: Path) -> None:
    _refused(
        write_captioner(tmp_path, torch.nn.Linear(2, 2).state_dict()), StateMismatchError, "2 unexpected (weight, bias)"
    )


@pytest.mark.parametrize(
    "names",
    [
        ("lm_head.weight", "decoder.embed_tokens.weight"),
        tuple(f"encoder.encoder.layers.{layer}.self_attn.relative_attention_bias.weight" for layer in (0, 2)),
    ],
)
def test_copies_of_a_shared_tensor_that_differ(names: tuple[str, str], tmp_path: Path, state: State) -> None:
    state[names[1]] = state[names[1]].clone()
    state[names[1]][-1, -1] += 1e-3
    _refused(write_captioner(tmp_path, state), DataError, *names, "differ")
