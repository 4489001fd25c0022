"""The captioner: encode a window, decode candidates, rerank them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ValidationError

from edge_aac.audio.features import FRAME_SHIFT_SAMPLES
from edge_aac.audio.windows import WINDOW_SAMPLES
from edge_aac.bundle.manifest import DecodingMethod, DecodingRules, FamiliarityRule, RerankWeights, Seq2SeqManifest
from edge_aac.bundle.store import Bundle, open_bundle
from edge_aac.engines.choice import load_engine
from edge_aac.engines.contract import EngineOptions
from edge_aac.engines.steps import (
    CROSS_ATTENTION,
    CrossAttention,
    ResidentEngine,
    StepwiseEngine,
    without_padding,
)
from edge_aac.errors import ConfigError, DataError, first_complaint
from edge_aac.fluency.languages import FluencyCheck, fluency_check
from edge_aac.models.contract import Description, Latency, not_cancelled
from edge_aac.models.decoding import CandidateDecoder
from edge_aac.models.rerank import Reranker
from edge_aac.models.tokens import all_but, load_tokenizer

Array = npt.NDArray[np.float32]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choices:
    """What is decided otherwise than in the bundle; None = as there.

    Attributes:
        method: "nucleus", "greedy" or "beam".
        max_length: longest caption in tokens, start and end counted.
        likelihood_weight, similarity_weight: of the two scores that candidates are ranked by.
        fluency_check: whether faulty sentences are ranked behind all others; None = where the bundle's language has
            a check.
        least_familiarity: windows that score lower are told to hold an unknown sound, or none.
    """

    method: DecodingMethod | None = None
    max_length: int | None = None
    likelihood_weight: float | None = None
    similarity_weight: float | None = None
    fluency_check: bool | None = None
    least_familiarity: float | None = None

    def rules(self, manifest: Seq2SeqManifest, candidates: int | None) -> DecodingRules:
        """The bundle's rules with these changes."""
        return _changed(manifest.decoding, candidates=candidates, method=self.method, max_length=self.max_length)

    def familiarity(self, manifest: Seq2SeqManifest) -> FamiliarityRule | None:
        """The bundle's rule with this change.

        Raises:
            ConfigError: it has none that could be changed.
        """
        if manifest.familiarity is None:
            if self.least_familiarity is not None:
                raise ConfigError(
                    f"the bundle {manifest.name} cannot tell how familiar a sound is: leave out least_familiarity"
                )
            return None
        return _changed(manifest.familiarity, least=self.least_familiarity)

    def check_of(self, manifest: Seq2SeqManifest) -> FluencyCheck | None:
        """What captions in the bundle's language are checked with; None = with nothing."""
        if self.fluency_check is False:
            return None
        check = fluency_check(manifest.language)
        if check is None and self.fluency_check:
            _log.warning("no fluency check is installed for %r: captions are ranked without", manifest.language)
        return check

    def weights(self, manifest: Seq2SeqManifest) -> RerankWeights:
        """The bundle's weights with these changes."""
        return _changed(manifest.rerank, log_likelihood=self.likelihood_weight, similarity=self.similarity_weight)


Section = TypeVar("Section", bound=BaseModel)


def _changed(section: Section, **changes: object) -> Section:
    """A section of the manifest with other values, None leaving it as it is.

    Raises:
        ConfigError: a value outside its range.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    try:
        return type(section).model_validate({**section.model_dump(), **given})
    except ValidationError as error:
        raise ConfigError(f"unusable choice: {first_complaint(error)}") from error


class Captioner:
    """Captions windows with one bundle.

    Holds the decoder's cache, so one captioner serves one thread at a time.

    Attributes:
        bundle: as given.
        rules: of decoding, and `familiarity` of what is familiar enough to be named; None where the bundle cannot tell.
        encoder_graph: the form of the encoder that is run.

    Args:
        bundle: checked, from :func:`edge_aac.bundle.store.open_bundle`.
        options: backend and threads.
        candidates: how many to draw a window; None for the bundle's own default.
        choices: of what else the bundle has a default for.
    """

    def __init__(
        self,
        bundle: Bundle,
        options: EngineOptions | None = None,
        candidates: int | None = None,
        choices: Choices | None = None,
    ) -> None:
        options, choices = options or EngineOptions(), choices or Choices()
        manifest = bundle.manifest_of(Seq2SeqManifest)
        self.bundle = bundle
        self.rules = choices.rules(manifest, candidates)
        self._encoder, self.encoder_graph = load_engine(bundle, "encoder", options)
        decoder = load_engine(bundle, "decoder", options)[0]
        self._decoder = CandidateDecoder(decoder)
        self._decoder.check(self.rules)
        tokenizer = load_tokenizer(bundle.checked(manifest.tokenizers.decoder))
        self.familiarity = choices.familiarity(manifest)
        if self.familiarity and "familiarity" not in self.encoder_graph.shapes:
            raise DataError(f"{bundle.folder} has a rule for familiarity, its encoder none to give: export it again")
        self._withheld = None
        if self.familiarity:
            self._withheld = all_but(tokenizer, self.familiarity.words)
            self._withheld[self.rules.eos_token_id] = False
        self._reranker = Reranker(
            load_engine(bundle, "text_embedder", options)[0],
            tokenizer,
            load_tokenizer(bundle.checked(manifest.tokenizers.text)),
            choices.weights(manifest),
            manifest.instruction,
            choices.check_of(manifest),
        )
        self._takes_padding = "frame_padding" in self._encoder.input_shapes
        # What the decoder reads in the device's memory need not leave it.
        self._resident = CROSS_ATTENTION if isinstance(decoder, StepwiseEngine) else ()

    @classmethod
    def open(
        cls,
        name_or_path: str,
        options: EngineOptions | None = None,
        candidates: int | None = None,
        choices: Choices | None = None,
    ) -> Captioner:
        """Open a bundle by name or path and load it."""
        return cls(open_bundle(name_or_path), options, candidates, choices)

    def caption(
        self,
        fbank: npt.NDArray[np.float32],
        rng: np.random.Generator,
        cancelled: Callable[[], bool] = not_cancelled,
        sound_samples: int | None = None,
    ) -> Description:
        """Caption one window.

        Args:
            fbank: (998, 128) normalised filter bank.
            rng: seeded by the caller; the same generator state gives the same captions.
            cancelled: asked before every decoding step.
            sound_samples: how many samples at 16 kHz hold sound, where the rest is padding; None = all. A bundle whose
                model was trained on padded batches leaves the padding out, another hears silence there.

        Raises:
            CancelledError: ``cancelled`` said so.
        """
        started = time.perf_counter()
        keys, values, audio_embedding, familiarity = self._encode(fbank, sound_samples)
        familiar = familiarity is None or self.familiarity is None or familiarity >= self.familiarity.least
        encode_done = time.perf_counter()
        withheld = None if familiar else self._withheld
        candidates = self._decoder.decode(keys, values, self.rules, rng, cancelled, withheld)
        decode_done = time.perf_counter()
        ranked = self._reranker.rank(candidates, audio_embedding)
        latency = Latency(
            encode=1e3 * (encode_done - started),
            decode=1e3 * (decode_done - encode_done),
            rerank=1e3 * (time.perf_counter() - decode_done),
        )
        return Description(ranked, audio_embedding, len(candidates), latency, familiarity, familiar)

    def _encode(
        self, fbank: Array, sound_samples: int | None
    ) -> tuple[CrossAttention, CrossAttention, Array, float | None]:
        """Cross-attention keys and values (layers, heads, T, head_size), the audio embedding (E,), and how familiar
        the window is, where the bundle tells."""
        inputs: dict[str, npt.NDArray[np.generic]] = {"fbank": fbank[np.newaxis]}
        if self._takes_padding:
            frames = np.arange(len(fbank)) * FRAME_SHIFT_SAMPLES
            inputs["frame_padding"] = (frames >= (WINDOW_SAMPLES if sound_samples is None else sound_samples))[
                np.newaxis
            ]
        if isinstance(self._encoder, ResidentEngine):
            encoded = self._encoder.run_resident(inputs, self._resident)
        else:
            encoded = self._encoder.run(inputs)
        keys, values = (encoded[name][0] for name in CROSS_ATTENTION)
        if self._takes_padding and (padding := encoded["memory_padding"][0].astype(bool)).any():
            keys, values = (without_padding(array, padding) for array in (keys, values))
        familiarity = float(encoded["familiarity"][0]) if self.familiarity else None
        return keys, values, encoded["audio_embedding"][0], familiarity


def window_rng(seed: int, start_sample: int) -> np.random.Generator:
    """The generator of the window that starts at ``start_sample``.

    Each window has its own, so a skipped or silent window changes nothing for those after it.
    """
    return np.random.default_rng([seed, start_sample])


class Seq2SeqKind:
    """The kind of model "seq2seq": see :class:`edge_aac.models.registry.ModelKind`."""

    manifest = Seq2SeqManifest
    choices = frozenset({"candidates", *(field.name for field in fields(Choices))})

    @staticmethod
    def open(bundle: Bundle, options: EngineOptions, choices: Mapping[str, Any]) -> Captioner:
        """Load the captioner."""
        others = {name: value for name, value in choices.items() if name != "candidates"}
        return Captioner(bundle, options, choices.get("candidates"), Choices(**others))
