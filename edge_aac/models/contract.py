"""The contract of all kinds of model: windows of sound in, descriptions in plain words out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from edge_aac import records
from edge_aac.audio.windows import Window
from edge_aac.bundle.manifest import Graph, Manifest
from edge_aac.errors import DataError
from edge_aac.fluency.errors import FluencyError
from edge_aac.fluency.sound_names import SoundNames

CLOSE_COSINE = 0.1
"""A label that fits a window less well than the best one by no more than this cosine may be right all the same."""


class CancelledError(Exception):
    """A batch was given up on request, so that a slow machine does not keep a stream from ending."""


def not_cancelled() -> bool:
    """The default of every ``cancelled`` argument: the work is never given up."""
    return False


@dataclass(frozen=True)
class ScoredCaption:
    """A distinct candidate text with its scores.

    Attributes:
        text: lower-case, without punctuation.
        hybrid: the score that candidates are ranked by.
        log_likelihood: mean log-likelihood of its tokens; None where the model generates no text.
        similarity: cosine of the window's audio embedding and the text's embedding; None where it was not computed.
        embedding: text embedding, shape (E,), unit length; None where it was not computed.
        errors: faults that the fluency check finds in the text; empty where the check is off.
        sounds: sounds that the text names → how sure the model is that they are heard, 0 to 1; None where the bundle
            does not tell.
    """

    text: str
    hybrid: float
    log_likelihood: float | None
    similarity: float | None
    embedding: npt.NDArray[np.float32] | None = None
    errors: tuple[FluencyError, ...] = ()
    sounds: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Latency:
    """Milliseconds of work on one window; of a batch, each window has an equal share."""

    encode: float
    decode: float
    rerank: float

    @property
    def total(self) -> float:
        return self.encode + self.decode + self.rerank


@dataclass(frozen=True)
class PromptAnswer:
    """An answer to a question that is asked of every window.

    Attributes:
        prompt: what the model read.
        task: name of the prompt, where it has one.
        texts: answers that the search kept, best first; at least one.
        log_likelihoods: mean log-likelihood of a token of each.
        latency_ms: milliseconds that the answer took, encoding among them.
        model: which answered.
    """

    prompt: str
    task: str | None
    texts: tuple[str, ...]
    log_likelihoods: tuple[float, ...]
    latency_ms: Latency
    model: records.Model


@dataclass(frozen=True)
class Description:
    """A model's description of one window.

    Attributes:
        ranked: the distinct texts, best first; at least one.
        audio_embedding: audio embedding from the encoder, shape (E,).
        candidates: number of texts that were drawn or compared.
        latency_ms: milliseconds that each part took.
        familiarity: score of how much the window is like the training sounds; None where the bundle does not compute
            it.
        familiar: whether the familiarity was high enough to name a sound, and the model sure enough of any.
        ask: answers the questions that the model was opened with about the window, by the thread that uses the model;
            None where it was opened with none. It raises what :meth:`WindowModel.describe` does, and DataError.
    """

    ranked: list[ScoredCaption]
    audio_embedding: npt.NDArray[np.float32]
    candidates: int
    latency_ms: Latency
    familiarity: float | None = None
    familiar: bool = True
    ask: Callable[[], Sequence[PromptAnswer]] | None = field(default=None, compare=False)

    @property
    def possible(self) -> list[ScoredCaption]:
        """Those of the texts that may be right, best first: of labels that are compared the nearest ones, see
        :data:`CLOSE_COSINE`; of texts that were drawn all."""
        least = self.best.hybrid - CLOSE_COSINE
        return [text for text in self.ranked if text.log_likelihood is not None or text.hybrid >= least]

    @property
    def best(self) -> ScoredCaption:
        return self.ranked[0]

    @property
    def sounds(self) -> Mapping[str, float] | None:
        """The sounds that the best caption names, each with how sure the model is that it is heard, 0 to 1; None where
        the bundle does not tell."""
        return self.best.sounds

    @property
    def confidence(self) -> str:
        """The best caption's score and the window's familiarity, in words for a log."""
        familiarity = "" if self.familiarity is None else f", familiarity {self.familiarity:.2f}"
        return f"score {self.best.hybrid:.2f}{familiarity}"


@dataclass(frozen=True)
class Undecoded:
    """A window that was encoded, and not wanted: it has no caption.

    Attributes:
        audio_embedding: audio embedding from the encoder, shape (E,).
        latency_ms: milliseconds that encoding took.
    """

    audio_embedding: npt.NDArray[np.float32]
    latency_ms: Latency


Wanted: TypeAlias = Callable[[int, npt.NDArray[np.float32]], bool]
"""Whether window ``number`` of a batch is to be decoded, by its audio embedding of shape (E,)."""


class WindowModel(Protocol):
    """A loaded bundle of any kind. One thread at a time uses it."""

    @property
    def identity(self) -> records.Model:
        """The bundle, its version, and the backend and precision that run it, as each record names them."""

    @property
    def language(self) -> str:
        """Language of the captions, a BCP 47 tag."""

    @property
    def same_similarity(self) -> float:
        """Smallest cosine between the embeddings of two phrases that name the same sound."""

    def describe(
        self,
        windows: Sequence[Window],
        rngs: Sequence[np.random.Generator],
        cancelled: Callable[[], bool] = not_cancelled,
    ) -> list[Description | DataError]:
        """Describe a batch of windows, of one source or of many.

        The description of a window does not depend on the others in the batch.

        Args:
            windows: W windows; any number, in any order.
            rngs: generators, one a window, seeded by the caller; all randomness for a window comes from its own.
            cancelled: function that is called before every decoding step; True ends the work.

        Returns:
            One entry a window, in order: its description, or the error that this window alone caused.

        Raises:
            CancelledError: ``cancelled`` returned True.
            EdgeAacError: the whole model cannot go on, as when an accelerator is gone.
        """

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Embed texts, as captions are compared with each other: shape (N, E), each row of unit length."""


class SharedWork(Protocol):
    """What a model computes once for all windows of a stretch of sound that overlap."""

    @property
    def hop_samples(self) -> int:
        """Windows whose starts lie a multiple of so many samples apart share the most."""

    @property
    def computed(self) -> int:
        """Number of parts of windows that were computed."""

    @property
    def reused(self) -> int:
        """Number of parts of windows that were known from other windows."""


@runtime_checkable
class SharingModel(Protocol):
    """A model that may do so; :attr:`edge_aac.audio.windows.Window.stretch` tells it which windows overlap."""

    @property
    def shared_work(self) -> SharedWork | None:
        """None where every window is computed by itself."""


def shared_work(model: WindowModel) -> SharedWork | None:
    """What windows of one stretch of sound share in a model; None where they share nothing."""
    return model.shared_work if isinstance(model, SharingModel) else None


def identity_of(manifest: Manifest, graph: Graph) -> records.Model:
    """How records name a bundle, by the form of the graph that hears its sound."""
    return records.Model(
        bundle=manifest.name, version=manifest.version, backend=graph.backend, precision=graph.precision
    )


@runtime_checkable
class SoundModel(Protocol):
    """A model that hears the sound of windows (:attr:`edge_aac.audio.windows.Window.waveform`), not their frames."""

    @property
    def hears_sound(self) -> bool:
        """Whether it does."""


def hears_sound(model: WindowModel) -> bool:
    """Whether windows must come with their sound for a model."""
    return isinstance(model, SoundModel) and model.hears_sound


@runtime_checkable
class NamingModel(Protocol):
    """A model whose bundle may list the sounds that its captions name, with their words."""

    @property
    def sound_names(self) -> SoundNames | None:
        """The sounds; None where the bundle lists none."""


@runtime_checkable
class SelectiveModel(Protocol):
    """A model that encodes a batch, asks which of its windows are wanted, and decodes those alone.

    Encoding is the smaller part of the work: sound that goes on as it was need not be decoded again.
    """

    def describe_wanted(
        self,
        windows: Sequence[Window],
        rngs: Sequence[np.random.Generator],
        wanted: Wanted,
        cancelled: Callable[[], bool] = not_cancelled,
    ) -> list[Description | DataError | Undecoded]:
        """Describe those windows of a batch that are wanted, as :meth:`WindowModel.describe` would.

        Args:
            windows: W windows; any number, in any order.
            rngs: generators, one a window; that of a window that is not wanted is left as it was.
            wanted: called once for each window, in order, between its encoding and its decoding. It is called for a
                window whose embedding is no number (NaN), too.
            cancelled: function that is called before every decoding step; True ends the work.

        Returns:
            One entry a window, in order: its description, the error that this window alone caused, or
            :class:`Undecoded` where it was not wanted.

        Raises:
            CancelledError: ``cancelled`` returned True.
            EdgeAacError: the whole model cannot go on, as when an accelerator is gone.
        """
