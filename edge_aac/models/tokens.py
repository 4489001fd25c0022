"""Token ids to words and words to token ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from edge_aac.bundle.manifest import MANIFEST
from edge_aac.errors import DataError

_NO_PUNCTUATION = str.maketrans({mark: " " for mark in '.,;:!?"()[]'})


END = "eos_token_id"
"""Key in the manifest."""
MAX_PADDED_LENGTH = 4096
"""Tokens to which a tokenizer may pad every text."""


def load_tokenizer(path: Path) -> Tokenizer:
    """Read a ``tokenizer.json``.

    Raises:
        DataError: this version of ``tokenizers`` cannot read it, or it pads every text to a length beyond all bounds.
    """
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises plain Exception
        why = " ".join(str(error).split())[:200]
        raise DataError(f"cannot read the tokenizer {path} ({why}): install or build the bundle again") from error
    length = (tokenizer.padding or {}).get("length") or 0
    if length > MAX_PADDED_LENGTH:
        raise DataError(
            f"the tokenizer {path} pads every text to {length} tokens, more than {MAX_PADDED_LENGTH}: install or build "
            "the bundle again"
        )
    return tokenizer


def max_token_id(tokenizer: Tokenizer) -> int:
    """The largest id of a tokenizer, whose ids may have gaps; -1 of one without tokens."""
    return max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)


def check_decoder_tokenizer(tokenizer: Tokenizer, path: Path, vocabulary_size: int, special: Mapping[str, int]) -> None:
    """Refuse a tokenizer that does not belong to a decoder.

    A decoder may have more tokens than its tokenizer (tables are padded to round sizes), never fewer.

    Args:
        tokenizer: tokenizer of the decoder.
        path: its file, for the message.
        vocabulary_size: number of the decoder's tokens, as the manifest states it.
        special: key in the manifest → id of a token that is no word.

    Raises:
        DataError: it has more tokens than the decoder, or a word in the place of a special token.
    """
    if (largest := max_token_id(tokenizer)) >= vocabulary_size:
        raise DataError(
            f"the tokenizer {path} has the token {largest}, but vocabulary_size in the bundle's {MANIFEST} is "
            f"{vocabulary_size}: install or export the bundle again"
        )
    # What a tokenizer puts behind every text is the end that its captions were trained with.
    behind = tokenizer.encode("").ids
    added = tokenizer.get_added_tokens_decoder()
    specials = {token_id for token_id, token in added.items() if token.special}
    for key, token_id in special.items():
        # A tokenizer without any special token does not say which they are.
        if specials and token_id not in specials and tokenizer.id_to_token(token_id) is not None:
            raise DataError(
                f"decoding.{key} in the bundle's {MANIFEST} is {token_id}, which the tokenizer {path} has for the word "
                f"{tokenizer.id_to_token(token_id)!r}: install or export the bundle again"
            )
    if behind and behind[-1] in specials and behind[-1] != special[END]:
        raise DataError(
            f"decoding.{END} in the bundle's {MANIFEST} is {special[END]}, but the tokenizer {path} ends texts with "
            f"{behind[-1]}: install or export the bundle again"
        )


def to_text(tokenizer: Tokenizer, token_ids: Sequence[int]) -> str:
    """A caption: lower-case words, one space between, no punctuation (apostrophes and hyphens belong to words)."""
    return plain_text(tokenizer.decode(list(token_ids), skip_special_tokens=True))


def plain_text(text: str) -> str:
    """Lower-case words, one space between, without punctuation: how captions are written everywhere."""
    return " ".join(text.lower().translate(_NO_PUNCTUATION).split())


def to_arrays(
    tokenizer: Tokenizer, texts: Sequence[str], instruction: str = ""
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Texts as a batch, each behind the instruction, its outer spaces cut off.

    Returns:
        Token ids and attention mask (1 = token, 0 = padding), both (N, S) int64.
    """
    return verbatim_arrays(tokenizer, [(instruction + text).strip() for text in texts])


def verbatim_arrays(tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """As :func:`to_arrays`, the texts as they are."""
    rows = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    # One column at least: a text of no tokens is padding, not nothing.
    ids = np.zeros((len(rows), max(1, *(len(row) for row in rows))), dtype=np.int64)
    mask = np.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
        mask[index, : len(row)] = 1
    return ids, mask


def token_of(tokenizer: Tokenizer, word: str) -> int | None:
    """The token that says a word and nothing else; None where there is none."""
    ids = tokenizer.encode(word, add_special_tokens=False).ids
    return ids[0] if len(ids) == 1 and to_text(tokenizer, ids) == word else None


Ways: TypeAlias = "tuple[tuple[int, ...], tuple[int, ...]]"
"""See :func:`ways_to_say`."""


def ways_to_say(tokenizer: Tokenizer, word: str) -> Ways:
    """The tokens of a word in order, at the beginning of a text and behind a space; none where it cannot be said."""
    first, later = (tuple(tokenizer.encode(text, add_special_tokens=False).ids) for text in (word, f" {word}"))
    return (
        first if to_text(tokenizer, first) == word else (),
        later if to_text(tokenizer, later) == word else (),
    )


def all_but(tokenizer: Tokenizer, words: Sequence[str], vocabulary_size: int) -> npt.NDArray[np.bool_]:
    """All tokens but those of some words; (V,) bool.

    Args:
        tokenizer: tokenizer of a decoder.
        words: words that are allowed.
        vocabulary_size: number of the decoder's tokens, V, of which its tokenizer may have fewer.

    Raises:
        DataError: a word is no token of its own.
    """
    others = np.ones(vocabulary_size, dtype=bool)
    for word in words:
        token = token_of(tokenizer, word)
        if token is None:
            raise DataError(f"{word!r}, a word for unfamiliar sounds, is no token of the bundle's: export it again")
        others[token] = False
    return others
