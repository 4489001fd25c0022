"""The stem of a model that hears each stretch of sound once: one vector a patch, kept for the windows that share it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from edge_aac.audio.features import FRAME_LENGTH_SAMPLES, FRAME_SHIFT_SAMPLES
from edge_aac.audio.stretch import Stretch
from edge_aac.audio.windows import Window
from edge_aac.bundle.patches import PatchRule
from edge_aac.engines.contract import Engine
from edge_aac.engines.side_by_side import side_by_side
from edge_aac.engines.steps import CoreEngine, largest_rows
from edge_aac.models.contract import CancelledError, not_cancelled

Array = npt.NDArray[np.float32]

PATCHES, VECTORS = "patches", "vectors"
"""The stem's input and output; the encoder's input has the name of the latter."""

TOGETHER = (2,)
"""How many patches may share a run on a processor, descending. Four take 0.75 to 0.8 of the time of two, and memory for
the whole run that stays in the heap: 10 MiB of `everyday`."""

_Key: TypeAlias = "tuple[Stretch | int, int]"
"""A patch: its stretch, or the number of the only window that has it; and its absolute position."""

_KEPT_WINDOWS = 8
"""Vectors that are kept of one stretch, in windows: those of so many grids of patches that lie between each other."""


def patches_of(fbank: Array, rule: PatchRule) -> Array:
    """A window's patches as a view of its frames: (998, mel) → (count, frames, mel)."""
    windows = np.lib.stride_tricks.sliding_window_view(fbank, rule.frames, axis=0)
    return windows[:: rule.hop_frames].transpose(0, 2, 1)


class PatchStem:
    """Runs a bundle's stem over patches.

    On an accelerator patches share runs, as many as it takes. On a processor each has a run of its own, as many side by
    side as there are cores for: the last bits of a vector might depend on what else is in its run. Where they do not,
    which :meth:`try_together` finds out, two share a run: that takes 0.6 of the time.

    Args:
        engine: the stem graph: patches (P, frames, 128) → vectors (P, D).
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._alone = isinstance(engine, CoreEngine)
        self._largest = largest_rows(engine, PATCHES)
        at_once = engine.runs_at_once if isinstance(engine, CoreEngine) else 1
        self._cores = side_by_side(at_once)
        self.together: tuple[int, ...] = ()
        """Numbers of patches, descending, that share a run on a processor, in which each has the vector that it has
        alone, bit for bit; none where each has a run of its own."""

    def try_together(self, patches: Sequence[Array]) -> None:
        """See on this processor whether patches may share runs.

        What a graph computes of one patch beside others is settled by the number of patches, not by what is in them:
        vectors that are the same in every bit, for each place in a run, beside other patches and beside one that is no
        number, are those of any sound.

        Args:
            patches: that differ, (frames, 128) each, as many as the largest run is to hold.
        """
        if not self._alone:
            return
        alone = [self._run([patch]) for patch in patches]
        found: list[int] = []
        for size in TOGETHER:
            if size > len(patches):
                continue
            whole = [patches[start : start + size] for start in range(0, len(patches) - size + 1, size)]
            beside = self._run([np.full_like(patches[0], np.nan), *patches[1:size]])
            shared = np.concatenate([self._run(part) for part in whole])
            same = np.array_equal(shared, np.concatenate(alone[: len(shared)]))
            if same and np.array_equal(beside[1:], np.concatenate(alone[1:size])):
                found.append(size)
        self.together = tuple(found)

    def run(self, patches: Sequence[Array], cancelled: Callable[[], bool] = not_cancelled) -> list[Array]:
        """Vectors (D,) of patches (frames, 128), in order.

        Args:
            patches: any number.
            cancelled: function that is called before every run; True ends the work.

        Raises:
            CancelledError: ``cancelled`` returned True.
        """

        def run(part: Sequence[Array]) -> Array:
            if cancelled():
                raise CancelledError
            return self._run(part)

        return [vector for vectors in self._cores.map(run, list(self._parts(patches))) for vector in vectors]

    def _parts(self, patches: Sequence[Array]) -> Iterator[Sequence[Array]]:
        """Patches run by run."""
        start = 0
        while start < len(patches):
            left = len(patches) - start
            size = self._largest or left
            if self._alone:
                size = next((size for size in self.together if size <= left), 1)
            yield patches[start : start + size]
            start += size

    def _run(self, part: Sequence[Array]) -> Array:
        return self._engine.run({PATCHES: np.stack(part)})[VECTORS]


class PatchVectors:
    """Vectors of windows' patches; one that windows of the same stretch of sound share is computed once.

    What is kept is bounded: of each stretch that anything still holds, the vectors that a later window may need. A gap
    begins another stretch, and another bundle has vectors of its own.

    Attributes:
        stem, rule: as given.
        computed: number of patches that went through the stem.
        reused: number of patches whose vector was known.

    Args:
        stem: computes vectors.
        rule: how a window is cut.
    """

    def __init__(self, stem: PatchStem, rule: PatchRule) -> None:
        self.stem = stem
        self.rule = rule
        self._span_samples = (rule.frames - 1) * FRAME_SHIFT_SAMPLES + FRAME_LENGTH_SAMPLES
        self._kept: WeakKeyDictionary[Stretch, dict[int, Array]] = WeakKeyDictionary()
        self.computed = 0
        self.reused = 0

    @property
    def hop_samples(self) -> int:
        """Samples from the start of a patch to the start of the next."""
        return self.rule.hop_frames * FRAME_SHIFT_SAMPLES

    @property
    def kept(self) -> int:
        """Number of vectors that are kept."""
        return sum(len(vectors) for vectors in self._kept.values())

    def of(self, windows: Sequence[Window], cancelled: Callable[[], bool] = not_cancelled) -> Array:
        """The vectors of windows, (W, patches of a window, D).

        The new patches of all windows share the runs of the stem.

        Args:
            windows: at least one, in any order; of one stretch, ascending ones share the most.
            cancelled: see :meth:`PatchStem.run`.

        Raises:
            CancelledError: ``cancelled`` returned True.
        """
        places: dict[_Key, int] = {}
        patches: list[Array] = []
        # Of every patch: its vector, or where it stands among the new ones.
        found: list[Array | int] = []
        for number, window in enumerate(windows):
            for position, patch in self._cut(window):
                stretch = window.stretch if self._is_shared(window, position) else None
                if stretch is not None and position in (known := self._kept.get(stretch, {})):
                    found.append(known[position])
                    continue
                key = (number if stretch is None else stretch, position)
                if key not in places:
                    places[key] = len(patches)
                    patches.append(patch)
                found.append(places[key])
        vectors = self.stem.run(patches, cancelled)
        self.computed += len(patches)
        self.reused += len(found) - len(patches)
        self._keep(windows, {key: vectors[place] for key, place in places.items()})
        whole = [vectors[each] if isinstance(each, int) else each for each in found]
        return np.stack(whole).reshape(len(windows), self.rule.count, -1)

    def _cut(self, window: Window) -> Iterator[tuple[int, Array]]:
        """Absolute position of the first sample, and frames, of each patch."""
        for number, patch in enumerate(patches_of(window.fbank, self.rule)):
            yield window.start + number * self.hop_samples, patch

    def _is_shared(self, window: Window, position: int) -> bool:
        """Whether other windows can hold the same patch: zeros that pad one are no sound of its stretch."""
        return window.stretch is not None and position + self._span_samples <= window.start + window.samples

    def _keep(self, windows: Sequence[Window], new: Mapping[_Key, Array]) -> None:
        """Keep what later windows of the same stretches may need, and let go of the rest."""
        for (stretch, position), vector in new.items():
            if isinstance(stretch, Stretch):
                # A copy: beside it, an accelerator's run has those of many others in one array.
                self._kept.setdefault(stretch, {})[position] = vector.copy()
        for stretch in {window.stretch for window in windows if window.stretch is not None}:
            start = max(window.start for window in windows if window.stretch is stretch)
            kept = sorted(position for position in self._kept.get(stretch, {}) if position >= start)
            self._kept[stretch] = {p: self._kept[stretch][p] for p in kept[-_KEPT_WINDOWS * self.rule.count :]}
