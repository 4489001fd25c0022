"""What a field says of itself, and values as TOML."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field, SecretStr

from edge_aac.errors import ConfigError
from edge_aac.settings.fields import Setting
from edge_aac.settings.sections import Section
from edge_aac.settings.toml import shown, toml_value, without_secrets

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class _Fields(BaseModel):
    whole: int = Field(default=3, gt=2, lt=9)
    some: int | None = Field(default=None, ge=1)
    few: int = Field(le=5)
    above: float = Field(default=1.0, gt=0.25, json_schema_extra={"unit": "s"})
    below: float = Field(default=1.0, lt=2.5)
    between: float = Field(default=1.0, gt=0.0, lt=2.0)
    level: float = Field(default=-1.5, le=0.0)
    words: list[str] = []
    weights: tuple[float, ...] = ()
    counts: list[int] = []
    named: dict[str, str] = {}
    one: Literal["a", "b", "c"] | None = None
    path: Path | None = None
    text: str = Field(min_length=1)
    on: bool = True
    secret: SecretStr = SecretStr("hunter2")


@pytest.mark.parametrize(
    ("name", "expected", "default"),
    [
        ("whole", "a whole number from 3 to 8", "3"),
        ("some", "a whole number of 1 or more", ""),
        ("few", "a whole number of 5 or less", ""),
        ("above", "a number above 0.25 (s)", "1"),
        ("below", "a number below 2.5", "1"),
        ("between", "a number above 0 and below 2", "1"),
        ("level", "a number of 0 or less", "-1.5"),
        ("words", "a list of text", "[]"),
        ("weights", "a list of numbers", "()"),
        ("counts", "a list of whole numbers", "[]"),
        ("named", "a table of text", "{}"),
        ("one", "one of a, b or c", ""),
        ("path", "a path", ""),
        ("text", "text of one character or more", ""),
        ("on", "true or false", "on"),
        ("secret", "text", ""),
    ],
)
def test_what_is_expected_and_the_default(name: str, expected: str, default: str) -> None:
    setting = Setting("fields", name, _Fields.model_fields[name])
    assert (setting.expected(), setting.default_text()) == (expected, default)


def test_an_example_is_a_value_that_is_right() -> None:
    settings = Section("fields", _Fields).settings
    _Fields.model_validate({name: setting.example() for name, setting in settings.items()})


@pytest.mark.parametrize(
    ("extra", "problem"), [({"flga": "--x"}, "unknown metadata flga"), ({"secret": True, "flag": "--x"}, "is secret")]
)
def test_metadata_that_cannot_be_right(extra: dict[str, Any], problem: str) -> None:
    class Wrong(BaseModel):
        word: str = Field(default="", json_schema_extra=extra)

    with pytest.raises(ConfigError, match=f"wrong.word .*{problem}"):
        assert Section("wrong", Wrong).settings


@pytest.mark.parametrize(
    "value",
    [
        *("", "a b", 'quotes " and \\', "new\nline\ttab", "\x7f\x00\x1f", "…🦉"),
        *(True, False, 0, -7, 2**63 - 1, 0.1, 1e-7, 1e300, float("inf")),
        *([1, 2], ["a", "b"], [], {"a b": 1, "c": [True]}),
    ],
)
def test_values_are_read_back(value: Any) -> None:
    assert tomllib.loads(f"x = {toml_value(value)}")["x"] == value


@pytest.mark.parametrize(
    ("text", "shown_text"),
    [
        ("mic0", "mic0"),
        ("file:a@b.wav", "file:a@b.wav"),
        ("rtsp://porch/1", "rtsp://porch/1"),
        ("rtsp://me:pa/s?s@porch/1", "rtsp://********@porch/1"),
        (
            "rtsp://me@porch/1?rate=3&access_token=abc&x=1#y",
            "rtsp://********@porch/1?rate=3&access_token=********&x=1#y",
        ),
        ("udp://h?auth=none&key=abc&keys=file:/k", "udp://h?auth=none&key=********&keys=file:/k"),
        ("udp://h?auth=nonesuch", "udp://h?auth=********"),
    ],
)
def test_addresses_without_secrets(text: str, shown_text: str) -> None:
    assert without_secrets(text) == shown_text
    assert shown([text], None) == toml_value([shown_text])


def test_a_table_is_shown_without_its_values() -> None:
    assert shown({"password": "hunter2"}, None) == '{password = "********"}'
    assert toml_value(SecretStr("hunter2")) == '"********"'


def test_a_table_without_secrets_is_shown_whole() -> None:
    class Tables(BaseModel):
        rooms: dict[str, list[str]] = Field(default_factory=dict, json_schema_extra={"public": True})

    rooms = Section("tables", Tables).settings["rooms"]
    shown_text = shown({"hall": ["garden", "rtsp://me:pw@porch"]}, rooms)
    assert shown_text == '{hall = ["garden", "rtsp://********@porch"]}'
