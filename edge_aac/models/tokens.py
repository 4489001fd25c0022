"""Token ids to words and words to token ids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from edge_aac.errors import DataError

_NO_PUNCTUATION = str.maketrans({mark: " " for mark in '.,;:!?"()[]'})


def load_tokenizer(path: Path) -> Tokenizer:
    """Read a ``tokenizer.json``.

    Raises:
        DataError: this version of ``tokenizers`` cannot read it.
    """
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises plain Exception
        raise DataError(f"cannot read the tokenizer {path}: {error}") from error


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
    rows = [encoding.ids for encoding in tokenizer.encode_batch([(instruction + text).strip() for text in texts])]
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


def all_but(tokenizer: Tokenizer, words: Sequence[str]) -> npt.NDArray[np.bool_]:
    """All tokens but those of some words; (V,) bool.

    Raises:
        DataError: a word is no token of its own.
    """
    others = np.ones(tokenizer.get_vocab_size(), dtype=bool)
    for word in words:
        token = token_of(tokenizer, word)
        if token is None:
            raise DataError(f"{word!r}, a word for unfamiliar sounds, is no token of the bundle's: export it again")
        others[token] = False
    return others
