"""Manifests changed at random: a bundle is refused when it is opened, in a sentence, or its windows have captions."""

from __future__ import annotations

import copy
import json
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_aac.bundle.store import open_bundle
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import EdgeAacError
from edge_aac.models.contract import Description
from edge_aac.models.registry import open_model
from edge_aac.models.seq2seq import Captioner
from edge_aac.models.trial import trial_window
from tests.edge_aac.models import tiny_bundle as tiny

pytestmark = pytest.mark.one_python

MAX_MESSAGE = 1000
"""Characters of a sentence; paths of temporary folders are long."""
_CODES = {65, 66, 69, 78}

_NUMBERS = st.sampled_from(
    [0, -1, 1, 2, 3, 4, 17, 18, 19, 2**31, 2**63, 2**70, 10**400, 1.5, 0.5, 1e-50, 1e300, -1e300]
    + [math.nan, math.inf, -math.inf, True, False]
)
_STRINGS = st.sampled_from(
    ["", "\n", "\0", "../x", "/etc/passwd", "A" * 1_000_000, "int8", "fp16", "nucleus", "beam", "windows", "\u2028"]
    + ["encoder.onnx", "decoder.onnx", "text_embedder.onnx", "tokenizer.json", "manifest.json", "tensorrt", "abacus"]
)
_VALUES = st.one_of(_NUMBERS, _STRINGS, st.none(), st.sampled_from([[], {}, [[]], [1], ["a"], {"a": 1}]), st.text())


@pytest.fixture(scope="module", params=["seq2seq", "patched", "dual_encoder"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder with all files of a bundle, and a manifest that states every key there is."""
    folder = tmp_path_factory.mktemp("bundles") / request.param
    patched = tiny.Tiny(patches=(98, 50))
    if request.param == "dual_encoder":
        table = tiny.dual_encoder_table(folder, patched) | {"prompt": "the sound of {}", "instruction": ""}
    else:
        table = tiny.captioner_table(folder, patched if request.param == "patched" else tiny.Tiny()) | {
            "kind": "seq2seq",
            "instruction": "",
            "familiarity": {"threshold": 0.0, "words": list(tiny.WORDS)},
            "calibration": tiny.entry(folder / "tokenizer.json"),
        }
        table["decoding"] |= {
            **{"method": "beam", "temperature": 0.5, "top_p": 0.95, "beams": 3, "length_penalty": 1.0},
            **{"no_repeat_ngram": 3, "start_token_id": 2, "eos_token_id": 2, "pad_token_id": 1},
        }
    return folder, table | {"language": "en", "same_similarity": 0.8, "parameters": {"captioner": 3}}


def _outcome(folder: Path, manifest: Any, label: str = "") -> str:
    """The exit code of an opening that fails, or "" where windows are described.

    Anything else that is raised, at opening or later, fails the test.
    """
    # Warnings of numpy are signs of numbers that are none.
    with np.errstate(all="raise", under="ignore"):
        try:
            model = open_model(open_bundle(tiny.write(folder, manifest)), EngineOptions(threads=1), {})
        except EdgeAacError as error:
            message = str(error)
            assert message and len(message) <= MAX_MESSAGE and message.isprintable(), (label, message[:MAX_MESSAGE])
            assert error.exit_code in _CODES, (label, message)
            return str(error.exit_code)
        found = model.describe([trial_window()] * 3, [np.random.default_rng(seed) for seed in range(3)])
    for description in found:
        assert isinstance(description, Description), (label, description)
        text = description.best.text
        may_be_empty = isinstance(model, Captioner) and model.rules.min_length <= 1
        assert (text or may_be_empty) and text.isprintable() and math.isfinite(description.best.hybrid), label
    return ""


def _places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Places of all values in a table, its keys and its lists' numbers."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place, *(below for key, each in inner for below in _places(each, (*place, key)))]


def _changed(table: dict[str, Any], place: tuple[Any, ...], change: Any) -> Any:
    """A copy with what ``change`` makes of the value at a place; a change that is None removes it."""
    if not place:
        return table if change is None else change(table)
    whole = copy.deepcopy(table)
    holder = whole
    for key in place[:-1]:
        holder = holder[key]
    if change is None:
        del holder[place[-1]]
    else:
        holder[place[-1]] = change(holder[place[-1]])
    return whole


@given(data=st.data())
@settings(max_examples=75, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
def test_any_value_anywhere(bundle: tuple[Path, dict[str, Any]], data: st.DataObject) -> None:
    folder, table = bundle
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from([each for each in _places(table) if each]))
        if data.draw(st.booleans()):
            table = _changed(table, place, None)
        else:
            value = data.draw(_VALUES)
            table = _changed(table, place, lambda _, value=value: value)
    _outcome(folder, table, repr(table)[:500])


def _of_numbers(number: float) -> list[Any]:
    return [0, -1, 2**31, 1e300, 1e-50, math.nan, number + 1, True, str(number)]


def _of_lists(values: list[Any]) -> list[Any]:
    return [[], values[:-1], values + values[-1:], [*values, None], {}, None]


def test_every_value_of_every_kind(bundle: tuple[Path, dict[str, Any]], caplog: pytest.LogCaptureFixture) -> None:
    """Each number, string and list in turn is something else; what is no number is refused (an axis may be a name)."""
    caplog.set_level(logging.ERROR)
    folder, table = bundle
    assert _outcome(folder, table) == ""
    tried: list[str] = []
    for place in _places(table):
        if "decoder" in place and "shapes" in place and place[-1] not in {"logits", "token_ids", 0, 1}:
            continue  # many alike
        value = table
        for key in place:
            value = value[key]
        others: list[Any] = []
        if isinstance(value, str):
            others = ["", "\n", "../x", "decoder.onnx", "A" * 100_000, 3, None]
        elif isinstance(value, int | float):
            others = _of_numbers(value)
        elif isinstance(value, list):
            others = _of_lists(value)
        for other in others:
            if other == value and type(other) is type(value):
                continue
            label = f"{'.'.join(map(str, place))} = {str(other)[:20]!r}"
            outcome = _outcome(folder, _changed(table, place, lambda _, other=other: other), label)
            tried.append(outcome)
            wrong_kind = isinstance(value, int | float) and isinstance(other, bool | str)
            no_number = isinstance(other, float) and not math.isfinite(other)
            if (wrong_kind or no_number) and not (isinstance(other, str) and "shapes" in place):
                assert outcome == "65", label
    assert len(tried) > 200 and {"", "65"} <= set(tried)


_DEEP = 100_000


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('{"schema": ' + "[" * _DEEP + "]" * _DEEP + "}", "nested more than 64"),
        ('{"schema": ' + '{"a":' * 900 + "1" + "}" * 900 + "}", "nested more than 64"),
        ('{"schema": ' + "9" * 5000 + "}", "digits"),
        ('{"schema": NaN}', "NaN is no number"),
        ('{"schema": -Infinity}', "-Infinity is no number"),
        ('{"schema": 1e400}', "too large"),
        ('{"schema": "a", "schema": "a"}', "the key 'schema' stands twice"),
        ('{"schema": "\\ud800"}', "surrogate"),
        ("", "Expecting value"),
        ("\ufeff", "Expecting value"),
        ('"' + "a" * (17 << 20) + '"', "more than 16 MiB"),
        ('{"schema": "' + "a" * 1_000_000 + '"}', "has schema 'aaa"),
        (b"\xff\xfe{\x00}\x00", "not JSON"),
    ],
)
def test_json_that_means_nothing(tmp_path: Path, text: str | bytes, named: str) -> None:
    with pytest.raises(EdgeAacError, match=named) as caught:
        open_bundle(tiny.write(tmp_path, text))
    assert caught.value.exit_code == 65
    assert len(str(caught.value)) <= MAX_MESSAGE and str(caught.value).isprintable()


def test_a_byte_order_mark_is_no_fault(bundle: tuple[Path, dict[str, Any]]) -> None:
    folder, table = bundle
    assert _outcome(folder, b"\xef\xbb\xbf" + json.dumps(table).encode()) == ""


@pytest.mark.parametrize(("key", "value"), [("a\nb", 1), ("k" * 1_000_000, 1), ("kind", "k" * 1_000_000)])
def test_a_message_is_a_sentence_whatever_a_key_holds(
    bundle: tuple[Path, dict[str, Any]], key: str, value: object
) -> None:
    folder, table = bundle
    assert _outcome(folder, table | {key: value}) == "65"
