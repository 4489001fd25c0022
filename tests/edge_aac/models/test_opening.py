"""What a manifest states of its graphs and tokenizers is held against them when a bundle is opened."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper
from tokenizers import Tokenizer

from edge_aac.bundle.store import open_bundle
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import ConfigError, DataError, EdgeAacError
from edge_aac.models.contract import Description, WindowModel
from edge_aac.models.registry import open_model
from edge_aac.models.seq2seq import Captioner
from edge_aac.models.trial import trial_window
from tests.edge_aac.bundle.bundle_folder import one_sentence
from tests.edge_aac.fakes import word_tokenizer
from tests.edge_aac.models import tiny_bundle as tiny
from tests.edge_aac.models.tiny_bundle import VOCABULARY, WORDS, Tiny, captioner_table, dual_encoder_table, entry

ONE_THREAD = EngineOptions(threads=1)


def _open(folder: Path, table: Any, **choices: Any) -> WindowModel:
    return open_model(open_bundle(tiny.write(folder, table)), ONE_THREAD, choices)


def _refused(folder: Path, table: Any, **choices: Any) -> str:
    with pytest.raises(DataError) as caught:
        _open(folder, table, **choices)
    assert caught.value.exit_code == 65
    return one_sentence(caught)


def _words(model: WindowModel) -> list[str]:
    found = model.describe([trial_window()] * 2, [np.random.default_rng(seed) for seed in range(2)])
    assert all(isinstance(each, Description) for each in found)
    return [each.best.text for each in found if isinstance(each, Description)]


def test_bundles_that_fit_describe_a_window(tmp_path: Path) -> None:
    assert all(_words(_open(tmp_path / "a", captioner_table(tmp_path / "a"))))
    texts = _words(_open(tmp_path / "b", dual_encoder_table(tmp_path / "b")))
    assert set(texts) <= {"rain", "a dog barks", "thunder"}


def test_a_decoder_may_have_more_tokens_than_its_tokenizer(tmp_path: Path) -> None:
    """Tables are padded to round sizes; the rule for familiarity withholds what no tokenizer names, too."""
    sizes = Tiny(vocabulary=VOCABULARY + 6)
    table = captioner_table(tmp_path, sizes)
    table["familiarity"] = {"threshold": 1e6, "words": list(WORDS)}
    model = _open(tmp_path, table)
    assert all(set(text.split()) <= set(WORDS) for text in _words(model))


# Sizes of the graphs, which the manifest of a plain bundle contradicts, and what the sentence names.
@pytest.mark.parametrize(
    ("sizes", "named"),
    [
        (Tiny(vocabulary=VOCABULARY - 1), "decoder.onnx gives logits of size 17, but vocabulary_size is 18"),
        (Tiny(vocabulary=VOCABULARY + 1), "decoder.onnx gives logits of size 19, but vocabulary_size is 18"),
        (Tiny(vocabulary=VOCABULARY - 1, open_vocabulary=True), r"decoder, which gives logits of shape \[3, 17\]"),
        (Tiny(vocabulary=VOCABULARY + 1, open_vocabulary=True), r"decoder, which gives logits of shape \[3, 19\]"),
        (
            Tiny(vocabulary=VOCABULARY - 1, open_vocabulary=True, padded_logits=1),
            "decoder, which fails with the last token of vocabulary_size 18",
        ),
        (Tiny(positions=10), "decoder, which fails with the last position of max_length 12"),
        (Tiny(text_vocabulary=VOCABULARY - 1), "text_embedder, which fails with the token 17 of text_tokenizer.json"),
        (Tiny(unit=False), "text_embedder, which gives embeddings of length .*, not of unit length"),
        (Tiny(embedding=5, text_embedding=6), "encoder.onnx gives audio_embedding of size 5, but embedding_size is 6"),
        (Tiny(embedding=6, text_embedding=5), "text_embedder.onnx gives embedding of size 5, but embedding_size is 6"),
    ],
)
def test_sizes_that_a_manifest_contradicts(tmp_path: Path, sizes: Tiny, named: str) -> None:
    stated = captioner_table(tmp_path)
    table = captioner_table(tmp_path, sizes)
    table |= {key: stated[key] for key in ("embedding_size", "vocabulary_size", "decoding")}
    with pytest.raises(DataError, match=named) as caught:
        _open(tmp_path, table)
    assert "again" in one_sentence(caught), "the mend"


def test_texts_that_cannot_be_compared_with_sounds(tmp_path: Path) -> None:
    table = captioner_table(tmp_path, Tiny(embedding=6, text_embedding=5))
    table["rerank"]["similarity"] = 0.0
    assert all(_words(_open(tmp_path, table)))
    assert "texts in 5 dimensions and sounds in 6" in _refused(tmp_path, table, similarity_weight=0.5)
    dual = dual_encoder_table(tmp_path / "dual", Tiny(text_embedding=5))
    dual["graphs"]["text_embedder"][0]["shapes"] = {}
    assert "gives embedding of shape ['texts', 5], but embedding_size is 6 by" in _refused(tmp_path / "dual", dual)


def test_a_caption_that_a_user_makes_longer_than_the_decoder_can_count(tmp_path: Path) -> None:
    table = captioner_table(tmp_path)
    table["decoding"]["max_positions"] = 40  # in truth 24
    _open(tmp_path, table)
    _open(tmp_path, table, max_length=25)
    assert "the last position of max_length 26" in _refused(tmp_path, table, max_length=26)


def _renamed(model: ModelProto, old: str, new: str) -> None:
    for tensor in (*model.graph.input, *model.graph.output):
        if tensor.name == old:
            tensor.name = new
    for node in model.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]


def _shaped(model: ModelProto, name: str, *shape: int | str) -> None:
    (tensor,) = (each for each in (*model.graph.input, *model.graph.output) if each.name == name)
    kind = tensor.type.tensor_type.elem_type
    tensor.CopyFrom(helper.make_tensor_value_info(name, kind, shape))


def _batched(model: ModelProto, windows: int) -> None:
    """For so many windows at once and no other number."""
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_value = windows


def _typed(model: ModelProto, name: str, kind: int) -> None:
    """The input as another type, cast to its own."""
    (tensor,) = (each for each in model.graph.input if each.name == name)
    own = tensor.type.tensor_type.elem_type
    tensor.type.tensor_type.elem_type = kind
    for node in model.graph.node:
        node.input[:] = [f"{name}/own" if each == name else each for each in node.input]
    model.graph.node.insert(0, helper.make_node("Cast", [name], [f"{name}/own"], to=own))


def _without_output(model: ModelProto, name: str) -> None:
    kept = [output for output in model.graph.output if output.name != name]
    del model.graph.output[:]
    model.graph.output.extend(kept)


def _more_inputs(model: ModelProto, name: str) -> None:
    model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]))


@pytest.mark.parametrize(
    ("role", "edit", "named"),
    [
        ("encoder", lambda m: _renamed(m, "fbank", "mel"), "takes mel, where an encoder takes fbank"),
        ("encoder", lambda m: _renamed(m, "cross_keys", "keys"), "where an encoder gives cross_keys"),
        ("encoder", lambda m: _without_output(m, "audio_embedding"), "where an encoder gives audio_embedding"),
        ("encoder", lambda m: _shaped(m, "fbank", "windows", 500, 128), r"500, 128\], where one size is 998"),
        (
            "encoder",
            lambda m: _shaped(m, "fbank", "windows", 998, 64),
            r"998, 64\]|Incompatible dim",
        ),
        ("encoder", lambda m: _shaped(m, "fbank", "windows", 998, 128, 1), "fbank of 4 axes|Incompatible dimensions"),
        ("encoder", lambda m: _batched(m, 2), "fixed number of windows"),
        ("encoder", lambda m: _typed(m, "fbank", TensorProto.FLOAT16), "fbank of type float16, not float32"),
        ("encoder", lambda m: _more_inputs(m, "speed"), "takes speed, which no encoder is given"),
        ("decoder", lambda m: _renamed(m, "memory_padding", "mask"), "where a decoder takes memory_padding"),
        ("decoder", lambda m: _renamed(m, "self_keys_0", "past_0"), "where a decoder takes self_keys_0|takes past_0"),
        ("decoder", lambda m: _renamed(m, "logits", "scores"), "where a decoder gives logits"),
        ("decoder", lambda m: _shaped(m, "self_keys_1", 1, 2, "capacity", 4), "fixed number of rows"),
        ("decoder", lambda m: _shaped(m, "memory_padding", 1, "memory_steps"), "fixed number of windows"),
        ("decoder", lambda m: _shaped(m, "self_values_1", "rows", 3, "capacity", 4), "heads is 2 by self_keys_0 of"),
        (
            "decoder",
            lambda m: _shaped(m, "cross_keys_0", "windows", 2, "memory_steps", 5),
            "head size is 4 by self",
        ),
        ("decoder", lambda m: _typed(m, "token_ids", TensorProto.INT32), "token_ids of type int32, not int64"),
        ("text_embedder", lambda m: _renamed(m, "attention_mask", "mask"), "where a text_embedder takes attention"),
        ("text_embedder", lambda m: _shaped(m, "token_ids", "texts", 16), "fixed number of tokens"),
        ("text_embedder", lambda m: _shaped(m, "attention_mask", 1, "tokens_of_text"), "fixed number of texts"),
    ],
)
def test_a_graph_that_is_none_of_its_role(
    tmp_path: Path, role: str, edit: Callable[[ModelProto], None], named: str
) -> None:
    model = tiny.GRAPHS[role](Tiny())
    edit(model)
    with pytest.raises(DataError, match=named) as caught:
        _open(tmp_path, captioner_table(tmp_path, **{role: model}))
    message = one_sentence(caught)
    assert f"{role}.onnx" in message and "the bundle again" in message


@pytest.mark.parametrize("role", sorted(tiny.GRAPHS))
@pytest.mark.parametrize("other", sorted(tiny.GRAPHS))
def test_a_graph_in_anothers_place(tmp_path: Path, role: str, other: str) -> None:
    if role == other:
        return
    table = captioner_table(tmp_path)
    table["graphs"][role] = copy.deepcopy(table["graphs"][other])
    assert f"gives {other}.onnx as its {role}, but that graph takes" in _refused(tmp_path, table)


@pytest.mark.parametrize(
    ("layers", "heads", "memory_steps", "head_size", "named"),
    [
        (3, 2, 5, 4, "layers is 2 by the inputs of decoder.onnx"),
        (2, 3, 5, 4, "heads is 2 by self_keys_0 of decoder.onnx"),
        (2, 2, 5, 8, "head size is 4 by self_keys_0 of decoder.onnx"),
    ],
)
def test_an_encoder_of_another_decoder(  # noqa: PLR0913, PLR0917 - sizes
    tmp_path: Path, layers: int, heads: int, memory_steps: int, head_size: int, named: str
) -> None:
    other = Tiny(layers=layers, heads=heads, memory_steps=memory_steps, head_size=head_size)
    assert named in _refused(tmp_path, captioner_table(tmp_path, encoder=tiny.encoder(other)))


def _nan_weights(model: ModelProto, name: str) -> ModelProto:
    (weights,) = (each for each in model.graph.initializer if each.name == name)
    array = np.full_like(onnx.numpy_helper.to_array(weights), np.nan)
    weights.CopyFrom(onnx.numpy_helper.from_array(array, name))
    return model


@pytest.mark.parametrize(
    ("role", "weights", "named"),
    [
        ("encoder", "to_embedding", "encoder, which gives audio_embedding that are no numbers"),
        ("decoder", "to_logits", "decoder, which gives logits that are no numbers"),
        ("decoder", "to_new", "decoder, which gives logits that are no numbers"),
        ("text_embedder", "tokens", "text_embedder, which gives embedding that are no numbers"),
    ],
)
def test_a_graph_without_numbers(tmp_path: Path, role: str, weights: str, named: str) -> None:
    model = _nan_weights(tiny.GRAPHS[role](Tiny()), weights)
    assert named in _refused(tmp_path, captioner_table(tmp_path, **{role: model}))


def _tokenizer(path: Path, tokenizer: Tokenizer) -> dict[str, Any]:
    tokenizer.save(str(path))
    return entry(path)


def test_a_tokenizer_with_more_words_than_the_decoder(tmp_path: Path) -> None:
    table = captioner_table(tmp_path)
    table["tokenizers"]["decoder"] = _tokenizer(tmp_path / "tokenizer.json", word_tokenizer((*WORDS, "snow")))
    assert f"has the token {VOCABULARY}, but vocabulary_size" in _refused(tmp_path, table)


def test_a_text_tokenizer_with_more_words_than_the_text_embedder(tmp_path: Path) -> None:
    table = captioner_table(tmp_path)
    table["tokenizers"]["text"] = _tokenizer(tmp_path / "text_tokenizer.json", word_tokenizer((*WORDS, "snow")))
    assert f"fails with the token {VOCABULARY} of text_tokenizer.json" in _refused(tmp_path, table)
    dual = dual_encoder_table(tmp_path / "dual")
    dual["text_tokenizer"] = _tokenizer(tmp_path / "dual" / "text_tokenizer.json", word_tokenizer((*WORDS, "snow")))
    assert f"fails with the token {VOCABULARY} of text_tokenizer.json" in _refused(tmp_path / "dual", dual)


@pytest.mark.parametrize("key", ["start_token_id", "eos_token_id", "pad_token_id"])
def test_a_word_in_the_place_of_a_special_token(tmp_path: Path, key: str) -> None:
    table = captioner_table(tmp_path)
    table["decoding"][key] = 4
    assert f"decoding.{key} in the bundle's manifest.json is 4" in _refused(tmp_path, table)


def test_another_end_than_the_tokenizers(tmp_path: Path) -> None:
    from tokenizers.processors import TemplateProcessing

    table = captioner_table(tmp_path)
    tokenizer = word_tokenizer(WORDS)
    tokenizer.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
    table["tokenizers"]["decoder"] = _tokenizer(tmp_path / "tokenizer.json", tokenizer)
    _open(tmp_path, table)
    table["decoding"]["eos_token_id"] = 3
    assert "decoding.eos_token_id in the bundle's manifest.json is 3, but the tokenizer" in _refused(tmp_path, table)


def test_a_tokenizer_without_words(tmp_path: Path) -> None:
    table = captioner_table(tmp_path)
    table["tokenizers"]["decoder"] = _tokenizer(tmp_path / "tokenizer.json", word_tokenizer(()))
    assert "no token of its tokenizer is a word" in _refused(tmp_path, table)


def test_a_tokenizer_that_pads_beyond_all_bounds(tmp_path: Path) -> None:
    table = captioner_table(tmp_path)
    tokenizer = word_tokenizer(WORDS)
    tokenizer.enable_padding(length=50_000_000)
    table["tokenizers"]["text"] = _tokenizer(tmp_path / "text_tokenizer.json", tokenizer)
    assert "pads every text to 50000000 tokens" in _refused(tmp_path, table)


def test_a_graph_in_a_tokenizers_place(tmp_path: Path) -> None:
    table = captioner_table(tmp_path)
    table["tokenizers"]["text"] = entry(tmp_path / "encoder.onnx")
    assert "cannot read the tokenizer" in _refused(tmp_path, table)


def test_familiarity_without_a_score(tmp_path: Path) -> None:
    table = captioner_table(tmp_path, encoder=tiny.encoder(Tiny(), familiarity=False))
    table["familiarity"] = {"threshold": 0.0, "words": ["rain"]}
    assert "does not score it" in _refused(tmp_path, table)
    table["graphs"]["encoder"][0]["shapes"]["familiarity"] = ["windows"]
    assert "shapes names familiarity, the file has no familiarity" in _refused(tmp_path, table)


def test_a_score_that_the_manifest_does_not_name(tmp_path: Path) -> None:
    table = captioner_table(tmp_path)
    del table["graphs"]["encoder"][0]["shapes"]["familiarity"]
    assert "shapes has no familiarity, the file has a familiarity" in _refused(tmp_path, table)


def test_a_manifest_may_be_silent_about_shapes(tmp_path: Path) -> None:
    table = captioner_table(tmp_path)
    for forms in table["graphs"].values():
        forms[0]["shapes"] = {}
    assert all(_words(_open(tmp_path, table)))


@pytest.mark.parametrize("method", ["nucleus", "greedy", "beam"])
def test_rules_that_leave_no_token_end_the_caption(tmp_path: Path, method: str) -> None:
    """One word that may not come twice, and an end that stood at the start: nothing is left after the word."""
    table = captioner_table(tmp_path)
    table["decoding"] |= {"no_repeat_ngram": 1, "method": method, "min_length": 5}
    table["familiarity"] = {"threshold": 1e6, "words": ["rain"]}
    assert _words(_open(tmp_path, table)) == ["rain", "rain"]


@pytest.mark.parametrize(
    ("choices", "named"),
    [({"candidates": 65}, "candidates"), ({"max_length": 513}, "max_length"), ({"similarity_weight": 1e300}, "simil")],
)
def test_a_choice_has_the_bounds_of_what_it_overrules(tmp_path: Path, choices: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        _open(tmp_path, captioner_table(tmp_path), **choices)


def test_a_cache_beyond_all_memory_is_not_allocated(tmp_path: Path) -> None:
    sizes = Tiny(heads=8, head_size=1024, positions=513)
    table = captioner_table(tmp_path, sizes)
    table["decoding"] |= {"candidates": 64, "max_length": 512, "max_positions": 513}
    with pytest.raises(ConfigError, match="64 captions of 512 tokens side by side need .* GiB: use fewer"):
        _open(tmp_path, table)


def test_captioners_are_tried_out_by_their_own_opener(tmp_path: Path) -> None:
    table = captioner_table(tmp_path, Tiny(unit=False))
    with pytest.raises(EdgeAacError, match="unit length"):
        Captioner.open(tiny.write(tmp_path, table), ONE_THREAD)
