"""Files that people write: the encodings of their editors, and TOML that no program can hold."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_aac.text_files import EncodingError, utf8_text, wide_encoding
from edge_aac.toml_files import TomlError, parse_toml

_GOOD = "[stream]\nnode = 'K\u00fcche'\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_utf8_with_or_without_a_mark(encoding: str) -> None:
    assert utf8_text(_GOOD.encode(encoding)) == _GOOD
    assert parse_toml(_GOOD.replace("\n", "\r\n").encode(encoding)) == (_GOOD, {"stream": {"node": "K\u00fcche"}})


@pytest.mark.parametrize(
    ("encoding", "line", "reason"),
    [
        ("utf-16", 1, "it is UTF-16, not UTF-8"),
        ("utf-16-le", 1, "it is UTF-16, not UTF-8"),
        ("utf-16-be", 1, "it is UTF-16, not UTF-8"),
        ("utf-32", 1, "it is UTF-32, not UTF-8"),
        ("latin-1", 2, "it is not UTF-8: byte 0xFC would be '\u00fc' in Windows-1252"),
    ],
)
def test_other_encodings_are_named(encoding: str, line: int, reason: str) -> None:
    with pytest.raises(EncodingError) as caught:
        utf8_text(_GOOD.encode(encoding))
    assert (caught.value.line, caught.value.reason) == (line, reason)
    with pytest.raises(TomlError) as refused:
        parse_toml(_GOOD.encode(encoding))
    assert (refused.value.line, refused.value.reason) == (line, f"{reason}; save it as UTF-8")


def test_a_line_is_counted_as_an_editor_does() -> None:
    for content in (b"\r\n\r\n\xff", b"\r\r\xff", b"\xef\xbb\xbf\n\n\xff"):
        with pytest.raises(EncodingError) as caught:
            utf8_text(content)
        assert caught.value.line == 3


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_every_text_is_read_as_it_was_written(text: str) -> None:
    if text.startswith("\ufeff"):
        return  # a mark of its own
    assert utf8_text(text.encode()) == utf8_text(text.encode("utf-8-sig")) == text
    assert wide_encoding(text.encode()) is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a = " + b"[" * 100_000, "nested too deep"),
        (b"a = " + b"{a=" * 100_000, "nested too deep"),
        (b"a.b = 1\n" + b"[" * 100_000, ""),
        (b"a = 1" + b"0" * 100_000, "a number in it is too long" if sys.version_info >= (3, 11) else ""),
        (b"[stream\n", ""),
        (b"\0", ""),
    ],
)
def test_what_no_program_can_hold_is_one_sentence(content: bytes, reason: str) -> None:
    if reason == "" and sys.version_info < (3, 11) and content.startswith(b"a = 1"):
        pytest.skip("this Python holds numbers of any length")
    with pytest.raises(TomlError) as caught:
        parse_toml(content)
    assert reason in caught.value.reason and "\n" not in str(caught.value)


@given(st.binary(max_size=200))
def test_no_bytes_are_a_fault_of_ours(content: bytes) -> None:
    try:
        parse_toml(content)
    except TomlError as error:
        assert error.line >= 1
