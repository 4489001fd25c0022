"""The encoder: windows in, what the decoder attends to and what texts are compared with out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_aac.audio.features import FRAME_SHIFT_SAMPLES
from edge_aac.audio.windows import Window
from edge_aac.engines.contract import Arrays, Engine
from edge_aac.engines.steps import CROSS_ATTENTION, CoreEngine, Memory, ResidentEngine, largest_rows
from edge_aac.models.contract import CancelledError

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Encoded:
    """Outputs of the encoder for W windows.

    Attributes:
        memory: memory that the decoder attends to.
        audio_embeddings: (W, E).
        familiarity: scores (W,); None where the encoder has no such output.
    """

    memory: Memory
    audio_embeddings: Array
    familiarity: Array | None

    def selected(self, numbers: Sequence[int]) -> Encoded:
        """Those of the windows with these numbers, in ascending order; see :meth:`Memory.selected`."""
        if len(numbers) == len(self.audio_embeddings):
            return self
        chosen = list(numbers)
        familiarity = None if self.familiarity is None else self.familiarity[chosen]
        return Encoded(self.memory.selected(numbers), self.audio_embeddings[chosen], familiarity)


class WindowEncoder:
    """Encodes batches of windows.

    On an accelerator all windows go through one run. On a processor they go through one run each, as many side by side
    as there are cores for: a run of several takes as long as theirs one by one, its memory grows with their number,
    and its last bits depend on it.

    Args:
        engine: the bundle's encoder graph: fbank (B, 998, 128) and, of a model that was trained on padded batches,
            frame_padding (B, 998) → cross_keys and cross_values (B, layers, heads, T, head_size), audio_embedding
            (B, E) and, where it has them, memory_padding (B, T) and familiarity (B,).
        resident: whether the decoder reads keys and values in the encoder's own memory.
    """

    def __init__(self, engine: Engine, resident: bool) -> None:
        self._engine = engine
        self._takes_padding = "frame_padding" in engine.input_shapes
        self._resident = CROSS_ATTENTION if resident else ()
        at_once = engine.runs_at_once if isinstance(engine, CoreEngine) else 1
        self._pool = ThreadPoolExecutor(at_once, "edge-aac-encode") if at_once > 1 else None

    @property
    def windows_at_once(self) -> int | None:
        """The largest number of windows that :meth:`encode` takes; None means any number."""
        return largest_rows(self._engine, "fbank")

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
            _go_on(cancelled)
            outputs = self._engine.run_resident(self._inputs(windows), self._resident)
        else:
            runs = list(self._one_by_one(windows, cancelled))
            outputs = runs[0] if len(runs) == 1 else _joined(runs)
        return Encoded(memory_of(outputs), outputs["audio_embedding"], outputs.get("familiarity"))

    def _one_by_one(self, windows: Sequence[Window], cancelled: Callable[[], bool]) -> Iterator[dict[str, Array]]:
        """The outputs of a run for each window, in order."""

        def run(window: Window) -> dict[str, Array]:
            _go_on(cancelled)
            return self._engine.run(self._inputs([window]))

        if self._pool is None or len(windows) == 1:
            return map(run, windows)
        return self._pool.map(run, windows)

    def _inputs(self, windows: Sequence[Window]) -> Arrays:
        fbanks = [window.fbank for window in windows]
        inputs: dict[str, npt.NDArray[np.generic]] = {
            "fbank": fbanks[0][np.newaxis] if len(fbanks) == 1 else np.stack(fbanks)
        }
        if self._takes_padding:
            begins = np.arange(inputs["fbank"].shape[1]) * FRAME_SHIFT_SAMPLES
            inputs["frame_padding"] = begins >= np.array([[window.samples] for window in windows])
        return inputs


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
