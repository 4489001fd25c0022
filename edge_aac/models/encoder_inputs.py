"""What an encoder is given of windows: their filter banks, or the vectors of their patches."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edge_aac.audio.features import FRAME_SHIFT_SAMPLES
from edge_aac.audio.windows import Window
from edge_aac.engines.contract import Arrays, Engine
from edge_aac.engines.steps import largest_rows
from edge_aac.models.contract import not_cancelled
from edge_aac.models.patches import VECTORS, PatchVectors


class EncoderInputs:
    """Makes the inputs of a bundle's encoder graph.

    Args:
        engine: the encoder graph. Without a stem it takes fbank (W, 998, 128) and, of a model that was trained on
            padded batches, frame_padding (W, 998); behind a stem it takes vectors (W, patches, D).
        vectors: of the stem in front of it; None where there is none.
    """

    def __init__(self, engine: Engine, vectors: PatchVectors | None) -> None:
        self._vectors = vectors
        self._takes_padding = "frame_padding" in engine.input_shapes
        self.windows_at_once = largest_rows(engine, "fbank" if vectors is None else VECTORS)
        """The largest number of windows that the encoder takes in one run; None means any number."""

    def of_each(self, windows: Sequence[Window], cancelled: Callable[[], bool] = not_cancelled) -> list[Arrays]:
        """The inputs of a run for each window by itself.

        Args:
            windows: at least one.
            cancelled: function that is called before every run of a stem; True ends the work.

        Raises:
            CancelledError: ``cancelled`` returned True.
        """
        if self._vectors is not None:
            vectors = self._vectors.of(windows, cancelled)
            return [{VECTORS: vectors[number : number + 1]} for number in range(len(windows))]
        return [self._of_frames(window) for window in windows]

    def of_all(self, windows: Sequence[Window], cancelled: Callable[[], bool] = not_cancelled) -> Arrays:
        """The inputs of one run for all windows; see :meth:`of_each`."""
        each = self.of_each(windows, cancelled)
        return each[0] if len(each) == 1 else {name: np.concatenate([one[name] for one in each]) for name in each[0]}

    def _of_frames(self, window: Window) -> Arrays:
        fbank = window.fbank[np.newaxis]
        if not self._takes_padding:
            return {"fbank": fbank}
        begins = np.arange(len(window.fbank)) * FRAME_SHIFT_SAMPLES
        return {"fbank": fbank, "frame_padding": (begins >= window.samples)[np.newaxis]}
