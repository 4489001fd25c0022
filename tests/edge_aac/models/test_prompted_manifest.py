"""The manifest of bundles that answer prompts: what it refuses, and which prompt a user means."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from edge_aac.errors import UsageError
from edge_aac.models.prompted_manifest import PromptedManifest

FILE = {"file": "tokenizer.json", "sha256": "0" * 64}


def _form(name: str, shapes: dict[str, list[Any]]) -> dict[str, Any]:
    return {
        "file": f"{name}.onnx",
        "sha256": "1" * 64,
        "backend": "onnxruntime",
        "precision": "fp32",
        "shapes": shapes,
        "built_with": {},
        "max_abs_difference": 0.0,
    }


def _table(**changes: Any) -> dict[str, Any]:
    graphs = {
        "encoder": [_form("encoder", {"waveform": [1, 100], "audio_embedding": [1, 6], "prefix": [1, 3, 8]})],
        "prompt_encoder": [_form("prompt_encoder", {"token_ids": [1, 5], "prefix": [1, 3, 8]})],
        "decoder": [_form("decoder", {"logits": ["rows", 50]})],
    }
    return {
        "schema": "edge-aac/bundle/1",
        "kind": "prompted",
        "name": "small",
        "version": "1",
        "license": "MIT",
        "attributions": [],
        "sample_rate": 16_000,
        "window_s": 10.0,
        "quality": {},
        "clip": {"sample_rate": 44_100, "samples": 100},
        "embedding_size": 6,
        "vocabulary_size": 50,
        "positions": 64,
        "decoding": {"stop_token_id": 7},
        "tokenizer": FILE,
        "prompt_tokens": {"tokenizer": FILE, "length": 5},
        "prompts": {"caption": "generate audio caption", "event": "this is a sound of", "question": "question: {}"},
        "prompt": "generate audio caption",
        "graphs": graphs,
        **changes,
    }


def _without_prompts() -> dict[str, Any]:
    table = _table(prompts={}, prompt="", prompt_tokens=None)
    del table["graphs"]["prompt_encoder"]
    return table


MANIFEST = PromptedManifest.model_validate(_table())
CAPTIONS_ALONE = PromptedManifest.model_validate(_without_prompts())


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"decoding": {"stop_token_id": 50}}, "no token of a vocabulary of 50"),
        ({"decoding": {"stop_token_id": 7, "beams": 60}}, "more than the 50 tokens"),
        ({"decoding": {"stop_token_id": 7, "beams": True}}, "decoding.beams"),
        ({"embedding_size": 7}, "audio_embedding of size 6, but embedding_size is 7"),
        ({"clip": {"sample_rate": 44_100, "samples": 101}}, "waveform of size 100, but clip.samples is 101"),
        ({"vocabulary_size": 51}, "logits of size 50"),
        ({"prompt_tokens": None}, "belong together"),
        ({"prompt": " "}, "a prompt is empty"),
        ({"prompts": {"event": ""}}, "a prompt is empty"),
        ({"prompts": {"event": "{} and {}"}}, "once at most"),
        ({"prompt": "question: {}"}, "that of windows nowhere"),
        ({"prompts": {"event": "x" * 501}}, "at most 500"),
        ({"graphs": {"ear": []}}, "has no ear graph"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(ValidationError, match=match):
        PromptedManifest.model_validate(_table(**changes))


def test_prompts_without_anything_that_encodes_them_are_refused() -> None:
    table = {**_without_prompts(), "prompt": "generate audio caption"}
    with pytest.raises(ValidationError, match="nothing that encodes them"):
        PromptedManifest.model_validate(table)


@pytest.mark.parametrize(
    ("words", "task", "prompt", "named"),
    [
        (None, None, "generate audio caption", "caption"),
        (None, "event", "this is a sound of", "event"),
        ("is a baby crying?", None, "question: is a baby crying?", "question"),
        ("is a baby crying", "question", "question: is a baby crying", "question"),
        ("Question: is it rain?", None, "Question: is it rain?", None),
        ("\u8d64\u3061\u3083\u3093\u306f\uff1f", None, "question: \u8d64\u3061\u3083\u3093\u306f\uff1f", "question"),
        ("this acoustic scene is", None, "this acoustic scene is", None),
        ("a {} in braces", None, "a {} in braces", None),
        ("a {} in braces?", None, "question: a {} in braces?", "question"),
        ("x" * 500, None, "x" * 500, None),
    ],
)
def test_the_prompt_that_is_meant(words: str | None, task: str | None, prompt: str, named: str | None) -> None:
    assert MANIFEST.prompt_of(words, task) == (prompt, named)


@pytest.mark.parametrize(
    ("words", "task", "match"),
    [
        ("", None, "the prompt is empty"),
        (" \n\t", "question", "the prompt is empty"),
        ("x" * 10_000, None, "has 10000 characters, more than 500"),
        (None, "sing", "no task 'sing': use one of caption, event, question"),
        (None, "question", "the task 'question' takes words"),
        ("is it rain?", "event", "the task 'event' takes no words"),
    ],
)
def test_prompts_that_cannot_be_asked(words: str | None, task: str | None, match: str) -> None:
    with pytest.raises(UsageError, match=match) as caught:
        MANIFEST.prompt_of(words, task)
    assert len(str(caught.value).splitlines()) == 1


def test_a_bundle_that_writes_captions_alone() -> None:
    assert CAPTIONS_ALONE.prompt_of(None, None) == ("", None)
    assert CAPTIONS_ALONE.prompt_of(None, "caption") == ("", None)
    for words, task in (("is it rain?", None), (None, "event")):
        with pytest.raises(UsageError, match="the bundle small takes no prompts"):
            CAPTIONS_ALONE.prompt_of(words, task)
