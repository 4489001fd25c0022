"""The curve over the number of candidates: which number the rule picks, and that the runs are interleaved."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.candidates import WARM_UP_WINDOWS, as_text, interleaved, pick, plot
from edge_aac.audio.windows import Window


def counts(hits: np.ndarray) -> np.ndarray:
    return np.column_stack([hits, np.full(len(hits), 2), np.full(len(hits), 2), hits == 2]).astype(np.int64)


def test_picks_the_smallest_within_the_noise_of_the_best() -> None:
    hits = np.random.default_rng(0).integers(1, 3, 100)
    worse = np.where(np.arange(100) % 4 == 0, np.maximum(hits - 1, 0), hits)
    nearly = hits.copy()
    nearly[np.flatnonzero(hits == 2)[0]] = 1
    picked, differences = pick({1: counts(worse), 2: counts(nearly), 4: counts(hits)})
    assert picked == 2
    assert differences[1][0] > 0.0 == differences[2][0]
    assert differences[4] == (0.0, 0.0)


def test_of_equals_the_smallest_is_picked() -> None:
    same = counts(np.ones(10))
    assert pick({6: same, 2: same, 50: same})[0] == 2


@dataclass
class RecordedCaptioner:
    """A captioner that writes down when it is asked."""

    number: int
    calls: list[int]

    def describe(self, windows: list[Window], rngs: list[np.random.Generator]) -> list[Any]:
        self.calls.append(self.number)
        ((window,), (_,)) = windows, rngs
        best = SimpleNamespace(text=f"{self.number} of {window.fbank}", hybrid=0.1 * self.number)
        return [SimpleNamespace(best=best, latency_ms=SimpleNamespace(decode=1.0, rerank=2.0))]


def test_every_window_meets_every_number_before_the_next_one_comes() -> None:
    calls: list[int] = []
    windows: Any = [SimpleNamespace(fbank=name) for name in "abcdefgh"]
    captioners: Any = {number: RecordedCaptioner(number, calls) for number in (1, 2, 6)}
    draws = interleaved(captioners, windows, seed=0)
    rounds = np.array(calls).reshape(-1, 3)
    assert len(rounds) == len(windows) + WARM_UP_WINDOWS
    assert (np.sort(rounds, axis=1) == [1, 2, 6]).all()
    assert len({tuple(row) for row in rounds.tolist()}) > 1, "always in the same order"
    assert draws[6].captions == [f"6 of {name}" for name in "abcdefgh"]
    assert draws[2].milliseconds == [3.0] * 8


def test_table_and_picture_show_every_number() -> None:
    row = {
        "f1": 0.8, "f1_interval": [0.7, 0.9], "single_named": 0.9, "order": 0.6, "mean_hybrid": 0.4,
        "median_ms": 9.0, "time_ratio": 1.5,
    }  # fmt: skip
    table = {"rows": [{"candidates": n, **row} for n in (1, 6, 50)], "picked": 6, "rule": "a rule"}
    assert [line.split()[0] for line in as_text(table).splitlines()[1:]] == ["1", "6", "50", "picked:"]
    pytest.importorskip("matplotlib", reason="the picture needs pip install 'edge-aac[evaluate]'")
    svg = plot(table)
    assert svg.startswith("<svg") and "currentColor" not in svg
    assert all(f">{number}<" in svg for number in (1, 6, 50))
