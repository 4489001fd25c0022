"""The lines of keys in TOML, of every way to write them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from edge_aac.settings.lines import Key, lines_of_keys

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_DOCUMENT = '''# [not.a.table] and no = key
top = "a = b # no comment"
"quoted.key" = 'c:\\path'

[stream] # [behind] = a comment
hop_s=2.0
text = """
inner = 1
[inner]
\\"""quotes inside"""
node = \'\'\'x
y = 2\'\'\'
[ a . "b c" ]
list = [
  1, # one
  [2, "]"],
  { x = 1, y.z = [3] },
]
empty = []
when = 1979-05-27 07:32:00
dotted.key.deep = true

[[sources]]
address = "mic0"
[[sources]]
  address = "mic1"
  [sources.extra]
  k = 1
  [[sources.rows]]
  q = 1
  [[sources.rows]]
  q = 2
inline = {a = {b = "}"}, c = 'd'}
'''


def _paths(value: Any, path: Key = ()) -> Iterator[Key]:
    if path:
        yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in children:
        yield from _paths(child, (*path, name))


def test_every_path_has_a_line() -> None:
    lines = lines_of_keys(_DOCUMENT)
    # ``[a."b c"]`` makes the table ``a`` without a line of its own.
    assert set(lines) == set(_paths(tomllib.loads(_DOCUMENT))) - {("a",)}


@pytest.mark.parametrize(
    ("path", "start"),
    [
        (("top",), "top ="),
        (("quoted.key",), '"quoted.key"'),
        (("stream",), "[stream]"),
        (("stream", "hop_s"), "hop_s="),
        (("stream", "node"), "node ="),
        (("a", "b c"), "[ a ."),
        (("a", "b c", "list"), "list ="),
        (("a", "b c", "list", 0), "  1,"),
        (("a", "b c", "list", 1, 1), "  [2"),
        (("a", "b c", "list", 2, "y", "z", 0), "  { x"),
        (("a", "b c", "when"), "when"),
        (("a", "b c", "dotted", "key"), "dotted"),
        (("sources", 1, "address"), '  address = "mic1"'),
        (("sources", 1, "extra", "k"), "  k = 1"),
        (("sources", 1, "rows", 1, "q"), "  q = 2"),
        (("sources", 1, "rows", 1, "inline", "a", "b"), "inline"),
    ],
)
def test_lines(path: Key, start: str) -> None:
    assert _DOCUMENT.splitlines()[lines_of_keys(_DOCUMENT)[path] - 1].startswith(start)


def test_an_array_stands_where_its_first_table_does() -> None:
    lines = lines_of_keys("\n[[sources]]\n[[sources]]\n")
    assert (lines["sources",], lines["sources", 0], lines["sources", 1]) == (2, 2, 3)


def test_nothing() -> None:
    assert lines_of_keys("") == lines_of_keys("# only this") == lines_of_keys("\n\n") == {}
