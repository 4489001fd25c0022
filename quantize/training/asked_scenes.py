"""Scenes as what is asked about them: the events of stored scenes, and prompts with their answers.

Stored scenes (:mod:`quantize.training.stored`) hold captions and what the stem makes of the sound, not the events that
questions are made of. Scenes are the same whenever they are drawn, so that their events are drawn once more and kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.utils.data import Dataset

from edge_aac.errors import ConfigError, DataError
from quantize.data.everyday.drawn_events import drawn_events
from quantize.data.everyday.events import Belief, HeardEvent
from quantize.data.everyday.lexicon import Lexicon
from quantize.data.everyday.questions import PRESENCE, questions, sounds_elsewhere
from quantize.data.tokenizer import PAD_ID
from quantize.models.prompted_student import PromptedConfig
from quantize.progress import OnProgress
from quantize.training.batches import shuffled
from quantize.training.everyday_source import EverydaySource, events_of
from quantize.training.objective import IGNORED
from quantize.training.stored import StoredExamples
from quantize.training.tensor_batch import TensorBatch
from quantize.training.train import STORED_EPOCH

CAPTION_PROMPT = "caption"
CHECK_PROMPTS = (CAPTION_PROMPT, PRESENCE.format("a dog barking"))
"""That a bundle is compared with torch by, so that a model must read them in whole."""
EVENTS = "events.jsonl"
"""In a run's folder: the events of each stored scene, a line each."""

_REPORTED = 500
_CAPTIONS_A_LIST = 4
_EXTRA_QUESTIONS = 3
_OTHER_SCENES = 8
"""Whose sounds are asked for where they are not heard."""
"""Asked for beyond what is needed: some are longer than the model reads or writes."""


def keep_events(source: EverydaySource, examples: StoredExamples, folder: Path, on_progress: OnProgress) -> None:
    """Draw the events of all stored scenes, or what is left of them.

    Args:
        source: of the scenes, as they were stored.
        examples: the stored scenes.
        folder: of the run.
        on_progress: called with the number of scenes that are done.

    Raises:
        DataError: the stored scenes are others than the source's.
    """
    path = folder / EVENTS
    content = path.read_bytes() if path.is_file() else b""
    whole = content[: content.rfind(b"\n") + 1]
    with path.open("wb") as table:
        table.write(whole)
        for number in range(whole.count(b"\n"), len(examples)):
            events = source.scenes.scene(STORED_EPOCH, number).events
            if tuple(examples.reader[number].record["events"]) != events_of(source.lexicon, events):
                raise DataError(
                    f"scene {number} that is stored is not the one that the store of sound gives: give the store, and "
                    "what the tagger heard, that the captioner was trained with"
                )
            table.write(json.dumps([asdict(event) for event in events]).encode() + b"\n")
            if (number + 1) % _REPORTED == 0:
                on_progress(number + 1)
    on_progress(len(examples))


def read_events(line: str) -> tuple[HeardEvent, ...]:
    """The events of a line of :data:`EVENTS`."""
    return tuple(
        HeardEvent(**{**entry, "beliefs": tuple(Belief(**belief) for belief in entry["beliefs"])})
        for entry in json.loads(line)
    )


def asked_texts(source: EverydaySource, count: int, seed: int) -> Iterator[str]:
    """Texts for a tokenizer: questions and answers of ``count`` event lists, and some times as many captions."""
    yield from islice(source.captions(), _CAPTIONS_A_LIST * count)
    rng = np.random.default_rng(seed)
    for _ in range(count):
        for question in questions(source.lexicon, drawn_events(source.lexicon, rng), rng, 6):
            yield question.text
            yield question.answer
    yield CAPTION_PROMPT


@dataclass(frozen=True)
class Asked:
    """A prompt and its answer as ids.

    Attributes:
        prompt_ids: cut to nothing, and padded to the model's length.
        answer_ids: with the token that ends it.
    """

    prompt_ids: list[int]
    answer_ids: list[int]


class PromptTokenizer:
    """Prompts and answers as ids.

    Args:
        tokenizer: of both.
        config: of the model: how long they may be.
    """

    def __init__(self, tokenizer: Tokenizer, config: PromptedConfig) -> None:
        self.tokenizer, self._config = tokenizer, config

    def prompt(self, text: str) -> list[int] | None:
        """Ids of a prompt, padded; None of one that is too long."""
        ids = self.tokenizer.encode(text).ids
        missing = self._config.prompt_tokens - len(ids)
        return None if missing < 0 else [*ids, *[PAD_ID] * missing]

    def check(self, prompts: Sequence[str]) -> None:
        """Refuse a recipe whose prompts hold fewer tokens than one of these.

        Raises:
            ConfigError: it is so.
        """
        longest = max(prompts, key=lambda prompt: len(self.tokenizer.encode(prompt).ids))
        if (needed := len(self.tokenizer.encode(longest).ids)) > self._config.prompt_tokens:
            raise ConfigError(
                f"the recipe's prompts have {self._config.prompt_tokens} tokens, but {longest!r} has {needed}: give "
                f"prompt_tokens = {needed} or more in [writer]"
            )

    def asked(self, prompt: str, answer: str) -> Asked | None:
        """A prompt with its answer; None where one of them is too long."""
        prompt_ids, answer_ids = self.prompt(prompt), self.tokenizer.encode(answer).ids
        if prompt_ids is None or len(answer_ids) > self._config.answer_tokens:
            return None
        return Asked(prompt_ids, answer_ids)


@dataclass(frozen=True)
class AskedScene:
    """A scene and what is asked about it.

    Attributes:
        vectors: (P, patch_embed_dim) of the stem.
        asked: as many prompts as every other scene has.
    """

    vectors: Tensor
    asked: tuple[Asked, ...]


@dataclass(frozen=True)
class AskedBatch(TensorBatch):
    """B scenes with K prompts each.

    Attributes:
        vectors: (B, P, patch_embed_dim).
        prompt_ids: (B · K, prompt_tokens) int64.
        answer_ids: (B · K, S) int64, padded.
    """

    vectors: Tensor
    prompt_ids: Tensor
    answer_ids: Tensor

    @property
    def labels(self) -> Tensor:
        """The answers, padding ignored."""
        return self.answer_ids.masked_fill(self.answer_ids == PAD_ID, IGNORED)


def collate_asked(scenes: Sequence[AskedScene]) -> AskedBatch:
    """Stack scenes; all have the same number of prompts."""
    asked = [one for scene in scenes for one in scene.asked]
    answers = [torch.tensor(one.answer_ids) for one in asked]
    return AskedBatch(
        torch.stack([scene.vectors for scene in scenes]),
        torch.tensor([one.prompt_ids for one in asked]),
        torch.nn.utils.rnn.pad_sequence(answers, batch_first=True, padding_value=PAD_ID),
    )


@dataclass(frozen=True)
class KeptEvents:
    """What is heard in each stored scene.

    Attributes:
        lines: a line of :data:`EVENTS` each.
        sounds: the sounds of each, for questions about other scenes.
    """

    lines: Sequence[str]
    sounds: Sequence[Sequence[str]]

    @classmethod
    def read(cls, path: Path, lexicon: Lexicon) -> KeptEvents:
        """Those of a run's folder."""
        lines = path.read_text(encoding="utf-8").splitlines()
        return cls(lines, [tuple(sounds_elsewhere(lexicon, [read_events(line)])) for line in lines])


class AskedScenes(Dataset[AskedScene]):
    """An epoch of stored scenes: a caption of each, and questions that are drawn anew each time.

    Where a scene gives fewer questions, further captions take their place.

    Args:
        examples: the stored scenes.
        events: of each.
        lexicon: the sounds.
        tokens: prompts and answers as ids.
        seed, epoch: what is drawn depends on them and the place in the epoch.
        length: scenes of an epoch.
        prompts: of a scene.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - of what, which of it, how much
        self,
        examples: StoredExamples,
        events: KeptEvents,
        lexicon: Lexicon,
        tokens: PromptTokenizer,
        seed: int,
        epoch: int,
        length: int,
        prompts: int,
    ) -> None:
        self._examples, self._events, self._lexicon, self._tokens = examples, events, lexicon, tokens
        self._seed, self._epoch, self._length, self._prompts = seed, epoch, length, prompts

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> AskedScene:
        round_, place = divmod(self._epoch * self._length + index, len(self._examples))
        number = int(shuffled(self._seed, round_, len(self._examples))[place])
        rng = np.random.default_rng([self._seed, self._epoch, index])
        sample = self._examples.reader[number]
        captions: list[str] = list(sample.record["texts"])
        wanted = self._prompts - 1
        events = read_events(self._events.lines[number])
        others = rng.integers(len(self._events.sounds), size=_OTHER_SCENES)
        elsewhere = [sound for other in others for sound in self._events.sounds[int(other)]]
        made = (
            self._tokens.asked(question.text, question.answer)
            for question in questions(self._lexicon, events, rng, wanted + _EXTRA_QUESTIONS, elsewhere)
        )
        asked = [one for one in made if one is not None][:wanted]
        while len(asked) < self._prompts:
            asked.append(self._caption(captions[int(rng.integers(len(captions)))]))
        return AskedScene(torch.from_numpy(_vectors(sample)).float(), tuple(asked))

    def _caption(self, text: str) -> Asked:
        asked = self._tokens.asked(CAPTION_PROMPT, text)
        if asked is None:
            raise DataError(f"the caption {text!r} is longer than the model writes: raise answer_tokens in the recipe")
        return asked


def _vectors(sample: Any) -> Any:
    if "vectors" not in sample.arrays:
        raise DataError("the stored scenes bring no vectors of a stem: give a run of a recipe with [everyday]")
    return sample.arrays["vectors"]
