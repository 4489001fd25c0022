"""A vocabulary cut to the tokens that captions use: the tokenizer rewritten.

The published captioner knows 50265 tokens, of which captions use a few thousand. Cutting the others changes neither how
a kept caption is segmented nor its logits, once :func:`quantize.models.student.build_student` has cut the model's rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer, pre_tokenizers

from edge_aac.errors import DataError

Ids = npt.NDArray[np.int64]

# Printable ASCII and Latin-1: what English captions may yet bring, for a few hundred rows at most.
_CHARACTERS = frozenset(chr(code) for code in (*range(0x20, 0x7F), *range(0xA1, 0x100)))
_WORD_MARK = "\u2581"


@dataclass(frozen=True)
class PrunedVocabulary:
    """What is left of a vocabulary.

    Attributes:
        tokenizer: pads and truncates as the original one.
        kept_ids: (V',) int64: the original id of each new one, ascending, so that the first ids stay what they are.
        unknown_captions: number of distinct captions that hold a token that the original tokenizer does not know
            either.
    """

    tokenizer: Tokenizer
    kept_ids: Ids
    unknown_captions: int


def prune_tokenizer(tokenizer: Tokenizer, captions: Iterable[str], keep: Iterable[str] = ()) -> PrunedVocabulary:
    """Cut a BPE, Unigram or WordPiece tokenizer to the tokens of ``captions``.

    Also kept: special tokens that the tokenizer itself needs or that stand first in the vocabulary; the bytes of a
    byte-level BPE (no text becomes unknown); of the others, single characters of ASCII, Latin-1 and the captions, and
    the byte pieces; all from which BPE merges a kept token.

    Why the segmentation stays: BPE applies the first merge of its list that fits, and every merge that a caption needs
    stays, in its place; Unigram takes the path of the highest score, which is still there with its score; WordPiece
    takes the longest piece, and no longer one comes in. It is checked nevertheless, caption by caption.

    Args:
        tokenizer: is not changed.
        captions: as they are given to the tokenizer, case and leading space included.
        keep: further tokens to keep, in the tokenizer's own spelling (``<mask>``, ``Ġdog``).

    Raises:
        DataError: the tokenizer is of another kind or segments at random; a token of ``keep`` is none of its own; a
            caption would be segmented otherwise or would not come back.
    """
    texts = list(dict.fromkeys(captions))
    original = _unpadded(tokenizer)
    table: dict[str, Any] = json.loads(tokenizer.to_str())
    model = table["model"]
    if model["type"] not in ("BPE", "Unigram", "WordPiece"):
        raise DataError(
            f"the tokenizer is a {model['type']}; only BPE, Unigram and WordPiece can be pruned: give another"
        )
    if model.get("dropout"):
        raise DataError("the tokenizer drops merges at random: set its dropout to null")
    ids = tokenizer.get_vocab(with_added_tokens=True)
    encodings = original.encode_batch(texts) if texts else []
    used = {token for encoding in encodings for token in encoding.ids}
    kept = {token for token in ids if ids[token] in used} | _needed(table, ids) | _required(keep, ids)
    kept |= _alphabet(table, ids, {character for text in texts for character in _normalised(original, text)})
    if model["type"] == "BPE":
        kept = _with_ancestors(model, kept)
    kept_ids = np.array(sorted(ids[token] for token in kept), np.int64)
    new_ids = {int(old): new for new, old in enumerate(kept_ids)}
    _rewrite(table, new_ids)
    pruned = _from_table(table)
    expected = {token: new_ids[number] for token, number in ids.items() if number in new_ids}
    if pruned.get_vocab(with_added_tokens=True) != expected:
        raise DataError(
            "the pruned tokenizer numbers its tokens otherwise than asked: save it anew with its own library"
        )
    _check(original, _unpadded(pruned), texts, kept_ids, _is_byte_level(table))
    unknown = _unknown_id(model, ids)
    return PrunedVocabulary(pruned, kept_ids, sum(unknown in encoding.ids for encoding in encodings))


def _unpadded(tokenizer: Tokenizer) -> Tokenizer:
    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.no_padding()
    copy.no_truncation()
    return copy


def _from_table(table: dict[str, Any]) -> Tokenizer:
    try:
        return Tokenizer.from_str(json.dumps(table))
    except Exception as error:  # tokenizers raises plain Exception
        raise DataError(f"the tokenizer cannot be rewritten ({error}): save it anew with its own library") from error


def _required(keep: Iterable[str], ids: dict[str, int]) -> set[str]:
    required = set(keep)
    if absent := sorted(required - ids.keys()):
        raise DataError(f"{absent[0]!r} is no token of this tokenizer: take it out of the tokens to keep")
    return required


def _needed(table: dict[str, Any], ids: dict[str, int]) -> set[str]:
    """Special tokens at the start of the vocabulary, and what post-processor, padding and model name."""
    tokens = {number: token for token, number in ids.items()}
    special = {added["id"] for added in table["added_tokens"] if added["special"]}
    first = next(number for number in range(len(special) + 1) if number not in special)
    needed = {*range(first), *_special_ids(table["post_processor"])}
    if table["padding"]:
        needed.add(table["padding"]["pad_id"])
    unknown = _unknown_id(table["model"], ids)
    if unknown is not None:
        needed.add(unknown)
    if absent := sorted(number for number in needed if number not in tokens):
        raise DataError(f"the tokenizer adds token {absent[0]}, which its vocabulary lacks: save it anew")
    kept = {tokens[number] for number in needed}
    if table["model"]["type"] == "Unigram" and table["model"]["vocab"]:
        # An unknown character costs the lowest score less 10: without that piece, unknown texts would be cut otherwise.
        kept.add(min(table["model"]["vocab"], key=lambda entry: entry[1])[0])
    return kept


def _unknown_id(model: dict[str, Any], ids: dict[str, int]) -> int | None:
    if model["type"] == "Unigram":
        return model.get("unk_id")
    token = model.get("unk_token")
    return None if token is None else ids.get(token)


def _special_ids(processor: dict[str, Any] | None) -> set[int]:
    """The token ids that a post-processor adds."""
    if processor is None:
        return set()
    if processor["type"] in ("RobertaProcessing", "BertProcessing"):
        return {processor["cls"][1], processor["sep"][1]}
    if processor["type"] == "TemplateProcessing":
        return {number for token in processor["special_tokens"].values() for number in token["ids"]}
    return {number for part in processor.get("processors", []) for number in _special_ids(part)}


def _alphabet(table: dict[str, Any], ids: dict[str, int], characters: set[str]) -> set[str]:
    if _is_byte_level(table):
        return set(pre_tokenizers.ByteLevel.alphabet()) & ids.keys()
    model = table["model"]
    prefix = model.get("continuing_subword_prefix") or ""
    suffix = model.get("end_of_word_suffix") or ""
    wanted = _CHARACTERS | characters | {_WORD_MARK}
    forms = {head + character + tail for character in wanted for head in {"", prefix} for tail in {"", suffix}}
    if model.get("byte_fallback"):
        forms |= {f"<0x{byte:02X}>" for byte in range(256)}
    return forms & ids.keys()


def _is_byte_level(table: dict[str, Any]) -> bool:
    stage = table["pre_tokenizer"] or {"type": None}
    return any(part["type"] == "ByteLevel" for part in [stage, *stage.get("pretokenizers", [])])


def _merge_parts(merge: str | list[str]) -> tuple[str, str]:
    first, second = merge.split(" ") if isinstance(merge, str) else merge
    return first, second


def _product(model: dict[str, Any], first: str, second: str) -> str:
    return first + second.removeprefix(model.get("continuing_subword_prefix") or "")


def _with_ancestors(model: dict[str, Any], kept: set[str]) -> set[str]:
    """With all that any merge makes a kept token of, down to the alphabet."""
    origins: dict[str, set[str]] = {}
    for first, second in map(_merge_parts, model["merges"]):
        origins.setdefault(_product(model, first, second), set()).update((first, second))
    closed, waiting = set(kept), list(kept)
    while waiting:
        for part in origins.get(waiting.pop(), set()) - closed:
            closed.add(part)
            waiting.append(part)
    return closed


def _rewrite(table: dict[str, Any], new_ids: dict[int, int]) -> None:
    """Cut the tokenizer's JSON to the tokens of ``new_ids`` (original id → new one)."""
    model = table["model"]
    if model["type"] == "Unigram":
        model["vocab"] = [entry for number, entry in enumerate(model["vocab"]) if number in new_ids]
        if model.get("unk_id") is not None:
            model["unk_id"] = new_ids[model["unk_id"]]
    else:
        model["vocab"] = {token: new_ids[number] for token, number in model["vocab"].items() if number in new_ids}
    if model["type"] == "BPE":
        vocab = model["vocab"]
        parts = ((merge, *_merge_parts(merge)) for merge in model["merges"])
        model["merges"] = [merge for merge, *pair in parts if {*pair, _product(model, *pair)} <= vocab.keys()]
    table["added_tokens"] = [
        {**added, "id": new_ids[added["id"]]} for added in table["added_tokens"] if added["id"] in new_ids
    ]
    _renumber(table["post_processor"], new_ids)
    if table["padding"]:
        table["padding"]["pad_id"] = new_ids[table["padding"]["pad_id"]]


def _renumber(processor: dict[str, Any] | None, new_ids: dict[int, int]) -> None:
    if processor is None:
        return
    for part in processor.get("processors", []):
        _renumber(part, new_ids)
    if processor["type"] in ("RobertaProcessing", "BertProcessing"):
        for name in ("cls", "sep"):
            processor[name][1] = new_ids[processor[name][1]]
    if processor["type"] == "TemplateProcessing":
        for token in processor["special_tokens"].values():
            token["ids"] = [new_ids[number] for number in token["ids"]]


def _normalised(tokenizer: Tokenizer, text: str) -> str:
    return str(tokenizer.normalizer.normalize_str(text)) if tokenizer.normalizer else text


def _check(original: Tokenizer, pruned: Tokenizer, texts: Sequence[str], kept_ids: Ids, lossless: bool) -> None:
    """Every caption has the pieces that it had and decodes to what it did; of bytes, to itself."""
    if not texts:
        return
    for text, before, after in zip(texts, original.encode_batch(texts), pruned.encode_batch(texts), strict=True):
        if after.tokens != before.tokens or kept_ids[after.ids].tolist() != before.ids:
            raise DataError(f"the pruned tokenizer would cut {text!r} otherwise: leave that caption out")
        if pruned.decode(after.ids) != original.decode(before.ids):
            raise DataError(f"the pruned tokenizer would give {text!r} back otherwise: leave that caption out")
        if lossless:
            bare = pruned.encode(text, add_special_tokens=False).ids
            back = pruned.decode(bare, skip_special_tokens=False)
            if back.lstrip(" ") != _normalised(original, text).lstrip(" "):
                raise DataError(f"{text!r} comes back from the tokenizer as {back!r}: leave that caption out")
