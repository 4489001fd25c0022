"""Models that answer questions about recordings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

from edge_aac.bundle.store import Bundle
from edge_aac.errors import DataError, UsageError
from edge_aac.models.contract import WindowModel
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
    raise UsageError(
        f"the bundle {bundle.manifest.name} is of the kind {bundle.manifest.kind!r}, which answers no questions: give "
        "one of a kind that does, as 'prompted'"
    )
