"""Vocabularies cut to captions: the same pieces, the same texts back, the same logits."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from edge_aac.errors import DataError
from quantize.data.tokenizer import train_tokenizer
from quantize.models.captioner import Captioner
from quantize.models.checkpoint import load_captioner_weights
from quantize.models.student import build_student
from quantize.training.vocabulary import PrunedVocabulary, prune_tokenizer
from tests.quantize.models.published_layout import refused, small_captioner

SUBJECTS = ("a dog", "the heavy rain", "an old engine", "some children", "water", "a helicopter", "two sea gulls")
VERBS = ("barks", "is falling", "rattles and stops", "are laughing loudly", "drips", "hovers overhead", "squawk")
PLACES = ("in the distance", "on a tin roof", "nearby", "while people don't talk", "at 5 o'clock", "behind a door")
TEXT = [f"{subject} {verb} {place}" for subject in SUBJECTS for verb in VERBS for place in PLACES]
CAPTIONS = [
    "a dog barks in the distance",
    "water drips on a tin roof",
    "Two sea gulls squawk",
    "the rain isn't falling",
]
BART = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def bart_like() -> Tokenizer:
    """As ``facebook/bart-base``: no prefix space, the mask behind all others, the post-processor of RoBERTa."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1000, special_tokens=BART[:4], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([*TEXT, *(text.title() for text in TEXT)], trainer)
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    tokenizer.enable_padding(pad_id=1, pad_token="<pad>")
    tokenizer.enable_truncation(128)
    return tokenizer


def unigram() -> Tokenizer:
    """As T5's: padding, end and unknown first, sentinels behind the model's own vocabulary."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.add_special_tokens(["<extra_id_0>", "<extra_id_1>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return tokenizer


def word_piece() -> Tokenizer:
    """As BERT's: its special tokens stand among the unused ones, not at the start."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    specials = ["[PAD]", *(f"[unused{number}]" for number in range(9)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator(TEXT, trainer)
    table = json.loads(tokenizer.to_str())
    table["added_tokens"] = [token for token in table["added_tokens"] if "unused" not in token["content"]]
    tokenizer = Tokenizer.from_str(json.dumps(table))
    sep, cls = tokenizer.token_to_id("[SEP]"), tokenizer.token_to_id("[CLS]")
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", sep), ("[CLS]", cls))
    tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")
    return tokenizer


def _same_pieces(tokenizer: Tokenizer, pruned: PrunedVocabulary, texts: list[str]) -> None:
    for text in texts:
        before, after = tokenizer.encode(text), pruned.tokenizer.encode(text)
        assert after.tokens == before.tokens
        assert pruned.kept_ids[after.ids].tolist() == before.ids
        assert pruned.tokenizer.decode(after.ids) == tokenizer.decode(before.ids)


@pytest.mark.parametrize("build", [bart_like, unigram, word_piece])
def test_captions_keep_their_pieces_and_new_ids_are_the_kept_ones(build: Callable[[], Tokenizer]) -> None:
    tokenizer = build()
    pruned = prune_tokenizer(tokenizer, CAPTIONS)
    assert pruned.kept_ids.dtype == np.int64
    size = pruned.tokenizer.get_vocab_size()
    assert len(pruned.kept_ids) == size < tokenizer.get_vocab_size()
    assert (np.diff(pruned.kept_ids) > 0).all()
    for new, old in enumerate(pruned.kept_ids.tolist()):
        assert pruned.tokenizer.id_to_token(new) == tokenizer.id_to_token(old)
    _same_pieces(tokenizer, pruned, CAPTIONS)
    again = Tokenizer.from_str(pruned.tokenizer.to_str())
    assert again.encode(CAPTIONS[0]).ids == pruned.tokenizer.encode(CAPTIONS[0]).ids


@pytest.mark.parametrize("build", [bart_like, unigram, word_piece])
def test_all_the_training_text_survives_when_all_of_it_is_captions(build: Callable[[], Tokenizer]) -> None:
    tokenizer = build()
    pruned = prune_tokenizer(tokenizer, TEXT)
    _same_pieces(tokenizer, pruned, TEXT)
    assert pruned.unknown_captions == 0


def test_bart_keeps_its_first_tokens_its_bytes_and_its_merges_in_order() -> None:
    tokenizer = bart_like()
    pruned = prune_tokenizer(tokenizer, CAPTIONS)
    assert [pruned.tokenizer.token_to_id(token) for token in BART] == [0, 1, 2, 3, None]
    assert set(pre_tokenizers.ByteLevel.alphabet()) <= pruned.tokenizer.get_vocab().keys()
    before, after = (json.loads(t.to_str())["model"] for t in (tokenizer, pruned.tokenizer))
    places = [before["merges"].index(merge) for merge in after["merges"]]
    assert places == sorted(places)
    made = {first + second for first, second in after["merges"]}
    composed = {token for token in after["vocab"] if len(token) > 1 and token not in BART}
    assert made == composed, "every composed token can still be made"
    for text in ("a walrus sings", "naïve 猫 \U0001f415", "ZZZ\t!"):
        assert pruned.tokenizer.decode(pruned.tokenizer.encode(text).ids) == text, "no text becomes unknown"


def test_case_and_leading_space_are_those_of_the_captions() -> None:
    tokenizer = bart_like()
    plain = prune_tokenizer(tokenizer, ["helicopter"]).tokenizer.get_vocab()
    spaced = prune_tokenizer(tokenizer, [" helicopter"]).tokenizer.get_vocab()
    titled = prune_tokenizer(tokenizer, ["A Helicopter"]).tokenizer.get_vocab()
    assert "Ġhelicopter" in spaced
    assert "Ġhelicopter" not in plain
    assert "ĠHelicopter" in titled
    assert "ĠHelicopter" not in spaced


def test_our_own_tokenizer_ends_with_its_end_token_still() -> None:
    tokenizer = train_tokenizer(TEXT, 600)
    pruned = prune_tokenizer(tokenizer, CAPTIONS)
    _same_pieces(tokenizer, pruned, CAPTIONS)
    assert pruned.tokenizer.encode("an unheard word").ids[-1] == 2
    assert pruned.kept_ids[:4].tolist() == [0, 1, 2, 3]


def test_padding_and_truncation_stay_with_their_new_ids() -> None:
    tokenizer = word_piece()
    tokenizer.enable_padding(pad_id=tokenizer.token_to_id("[MASK]"), pad_token="[MASK]", length=40)
    tokenizer.enable_truncation(5)
    pruned = prune_tokenizer(tokenizer, CAPTIONS).tokenizer
    encoding = pruned.encode(CAPTIONS[0])
    assert encoding.tokens == tokenizer.encode(CAPTIONS[0]).tokens
    assert encoding.ids[-1] == pruned.token_to_id("[MASK]")
    assert pruned.truncation is not None
    assert pruned.truncation["max_length"] == 5
    assert pruned.padding is not None
    assert pruned.padding["length"] == 40


def test_post_processors_in_a_sequence_are_renumbered() -> None:
    tokenizer = word_piece()
    ends = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    template = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    pruned = prune_tokenizer(tokenizer, CAPTIONS).tokenizer
    ids = pruned.encode("dog").ids
    assert (ids[0], ids[-1]) == (pruned.token_to_id("[CLS]"), pruned.token_to_id("[SEP]"))
    assert ids[0] < tokenizer.token_to_id("[CLS]")


def test_specials_among_unused_tokens_move_and_the_unused_go() -> None:
    tokenizer = word_piece()
    pruned = prune_tokenizer(tokenizer, CAPTIONS).tokenizer
    assert pruned.token_to_id("[PAD]") == 0
    assert pruned.token_to_id("[UNK]") == 1
    assert pruned.token_to_id("[unused3]") is None
    assert pruned.token_to_id("[MASK]") is None
    assert pruned.encode("dog").tokens == ["[CLS]", *tokenizer.encode("dog").tokens[1:-1], "[SEP]"]


def test_unigram_scores_stay_and_words_unheard_fall_to_characters() -> None:
    tokenizer = unigram()
    pruned = prune_tokenizer(tokenizer, CAPTIONS)
    before, after = (json.loads(t.to_str())["model"] for t in (tokenizer, pruned.tokenizer))
    # tokenizers reads a number of its own JSON back with a last digit changed.
    assert dict(after["vocab"]) == pytest.approx(dict(before["vocab"][old] for old in pruned.kept_ids), rel=1e-12)
    assert after["unk_id"] == 2
    assert pruned.tokenizer.token_to_id("<extra_id_0>") is None
    assert "<unk>" not in pruned.tokenizer.encode("children behind the old helicopter").tokens
    lowest = min(score for _, score in before["vocab"])
    assert min(score for _, score in after["vocab"]) == pytest.approx(lowest, rel=1e-12)


def test_byte_pieces_stay_where_unigram_falls_back_to_them() -> None:
    table = json.loads(unigram().to_str())
    table["added_tokens"] = table["added_tokens"][:3]
    table["model"]["vocab"] += [[f"<0x{byte:02X}>", -30.0] for byte in range(256)]
    table["model"]["byte_fallback"] = True
    tokenizer = Tokenizer.from_str(json.dumps(table))
    pruned = prune_tokenizer(tokenizer, CAPTIONS)
    assert pruned.tokenizer.encode("猫").tokens == tokenizer.encode("猫").tokens
    assert "<0xE7>" in pruned.tokenizer.encode("猫").tokens


def test_captions_that_were_unknown_before_are_counted_not_refused() -> None:
    pruned = prune_tokenizer(unigram(), ["a dog barks", "a 猫 barks", "a 猫 barks", "the 犬"])
    assert pruned.unknown_captions == 2


def test_the_reference_instructors_tokenizer(instructor_folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(instructor_folder / "tokenizer.json"))
    texts = json.loads((instructor_folder / "expected_inputs.json").read_text(encoding="utf-8"))
    captions = [text for text in texts["texts"] if isinstance(text, str)]
    pruned = prune_tokenizer(tokenizer, captions[:1])
    _same_pieces(tokenizer, pruned, captions[:1])
    assert pruned.kept_ids[:3].tolist() == [0, 1, 2]
    assert len(pruned.kept_ids) < tokenizer.get_vocab_size()


def test_tokens_to_keep_are_kept_with_all_that_they_are_made_of() -> None:
    tokenizer = bart_like()
    pruned = prune_tokenizer(tokenizer, [" dog"], keep=["<mask>", "Ġhelicopter"]).tokenizer
    assert pruned.encode(" helicopter").tokens[1:-1] == ["Ġhelicopter"]
    assert pruned.token_to_id("<mask>") == pruned.get_vocab_size() - 1
    refused(lambda: prune_tokenizer(tokenizer, CAPTIONS, keep=["walrus"]), DataError, "walrus")


def test_the_original_is_not_changed() -> None:
    tokenizer = bart_like()
    before = tokenizer.to_str()
    prune_tokenizer(tokenizer, CAPTIONS)
    assert tokenizer.to_str() == before


def test_what_cannot_be_pruned_is_refused() -> None:
    words = Tokenizer(models.WordLevel({"<unk>": 0, "dog": 1}, unk_token="<unk>"))
    refused(lambda: prune_tokenizer(words, CAPTIONS), DataError, "WordLevel")
    table = json.loads(bart_like().to_str())
    table["model"]["dropout"] = 0.1
    refused(lambda: prune_tokenizer(Tokenizer.from_str(json.dumps(table)), CAPTIONS), DataError, "dropout")
    # Bytes without a token of their own vanish: the caption would not come back.
    lossy = Tokenizer(models.BPE({"<unk>": 0, "d": 1, "o": 2}, []))
    lossy.pre_tokenizer, lossy.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    refused(lambda: prune_tokenizer(lossy, ["dog"]), DataError, "'dog'", "'do'")


def _keeps_its_logits(model: Captioner, kept: list[int]) -> None:
    decoder = replace(model.config.decoder, vocab_size=len(kept))
    pruned = build_student(model, replace(model.config, decoder=decoder), kept).captioner
    assert len(pruned.lm_head.weight) == len(kept)
    assert pruned.lm_head.weight is pruned.decoder.embed_tokens.weight
    assert pruned.final_logits_bias.shape == (1, len(kept))
    new = torch.tensor([[decoder.start_token_id, len(kept) - 1, len(kept) - 2, decoder.start_token_id]])
    memory = torch.randn(1, 7, model.config.beats.dim)
    with torch.no_grad():
        want = model.logits(torch.tensor(kept)[new], memory)[..., kept]
        assert torch.allclose(pruned.logits(new, memory), want, atol=1e-5)
    fbank = torch.randn(1, 240, 128)
    with torch.no_grad():
        assert torch.equal(pruned.encode(fbank)[0], model.encode(fbank)[0])


def test_a_pruned_captioner_gives_the_logits_of_the_kept_tokens() -> None:
    _keeps_its_logits(small_captioner(), [0, 1, 2, 3, 11, 30, 58, 59])


def test_the_reference_captioner_pruned(captioner_folder: Path) -> None:
    _keeps_its_logits(load_captioner_weights(captioner_folder), [0, 1, 2, 3, *range(10, 97, 5)])
