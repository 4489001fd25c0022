"""Dual encoders that hear clips of their own, such as CLAP, on a stream: each window is heard by its newest clip."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_aac import records
from edge_aac.audio.windows import Window
from edge_aac.bundle.store import Bundle
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import ConfigError, DataError
from edge_aac.models.clip_encoder import ClipEncoder
from edge_aac.models.contract import (
    CancelledError,
    Description,
    Latency,
    Undecoded,
    Wanted,
)
from edge_aac.models.dual_encoder_manifest import DualEncoderManifest, chosen_labels, own_templates
from edge_aac.models.label_texts import LabelTexts
from edge_aac.models.one_by_one import OneByOne
from edge_aac.models.registry import check_choices
from edge_aac.models.shared_space import nearest_first, unit
from edge_aac.models.tokens import plain_text
from edge_aac.models.window_clips import sound_at

Array = npt.NDArray[np.float32]


class ClipWindows(OneByOne):
    """Ranks labels by how close their texts lie to a window's newest clip, brought from 16 kHz to the bundle's rate.

    What a window holds before its newest clip was in the windows before. Texts go to the bundle as they are written;
    captions are the same in lower case, without punctuation.

    Args:
        bundle: of the kind dual_encoder, with a rule for clips.
        options: backend and threads.
        choices: ``labels``, ``prompt`` and ``templates`` other than the bundle's, None for its own.

    Raises:
        ConfigError: a choice is unusable, or neither the bundle nor the choices name labels.
        InputMissingError, DataError, DeviceError: the bundle cannot be run here.
    """

    def __init__(self, bundle: Bundle, options: EngineOptions, choices: Mapping[str, Any]) -> None:
        self._manifest = manifest = chosen_labels(
            bundle.manifest_of(DualEncoderManifest), check_choices(bundle, choices)
        )
        if not manifest.labels:
            raise ConfigError(
                f"the bundle {manifest.name} names no sounds of its own: give some, as labels in [captioner]"
            )
        self._encoder = ClipEncoder(bundle, options)
        self._texts = [plain_text(text) for text in manifest.texts()]
        texts = LabelTexts.of(self._encoder, manifest.labels, own_templates(choices))
        self._embeddings = texts.embedded(self._encoder.embed)

    @property
    def hears_sound(self) -> bool:
        """See :class:`edge_aac.models.contract.SoundModel`."""
        return True

    @property
    def identity(self) -> records.Model:
        """See :class:`edge_aac.models.contract.WindowModel`."""
        return self._encoder.identity

    @property
    def language(self) -> str:
        """See :class:`edge_aac.models.contract.WindowModel`."""
        return self._manifest.language

    @property
    def same_similarity(self) -> float:
        """See :class:`edge_aac.models.contract.WindowModel`."""
        return self._manifest.same_similarity

    def embed(self, texts: Sequence[str]) -> Array:
        """See :class:`edge_aac.models.contract.WindowModel`."""
        return self._encoder.embed(texts)

    def _described(
        self, window: Window, number: int, wanted: Wanted, cancelled: Callable[[], bool]
    ) -> Description | DataError | Undecoded:
        if cancelled():
            raise CancelledError
        started = time.perf_counter()
        try:
            embedding = unit(self._encoder.embed_clip(self._newest_clip(window)))
        except DataError as error:
            wanted(number, np.full(self._manifest.embedding_size, np.nan, np.float32))
            return error
        encode_ms = 1e3 * (time.perf_counter() - started)
        if not wanted(number, embedding):
            return Undecoded(embedding, Latency(encode_ms, 0.0, 0.0))
        started = time.perf_counter()
        ranked = nearest_first(self._texts, self._embeddings, embedding)
        rerank_ms = 1e3 * (time.perf_counter() - started)
        return Description(ranked, embedding, len(ranked), Latency(encode_ms, 0.0, rerank_ms))

    def _newest_clip(self, window: Window) -> Array:
        sound, samples = sound_at(window, self._manifest.sample_rate), self._encoder.clip.samples
        if len(sound) >= samples:
            return np.ascontiguousarray(sound[-samples:])
        cutter = self._encoder.cutter()
        (clip,) = [*cutter.push(sound[:, None]), *cutter.flush()]
        return clip.waveform
