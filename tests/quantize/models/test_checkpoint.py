"""Published weights: every form in which they are about gives the same model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from quantize.models.beats import Beats
from quantize.models.captioner import Captioner
from quantize.models.checkpoint import load_beats, load_captioner_weights
from quantize.models.config import CaptionerConfig
from quantize.models.published_config import captioner_config_of
from tests.quantize.models.published_layout import (
    BEATS_TABLE,
    SMALL,
    scramble,
    small_captioner,
    write_captioner,
    write_json,
)

State = dict[str, Tensor]

LM_HEAD, EMBEDDING = "lm_head.weight", "decoder.embed_tokens.weight"
TABLES = [f"encoder.encoder.layers.{layer}.self_attn.relative_attention_bias.weight" for layer in range(3)]
NEW_SPELLING = {
    "weight_g": "parametrizations.weight.original0",
    "weight_v": "parametrizations.weight.original1",
}
WEIGHT_NORMED = ("encoder.encoder.pos_conv.0", "postencoder.pos_conv_embed.conv")


@pytest.fixture(scope="module")
def parent() -> Captioner:
    return small_captioner()


@pytest.fixture
def state(parent: Captioner) -> State:
    return dict(parent.state_dict())


def _same_weights(model: torch.nn.Module, parent: torch.nn.Module) -> None:
    got, want = model.state_dict(), parent.state_dict()
    assert got.keys() == want.keys()
    for name, tensor in want.items():
        assert got[name].device.type == "cpu"
        assert got[name].dtype == tensor.dtype
        assert torch.equal(got[name], tensor), name


def _same_captioner(model: Captioner, parent: Captioner) -> None:
    """The same weights and, from what is no weight (positions, buffers, modes), the same numbers."""
    _same_weights(model, parent)
    assert model.config == parent.config
    assert not model.training
    assert model.lm_head.weight is model.decoder.embed_tokens.weight
    fbank, ids = torch.randn(2, 160, 128, generator=torch.Generator().manual_seed(3)), torch.tensor([[2, 8, 9]])
    with torch.no_grad():
        got, want = (m.encode(fbank, torch.arange(160).repeat(2, 1) >= 96) for m in (model, parent))
        assert got[0].std() > 0.01
        for ours, theirs in zip(got, want, strict=True):
            assert torch.equal(ours, theirs)
        assert torch.equal(model.logits(ids, got[0][:1]), parent.logits(ids, want[0][:1]))


def _renamed(state: Mapping[str, Tensor], module: str, names: Mapping[str, str]) -> State:
    renames = {f"{module}.{new}": f"{module}.{old}" for old, new in names.items()}
    assert renames.keys() <= state.keys()
    return {renames.get(name, name): tensor for name, tensor in state.items()}


def _as_bin(folder: Path, state: State) -> None:
    torch.save(state, folder / "pytorch_model.bin")


def _as_old_bin(folder: Path, state: State) -> None:
    torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)


def _as_safetensors(folder: Path, state: State) -> None:
    # As safetensors does it: of tensors that share memory, one name.
    kept = {name: tensor for name, tensor in state.items() if name not in {LM_HEAD, *TABLES[1:]}}
    save_file(kept, folder / "model.safetensors")


def _as_shards(save: Callable[[State, Path], Any], name: str) -> Callable[[Path, State], None]:
    def write(folder: Path, state: State) -> None:
        stem, _, suffix = name.rpartition(".")
        listed = [name for name in state if name not in {EMBEDDING, *TABLES[:2]}]
        weight_map = {}
        for number in range(3):
            file, part = f"{stem}-{number + 1:05}-of-00003.{suffix}", listed[number::3]
            save({name: state[name] for name in part}, folder / file)
            weight_map.update(dict.fromkeys(part, file))
        write_json(folder / f"{name}.index.json", {"metadata": {"total_size": 1}, "weight_map": weight_map})

    return write


FORMS = {
    "bin": _as_bin,
    "old bin": _as_old_bin,
    "safetensors": _as_safetensors,
    "shards of safetensors": _as_shards(save_file, "model.safetensors"),
    "shards of bins": _as_shards(torch.save, "pytorch_model.bin"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_file_gives_the_same_captioner(
    form: str, parent: Captioner, state: State, tmp_path: Path
) -> None:
    folder = write_captioner(tmp_path)
    (folder / "pytorch_model.bin").unlink()
    FORMS[form](folder, state)
    _same_captioner(load_captioner_weights(folder), parent)


def test_safetensors_come_before_pickles(parent: Captioner, state: State, tmp_path: Path) -> None:
    folder = write_captioner(tmp_path)
    (folder / "pytorch_model.bin").write_bytes(b"never read")
    _as_safetensors(folder, state)
    _same_captioner(load_captioner_weights(folder), parent)


@pytest.mark.parametrize("form", ["bin", "safetensors"])
def test_weights_are_mapped_not_read(form: str, state: State, tmp_path: Path) -> None:
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("this system does not list its memory maps")
    folder = write_captioner(tmp_path)
    (folder / "pytorch_model.bin").unlink()
    FORMS[form](folder, state)
    model = load_captioner_weights(folder)
    assert str(folder) in maps.read_text(), model


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(dtype: torch.dtype, state: State, tmp_path: Path) -> None:
    stored = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    model = load_captioner_weights(write_captioner(tmp_path, stored))
    got = model.state_dict()
    assert got["postencoder.layers.0.conv_module.batch_norm.num_batches_tracked"].dtype == torch.int64
    for name, tensor in stored.items():
        if tensor.is_floating_point():
            assert got[name].dtype == torch.float32, name
            assert torch.equal(got[name], tensor.float()), name
    assert model.lm_head.weight is model.decoder.embed_tokens.weight


@pytest.mark.parametrize("module", WEIGHT_NORMED)
def test_both_spellings_of_weight_norm(module: str, parent: Captioner, state: State, tmp_path: Path) -> None:
    old = _renamed(state, module, NEW_SPELLING)
    assert f"{module}.weight_g" in old
    _same_captioner(load_captioner_weights(write_captioner(tmp_path, old)), parent)


@pytest.mark.parametrize("kept", [LM_HEAD, EMBEDDING])
@pytest.mark.parametrize("table", TABLES)
def test_one_name_of_a_shared_tensor_is_enough(
    kept: str, table: str, parent: Captioner, state: State, tmp_path: Path
) -> None:
    left_out = {LM_HEAD, EMBEDDING, *TABLES} - {kept, table}
    folder = write_captioner(tmp_path, {name: tensor for name, tensor in state.items() if name not in left_out})
    _same_captioner(load_captioner_weights(folder), parent)


def test_equal_copies_of_a_shared_tensor_are_one(parent: Captioner, state: State, tmp_path: Path) -> None:
    state.update({LM_HEAD: state[LM_HEAD].clone(), TABLES[1]: state[TABLES[1]].clone()})
    model = load_captioner_weights(write_captioner(tmp_path, state))
    _same_captioner(model, parent)
    biases = [layer.self_attn.relative_attention_bias.weight for layer in model.encoder.encoder.layers]
    assert all(bias is biases[0] for bias in biases)


def test_counts_of_training_steps_may_be_absent(state: State, tmp_path: Path) -> None:
    counts = [name for name in state if name.endswith("num_batches_tracked")]
    assert len(counts) == 2
    for name in counts:
        del state[name]
    got = load_captioner_weights(write_captioner(tmp_path, state)).state_dict()
    assert all(int(got[name]) == 0 for name in counts)
    assert torch.equal(got["lm_head.weight"], state["lm_head.weight"])


@pytest.mark.parametrize(("index", "run_layers"), [(0, 0), (1, 1), (3, 3), (-1, 3), (-2, 2), (-4, 0)])
def test_hidden_state_may_be_counted_from_the_end(
    index: int, run_layers: int, parent: Captioner, tmp_path: Path
) -> None:
    model = load_captioner_weights(write_captioner(tmp_path, encoder_repr_layer_idx=index))
    assert model.config.beats.run_layers == run_layers
    fbank, hidden = torch.randn(1, 64, 128), {}
    with torch.no_grad():
        for layers in (0, 1, 2, 3):
            cut = Captioner(replace(SMALL, beats=replace(SMALL.beats, run_layers=layers))).eval()
            cut.load_state_dict(parent.state_dict())
            hidden[layers] = cut.beats_hidden(fbank)[0]
        got = model.beats_hidden(fbank)[0]
    assert [layers for layers, want in hidden.items() if torch.equal(got, want)] == [run_layers]


def test_patches_as_wide_as_the_encoder_have_no_projection(tmp_path: Path) -> None:
    """The original code builds none for them."""
    beats = replace(SMALL.beats, patch_embed_dim=SMALL.beats.dim)
    parent = Captioner(replace(SMALL, beats=beats)).eval()
    parent.encoder.post_extract_proj = torch.nn.Identity()
    folder = write_captioner(tmp_path, parent.state_dict())
    table = json.loads((folder / "beats_config.json").read_text(encoding="utf-8"))
    write_json(folder / "beats_config.json", {**table, "embed_dim": beats.dim})
    fbank = torch.randn(1, 64, 128)
    with torch.no_grad():
        assert torch.equal(load_captioner_weights(folder).beats_hidden(fbank)[0], parent.beats_hidden(fbank)[0])


def test_without_their_own_configurations_encoders_are_as_published(tmp_path: Path) -> None:
    """``config.json`` as the hub repository has it, and no other; nothing is as large here as its weights would be."""
    published = {
        "d_model": 768,
        "vocab_size": 50265,
        "decoder_layers": 6,
        "decoder_attention_heads": 16,
        "decoder_ffn_dim": 3072,
        "max_position_embeddings": 128,
        "encoder_repr_layer_idx": 10,
        "encoder_downsample_rate": 3,
        "embed_predictor_ffn_dim": 3072,
        "embed_predictor_out_dim": 768,
        "max_cross_position_embeddings": 512,
    }
    write_json(tmp_path / "config.json", published)
    config, has_predictor = captioner_config_of(tmp_path)
    assert (config, has_predictor) == (CaptionerConfig(), True)
    with torch.device("meta"):
        model = Captioner(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert shapes["encoder.patch_embedding.weight"] == (512, 1, 16, 16)
    assert shapes["encoder.encoder.pos_conv.0.parametrizations.weight.original1"] == (768, 48, 128)
    assert shapes["encoder.encoder.layers.11.fc1.weight"] == (3072, 768)
    assert shapes[TABLES[0]] == (320, 12)
    assert shapes["encoder.predictor.weight"] == (527, 768)
    assert shapes["downsample_conv.weight"] == (768, 768, 4)
    assert shapes["postencoder.layers.1.conv_module.depthwise_conv.weight"] == (768, 1, 31)
    assert shapes["postencoder.layers.1.self_attn.pos_bias_u"] == (12, 64)
    assert shapes["lm_head.weight"] == (50265, 768)
    assert sum(parameter.numel() for parameter in model.parameters()) == pytest.approx(217.3e6, rel=2e-3)


@pytest.mark.parametrize("fine_tuned", [True, False])
def test_bare_beats(fine_tuned: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    parent = Beats(replace(SMALL.beats, run_layers=3)).eval()
    scramble(parent)
    cfg = {**BEATS_TABLE, "finetuned_model": fine_tuned}
    if not fine_tuned:
        del parent.predictor
        del cfg["predictor_class"]
    state = _renamed(parent.state_dict(), "encoder.pos_conv.0", NEW_SPELLING)
    torch.save({"cfg": cfg, "model": state}, tmp_path / "beats.pt")
    model = load_beats(tmp_path / "beats.pt")
    assert hasattr(model, "predictor") == fine_tuned
    assert model.config.run_layers == 3
    _same_weights(model, parent)
    with torch.no_grad():
        fbank = torch.randn(1, 64, 128)
        assert torch.equal(model(fbank)[0], parent(fbank)[0])


def test_a_captioner_over_beats_without_predictor(state: State, tmp_path: Path) -> None:
    folder = write_captioner(tmp_path, {k: v for k, v in state.items() if not k.startswith("encoder.predictor")})
    write_json(folder / "beats_config.json", {**BEATS_TABLE, "finetuned_model": False})
    model = load_captioner_weights(folder)
    assert not hasattr(model.encoder, "predictor")
    with torch.no_grad():
        model.encode(torch.randn(1, 64, 128))
