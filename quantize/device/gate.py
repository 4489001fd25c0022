"""The gate of `edge-aac build-engine`: a form that does not caption as its exported parent does is not written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from edge_aac.audio.windows import Window
from edge_aac.bundle.store import Bundle
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import DataError
from edge_aac.models.choices import Choices
from edge_aac.models.encoding import Encoded
from edge_aac.models.seq2seq import Captioner, window_rng
from quantize.captioning import described, heard

Array = npt.NDArray[np.float32]

MIN_COSINE = 0.99
MIN_CAPTIONS_EQUAL = 0.95
MAX_LIKELIHOOD_DIFFERENCE = 0.02
MAX_CONFIDENCE_DIFFERENCE = 0.1
"""Mean over windows of the largest difference that a sound's confidence has in one."""


class CheckOutputs(Protocol):
    """What a model gives for the check sounds."""

    def compared(self, form: Any) -> Agreement:
        """How much these outputs, of the exported graphs, agree with those of a form.

        Raises:
            DataError: they cannot be compared.
        """


@dataclass(frozen=True)
class CheckCaptions:
    """A captioner's output for the check windows, decoded greedily.

    Attributes:
        audio: (W, E) audio embeddings.
        captions: W texts.
        log_likelihoods: (W,) mean log-likelihood a token.
        texts: (W, E) embeddings of the captions.
        sounds: (W, S) confidences of the sounds; None of a bundle that does not tell them.
    """

    audio: Array
    captions: tuple[str, ...]
    log_likelihoods: npt.NDArray[np.float64]
    texts: Array
    sounds: Array | None = None

    def compared(self, form: CheckCaptions) -> Agreement:
        """See :class:`CheckOutputs`.

        Raises:
            DataError: they embed in different numbers of dimensions.
        """
        if self.audio.shape != form.audio.shape or self.texts.shape != form.texts.shape:
            raise DataError("a form embeds in another number of dimensions than its parent: export the bundle again")
        same = [left == right for left, right in zip(self.captions, form.captions, strict=True)]
        mean, other = float(self.log_likelihoods.mean()), float(form.log_likelihoods.mean())
        return Agreement(
            windows=len(same),
            audio_cosine=lowest_cosine(self.audio, form.audio),
            text_cosine=lowest_cosine(self.texts[same], form.texts[same]) if any(same) else 1.0,
            captions_equal=sum(same) / len(same),
            log_likelihood_difference=relative_difference(mean, other),
            confidence_difference=_largest_differences(self.sounds, form.sounds),
        )


@dataclass(frozen=True)
class Agreement:
    """Agreement of a form with its parent; for embeddings that of the worst window.

    Attributes:
        windows: number of windows, or clips, that were compared.
        audio_cosine: lowest cosine of audio embeddings.
        text_cosine: lowest cosine of embeddings of the same text; 1 where no caption was the same.
        captions_equal: share of windows; 1 of a model that writes none.
        log_likelihood_difference: difference of the means over all windows, relative to the parent's.
        confidence_difference: mean over windows of the largest difference of a sound's confidence; 0 where a bundle
            does not tell them.
    """

    windows: int
    audio_cosine: float
    text_cosine: float
    captions_equal: float
    log_likelihood_difference: float
    confidence_difference: float = 0.0

    equal_of: ClassVar[str] = "greedy captions"
    """What ``captions_equal`` is the share of."""

    def complaints(self) -> list[str]:
        """Complaints of the gate; empty for a faithful form. A figure that is no number fails."""
        checks = (
            (self.audio_cosine >= MIN_COSINE, f"audio embeddings differ (cosine {self.audio_cosine:.4f})"),
            (self.text_cosine >= MIN_COSINE, f"text embeddings differ (cosine {self.text_cosine:.4f})"),
            (self.captions_equal >= MIN_CAPTIONS_EQUAL, f"{self.captions_equal:.1%} of {self.equal_of} are equal"),
            (
                self.log_likelihood_difference <= MAX_LIKELIHOOD_DIFFERENCE,
                f"mean log-likelihood differs by {self.log_likelihood_difference:.1%}",
            ),
            (
                self.confidence_difference <= MAX_CONFIDENCE_DIFFERENCE,
                f"confidences of sounds differ by {self.confidence_difference:.3f}",
            ),
        )
        return [complaint for passed, complaint in checks if not passed]


def caption_check_windows(bundle: Bundle, windows: Sequence[Array], options: EngineOptions) -> CheckCaptions:
    """Caption the check windows with the first forms of a bundle that can be run.

    Args:
        bundle: bundle that holds the graphs in the forms to be tried.
        windows: filter banks (998, 128).
        options: backend and threads.

    Raises:
        DataError: a graph cannot be loaded, or gives numbers that are none.
    """
    # One candidate a window, so nothing is ranked, and a graph is judged by what it computed alone.
    choices = Choices(method="greedy", similarity_weight=0.0, fluency_check=False)
    captioner = _TellingCaptioner(bundle, options, 1, choices)
    given = ((heard(fbank), window_rng(0, number)) for number, fbank in enumerate(windows))
    descriptions = list(described(captioner, given))
    captions = tuple(window.best.text for window in descriptions)
    return CheckCaptions(
        audio=np.stack([window.audio_embedding for window in descriptions]),
        captions=captions,
        log_likelihoods=np.array([window.best.log_likelihood for window in descriptions]),
        texts=captioner.embed(captions),
        sounds=np.concatenate(captioner.told) if captioner.sureness else None,
    )


class _TellingCaptioner(Captioner):
    """A captioner that keeps the confidences of the sounds as its encoder gives them, whatever its captions name.

    Attributes:
        told: (W, S) of each run of the encoder, in order.
    """

    def __init__(self, bundle: Bundle, options: EngineOptions, candidates: int, choices: Choices) -> None:
        self.told: list[Array] = []
        super().__init__(bundle, options, candidates, choices)

    def encode(self, windows: Sequence[Window], cancelled: Callable[[], bool]) -> Encoded:
        """See :class:`edge_aac.models.pipeline.CaptioningStages`."""
        encoded = super().encode(windows, cancelled)
        if encoded.sounds is not None:
            self.told.append(encoded.sounds)
        return encoded


def agreement(parent: CheckOutputs, form: CheckOutputs) -> Agreement:
    """Compare the outputs of two forms of a model for the same sounds.

    Raises:
        DataError: they cannot be compared.
    """
    return parent.compared(form)


def relative_difference(mean: float, other: float) -> float:
    """Absolute difference of another mean, as a share of the first."""
    return abs(other - mean) / max(abs(mean), 1e-9)


def _largest_differences(one: Array | None, other: Array | None) -> float:
    """Mean over rows of the largest absolute difference of two (W, S) arrays; 0 where there are none."""
    if one is None or other is None:
        return 0.0
    return float(np.abs(one - other).max(axis=1).mean())


def lowest_cosine(left: npt.NDArray[np.generic], right: npt.NDArray[np.generic]) -> float:
    """The lowest cosine between rows of two (N, E) arrays; NaN where a number is none."""
    a, b = np.asarray(left, np.float64), np.asarray(right, np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(((a * b).sum(axis=1) / np.maximum(lengths, 1e-30)).min())
