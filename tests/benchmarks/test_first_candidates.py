"""Few candidates first: both ways meet every window, and the row says what the few cost."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.first_candidates import WARM_UP_WINDOWS, Draws, Way, interleaved, row


class _Recorded:
    """A captioner that writes down when it is asked."""

    def __init__(self, way: Way, calls: list[Way]) -> None:
        self.way, self.calls = way, calls

    def describe(self, windows: list[Any], rngs: list[np.random.Generator]) -> list[Any]:
        self.calls.append(self.way)
        best = SimpleNamespace(text=f"{self.way[1]} of {windows[0].start}", hybrid=0.5)
        return [SimpleNamespace(best=best, candidates=self.way[1] or self.way[0])]


def test_every_window_meets_every_way_before_the_next_one_comes() -> None:
    ways: list[Way] = [(6, None), (6, 2), (20, None)]
    calls: list[Way] = []
    windows: Any = [SimpleNamespace(start=number) for number in range(8)]
    models: Any = {way: _Recorded(way, calls) for way in ways}
    draws = interleaved(models, windows, seed=0)
    rounds = [calls[start : start + 3] for start in range(0, len(calls), 3)]
    assert len(rounds) == len(windows) + WARM_UP_WINDOWS
    assert all(set(each) == set(ways) for each in rounds)
    assert len({tuple(each) for each in rounds}) > 1, "always in the same order"
    assert draws[6, 2].best == [f"2 of {number}" for number in range(8)]
    assert (draws[6, 2].drawn, draws[20, None].drawn) == ([2] * 8, [20] * 8)


def test_a_row_sets_both_ways_beside_each_other() -> None:
    whole = Draws(["a dog barks", "rain falls"], [0.5, 0.4], [6, 6], [0.010, 0.010])
    few = Draws(["a dog is barking", "a dog barks"], [0.4, 0.4], [2, 6], [0.004, 0.012])
    found = row(6, 2, {(6, None): whole, (6, 2): few}, [(("dog_bark",),), (("rain",),)])
    assert (found["mean_drawn"], found["settled_by_the_first"], found["same_sounds"]) == (4.0, 0.5, 0.5)
    assert found["time_ratio"] == pytest.approx(0.8)
    assert found["f1"] == [1.0, 0.5]
    assert found["mean_hybrid"] == [0.45, 0.4]
