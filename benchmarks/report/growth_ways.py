"""How a bundle's cost grows: each of these runs all points of a curve once and gives the milliseconds of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.full_size import at_length
from benchmarks.report.scene import timed
from benchmarks.report.ways import describe, open_captioner, whole_window
from benchmarks.report.worker import Way
from edge_aac.audio.sources.demo import synthesise_demo
from edge_aac.audio.windows import WINDOW_SAMPLES, WindowSlicer
from edge_aac.timebase import SAMPLE_RATE


def hops(threads: int, bundle: str, hops_s: Sequence[float], sound_s: int) -> Way:
    """Milliseconds a window, from new samples to captions, at each hop; what windows share is computed once.

    Args:
        threads: threads of a graph.
        bundle: name or folder.
        hops_s: seconds from window to window.
        sound_s: seconds of sound behind the first window.
    """
    opened = open_captioner(bundle, threads)
    sound = synthesise_demo(WINDOW_SAMPLES / SAMPLE_RATE + sound_s, 0)

    def run(index: int) -> Mapping[str, float]:
        return {f"{hop_s:g}": _milliseconds_a_window(hop_s) for hop_s in hops_s}

    def _milliseconds_a_window(hop_s: float) -> float:
        hop = round(hop_s * SAMPLE_RATE)
        slicer = WindowSlicer(hop_samples=hop)
        for window in slicer.push(0, sound[:WINDOW_SAMPLES]):
            describe(opened, window, 0)  # all its sound is new
        starts = range(WINDOW_SAMPLES, len(sound) - hop + 1, hop)
        taken_ms = 0.0
        for number, start in enumerate(starts, 1):
            one_ms, _ = timed(lambda start=start, number=number: _heard(slicer, start, hop, number))  # type: ignore[misc]
            taken_ms += one_ms
        return taken_ms / len(starts)

    def _heard(slicer: WindowSlicer, start: int, hop: int, number: int) -> None:
        (window,) = slicer.push(start, sound[start : start + hop])
        describe(opened, window, number)

    return Way(run)


def candidates(threads: int, bundle: str, numbers: Sequence[int], tokens: int) -> Way:
    """Milliseconds to decode and rank each number of candidates of a fixed length."""
    opened = open_captioner(bundle, threads, tokens=tokens)
    rules = opened.rules

    def run(index: int) -> Mapping[str, float]:
        window, times = whole_window(index), {}
        for number in np.random.default_rng(index).permutation(list(numbers)).tolist():
            opened.rules = rules.model_copy(update={"candidates": number})
            latency = describe(opened, window, index).latency_ms
            times[str(number)] = latency.decode + latency.rerank
        return times

    return Way(run)


def lengths(threads: int, bundle: str, tokens: Sequence[int]) -> Way:
    """Milliseconds to decode and rank captions of each length, start and end counted; longer ones than the bundle's
    decoder can count are left out."""
    opened = open_captioner(bundle, threads)
    longest = min(opened.rules.max_positions, opened.decoder.capacity or opened.rules.max_positions)
    allowed = [length for length in tokens if length <= longest]
    rules = opened.rules

    def run(index: int) -> Mapping[str, float]:
        window, times = whole_window(index), {}
        for length in np.random.default_rng(index).permutation(allowed).tolist():
            opened.rules = at_length(rules, length)
            latency = describe(opened, window, index).latency_ms
            times[str(length)] = latency.decode + latency.rerank
        return times

    return Way(run, {"candidates": rules.candidates})
