"""Wild values for every setting of every registered section, by file, environment and flag: an error of ours, or sense.

What is registered is asked, so that a section that is added is tried without a change here.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime, time, timezone
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin
from unittest import mock

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from edge_aac.audio.windows import WINDOW_SAMPLES, WindowSlicer
from edge_aac.cli import main
from edge_aac.errors import ConfigError, EdgeAacError, UsageError
from edge_aac.settings.faults import Chosen
from edge_aac.settings.fields import Setting
from edge_aac.settings.layers import Layer, Origin
from edge_aac.settings.sections import KIND, Section, registered_sections
from edge_aac.settings.show import show
from edge_aac.settings.toml import toml_value
from edge_aac.settings.tree import Settings, faults_of, load_settings
from edge_aac.streaming.settings import SourceSettings, StreamSettings, configured_sources
from edge_aac.timebase import SAMPLE_RATE
from edge_aac.toml_files import parse_toml

pytestmark = pytest.mark.one_python

SECTIONS = registered_sections()
# EDGE_AAC_FUZZ_EXAMPLES=5000 searches for longer than CI can.
EXAMPLES = settings(
    max_examples=int(os.environ.get("EDGE_AAC_FUZZ_EXAMPLES", "100")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

_TEXTS = ["", " ", "\n", "\0", "\x1b[2J", "\u202e", "\ud800", "\udc80", "ä", "🦆" * 300, "x" * 70_000, "-1", "1e999"]
_TEXTS += [
    "true",
    "[1]",
    "%(x)s {0} {} %s",
    "../../etc/passwd",
    "~",
    "~nobody/x",
    "a\tb",
    "inf",
    "nan",
    "0x10",
    "1_000",
]
_TEXTS += [
    "rtsp://u:p@h/x",
    "file:",
    "mic0",
    "demo:?seconds=nan",
    "stdout",
    "jsonl:",
    "jsonl:/x",
    "stdout:x",
    "://",
    ":",
]
_TEXTS += ["\u0663", "None", "#", "null", "🦆", "kitchen", "/tmp/x"]
_NUMBERS = [0, -0.0, -1, 1, 2**31, 2**63, -(2**63), 10**400, 1e-320, 1e308, math.inf, -math.inf, math.nan, 0.1 + 0.2]
_TIMES = [date(1, 1, 1), datetime(9999, 12, 31, tzinfo=timezone.utc), time(23, 59, 59, 999_999), datetime(2026, 1, 1)]

_texts = st.sampled_from(_TEXTS) | st.text(max_size=20)
_numbers = st.sampled_from(_NUMBERS) | st.integers() | st.floats()
_scalars = st.one_of(_texts, _numbers, st.booleans(), st.sampled_from(_TIMES))
WILD = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3), max_leaves=5
)


def _near(setting: Setting) -> st.SearchStrategy[Any]:
    """Values around what is right: the example, the default, and each limit with its neighbours."""
    values: list[Any] = [setting.example(), setting.default]
    for item in setting.field.metadata:
        for name in ("ge", "gt", "le", "lt"):
            limit = getattr(item, name, None)
            if isinstance(limit, (int, float)):
                values += [
                    limit,
                    limit - 1,
                    limit + 1,
                    math.nextafter(limit, math.inf),
                    math.nextafter(limit, -math.inf),
                ]
        for name in ("min_length", "max_length"):
            length = getattr(item, name, None)
            if isinstance(length, int) and length < 10_000:
                values += ["x" * max(0, length - 1), "x" * length, "x" * (length + 1)]
    if get_origin(setting.type) is not None:
        values += [list(get_args(setting.type))[:1], list(get_args(setting.type))]
    return st.sampled_from(values)


def _value(setting: Setting) -> st.SearchStrategy[Any]:
    return _near(setting) | WILD


def _table(known: Mapping[str, Setting]) -> st.SearchStrategy[dict[str, Any]]:
    keys = st.lists(st.sampled_from(sorted(known)), unique=True, max_size=4) if known else st.just([])
    own = keys.flatmap(lambda names: st.fixed_dictionaries({name: _value(known[name]) for name in names}))
    return st.tuples(own, st.dictionaries(_texts, WILD, max_size=1)).map(lambda both: {**both[1], **both[0]})


def _section(section: Section) -> st.SearchStrategy[Any]:
    if section.has_kinds and section.kinds:
        kinds = [
            st.tuples(_table({**section.settings, **kind.settings(section.name)}), st.booleans()).map(
                lambda both, name=kind.name: {**both[0], KIND: name} if both[1] else both[0]
            )
            for kind in section.kinds.values()
        ]
        right = st.lists(st.one_of(kinds), max_size=2)
    elif section.array:
        right = st.lists(_table(section.settings), max_size=2)
    else:
        right = _table(section.settings)
    return st.one_of(right, right, right, WILD)


@st.composite
def trees(draw: st.DrawFn) -> dict[str, Any]:
    """A tree of settings: of some sections, and now and then of none that is known."""
    names = draw(st.lists(st.sampled_from(sorted(SECTIONS)), unique=True, max_size=3))
    tree = {name: draw(_section(SECTIONS[name])) for name in names}
    return tree | draw(st.dictionaries(_texts, WILD, max_size=1)) if draw(st.integers(0, 9)) == 0 else tree


@contextmanager
def _without_configuration() -> Iterator[None]:
    mine = {name: value for name, value in os.environ.items() if not name.startswith("EDGE_AAC_")}
    with mock.patch.dict(os.environ, {**mine, "XDG_CONFIG_HOME": "/nonexistent"}, clear=True):
        yield


def _is_sane(loaded: Settings) -> None:
    """What was accepted can be used: it is what its model takes again, can be shown, and gives windows or an error."""
    for name, section in SECTIONS.items():
        value = loaded.values[name]
        for table in value if isinstance(value, tuple) else (value,):
            model = table.settings if isinstance(table, Chosen) else table
            assert type(model).model_validate(dict(model)) == model
            infinite = [key for key, each in dict(model).items() if isinstance(each, float) and not math.isfinite(each)]
            assert not infinite, f"[{section.name}] takes a number that is none: {infinite}"
    text = show(loaded)
    parse_toml(text.encode("utf-8", "surrogateescape" if "\\ud" not in ascii(text) else "replace"))
    sources = configured_sources(loaded.get(StreamSettings), loaded.tables(SourceSettings))
    for source in sources:
        try:
            WindowSlicer(WINDOW_SAMPLES, round(source.hop_s * SAMPLE_RATE))
        except EdgeAacError as error:
            assert isinstance(error, (UsageError, ConfigError))


@given(trees())
@EXAMPLES
def test_wild_values_as_they_are(tree: dict[str, Any]) -> None:
    origins = {(section,): Origin("flag", "--x") for section in tree}
    with _without_configuration():
        try:
            loaded = load_settings(None, Layer(tree, origins))
        except ConfigError as error:
            assert str(error)
            return
        _is_sane(loaded)


def _toml(tree: Mapping[str, Any]) -> str:
    """The tree as a TOML file: sections, and what is none of them, as inline tables."""
    return "".join(f"{json.dumps(str(key))} = {_toml_of(value)}\n" for key, value in tree.items())


def _toml_of(value: Any) -> str:
    if isinstance(value, (date, datetime, time)):
        return value.isoformat()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(key))} = {_toml_of(each)}" for key, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml_of, value)) + "]"
    if value is None:
        return '""'
    return toml_value(value)


@given(trees())
@EXAMPLES
@example({"stream": {"hop_s": 10**400}})
@example({"stream": {"hop_s": math.nan}, "health": {"interval_s": math.inf}})
@example({"sources": [{"address": "mic0", "name": "a\x00b"}]})
def test_wild_values_in_a_file(tmp_path: Path, tree: dict[str, Any]) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(_toml(tree).encode("utf-8", "surrogateescape" if "\ud800" not in _toml(tree) else "replace"))
    with _without_configuration():
        faults = faults_of(path)
        assert all(fault.problem and fault.key is not None for fault in faults)
        try:
            loaded = load_settings(path)
        except ConfigError:
            assert faults, "what --check finds right cannot be wrong later"
            return
        assert not faults
        _is_sane(loaded)


def _run(*words: str, env: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """The command in this process: its exit code and what it printed."""
    with (
        _without_configuration(),
        mock.patch.dict(os.environ, env or {}),
        mock.patch("sys.stdout", _Stream()) as out,
        mock.patch("sys.stderr", _Stream()) as errors,
        mock.patch("edge_aac.standard_streams.open_streams"),
    ):
        try:
            main(words)
        except SystemExit as ended:
            return int(ended.code or 0), out.getvalue(), errors.getvalue()
    raise AssertionError("main always exits")


class _Stream(StringIO):
    """A stream that takes any text, as standard streams with surrogateescape do not."""

    encoding = "utf-8"
    errors = "replace"


def _is_in_order(code: int, out: str, errors: str) -> None:
    assert code in {0, 2, 66, 78}, errors
    assert "Traceback" not in out + errors
    assert "fault of edge-aac" not in errors
    if code in {66, 78}:
        assert errors.count("\n") == 1, "one sentence"


_FLAGGED = [setting for section in SECTIONS.values() for setting in section.settings.values() if setting.flag]
_VARIABLES = [setting for section in SECTIONS.values() for setting in section.settings.values() if setting.env]
# No process can have another one given these.
_words = _texts.filter(lambda text: "\0" not in text and "\ud800" not in text and len(text) < 1000)


def _word(setting: Setting) -> st.SearchStrategy[str]:
    return _words | _near(setting).map(str).filter(lambda text: "\0" not in text)


@given(
    st.lists(st.sampled_from(_FLAGGED), min_size=1, max_size=2, unique_by=lambda each: each.flag).flatmap(
        lambda chosen: st.tuples(*(st.tuples(st.just(each), _word(each)) for each in chosen))
    )
)
@EXAMPLES
def test_wild_flags(chosen: tuple[tuple[Setting, str], ...]) -> None:
    words: list[str] = []
    for setting, word in chosen:
        flag = (setting.flag or "").partition("/")[0]
        words += [flag] if setting.type is bool else [flag, word]
    _is_in_order(*_run("config", "--show", *words))


@given(
    st.lists(st.sampled_from(_VARIABLES), min_size=1, max_size=2, unique_by=lambda each: each.env).flatmap(
        lambda chosen: st.tuples(*(st.tuples(st.just(each.env), _word(each)) for each in chosen))
    )
)
@EXAMPLES
def test_wild_variables(chosen: tuple[tuple[str, str], ...]) -> None:
    _is_in_order(*_run("config", "--show", env=dict(chosen)))


@given(trees())
@settings(EXAMPLES, max_examples=40)
def test_wild_files_through_the_command(tmp_path: Path, tree: dict[str, Any]) -> None:
    path = tmp_path / "config.toml"
    text = _toml(tree)
    assume("\ud800" not in text)
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    checked = _run("config", "--check", os.fspath(path))
    shown = _run("config", "--show", "--config", os.fspath(path))
    _is_in_order(*shown)
    assert (checked[0], shown[0]) in {(0, 0), (78, 78)}, (checked, shown)


def _numbers_of(section: Section) -> Iterator[tuple[str, Setting]]:
    for known in (section.settings, *(kind.settings(section.name) for kind in section.kinds.values())):
        yield from ((name, each) for name, each in known.items() if each.type is float)


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_no_setting_takes_a_number_that_is_none(number: float) -> None:
    tried = 0
    for section in SECTIONS.values():
        for name, setting in _numbers_of(section):
            tried += 1
            with pytest.raises(ValidationError):
                TypeAdapter(Annotated[setting.field.annotation, setting.field]).validate_python(number)
                pytest.fail(f"{section.name}.{name} takes {number}")
    assert tried > 10


def test_every_section_is_tried() -> None:
    assert {"captioner", "stream", "sources", "sinks", "health", "metrics"} <= set(SECTIONS)
    assert len(_FLAGGED) > 10
    assert len(_VARIABLES) > 10
