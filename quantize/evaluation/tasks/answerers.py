"""Models that answer questions about recordings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Protocol, runtime_checkable

from edge_aac.audio.sources.file import read_channels
from edge_aac.bundle.store import ASKED_BUNDLE, Bundle
from edge_aac.errors import DataError, UsageError
from edge_aac.models.contract import WindowModel
from edge_aac.models.prompted import Heard, Prompted
from edge_aac.models.prompted_manifest import QUESTION
from quantize.data.clips import Waveform
from quantize.data.waveform_cache import decoded_stretch

Answer = Callable[[str], str]
"""A question about what was heard → its answer, in free text."""


class Answerer(Protocol):
    """Hears recordings, and answers questions about each."""

    def hear(self, path: Path) -> Answer:
        """Hear a recording once for all questions about it.

        Raises:
            InputMissingError: there is no such file, or it cannot be read.
            DataError: it is no usable sound.
        """


@runtime_checkable
class AnsweringModel(Protocol):
    """A model that answers questions about a sound."""

    def answer_question(self, waveform: Waveform, question: str) -> str:
        """Answer a question in free text.

        Args:
            waveform: mono samples at 16 kHz, float32, shape (samples,), of any length.
            question: the question, as it was asked.

        Raises:
            DataError: the sound or the question cannot be used.
        """


class WaveformAnswerer:
    """A model that is given the whole recording with each question.

    Args:
        model: that answers.
    """

    def __init__(self, model: AnsweringModel) -> None:
        self._model = model

    def hear(self, path: Path) -> Answer:
        """See :class:`Answerer`."""
        waveform = decoded_stretch(path)
        if not waveform.size:
            raise DataError(f"{path} holds no sound")
        return lambda question: self._model.answer_question(waveform, question)


class PromptedAnswerer:
    """A bundle of the kind prompted, as `edge-aac ask` asks it: clip by clip, each channel by itself; of all their
    answers the one of the highest log-likelihood is given.

    Args:
        model: that answers.

    Raises:
        UsageError: its bundle takes no prompts.
    """

    def __init__(self, model: Prompted) -> None:
        if model.manifest.prompt_tokens is None:
            raise UsageError(
                f"the bundle {model.manifest.name} takes no prompts, it writes captions: give one that takes questions"
            )
        self._model = model
        self._task = QUESTION if QUESTION in model.manifest.prompts else None

    def hear(self, path: Path) -> Answer:
        """See :class:`Answerer`."""
        clip = self._model.manifest.clip
        cutter = clip.cutter()
        heard = [
            self._model.hear(part.waveform)
            for frames in chain(read_channels(path, clip.sample_rate), [None])
            for part in (cutter.flush() if frames is None else cutter.push(frames))
        ]
        if not heard:
            raise DataError(f"{path} holds no sound")
        return lambda question: self._answered(heard, question)

    def _answered(self, heard: Sequence[Heard], question: str) -> str:
        prompt, _ = self._model.manifest.prompt_of(question, self._task)
        answers = [self._model.answer(part, prompt) for part in heard]
        return max(answers, key=lambda answer: answer.likelihood).texts[0].strip()


def answerer_of(model: WindowModel, bundle: Bundle) -> Answerer:
    """What answers by a model.

    Args:
        model: an open bundle.
        bundle: it, or the first of several.

    Raises:
        UsageError: the model answers no questions.
    """
    if isinstance(model, AnsweringModel):
        return WaveformAnswerer(model)
    if isinstance(model, Prompted):
        return PromptedAnswerer(model)
    raise UsageError(
        f"the bundle {bundle.manifest.name} is of the kind {bundle.manifest.kind!r}, which answers no questions: give "
        f"one of a kind that does, as {ASKED_BUNDLE}"
    )
