"""Text for terminals: no name and no file's content steers one, or passes for another line."""

from __future__ import annotations

import io
import os
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_aac import standard_streams
from edge_aac.terminal import escaped, escaped_lines

_BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@given(st.text())
def test_nothing_steers_a_terminal(text: str) -> None:
    for line in (escaped(text), escaped_lines(text).replace("\n", "").replace("\t", "")):
        assert line.splitlines() == ([line] if line else [])
        for character in line:
            assert unicodedata.category(character) not in {"Cc", "Zl", "Zp"}
            assert unicodedata.bidirectional(character) not in _BIDI and character not in "\u200e\u200f\u061c"


@given(st.text(st.characters(categories=["L", "N", "P", "S"])))
def test_words_stay_as_they_are(text: str) -> None:
    assert escaped(text) == escaped_lines(text) == text


def test_what_is_shown_instead() -> None:
    assert escaped("a\nb\tc\x1bd\x7fe\x9bf\u202eg\u2028h\udcff") == r"a\nb\tc\x1bd\x7fe\x9bf\u202eg\u2028h\xff"
    assert escaped_lines("a\nb\tc\x1bd\re") == "a\nb\tc\\x1bd\\re"


def test_standard_error_escapes_what_anyone_writes_there(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    before = os.dup(2)
    try:
        os.dup2(writer, 2)
        with open(2, "w", closefd=False) as standard:
            monkeypatch.setattr(sys, "stderr", standard)
            standard_streams.open_streams()
            print("Error: no such option: --\x1b]0;x\x07", file=sys.stderr)
            drawing = standard_streams.drawing_stderr()
            print("\x1b[1mbar\x1b[0m", file=drawing, flush=True)
        # Not to its end, which never comes: standard error has a descriptor of its own now.
        shown = os.read(reader, 4096).decode()
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(writer)
        os.close(reader)
    assert shown == "Error: no such option: --\\x1b]0;x\\x07\n\x1b[1mbar\x1b[0m\n"


def test_bars_are_drawn_on_what_stands_for_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stand_in)
    assert standard_streams.drawing_stderr() is stand_in
