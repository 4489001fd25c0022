"""docs/records.md names every field of every record, and every word that a field can have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel

from edge_aac.records.base import Record
from edge_aac.records.registry import known_schemas, record_class

PAGE = Path(__file__).parents[3] / "docs" / "records.md"

pytestmark = pytest.mark.one_python


def _words(kind: Any) -> set[str]:
    """Fields of a model and of the models in it, and values of their literals, but for the schema's name."""
    if get_origin(kind) is Literal:
        return {str(word) for word in get_args(kind)}
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        found: set[str] = set()
        for name, field in kind.model_fields.items():
            if name != "schema_":
                found |= {name} | _words(field.annotation)
        return found
    return set().union(*(_words(part) for part in get_args(kind)))


def test_the_page_names_all_fields_and_values() -> None:
    common, *sections = re.split(r"^## `", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    of_all = Record.model_fields.keys() - {"schema_"}
    assert {name for name in of_all if f"`{name}`" not in common} == set()
    pages = {section.partition("`")[0]: section for section in sections}
    records = {name: record_class(name) for name in known_schemas()}
    assert pages.keys() == records.keys()
    for name, record in records.items():
        words = _words(record) - of_all
        assert len(words) > 3, name
        assert {word for word in words if f"`{word}`" not in pages[name]} == set(), name
