"""The shared space of bundles that hear the windows of a stream: captioners, and dual encoders made of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge_aac import records
from edge_aac.audio.windows import WINDOW_SAMPLES, file_windows
from edge_aac.bundle.manifest import Seq2SeqManifest
from edge_aac.bundle.store import Bundle, open_bundle
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import DataError
from edge_aac.fluency.sound_names import SoundNames
from edge_aac.models.clip_encoder import ClipEncoder
from edge_aac.models.contract import SelectiveModel, WindowModel
from edge_aac.models.dual_encoder_manifest import DualEncoderManifest
from edge_aac.models.label_texts import BLANK
from edge_aac.models.registry import open_model
from edge_aac.models.shared_space import HeardPart, SharedSpace, unit
from edge_aac.models.sound_table import sounds_of
from edge_aac.models.tokens import plain_text
from edge_aac.timebase import SAMPLE_RATE

Array = npt.NDArray[np.float32]


class WindowSpace:
    """A model of windows as a :class:`edge_aac.models.shared_space.SharedSpace`; nothing is decoded.

    Windows of 10 s follow each other without a gap, as :func:`edge_aac.audio.windows.file_windows` cuts them.

    Args:
        bundle: whose texts and sounds share a space.
        options: backend and threads.

    Raises:
        DataError: they share none.
        InputMissingError, DeviceError: the bundle cannot be run here.
    """

    def __init__(self, bundle: Bundle, options: EngineOptions) -> None:
        manifest = bundle.manifest
        own = isinstance(manifest, DualEncoderManifest)
        self._refusal = DataError(
            f"bundle {bundle.opened_as!r} does not compare texts with sounds: give another bundle"
        )
        if not own and not (isinstance(manifest, Seq2SeqManifest) and manifest.rerank.similarity):
            raise self._refusal
        model: WindowModel = open_model(bundle, options, {})
        if not isinstance(model, SelectiveModel):
            raise self._refusal
        self._model, self._selective = model, model
        self.language: str = manifest.language
        self.own_labels: Sequence[str] = manifest.labels if isinstance(manifest, DualEncoderManifest) else ()
        self.templates: Sequence[str] = manifest.around if isinstance(manifest, DualEncoderManifest) else (BLANK,)
        self.sound_names: SoundNames | None = sounds_of(bundle)
        self.logit_scale: float | None = manifest.logit_scale if isinstance(manifest, DualEncoderManifest) else None

    @property
    def identity(self) -> records.Model:
        """See :class:`edge_aac.models.shared_space.SharedSpace`."""
        return self._model.identity

    def written(self, text: str) -> str:
        """See :class:`edge_aac.models.shared_space.SharedSpace`: as captions are written."""
        return plain_text(text)

    def embed(self, texts: Sequence[str]) -> Array:
        """See :class:`edge_aac.models.shared_space.SharedSpace`."""
        return self._model.embed(texts)

    def hear(self, path: Path) -> Iterator[HeardPart]:
        """See :class:`edge_aac.models.shared_space.SharedSpace`."""
        for window in file_windows(path, WINDOW_SAMPLES):
            rng = np.random.default_rng(0)  # nothing is drawn
            (found,) = self._selective.describe_wanted([window], [rng], lambda _number, _embedding: False)
            if isinstance(found, DataError):
                raise found
            start, end = window.start / SAMPLE_RATE, (window.start + window.samples) / SAMPLE_RATE
            yield HeardPart(start, end, unit(found.audio_embedding))


def open_shared_space(name_or_path: str, options: EngineOptions) -> SharedSpace:
    """The shared space of a bundle: of a dual encoder of any kind, or of a captioner that ranks by similarity.

    Args:
        name_or_path: built-in or pulled bundle, or folder of one.
        options: backend and threads.

    Raises:
        DataError: the bundle's texts and sounds share no space, or it is damaged.
        InputMissingError, DeviceError: there is none, or it cannot be run here.
    """
    bundle = open_bundle(name_or_path)
    if isinstance(bundle.manifest, DualEncoderManifest) and bundle.manifest.clip is not None:
        return ClipEncoder(bundle, options)
    return WindowSpace(bundle, options)
