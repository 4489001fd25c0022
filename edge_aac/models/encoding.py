"""The encoder: windows in, what the decoder attends to and what texts are compared with out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_aac.audio.windows import Window
from edge_aac.bundle.sureness import SOUNDS
from edge_aac.engines.contract import Arrays, Engine
from edge_aac.engines.side_by_side import side_by_side
from edge_aac.engines.steps import CROSS_ATTENTION, CoreEngine, Memory, ResidentEngine
from edge_aac.models.contract import CancelledError
from edge_aac.models.encoder_inputs import EncoderInputs
from edge_aac.models.patches import PatchVectors

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Encoded:
    """Outputs of the encoder for W windows.

    Attributes:
        memory: memory that the decoder attends to.
        audio_embeddings: (W, E).
        familiarity: scores (W,); None where the encoder has no such output.
        sounds: confidences (W, S) of each sound, as the encoder gives them; None where it has no such output.
    """

    memory: Memory
    audio_embeddings: Array
    familiarity: Array | None
    sounds: Array | None = None

    @property
    def all_padding(self) -> npt.NDArray[np.bool_]:
        """(W,), whether nothing of a window can be attended to."""
        return np.asarray(self.memory.padding.all(axis=1))

    def selected(self, numbers: Sequence[int]) -> Encoded:
        """Those of the windows with these numbers, in ascending order; see :meth:`Memory.selected`."""
        if len(numbers) == len(self.audio_embeddings):
            return self
        chosen = list(numbers)
        familiarity = None if self.familiarity is None else self.familiarity[chosen]
        sounds = None if self.sounds is None else self.sounds[chosen]
        return Encoded(self.memory.selected(numbers), self.audio_embeddings[chosen], familiarity, sounds)


class WindowEncoder:
    """Encodes batches of windows.

    On an accelerator all windows go through one run. On a processor they go through one run each, as many side by side
    as there are cores for: a run of several takes as long as theirs one by one, its memory grows with their number,
    and its last bits depend on it.

    Args:
        engine: the bundle's encoder graph: what :class:`edge_aac.models.encoder_inputs.EncoderInputs` makes →
            cross_keys and cross_values (B, layers, heads, T, head_size), audio_embedding (B, E) and, where it has them,
            memory_padding (B, T), familiarity (B,) and sounds (B, S).
        resident: whether the decoder reads keys and values in the encoder's own memory.
        vectors: of the stem in front of the encoder; None where there is none.
    """

    def __init__(self, engine: Engine, resident: bool, vectors: PatchVectors | None = None) -> None:
        self._engine = engine
        self._inputs = EncoderInputs(engine, vectors)
        self._resident = CROSS_ATTENTION if resident else ()
        at_once = engine.runs_at_once if isinstance(engine, CoreEngine) else 1
        self._cores = side_by_side(at_once)

    @property
    def windows_at_once(self) -> int | None:
        """The largest number of windows that :meth:`encode` takes; None means any number."""
        return self._inputs.windows_at_once

    def encode(self, windows: Sequence[Window], cancelled: Callable[[], bool]) -> Encoded:
        """Encode windows, at least one.

        Args:
            windows: windows of sound. Zeros that pad a short one are left out by a model that was trained on padded
                batches; another hears silence there.
            cancelled: function that is called before every run; True ends the work.

        Raises:
            CancelledError: ``cancelled`` returned True.
        """
        if isinstance(self._engine, ResidentEngine):
            inputs = self._inputs.of_all(windows, cancelled)
            _go_on(cancelled)
            outputs = self._engine.run_resident(inputs, self._resident)
        else:
            runs = self._one_by_one(windows, cancelled)
            outputs = runs[0] if len(runs) == 1 else _joined(runs)
        scores = outputs.get("familiarity"), outputs.get(SOUNDS)
        return Encoded(memory_of(outputs), outputs["audio_embedding"], *scores)

    def _one_by_one(self, windows: Sequence[Window], cancelled: Callable[[], bool]) -> list[dict[str, Array]]:
        """The outputs of a run for each window, in order."""

        def run(inputs: Arrays) -> dict[str, Array]:
            _go_on(cancelled)
            return self._engine.run(inputs)

        return self._cores.map(run, self._inputs.of_each(windows, cancelled))


def memory_of(outputs: Mapping[str, Any]) -> Memory:
    """The decoder's memory, from the outputs of a run of the encoder."""
    keys, values = (outputs[name] for name in CROSS_ATTENTION)
    padding = outputs.get("memory_padding")
    if padding is None:
        padding = np.zeros((keys.shape[0], keys.shape[-2]), dtype=bool)
    return Memory(keys, values, np.asarray(padding, dtype=bool))


def _go_on(cancelled: Callable[[], bool]) -> None:
    if cancelled():
        raise CancelledError


def _joined(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {name: np.concatenate([run[name] for run in runs]) for name in runs[0]}
