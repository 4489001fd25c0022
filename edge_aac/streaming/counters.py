"""What a source's channel counts: over its life for the closing line, and over an interval for the health record."""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections import Counter, deque
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np

from edge_aac.audio.windows import SILENCE_DBFS, Window
from edge_aac.records import PublishedLatencyMs
from edge_aac.streaming.losses import milliseconds

MAX_LATENCIES = 4096
"""Latencies that are kept for one health record; of more, the newest."""

LATENCY_BOUNDS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
"""Upper bounds in seconds of the groups that latencies are counted in over the channel's life."""


@dataclass
class Counters:
    """Counts of a source's windows by what became of them.

    Attributes:
        windows: number of windows that were cut from the sound.
        captions: captions published.
        silent: below the level gate.
        unsure: described with a score below the score gate.
        failed: number of windows that could not be described, each for a reason that is in the log.
        skipped: left out, by reason, see :class:`edge_aac.records.Health`.
        lost_samples: samples at 16 kHz that reached no window.
        described: number of windows that were decoded, whether or not a caption of them was published.
        same: sounding like the last one that was decoded, so that they were not.
        private: windows that were described, and whose caption was not published for what it tells of.
        events: sounds that started an event.
        unconfirmed: sounds that too few windows had for an event.
        cooled: sounds that came back within the cool-down of their last event, and were over within it.
        alerts: alerts that began.

    Every window is counted once: ``windows`` is the sum of ``described``, ``same``, ``silent``, ``failed``, ``skipped``
    and of those that still wait; ``unsure`` and ``private`` are among the described ones.
    """

    windows: int = 0
    captions: int = 0
    silent: int = 0
    unsure: int = 0
    failed: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    lost_samples: int = 0
    described: int = 0
    same: int = 0
    private: int = 0
    events: int = 0
    unconfirmed: int = 0
    cooled: int = 0
    alerts: int = 0

    def since(self, before: Counters) -> Counters:
        """The counts since ``before``, an earlier copy of the same counters."""
        return Counters(
            self.windows - before.windows,
            self.captions - before.captions,
            self.silent - before.silent,
            self.unsure - before.unsure,
            self.failed - before.failed,
            self.skipped - before.skipped,
            self.lost_samples - before.lost_samples,
            self.described - before.described,
            self.same - before.same,
            self.private - before.private,
            self.events - before.events,
            self.unconfirmed - before.unconfirmed,
            self.cooled - before.cooled,
            self.alerts - before.alerts,
        )

    def copy(self) -> Counters:
        """The counters as they are now."""
        return self.since(Counters())

    @property
    def lost_ms(self) -> int:
        """Milliseconds of sound that reached no window."""
        return milliseconds(self.lost_samples)

    def sentence(self) -> str:
        """The counters as one line for a log."""
        return (
            f"{self.windows} windows: {self.captions} captions published, {self.silent} silent, "
            f"{self.unsure} unsure, {self.same} same as before, {self.skipped.total()} skipped, {self.failed} failed; "
            f"{self.lost_ms} ms of sound lost" + (f"; {self.private} private" if self.private else "")
        )


@dataclass(frozen=True)
class LatencyCounts:
    """Latencies over a channel's life, counted in groups.

    Attributes:
        at_most: counts of those up to each of :data:`LATENCY_BOUNDS_S`, then of all.
        sum_s: sum of all in seconds.
    """

    at_most: tuple[int, ...]
    sum_s: float


class LatencyLog:
    """Latencies of published captions since they were last taken. Sinks' threads add, the scheduler takes.

    Beside them it counts all latencies since the beginning, which taking leaves as they are.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._latencies_ms: deque[float] = deque(maxlen=MAX_LATENCIES)
        self._groups = [0] * (len(LATENCY_BOUNDS_S) + 1)
        self._sum_s = 0.0

    def add(self, latency_ms: float) -> None:
        """Note one caption's latency in milliseconds.

        A device that is ahead of its own rate gives sound whose time is still to come: that is no latency, and a
        negative one would make the sum of a histogram fall, which a reader of OpenMetrics refuses.
        """
        latency_ms = max(latency_ms, 0.0)
        with self._lock:
            self._latencies_ms.append(latency_ms)
            self._groups[bisect_left(LATENCY_BOUNDS_S, latency_ms / 1000)] += 1
            self._sum_s += latency_ms / 1000

    @property
    def counts(self) -> LatencyCounts:
        """All latencies since the beginning, in groups."""
        with self._lock:
            return LatencyCounts(tuple(accumulate(self._groups)), self._sum_s)

    def take(self) -> PublishedLatencyMs | None:
        """Median and maximum since the last call; None without captions."""
        with self._lock:
            taken = list(self._latencies_ms)
            self._latencies_ms.clear()
        if not taken:
            return None
        return PublishedLatencyMs(median=round(float(np.median(taken)), 1), maximum=round(max(taken), 1))


class LevelMeter:
    """Mean power of the windows since it was last taken."""

    newest_dbfs: float | None = None
    """Level of the newest window in dB below full scale, at least -120; None before the first."""

    def __init__(self) -> None:
        self._power = 0.0
        self._samples = 0

    def add(self, window: Window) -> None:
        """Take in a window's level, weighted by its samples."""
        if not math.isfinite(window.rms_dbfs):  # of samples that are no numbers, for which JSON has no level
            return
        self.newest_dbfs = max(SILENCE_DBFS, window.rms_dbfs)
        if window.rms_dbfs > SILENCE_DBFS:
            self._power += window.samples * 10 ** (window.rms_dbfs / 10)
        self._samples += window.samples

    def take(self) -> float | None:
        """Mean level in dB below full scale since the last call, at least -120; None without windows."""
        power, samples = self._power, self._samples
        self._power, self._samples = 0.0, 0
        if not samples:
            return None
        return round(max(SILENCE_DBFS, 10 * math.log10(power / samples)), 1) if power else SILENCE_DBFS
