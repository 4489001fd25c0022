"""Checkpoints of CLAP, clapcap and Pengi: what is read of them, and what is refused in a sentence."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from torch import Tensor

import quantize
from edge_aac.errors import ConfigError, DataError, InputMissingError
from quantize.models.clap.microsoft import Clap
from tests.quantize.models.audio_language_layout import (
    CLIP_SAMPLES,
    GPT2_TABLE,
    HTSAT_TABLE,
    clap_network,
    clapcap_network,
    pengi_network,
    state_of,
    write_clap,
    write_clapcap,
    write_pengi,
)
from tests.quantize.models.published_layout import refused, write_json

State = dict[str, Tensor]

TABLE = "audio_encoder.base.htsat.layers.0.blocks.0.attn.relative_position_index"
MASK = "audio_encoder.base.htsat.layers.0.blocks.1.attn_mask"
WAVEFORM = torch.linspace(-0.5, 0.5, CLIP_SAMPLES)[None] * torch.linspace(0, 300, CLIP_SAMPLES).sin()
TEXTS = ["rain", "a dog!"]


def _clap(path: Path) -> Clap:
    loaded = quantize.load_clap(path)
    assert isinstance(loaded, Clap)
    return loaded


def _all_floats(state: State) -> State:
    return {name: tensor.float() for name, tensor in state.items()}


def _data_parallel(state: State) -> State:
    return {f"module.{name}": tensor for name, tensor in state.items()}


def _without_tables(state: State) -> State:
    return {name: tensor for name, tensor in state.items() if not name.endswith(("attn_mask", "position_index"))}


def _without_masks(state: State) -> State:
    return {name: tensor for name, tensor in state.items() if not name.endswith((".attn.bias", ".attn.masked_bias"))}


@pytest.mark.parametrize("spelt", [_all_floats, _data_parallel, _without_tables, _without_masks])
def test_every_spelling_of_a_state(spelt: Callable[[State], State], tmp_path: Path) -> None:
    network = clap_network()
    folder = write_clap(tmp_path, spelt(state_of(network)))
    for path in (folder, folder / "CLAP_weights_2023.pth", str(folder)):
        loaded = _clap(Path(path))
        torch.testing.assert_close(loaded.embed_audio(WAVEFORM), network.audio_encoder(WAVEFORM))
        torch.testing.assert_close(loaded.embed_text(TEXTS), network.caption_encoder(*loaded.tokens(TEXTS)))
    assert not any(parameter.requires_grad for parameter in loaded.network.parameters())


def test_a_bare_state_is_read(tmp_path: Path) -> None:
    folder = write_clap(tmp_path)
    torch.save(state_of(clap_network()), folder / "CLAP_weights_2023.pth")
    torch.testing.assert_close(_clap(folder).embed_audio(WAVEFORM), clap_network().audio_encoder(WAVEFORM))


def test_clapcap_with_one_name_for_its_tied_head(tmp_path: Path) -> None:
    network = clapcap_network()
    state = state_of(network)
    want = network.gpt(inputs_embeds=network.clap_project(torch.ones(1, 10))).logits
    del state["gpt.lm_head.weight"]
    clapcap = quantize.load_clapcap(write_clapcap(tmp_path, state))
    prefix = clapcap.network.clap_project(torch.ones(1, 10))
    torch.testing.assert_close(clapcap.logits(prefix, torch.zeros(1, 0, dtype=torch.long)), want)


def test_clapcap_whose_head_is_another_is_refused(tmp_path: Path) -> None:
    state = state_of(clapcap_network())
    state["gpt.lm_head.weight"] = state["gpt.lm_head.weight"] + 1
    refused(lambda: quantize.load_clapcap(write_clapcap(tmp_path, state)), DataError, "gpt.lm_head.weight", "wte")


def test_pengi_from_a_folder_of_one_file(tmp_path: Path) -> None:
    pengi = quantize.load_pengi(write_pengi(tmp_path, name="base_no_text_enc"))
    assert pengi.network.caption_encoder is None
    assert quantize.load_pengi(write_pengi(tmp_path, name="base")).network.caption_encoder is not None


def test_pengi_of_an_old_transformers_holds_position_numbers(tmp_path: Path) -> None:
    state = state_of(pengi_network())
    state["caption_encoder.base.embeddings.position_ids"] = torch.arange(24)[None]
    folder = write_pengi(tmp_path, state)
    assert quantize.load_pengi(folder / "configs" / "base.pth").prefix(WAVEFORM, "what?").shape == (1, 10, 16)


LOADERS: dict[str, tuple[Callable[[Path], Any], Callable[[Path], Path], str, str]] = {
    "clap": (quantize.load_clap, write_clap, "CLAP_weights_2023.pth", "audio_encoder.base.htsat."),
    "clapcap": (quantize.load_clapcap, write_clapcap, "clapcap_weights_2023.pth", "clap_project."),
    "pengi": (quantize.load_pengi, write_pengi, "configs/base.pth", "caption_decoder."),
}


@pytest.mark.parametrize("given", LOADERS)
@pytest.mark.parametrize("asked", LOADERS)
def test_the_checkpoint_of_another_system(given: str, asked: str, tmp_path: Path) -> None:
    _, write, name, key = LOADERS[given]
    path = write(tmp_path) / name
    if given == asked:
        assert LOADERS[asked][0](path) is not None
        return
    error = refused(lambda: LOADERS[asked][0](path), DataError, str(path), key, f"load it with quantize.load_{given}")
    assert error.exit_code == 65


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (["audio_branch.a", "text_branch.b"], ("LAION's CLAP in its first layout", "audio_branch.")),
        (["module.audio_branch.a", "module.text_branch.b"], ("LAION's CLAP in its first layout", "text_branch.")),
        (
            ["audio_model.audio_encoder.a", "text_model.b"],
            ("LAION's CLAP in the layout of transformers", "load its folder with quantize.load_clap"),
        ),
        (["encoder.weight"], ("no CLAP of 2023", "its keys are encoder.weight", "caption_encoder.base.h.")),
        ([], ("no CLAP of 2023", "its keys are none")),
        (["audio_encoder.base.htsat.a"], ("no CLAP of 2023", "none begins with caption_encoder.base.h.")),
    ],
)
def test_systems_that_are_not_read(keys: list[str], words: tuple[str, ...], tmp_path: Path) -> None:
    folder = write_clap(tmp_path, {key: torch.zeros(1) for key in keys})
    refused(lambda: quantize.load_clap(folder), DataError, *words)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda state: state.pop("audio_encoder.projection.linear1.weight"), ("1 missing (audio_encoder.projection",)),
        (lambda state: state.pop("logit_scale"), ("1 missing (logit_scale)",)),
        (lambda state: state.pop("audio_encoder.projection.linear2.weight"), ("lacks audio_encoder.projection",)),
        (lambda state: state.update({"more": torch.zeros(1)}), ("1 unexpected (more)",)),
        (
            lambda state: state.update({"audio_encoder.base.htsat.logmel_extractor.melW": torch.zeros(33, 17)}),
            ("melW is (33, 17), expected (33, 16)",),
        ),
        (lambda state: state.update({MASK: torch.zeros(9, 16, 16)}), (MASK, "(9, 16, 16)", "htsat_config.json")),
        (lambda state: state.update({TABLE: state[TABLE].T}), (TABLE, "htsat_config.json")),
        (lambda state: state.update({TABLE.replace("blocks.0", "blocks.7"): state[TABLE]}), ("blocks.7",)),
        (lambda state: state.update({"text": "a word"}), ("plain tensor (text)",)),
    ],
)
def test_states_that_do_not_fit(spoil: Callable[[dict[str, Any]], Any], words: tuple[str, ...], tmp_path: Path) -> None:
    state: dict[str, Any] = dict(state_of(clap_network()))
    spoil(state)
    refused(lambda: quantize.load_clap(write_clap(tmp_path, state)), DataError, *words)


@pytest.mark.parametrize("kept", [0, 3, 0.5, -100])
def test_a_cut_file_is_damaged(kept: float, tmp_path: Path) -> None:
    path = write_clapcap(tmp_path) / "clapcap_weights_2023.pth"
    whole = path.read_bytes()
    path.write_bytes(whole[: round(kept * len(whole)) if isinstance(kept, float) else kept])
    refused(lambda: quantize.load_clapcap(path), DataError, str(path), "damaged")


class Calling:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("system", LOADERS)
def test_code_in_a_pickle_is_not_run(system: str, tmp_path: Path) -> None:
    load, write, name, _ = LOADERS[system]
    path, mark = write(tmp_path) / name, tmp_path / "was-here"
    for save in (torch.save, lambda content, file: file.write_bytes(pickle.dumps(content))):
        save({"model": {"weight": torch.zeros(1)}, "args": Calling(mark)}, path)
        refused(lambda: load(path), DataError, str(path), "holds code")
    assert not mark.exists()


def _gone(name: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).unlink()


def _json(name: str, content: Any) -> Callable[[Path], Any]:
    return lambda folder: write_json(folder / name, content)


def _settings(**changes: Any) -> Callable[[Path], Any]:
    return lambda folder: write_clap(folder, **changes)


def _htsat(part: str, **changes: Any) -> Callable[[Path], Any]:
    return _json("htsat_config.json", {**HTSAT_TABLE, part: {**HTSAT_TABLE[part], **changes}})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("spoil", "kind", "words"),
    [
        (_gone("CLAP_weights_2023.pth"), InputMissingError, ("has no CLAP_weights_2023.pth",)),
        (_gone("gpt2/vocab.json"), InputMissingError, ("gpt2 has neither tokenizer.json nor vocab.json",)),
        (_settings(text_model="hub/gpt3"), InputMissingError, ("no folder gpt3", "hub/gpt3")),
        (_json("gpt2/config.json", {"model_type": "bert"}), ConfigError, ("'bert' model", "gpt2")),
        (_json("gpt2/config.json", {**GPT2_TABLE, "n_head": 3}), ConfigError, ("make no model",)),
        (_json("gpt2/config.json", {**GPT2_TABLE, "vocab_size": 200}), DataError, ("token 256", "200")),
        (_json("gpt2/vocab.json", {"a": 0, "<|endoftext|>": 1}), DataError, ("is not GPT-2's", "token 0")),
        (
            lambda folder: Tokenizer(BPE({"!": 0}, [])).save(str(folder / "gpt2/tokenizer.json")),
            DataError,
            ("is not GPT-2's", "no <|endoftext|>"),
        ),
        (_json("gpt2/tokenizer.json", {}), DataError, ("cannot read the tokenizer",)),
        (_gone("htsat_config.json"), DataError, ("relative_position_index", "htsat_config.json")),
        (_json("htsat_config.json", {"model": 3}), ConfigError, ("must be tables",)),
        (_htsat("model", patch_stride=[1, 1]), ConfigError, ("patch_stride",)),
        (_htsat("model", depths=[2]), ConfigError, ("same stages",)),
        (_htsat("model", spec_size=30), ConfigError, ("spec_size 30",)),
        (_htsat("model", num_heads=[3, 4]), ConfigError, ("3 heads",)),
        (_htsat("model", window_size=5), ConfigError, ("window 5",)),
        (_htsat("model", depths="two"), ConfigError, ("depths",)),
        (_htsat("frontend", hop_size=0), ConfigError, ("hop",)),
        (_htsat("frontend", hop_size=1), ConfigError, ("401 frames", "64")),
        (_settings(duration=0), ConfigError, ("config_2023.yml", "duration")),
        (_settings(duration=0.001), ConfigError, ("too short",)),
        (_settings(audioenc_name="Cnn14"), ConfigError, ("config_2023.yml", "audioenc_name")),
        (_settings(text_len=0), ConfigError, ("text_len",)),
        (_json("configs/config_2023.yml", [1]), DataError, ("config_2023.yml", "list")),
        (lambda folder: (folder / "configs/config_2023.yml").write_text("a: [1"), DataError, ("no YAML",)),
        (lambda folder: (folder / "configs/config_2023.yml").write_bytes(b"\xff\xfe\x00"), DataError, ("no YAML",)),
    ],
)
def test_what_lies_beside_the_weights(
    spoil: Callable[[Path], Any], kind: type[Any], words: tuple[str, ...], tmp_path: Path
) -> None:
    folder = write_clap(tmp_path)
    spoil(folder)
    refused(lambda: quantize.load_clap(folder), kind, *words)


def test_settings_of_the_prefix_systems(tmp_path: Path) -> None:
    refused(
        lambda: quantize.load_clapcap(write_clapcap(tmp_path / "a", mapping_type="mlp")), ConfigError, "mapping_type"
    )
    refused(
        lambda: quantize.load_pengi(write_pengi(tmp_path / "b", dataset_config={"enc_text_len": 25})),
        ConfigError,
        "enc_text_len is 25",
        "24 positions",
    )
    refused(
        lambda: quantize.load_pengi(
            write_pengi(tmp_path / "c", name="base_no_text_enc", dataset_config={"enc_text_len": 7})
        ),
        ConfigError,
        "enc_text_len is 7",
        "6 vectors",
    )
    refused(lambda: quantize.load_pengi(tmp_path), InputMissingError, "base.pth or base_no_text_enc.pth")
    refused(lambda: quantize.load_clap(tmp_path / "none.pth"), InputMissingError, "none.pth")
