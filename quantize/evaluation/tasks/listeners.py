"""Bundles as what compares recordings with texts, whatever their kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edge_aac.bundle.store import Bundle
from edge_aac.fluency.sound_names import SoundNames
from edge_aac.models.contract import WindowModel
from edge_aac.models.dual_encoder_manifest import DualEncoderManifest
from edge_aac.models.label_texts import BLANK
from edge_aac.models.sound_table import sounds_of
from edge_aac.models.tokens import plain_text
from quantize.evaluation.evaluate import Identified
from quantize.evaluation.tasks.listening import AudioClip, Compared, Heard, compared_of, listen

Progress = Callable[[int], None]


class Listener(Protocol):
    """A bundle that hears recordings and embeds texts."""

    @property
    def model(self) -> Identified:
        """The model that it hears by."""

    @property
    def compared(self) -> str:
        """What of a recording is compared with texts, in words for the report."""

    @property
    def templates(self) -> Sequence[str]:
        """What the bundle makes texts of labels with, at least one: ``{}`` stands where the label goes."""

    @property
    def sound_names(self) -> SoundNames | None:
        """The sounds that the bundle lists; None where it lists none."""

    def written(self, text: str) -> str:
        """A text as this bundle's texts are written."""

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Embeddings (N, E) of at least one text as :meth:`written` gives it."""

    def listen(self, clips: Sequence[AudioClip], seed: int, progress: Progress) -> Heard:
        """Hear recordings, at least one.

        Args:
            clips: recordings, or stretches of some.
            seed: seed of the candidates, where captions are made.
            progress: called with the number of recordings that were heard.

        Raises:
            DataError: not one could be used.
        """


class WindowListener:
    """A model that hears windows as a :class:`Listener`.

    Args:
        model: of a bundle, or of several.
        bundles: these.
        asked: what is compared with texts; None leaves it to the bundles.

    Raises:
        UsageError: see :func:`quantize.evaluation.tasks.listening.compared_of`.
    """

    def __init__(self, model: WindowModel, bundles: Sequence[Bundle], asked: Compared | None) -> None:
        self._model = model
        self._compared = compared_of([bundle.manifest for bundle in bundles], asked)
        manifest = bundles[0].manifest
        self.compared: str = self._compared.words
        self.templates: Sequence[str] = manifest.around if isinstance(manifest, DualEncoderManifest) else (BLANK,)
        self.sound_names: SoundNames | None = next(filter(None, map(sounds_of, bundles)), None)

    @property
    def model(self) -> Identified:
        """See :class:`Listener`."""
        return self._model

    def written(self, text: str) -> str:
        """See :class:`Listener`: as captions are written, lower-case and without punctuation."""
        return plain_text(text)

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """See :class:`Listener`."""
        return self._model.embed(texts)

    def listen(self, clips: Sequence[AudioClip], seed: int, progress: Progress) -> Heard:
        """See :class:`Listener`: as `edge-aac caption` does, in windows of 10 s."""
        return listen(self._model, clips, self._compared, seed, progress)
