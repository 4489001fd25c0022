"""Patches in one run of the stem: on a processor where no bit of a vector depends on its neighbours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edge_aac.audio.windows import file_windows
from edge_aac.engines.contract import EngineOptions
from edge_aac.models.patches import PatchStem, patches_of
from edge_aac.models.seq2seq import Captioner
from edge_aac.timebase import SAMPLE_RATE


class Processor:
    """A stem on a processor: a vector is three sums over its patch, which something may disturb.

    Args:
        disturbed: what each sum of a run becomes, given the sums (P, 3) of all patches in it.
    """

    runs_at_once = 1
    small = True
    input_shapes = {"patches": (None, 98, 128)}

    def __init__(self, disturbed: Callable[[np.ndarray], np.ndarray] = lambda sums: sums) -> None:
        self._disturbed = disturbed
        self.runs: list[int] = []

    def run(self, inputs: dict[str, Any]) -> dict[str, Any]:
        patches = inputs["patches"]
        self.runs.append(len(patches))
        return {"vectors": self._disturbed(patches.reshape(len(patches), 3, -1)[:, :, :4000].sum(axis=-1))}


def _last_bit(sums: np.ndarray) -> np.ndarray:
    return np.asarray(np.nextafter(sums, np.float32(np.inf))) if len(sums) > 1 else sums


def _scaled_together(sums: np.ndarray) -> np.ndarray:
    return np.asarray(np.round(sums / np.abs(sums).max() * 127))


def _nan_for_all(sums: np.ndarray) -> np.ndarray:
    return sums + 0.0 * sums.sum()


def _other_places(sums: np.ndarray) -> np.ndarray:
    return sums[::-1]


@pytest.mark.parametrize(
    ("disturbed", "together", "runs"),
    [
        (lambda sums: sums, (2,), [2, 2, 2, 1]),
        (_last_bit, (), [1] * 7),
        (_scaled_together, (), [1] * 7),
        (_nan_for_all, (), [1] * 7),
        (_other_places, (), [1] * 7),
    ],
    ids=["independent", "last bit", "scaled over the run", "a patch without numbers", "other places"],
)
def test_patches_share_runs_on_a_processor_where_no_bit_depends_on_it(
    disturbed: Callable[[np.ndarray], np.ndarray], together: tuple[int, ...], runs: list[int]
) -> None:
    engine: Any = Processor(disturbed)
    stem = PatchStem(engine)
    patches = list(np.random.default_rng(0).standard_normal((7, 98, 126)).astype(np.float32))
    want = np.stack([engine.run({"patches": patch[np.newaxis]})["vectors"][0] for patch in patches])
    stem.run(patches[:3])
    assert engine.runs[-3:] == [1, 1, 1], "nothing is known yet"
    stem.try_together(patches[:2])
    assert stem.together == together
    engine.runs.clear()
    assert np.array_equal(stem.run(patches), want)
    assert engine.runs == runs


def test_the_stem_of_the_bundle_that_ships_is_tried_out_when_it_is_opened() -> None:
    rng = np.random.default_rng(3)
    sound = (0.1 * rng.standard_normal(10 * SAMPLE_RATE)).astype(np.float32)
    model = Captioner.open("everyday", EngineOptions("onnxruntime", 1))
    work = model.shared_work
    assert work is not None
    # Which sizes it may be depends on the processor; that no bit depends on them does not.
    patches = list(patches_of(next(iter(file_windows([sound]))).fbank, work.rule))[:5]
    alone = [work.stem.run([patch])[0] for patch in patches]
    assert np.array_equal(work.stem.run(patches), alone)
