"""INSTRUCTOR and its like in the layout of sentence-transformers: loaded, embedded, and refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers import T5Config, T5EncoderModel, T5ForConditionalGeneration

from edge_aac.errors import ConfigError, DataError, EdgeAacError, InputMissingError
from quantize.models.instructor import CAPTION_INSTRUCTION, Instructor, load_instructor_weights
from tests.quantize.models.published_layout import (
    DENSE_TABLE,
    SENTENCE,
    T5_TABLE,
    TEXTS,
    refused,
    scramble,
    unigram_tokenizer,
    write_instructor,
    write_json,
)

GENERATIONS = {"T5 1.0": "relu", "T5 1.1": "gated-gelu"}


def _plain(transformer: T5EncoderModel, texts: tuple[str, ...], instruction: str, dense: nn.Module) -> torch.Tensor:
    """The published computation, text by text and word for word: a mask of what is pooled, then the mean."""
    tokenizer = unigram_tokenizer()
    rows = []
    for text in texts:
        ids = tokenizer.encode(instruction + text).ids
        left_out = len(tokenizer.encode(instruction.strip()).ids) - 1 if instruction.strip() else 0
        pooled = torch.tensor([0.0] * left_out + [1.0] * (len(ids) - left_out))
        with torch.no_grad():
            states = transformer(input_ids=torch.tensor([ids])).last_hidden_state[0]
            rows.append(functional.normalize(dense((states * pooled[:, None]).sum(0) / pooled.sum()), dim=-1))
    return torch.stack(rows)


def _transformer(**changes: Any) -> T5EncoderModel:
    torch.manual_seed(1)
    model = T5EncoderModel(T5Config.from_dict({**T5_TABLE, **changes})).eval()
    scramble(model)
    return model


def _same(instructor: Instructor, want: torch.Tensor, instruction: str = CAPTION_INSTRUCTION) -> None:
    got = instructor.embed(TEXTS, instruction)
    assert (got.shape, got.dtype) == (tuple(want.shape), np.float32)
    assert instructor.dim == want.shape[1]
    assert float(np.abs(got - want.numpy()).max()) < 1e-5
    # Not because all texts embed alike.
    assert float((want[0] - want[1]).abs().max()) > 1e-3


@pytest.mark.parametrize("instruction", [CAPTION_INSTRUCTION, "Represent a", "", " "])
@pytest.mark.parametrize("generation", GENERATIONS)
def test_embeds_as_transformers_does(generation: str, instruction: str, tmp_path: Path) -> None:
    activation = GENERATIONS[generation]
    transformer = _transformer(feed_forward_proj=activation)
    folder = write_instructor(tmp_path, transformer, feed_forward_proj=activation)
    _same(load_instructor_weights(folder), _plain(transformer, TEXTS, instruction, nn.Identity()), instruction)


def test_what_the_instruction_says_counts_but_is_not_pooled(tmp_path: Path) -> None:
    instructor = load_instructor_weights(write_instructor(tmp_path))
    assert instructor.embedder(CAPTION_INSTRUCTION).unpooled_tokens == len(
        unigram_tokenizer().encode("Represent the audio caption:").ids[:-1]
    )
    one, other = (instructor.embed(TEXTS, instruction) for instruction in ("birds sing: ", "rain falls: "))
    assert float(np.abs(one - other).max()) > 1e-4


def test_whole_t5_gives_its_encoder(tmp_path: Path) -> None:
    torch.manual_seed(2)
    whole = T5ForConditionalGeneration(T5Config.from_dict({**T5_TABLE, "num_decoder_layers": 3})).eval()
    scramble(whole)
    folder = write_instructor(tmp_path, whole)
    names = torch.load(folder / "pytorch_model.bin", weights_only=True).keys()
    assert {"lm_head.weight", "decoder.final_layer_norm.weight"} <= names
    encoder = _transformer()
    encoder.load_state_dict({"shared.weight": whole.shared.weight}, strict=False)
    encoder.encoder.load_state_dict(whole.encoder.state_dict())
    _same(load_instructor_weights(folder), _plain(encoder, TEXTS, CAPTION_INSTRUCTION, nn.Identity()))


@pytest.mark.parametrize("kept", ["shared.weight", "encoder.embed_tokens.weight"])
def test_one_name_of_the_token_table_is_enough(kept: str, tmp_path: Path) -> None:
    transformer = _transformer()
    folder = write_instructor(tmp_path, transformer)
    other = ({"shared.weight", "encoder.embed_tokens.weight"} - {kept}).pop()
    state = {name: tensor for name, tensor in transformer.state_dict().items() if name != other}
    torch.save(state, folder / "pytorch_model.bin")
    _same(load_instructor_weights(folder), _plain(transformer, TEXTS, CAPTION_INSTRUCTION, nn.Identity()))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", ["linear.Identity", "activation.Tanh"])
def test_dense(activation: str, bias: bool, tmp_path: Path) -> None:
    torch.manual_seed(3)
    linear = nn.Linear(16, 6, bias=bias)
    state = {f"linear.{name}": tensor for name, tensor in linear.state_dict().items()}
    table = {**DENSE_TABLE, "bias": bias, "activation_function": f"torch.nn.modules.{activation}"}
    transformer = _transformer()
    folder = write_instructor(tmp_path, transformer, table, state)
    dense = nn.Sequential(linear, nn.Tanh() if activation.endswith("Tanh") else nn.Identity())
    _same(load_instructor_weights(folder), _plain(transformer, TEXTS, CAPTION_INSTRUCTION, dense))


def test_long_texts_are_embedded_whole(tmp_path: Path) -> None:
    folder = write_instructor(tmp_path)
    tokenizer = unigram_tokenizer()
    tokenizer.enable_truncation(12)
    tokenizer.enable_padding(length=64)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 12})
    instructor = load_instructor_weights(folder)
    text = " and then ".join(TEXTS)
    want = _plain(_transformer(), (text,), CAPTION_INSTRUCTION, nn.Identity())
    assert float(np.abs(instructor.embed([text]) - want.numpy()).max()) < 1e-5


def test_many_texts_are_as_each_alone(tmp_path: Path) -> None:
    instructor = load_instructor_weights(write_instructor(tmp_path))
    texts = [f"{text} {'again ' * number}" for number in range(14) for text in TEXTS]
    assert len(texts) > 32
    together = instructor.embed(texts)
    alone = np.concatenate([instructor.embed([text]) for text in texts])
    assert float(np.abs(together - alone).max()) < 1e-5
    assert instructor.embed([]).shape == (0, 16)


def _json(name: str, content: Any) -> Callable[[Path], None]:
    return lambda folder: write_json(folder / name, content)


def _with(name: str, **changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        table = json.loads((folder / name).read_text(encoding="utf-8"))
        write_json(folder / name, {**table, **changes})

    return change


def _module(number: int, **changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        listed = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        listed[number].update(changes)
        write_json(folder / "modules.json", listed)

    return change


def _gone(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _outside(path: str) -> Callable[[Path], None]:
    """The Dense module lies, whole, where its path says, and that is not in the folder."""

    def change(folder: Path) -> None:
        shutil.copytree(folder / "2_Dense", folder.parent / "outside")
        _module(2, path=path.format(parent=folder.parent))(folder)

    return change


def _large_tokenizer(folder: Path) -> None:
    unigram_tokenizer(T5_TABLE["vocab_size"] + 1).save(str(folder / "tokenizer.json"))


def _pickle(name: str, state: dict[str, torch.Tensor]) -> Callable[[Path], None]:
    return lambda folder: torch.save(state, folder / name)


DENSE, POOLING = "2_Dense/config.json", "1_Pooling/config.json"


@pytest.mark.parametrize(
    ("spoil", "kind", "words"),
    [
        (_with("config.json", model_type="bert"), ConfigError, ("'bert'", "must be T5")),
        (_json("config.json", {}), ConfigError, ("None", "must be T5")),
        (_with("config.json", num_heads="two"), ConfigError, ("no model",)),
        (_with("config.json", feed_forward_proj=3), ConfigError, ("no model",)),
        (_with("config.json", feed_forward_proj="gated-swoosh"), ConfigError, ("no model",)),
        (_with("config.json", num_layers=3), DataError, ("missing (encoder.block.2.",)),
        (_gone("config.json"), InputMissingError, ("config.json",)),
        (_gone("pytorch_model.bin"), InputMissingError, ("pytorch_model.bin",)),
        (_with(POOLING, pooling_mode_cls_token=True), ConfigError, ("cls_token", "only the mean")),
        (
            _json(POOLING, {"pooling_mode_cls_token": True}),
            ConfigError,
            ("pools by pooling_mode_cls_token; only the mean",),
        ),
        (_json(POOLING, {}), ConfigError, ("pools by nothing",)),
        (_gone(POOLING), InputMissingError, ("1_Pooling",)),
        (_gone("modules.json"), InputMissingError, ("modules.json", "sentence-transformers")),
        (_json("modules.json", {}), DataError, ("modules.json", "not a list")),
        (_json("modules.json", ["Transformer"]), ConfigError, ("modules.json", "path and type")),
        (_json("modules.json", [{"type": "Transformer"}]), ConfigError, ("modules.json", "path and type")),
        (_json("modules.json", []), ConfigError, ("modules.json", "supported is")),
        (_module(3, type=SENTENCE + "LayerNorm"), ConfigError, ("Dense, LayerNorm; supported is",)),
        (_module(0, type="os.system"), ConfigError, ("system, Pooling",)),
        (_module(2, path=None), ConfigError, ("modules.json", "outside")),
        (_outside("../outside"), ConfigError, ("modules.json", "outside")),
        (_outside("1_Pooling/../../outside"), ConfigError, ("modules.json", "outside")),
        (_outside("{parent}/outside"), ConfigError, ("modules.json", "outside")),
        (_with(DENSE, activation_function="os.system"), ConfigError, ("unknown activation 'os.system'", "Tanh")),
        (_with(DENSE, activation_function=["x"]), ConfigError, ("unknown activation",)),
        (_with(DENSE, out_features=7), DataError, ("weight is (6, 16), expected (7, 16)",)),
        (_with(DENSE, bias=True), DataError, ("1 missing (bias)",)),
        (_with(DENSE, in_features="many"), ConfigError, ("in_features",)),
        (_with(DENSE, out_features=-1), ConfigError, ("no model",)),
        (_json(DENSE, {}), ConfigError, ("in_features",)),
        (_gone("2_Dense/pytorch_model.bin"), InputMissingError, ("2_Dense",)),
        (_pickle("2_Dense/pytorch_model.bin", {"linear.weight": torch.zeros(6, 15)}), DataError, ("(6, 15)",)),
        (_gone("tokenizer.json"), InputMissingError, ("has no tokenizer.json",)),
        (_json("tokenizer.json", {"version": "1.0"}), DataError, ("cannot read the tokenizer",)),
        (_large_tokenizer, DataError, ("has 49 tokens", "48")),
    ],
)
def test_refusals(
    spoil: Callable[[Path], None], kind: type[EdgeAacError], words: tuple[str, ...], tmp_path: Path
) -> None:
    folder = write_instructor(tmp_path / "instructor", None, DENSE_TABLE, {"linear.weight": torch.rand(6, 16)})
    load_instructor_weights(folder)
    spoil(folder)
    refused(lambda: load_instructor_weights(folder), kind, *words)


def test_dense_that_does_not_take_what_the_transformer_gives(tmp_path: Path) -> None:
    table = {**DENSE_TABLE, "in_features": 20}
    folder = write_instructor(tmp_path, None, table, {"linear.weight": torch.rand(6, 20)})
    refused(lambda: load_instructor_weights(folder), ConfigError, "20", "16")


def test_no_such_folder(tmp_path: Path) -> None:
    refused(lambda: load_instructor_weights(tmp_path / "none"), InputMissingError, "none", "modules.json")
