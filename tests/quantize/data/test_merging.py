"""Merged captions: cleaned, judged and counted; and what is said of mixed scenes is true of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from edge_aac.errors import ConfigError, DeviceError
from quantize.data.answer_cache import AnswerCache
from quantize.data.llm import LlmClient, LlmEndpoint
from quantize.data.merging import (
    MAX_EXAMPLES,
    PROMPT,
    WORD_LIMIT,
    CaptionMerger,
    EventMerger,
    LlmMerger,
    merge_captions,
    merge_prompt,
    plain_answer,
)
from tests.quantize.data.chat_server import Reply, chat_server


class Fixed:
    """Gives the texts that it was made with."""

    def __init__(self, *texts: str | None) -> None:
        self.texts = texts

    def merge(self, pairs: Sequence[tuple[str, str]]) -> list[str | None]:
        return list(self.texts)


@pytest.mark.parametrize(
    "answer",
    [
        "a dog barks while rain falls",
        "A dog barks while rain falls.",
        '"A dog barks while rain falls."',
        "“A dog barks, while rain falls”",
        "Mixed caption: A dog barks while rain falls",
        "**Mixed Audio Caption:** *A dog barks while rain falls.*",
        "Here's a mix of the two captions: a dog barks while rain falls!",
        "Sure! Here is a mix of the two captions:\n\n1. A dog barks while rain falls.",
        "The mixed caption is: 'A dog barks while rain falls.'",
        "A dog barks while rain falls.\n\nThis caption combines both sounds (24 words).",
        "<think>\nA dog: barks.\n</think>\n\nA dog barks — while rain falls …",
        "- A dog barks\twhile  rain falls\r\n",
        "```\na dog barks while rain falls\n```",
    ],
)
def test_answers_are_reduced_to_their_caption(answer: str) -> None:
    assert plain_answer(answer) == "a dog barks while rain falls"


@pytest.mark.parametrize(
    ("answer", "plain"),
    [
        ("A dog’s bark echoes in a high‑pitched way", "a dog's bark echoes in a high-pitched way"),
        ("The mix of a dog & rain", "the mix of a dog and rain"),
        ("A caption of two words", "a caption of two words"),
        ("10 people talk at 3:45 pm", "10 people talk at 3 45 pm"),
        ("", ""),
        (' \n""\n...\n', ""),
        ("Mixed caption:", ""),
        ("<think>so many words that it never came to an end", ""),
    ],
)
def test_what_belongs_to_a_caption_is_left(answer: str, plain: str) -> None:
    assert plain_answer(answer) == plain


def test_every_reject_is_counted_by_its_reason() -> None:
    long = " ".join(["a dog barks"] + ["and a cat meows"] * 6)
    texts = [
        "a dog barks while rain falls",
        None,
        "",
        long,
        "a dog barks while the",
        "a dog barks and a dog barks",
    ]
    kept, report = merge_captions([("a", "b")] * len(texts), Fixed(*texts))
    assert kept == ["a dog barks while rain falls", None, None, None, None, None]
    assert (report.pairs, report.merged, report.empty, report.too_long, report.not_fluent) == (6, 1, 2, 1, 2)
    assert report.fluency_errors == {"dangling_function_word": 1, "repeated_event": 1}
    assert [(reject.text, reject.reasons) for reject in report.examples] == [
        (long, ("27 words",)),
        ("a dog barks while the", ("dangling_function_word",)),
        ("a dog barks and a dog barks", ("repeated_event",)),
    ]
    assert json.loads(report.to_json()) == {
        "pairs": 6,
        "merged": 1,
        "empty": 2,
        "too_long": 1,
        "not_fluent": 2,
        "fluency_errors": {"dangling_function_word": 1, "repeated_event": 1},
        "examples": [
            {"text": long, "reasons": ["27 words"]},
            {"text": "a dog barks while the", "reasons": ["dangling_function_word"]},
            {"text": "a dog barks and a dog barks", "reasons": ["repeated_event"]},
        ],
    }


def test_under_25_words_means_24_at_most() -> None:
    text = "a dog barks and a cat meows and a car passes and a bird sings and a man talks and a bell rings now"
    assert len(text.split()) == WORD_LIMIT - 1
    kept, report = merge_captions([("a", "b")] * 2, Fixed(text, f"then {text}"))
    assert [text is not None for text in kept] == [True, False]
    assert (report.too_long, report.merged) == (1, 1)


def test_examples_are_the_first_ones_only() -> None:
    _, report = merge_captions([("a", "b")] * 50, Fixed(*(["a dog barks while the"] * 50)))
    assert (report.not_fluent, len(report.examples)) == (50, MAX_EXAMPLES)
    assert merge_captions([], Fixed())[1].pairs == 0


def test_a_language_model_merges_captions(tmp_path: Path) -> None:
    with chat_server() as chat:
        answers = {
            merge_prompt("a dog barks", "rain falls"): '"A dog barks while rain falls."',
            merge_prompt("a cat meows", "a car passes"): "A cat meows and the",
            merge_prompt("a bell rings", "a man talks"): "",
        }
        chat.answer = lambda prompt: Reply(answers[prompt])
        progress: list[tuple[int, int]] = []
        client = LlmClient(LlmEndpoint(chat.base_url, "small"), AnswerCache(tmp_path / "cache"))
        merger: CaptionMerger[tuple[str, str]] = LlmMerger(client, lambda done, total: progress.append((done, total)))
        pairs = [("a dog barks", "rain falls"), ("a cat meows", "a car passes"), ("a bell rings", "a man talks")]
        kept, report = merge_captions(pairs, merger)
    assert kept == ["a dog barks while rain falls", None, None]
    assert (report.merged, report.not_fluent, report.empty) == (1, 1, 1)
    assert progress[-1] == (3, 3)
    assert chat.requests[0].prompt.startswith(PROMPT)


def test_the_published_prompt() -> None:
    assert merge_prompt("a dog barks", "rain falls") == (
        "Generate a mix of the following two audio captions, and keep the generation under 25 words:\n"
        "1. a dog barks\n2. rain falls"
    )


def test_a_model_that_fails_is_no_empty_merge(tmp_path: Path) -> None:
    with chat_server() as chat:
        chat.answer = lambda prompt: Reply(status=500)
        client = LlmClient(LlmEndpoint(chat.base_url, "small", max_retries=0), AnswerCache(tmp_path / "cache"))
        with pytest.raises(DeviceError, match="gives no answer"):
            merge_captions([("a dog barks", "rain falls")], LlmMerger(client))


def test_plain_captions_need_a_language_model() -> None:
    with pytest.raises(ConfigError, match="--llm-url"):
        EventMerger(np.random.default_rng(0)).merge([("a dog barks", "rain falls")])  # type: ignore[list-item]
