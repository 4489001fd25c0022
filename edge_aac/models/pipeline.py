"""How a captioner describes a batch of windows: it encodes them, asks which are wanted, decodes and ranks these."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from edge_aac.audio.windows import Window
from edge_aac.bundle.manifest import FamiliarityRule
from edge_aac.errors import DataError
from edge_aac.models.candidates import DrawingStages, EncodedMemory, candidates_of, straight
from edge_aac.models.contract import Description, Latency, ScoredCaption, Undecoded, Wanted, not_cancelled
from edge_aac.models.decoding import Candidate
from edge_aac.models.encoding import Encoded
from edge_aac.models.sampling import Withheld
from edge_aac.models.sureness import Sureness
from edge_aac.models.whole_words import Held

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class RunLimits:
    """The numbers of windows that one run takes; None means any number.

    Attributes:
        encoder: windows that the encoder takes.
        decoded: windows that are decoded side by side.
        ranked: windows whose texts are embedded together.
        resident: whether an encoder's outputs stay on its device, so that they are decoded before it runs again.
    """

    encoder: int | None
    decoded: int
    ranked: int | None
    resident: bool

    @property
    def encoded(self) -> int | None:
        """Windows that are encoded before any of them is decoded."""
        return _smallest([self.encoder, self.decoded if self.resident else None])

    @staticmethod
    def of_all(limits: Iterable[RunLimits]) -> RunLimits:
        """The limits of captioners that take the same windows."""
        each = list(limits)
        return RunLimits(
            _smallest(one.encoder for one in each),
            min(one.decoded for one in each),
            _smallest(one.ranked for one in each),
            any(one.resident for one in each),
        )


class EncodedWindows(EncodedMemory, Protocol):
    """W windows that were encoded in whole."""

    @property
    def audio_embeddings(self) -> Array:
        """(W, E), that descriptions are given with."""

    @property
    def familiarity(self) -> Array | None:
        """Scores (W,); None where there is no such score."""

    @property
    def sounds(self) -> Array | None:
        """Confidences (W, S) of each sound; None where they are not told."""


Whole = TypeVar("Whole", bound=EncodedWindows)


class CaptioningStages(DrawingStages[Whole], Protocol[Whole]):
    """What :func:`describe_batch` asks of a captioner, stage by stage."""

    @property
    def limits(self) -> RunLimits:
        """The numbers of windows that one run takes."""

    @property
    def familiarity(self) -> FamiliarityRule | None:
        """The rule for unfamiliar windows; None where there is no such score."""

    @property
    def sureness(self) -> Sureness | None:
        """The rule for naming sounds; None where it is not told how sure they are."""

    @property
    def withheld(self) -> Withheld | None:
        """(V,) tokens that no caption of an unfamiliar window may hold; None where there is no such rule."""

    def encode(self, windows: Sequence[Window], cancelled: Callable[[], bool]) -> Encoded:
        """Encode windows as far as it takes to ask which of them are wanted."""

    def complete(
        self, encoded: Encoded, windows: Sequence[Window], numbers: Sequence[int], cancelled: Callable[[], bool]
    ) -> Whole:
        """Encode the rest of those windows that are wanted.

        Args:
            encoded: from :meth:`encode`, of ``windows``.
            windows: all windows of the run.
            numbers: those that are wanted, ascending, at least one.
            cancelled: see :meth:`edge_aac.models.contract.WindowModel.describe`.
        """

    def rank(
        self, candidates: Sequence[Sequence[Candidate]], encoded: Whole, numbers: Sequence[int]
    ) -> list[list[ScoredCaption] | DataError]:
        """Rank the candidates of the windows with these numbers, best first."""


class StagedModel:
    """A captioner as the contract of models has it, made of its stages."""

    limits: RunLimits

    @property
    def windows_decoded(self) -> int:
        """See :class:`edge_aac.models.candidates.DrawingStages`."""
        return self.limits.decoded

    def describe(
        self: CaptioningStages[Whole],
        windows: Sequence[Window],
        rngs: Sequence[np.random.Generator],
        cancelled: Callable[[], bool] = not_cancelled,
    ) -> list[Description | DataError]:
        """See :class:`edge_aac.models.contract.WindowModel`.

        All windows share one run of each graph, as far as the engines take so many. Of a window that holds less sound
        than its length, a bundle whose model was trained on padded batches leaves the padding out; another hears
        silence there.
        """
        described = describe_batch(self, windows, rngs, cancelled)
        return [found for found in described if not isinstance(found, Undecoded)]

    def describe_wanted(
        self: CaptioningStages[Whole],
        windows: Sequence[Window],
        rngs: Sequence[np.random.Generator],
        wanted: Wanted,
        cancelled: Callable[[], bool] = not_cancelled,
    ) -> list[Description | DataError | Undecoded]:
        """See :class:`edge_aac.models.contract.SelectiveModel`."""
        return describe_batch(self, windows, rngs, cancelled, wanted)


def describe_batch(
    stages: CaptioningStages[Whole],
    windows: Sequence[Window],
    rngs: Sequence[np.random.Generator],
    cancelled: Callable[[], bool],
    wanted: Wanted | None = None,
) -> list[Description | DataError | Undecoded]:
    """Describe windows; see :meth:`edge_aac.models.contract.SelectiveModel.describe_wanted`.

    Args:
        stages: the captioner.
        windows: any number.
        rngs: generators, one a window.
        cancelled: True ends the work.
        wanted: which windows are to be decoded; None means all of them.
    """
    if len(windows) != len(rngs):
        raise ValueError(f"{len(windows)} windows, {len(rngs)} generators")
    at_once = stages.limits.encoded or max(1, len(windows))
    described: list[Description | DataError | Undecoded] = []
    for start in range(0, len(windows), at_once):
        part = slice(start, start + at_once)
        of_part = None if wanted is None else _shifted(wanted, start)
        described += _described(stages, windows[part], rngs[part], cancelled, of_part)
    return described


def _described(
    stages: CaptioningStages[Whole],
    windows: Sequence[Window],
    rngs: Sequence[np.random.Generator],
    cancelled: Callable[[], bool],
    wanted: Wanted | None,
) -> list[Description | DataError | Undecoded]:
    """Describe as many windows as one run of the encoder takes."""
    started = time.perf_counter()
    encoded = stages.encode(windows, cancelled)
    embeddings = encoded.audio_embeddings
    encode_ms = 1e3 * (time.perf_counter() - started) / len(windows)
    kept = [number for number in range(len(windows)) if wanted is None or wanted(number, embeddings[number])]
    found: list[Description | DataError | Undecoded] = [
        Undecoded(embedding, Latency(encode_ms, 0.0, 0.0)) for embedding in embeddings
    ]
    if kept:
        begun = time.perf_counter()
        whole = stages.complete(encoded, windows, kept, cancelled)
        encode_ms += 1e3 * (time.perf_counter() - begun) / len(kept)
        decoded = _decoded(stages, whole, [rngs[number] for number in kept], encode_ms, cancelled)
        for number, description in zip(kept, decoded, strict=True):
            found[number] = description
    return found


def _decoded(
    stages: CaptioningStages[Whole],
    encoded: Whole,
    rngs: Sequence[np.random.Generator],
    encode_ms: float,
    cancelled: Callable[[], bool],
) -> list[Description | DataError]:
    """Decode and rank what was encoded."""
    begun = time.perf_counter()
    judged = _judged(stages, encoded, len(rngs))
    unsure = _unsure_by(stages.sureness, judged.sounds)
    candidates = candidates_of(stages, encoded, rngs, judged.held, cancelled, unsure)
    decode_done = time.perf_counter()
    ranked = _ranked(stages, candidates, encoded)
    share = 1e3 / len(rngs)
    latency = Latency(encode_ms, share * (decode_done - begun), share * (time.perf_counter() - decode_done))

    def description(number: int) -> Description | DataError:
        captions, found = ranked[number], candidates[number]
        if isinstance(captions, DataError):
            return captions
        assert not isinstance(found, DataError), "what has no candidates is not ranked"
        audio_embedding = encoded.audio_embeddings[number]
        familiarity, familiar = judged.familiarity[number], judged.familiar[number]
        told = _with_sounds(captions, stages.sureness, None if judged.sounds is None else judged.sounds[number])
        return Description(told, audio_embedding, len(found), latency, familiarity, familiar)

    return [description(number) for number in range(len(rngs))]


@dataclass(frozen=True)
class _Judged:
    """What the rules for naming say of W windows before they are decoded.

    Attributes:
        familiarity: score of each; None without such a score.
        familiar: whether anything may be named in each.
        held: what holds the captions of each.
        sounds: (W, S) confidences of :meth:`edge_aac.models.sureness.Sureness.raised`; None where they are not told.
    """

    familiarity: list[float | None]
    familiar: list[bool]
    held: list[Held]
    sounds: Array | None


def _judged(stages: CaptioningStages[Whole], encoded: Whole, windows: int) -> _Judged:
    familiarity: list[float | None] = [None] * windows
    familiar = [True] * windows
    rule, scores = stages.familiarity, encoded.familiarity
    if rule is not None and scores is not None:
        familiarity = [float(score) for score in scores]
        familiar = [bool(score >= rule.threshold) for score in scores]
    held: list[Held] = [None if known else stages.withheld for known in familiar]
    sureness, confidences = stages.sureness, encoded.sounds
    sounds = None
    if sureness is not None and confidences is not None:
        sounds = sureness.raised(confidences)
        # Where none of all sounds may be named, nothing familiar is heard.
        familiar = [known and bool(sure.any()) for known, sure in zip(familiar, sureness.sure(sounds), strict=True)]
        held = [
            sureness.sayable(of_window, None if known else stages.withheld)
            for known, of_window in zip(familiar, sounds, strict=True)
        ]
    return _Judged(familiarity, familiar, held, sounds)


def _with_sounds(
    captions: list[ScoredCaption], sureness: Sureness | None, confidences: Array | None
) -> list[ScoredCaption]:
    """Captions of a window with the confidences of the sounds that each names, where these are told."""
    if sureness is None or confidences is None:
        return captions
    told = [replace(caption, sounds=sureness.named(caption.text, confidences)) for caption in captions]
    # Words of two sounds that are sure can name a third one together: such a caption comes after all others.
    return sorted(told, key=lambda caption: _any_unsure(sureness, caption.sounds or {}))


def _unsure_by(sureness: Sureness | None, sounds: Array | None) -> Callable[[int, str], bool]:
    """Whether a text names, in a window, what would have it ranked behind all others."""
    if sureness is None or sounds is None:
        return lambda number, text: False
    return lambda number, text: _any_unsure(sureness, sureness.named(text, sounds[number]))


def _any_unsure(sureness: Sureness, named: Mapping[str, float]) -> bool:
    return any(sure < sureness.rule.threshold for sure in named.values())


def _ranked(
    stages: CaptioningStages[Whole], candidates: Sequence[list[Candidate] | DataError], encoded: Whole
) -> list[list[ScoredCaption] | DataError]:
    """Rank the texts of each window that were not led astray, best first; errors stay in their places."""
    ranked: list[list[ScoredCaption] | DataError] = [
        of_window if isinstance(of_window, DataError) else [] for of_window in candidates
    ]
    sound = [number for number, of_window in enumerate(candidates) if not isinstance(of_window, DataError)]
    at_once = stages.limits.ranked or max(1, len(sound))
    for start in range(0, len(sound), at_once):
        numbers = sound[start : start + at_once]
        given = [straight(of_window) for number in numbers if isinstance(of_window := candidates[number], list)]
        for number, captions in zip(numbers, stages.rank(given, encoded, numbers), strict=True):
            ranked[number] = captions
    return ranked


def _shifted(wanted: Wanted, start: int) -> Wanted:
    """The same question of a part of the batch that begins at ``start``."""
    return lambda number, embedding: wanted(start + number, embedding)


def _smallest(limits: Iterable[int | None]) -> int | None:
    return min((limit for limit in limits if limit), default=None)
