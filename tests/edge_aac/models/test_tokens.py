"""Token ids to words and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_aac.errors import DataError
from edge_aac.models.tokens import all_but, load_tokenizer, to_arrays, to_text, token_of
from tests.edge_aac.fakes import word_tokenizer


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["A", "Dog", "barks", "."], "a dog barks"),
        (["rain", ",", "then", "wind", "!", "?"], "rain then wind"),
        (["a", "dog's", "tick-tock"], "a dog's tick-tock"),
        (["  ", "rain"], "rain"),
        (["."], ""),
    ],
)
def test_to_text(words: list[str], text: str) -> None:
    tokenizer = word_tokenizer(words)
    ids = [4 + number for number in range(len(words))]
    assert to_text(tokenizer, [0, *ids, 2, 1, 1]) == text


def test_nothing_drawn_is_an_empty_text() -> None:
    assert to_text(word_tokenizer([]), ()) == ""


def test_to_arrays() -> None:
    ids, mask = to_arrays(word_tokenizer(["rain", "falls"]), ["rain", "rain falls rain", "unheard falls"])
    assert ids.dtype == mask.dtype == np.int64
    assert ids.tolist() == [[4, 0, 0], [4, 5, 4], [3, 5, 0]]
    assert mask.tolist() == [[1, 0, 0], [1, 1, 1], [1, 1, 0]]


def test_load(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    word_tokenizer(["rain"]).save(str(path))
    assert to_text(load_tokenizer(path), [4]) == "rain"


@pytest.mark.parametrize("content", [b"", b"{}", b"no json", b"\xff\xfe"])
def test_load_refuses(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"tokenizer\.json"):
        load_tokenizer(path)


def test_the_token_of_a_word() -> None:
    tokenizer = word_tokenizer(["rain", "falls"])
    assert token_of(tokenizer, "rain") == 4
    assert token_of(tokenizer, "snow") is None
    assert token_of(tokenizer, "rain falls") is None
    assert all_but(tokenizer, ["falls"], 8).tolist() == [True] * 5 + [False] + [True] * 2
    with pytest.raises(DataError, match="'snow', a word for unfamiliar sounds"):
        all_but(tokenizer, ["rain", "snow"], 6)
