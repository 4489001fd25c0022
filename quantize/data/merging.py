"""Captions of a mix of two clips: their captions merged into one, and the bad ones among these rejected."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol, TypeVar

import numpy as np

from edge_aac.errors import ConfigError
from edge_aac.fluency.english.sentences import fluency_errors
from edge_aac.models.tokens import plain_text
from quantize.data.llm import LlmClient
from quantize.data.mixed_scenes import MixedScenes, mixed_caption, mixed_scene

PROMPT = "Generate a mix of the following two audio captions, and keep the generation under 25 words:"
"""As published (arXiv 2309.17352); how the two captions follow it is not, so they are numbered lines."""

WORD_LIMIT = 25
"""A merged caption has fewer words."""

MAX_EXAMPLES = 20
EVENT_TRIES = 8

_THINKING = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_PREFACE = re.compile(
    r"^(?:sure\b|certainly\b|of course\b|here(?:'s|\s+is|\s+are)\b"
    r"|(?:(?:the|a|mixed|merged|combined|mix|new|final|audio)\s+)*"
    r"(?:caption|mix|answer|output|result|generation)\b)[^:]*:\s*",
    re.IGNORECASE,
)
_NUMBERING = re.compile(r"^(?:[-•]|\d+[.)])\s+")
_TYPOGRAPHIC = str.maketrans({"‘": "'", "’": "'", "‑": "-", "&": " and "})

Pair = TypeVar("Pair")
Pair_contra = TypeVar("Pair_contra", contravariant=True)


class CaptionMerger(Protocol[Pair_contra]):
    """Makes one caption of each pair: a string, or None where it could not."""

    def merge(self, pairs: Sequence[Pair_contra]) -> list[str | None]: ...


class LlmMerger:
    """Has a language model merge two captions, as published.

    Args:
        client: asks it; what it knows already costs nothing.
        progress: function that is called after each new answer with the number of answers and of prompts.
    """

    def __init__(self, client: LlmClient, progress: Callable[[int, int], None] | None = None) -> None:
        self.client = client
        self.progress = progress

    def merge(self, pairs: Sequence[tuple[str, str]]) -> list[str | None]:
        """Captions lower-case without punctuation; None where the model says nothing.

        Raises:
            ConfigError, DeviceError: as :meth:`quantize.data.llm.LlmClient.complete_all`.
        """
        answers = self.client.complete_all([merge_prompt(*pair) for pair in pairs], self.progress)
        return [plain_answer(answer) or None for answer in answers]


class EventMerger:
    """Says what is true of a mix of two scenes, from their event lists: needs no language model and no network.

    Args:
        rng: draws the wording.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def merge(self, pairs: Sequence[MixedScenes]) -> list[str | None]:
        """A caption of each mix; None where one scene drowns a sound of the other.

        Raises:
            ConfigError: a pair is not of scenes.
        """
        return [self._merged(pair) for pair in pairs]

    def _merged(self, pair: MixedScenes) -> str | None:
        if not isinstance(pair, MixedScenes):
            raise ConfigError(
                "plain captions without events can be merged by a language model alone: name one with --llm-url"
            )
        scene = mixed_scene(pair)
        if scene is None:
            return None
        text = mixed_caption(scene, self.rng)
        for _ in range(EVENT_TRIES - 1):
            # A long wording is no reason to lose the mix: four sounds fit where not each has an adverb.
            if len(text.split()) < WORD_LIMIT and not fluency_errors(text):
                break
            text = mixed_caption(scene, self.rng)
        return text


@dataclass(frozen=True)
class Reject:
    """A merge that was dropped, and why."""

    text: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class MergeReport:
    """What became of the pairs: ``merged + empty + too_long + not_fluent == pairs``.

    Attributes:
        pairs: number of pairs that were given.
        merged: captions that passed.
        empty: pairs of which the merger made nothing.
        too_long: merges of :data:`WORD_LIMIT` words or more; what else is wrong with them is not counted.
        not_fluent: merges of fewer words that the fluency check rejects.
        fluency_errors: kind of error → number of these texts that have it; some have several.
        examples: the first rejects.
    """

    pairs: int
    merged: int
    empty: int
    too_long: int
    not_fluent: int
    fluency_errors: dict[str, int]
    examples: tuple[Reject, ...]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"


def merge_prompt(first: str, second: str) -> str:
    """The prompt for the language model."""
    return f"{PROMPT}\n1. {first}\n2. {second}"


def plain_answer(answer: str) -> str:
    """The caption in an answer: no quotes, no "Mixed caption:", one line, lower-case without punctuation.

    Returns:
        The empty string where there is none.
    """
    lines = [line.strip(" \t*_`#\"'“”‘’") for line in _THINKING.sub("", answer).splitlines()]
    for line in lines:
        text = _PREFACE.sub("", _NUMBERING.sub("", line))
        # Letters, digits, apostrophes and hyphens within words are kept, nothing else.
        text = re.sub(r"[^\w\s'-]|_|(?<!\w)['-]|['-](?!\w)", " ", text.translate(_TYPOGRAPHIC))
        if plain := plain_text(text):
            return plain
    return ""


def merge_captions(pairs: Sequence[Pair], merger: CaptionMerger[Pair]) -> tuple[list[str | None], MergeReport]:
    """Merge pairs and reject bad merges.

    Args:
        pairs: pairs of captions for :class:`LlmMerger`, of scenes for :class:`EventMerger`.
        merger: makes the captions.

    Returns:
        For each pair its caption, or None where it is dropped; and the count of what was dropped and why.

    Raises:
        ConfigError, DeviceError: as the merger does.
    """
    kept: list[str | None] = []
    outcomes: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    examples: list[Reject] = []
    for text in merger.merge(pairs):
        outcome, reasons = _judged(text)
        outcomes[outcome] += 1
        if outcome == "not_fluent":
            kinds.update(reasons)
        if text and reasons and len(examples) < MAX_EXAMPLES:
            examples.append(Reject(text, reasons))
        kept.append(text if outcome == "merged" else None)
    report = MergeReport(
        pairs=len(pairs),
        merged=outcomes["merged"],
        empty=outcomes["empty"],
        too_long=outcomes["too_long"],
        not_fluent=outcomes["not_fluent"],
        fluency_errors=dict(sorted(kinds.items())),
        examples=tuple(examples),
    )
    return kept, report


def _judged(text: str | None) -> tuple[str, tuple[str, ...]]:
    """What becomes of a merge, and what is wrong with it."""
    if not text or not text.split():
        return "empty", ()
    if (words := len(text.split())) >= WORD_LIMIT:
        return "too_long", (f"{words} words",)
    if errors := fluency_errors(text):
        return "not_fluent", tuple(error.value for error in errors)
    return "merged", ()
