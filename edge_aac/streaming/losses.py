"""The one account of a source's lost sound: what captions, health records and gap records say adds up."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_args

from edge_aac.audio.connection import Loss, LossReason, Outage
from edge_aac.timebase import SAMPLE_RATE

GATHERED_S = 60.0
"""Small losses of one reason are told once in this time."""

BEHIND_S = 1.0
"""An outage that goes on is counted up to this long before now: sound that returns began before it arrives."""

_SMALL: tuple[LossReason, ...] = ("lost", "overrun")


@dataclass(frozen=True)
class LostSound:
    """A stretch of lost sound.

    Attributes:
        reason: why it was lost.
        start, end: positions in samples between which it lies.
        samples: samples lost; fewer than there are between the positions where small losses were gathered.
        lost_ms: milliseconds lost, such that all of them add up to the milliseconds of all samples.
        detail: what the source said as the outage began; None where there was none.
    """

    reason: LossReason
    start: int
    end: int
    samples: int
    lost_ms: int = 0
    detail: str | None = None


def milliseconds(samples: int) -> int:
    """Whole milliseconds in a number of samples at 16 kHz; differences of sums add up, sums of differences do not."""
    return 1000 * samples // SAMPLE_RATE


class LossAccount:
    """Counts lost sound. The capture thread and the scheduler use it at the same time.

    An outage that goes on is counted as it grows. What was counted of it is never taken back: its loss is at least
    that.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lost_samples = 0
        self._shown_samples = 0
        """Of the outage that goes on: what was counted so far, beyond what is lost for good."""
        self._over: Outage | None = None
        """The newest outage that is over: another thread may still hold it for one that goes on."""
        self._overrun_samples = 0
        self._due: list[LostSound] = []
        self._gathered: dict[LossReason, LostSound] = {}
        self._told_s: dict[LossReason, float] = {}
        self._told_samples = 0
        self._closed = False
        self._by_reason: dict[LossReason, int] = dict.fromkeys(get_args(LossReason), 0)

    def total_samples(self, outage: Outage | None, now_s: float) -> int:
        """Samples lost so far.

        Args:
            outage: the one that goes on; None for none.
            now_s: monotonic time in seconds.
        """
        with self._lock:
            self._show(outage, now_s - BEHIND_S)
            return self._lost_samples + self._shown_samples

    def reasons(self, outage: Outage | None, now_s: float) -> dict[LossReason, int]:
        """Samples lost so far, by reason, each of them.

        Args:
            outage: the one that goes on; None for none.
            now_s: monotonic time in seconds.
        """
        with self._lock:
            self._show(outage, now_s - BEHIND_S)
            lost = dict(self._by_reason)
            if self._shown_samples:
                lost["disconnected" if outage is None else outage.reason] += self._shown_samples
            return lost

    def note(self, position: int, losses: Sequence[Loss]) -> int:
        """Takes note of what was lost right before a block of sound, whose position is ``position`` without it.

        Returns:
            The samples that are lost; the block's position is beyond them.
        """
        with self._lock:
            if self._closed:
                return 0
            over = next((loss.outage for loss in reversed(losses) if loss.outage is not None), None)
            long = [loss for loss in losses if loss.reason not in _SMALL]
            samples = sum(loss.samples for loss in long)
            if over is not None or samples:
                self._over = over or self._over
                samples = max(samples, self._shown_samples)
                self._shown_samples = 0
                longest = max(long, key=lambda loss: loss.samples)
                detail = None if longest.outage is None else longest.outage.detail
                self._due.append(LostSound(longest.reason, position, position + samples, samples, detail=detail))
                self._by_reason[longest.reason] += samples
            for loss in losses:
                if loss.reason in _SMALL and loss.samples:
                    self._gather(loss.reason, position + samples, position + samples + loss.samples, loss.samples)
                    samples += loss.samples
                    self._by_reason[loss.reason] += loss.samples
            self._lost_samples += samples
            return samples

    def note_overrun(self, start: int, end: int, overrun_samples: int) -> None:
        """Takes note of how much sound the ring has pushed out, in total.

        Args:
            start, end: positions in samples between which the newest of it was.
            overrun_samples: all that the ring ever pushed out.
        """
        with self._lock:
            samples = overrun_samples - self._overrun_samples
            if self._closed or not samples:
                return
            self._overrun_samples = overrun_samples
            self._lost_samples += samples
            self._by_reason["overrun"] += samples
            self._gather("overrun", start, max(end, start + samples), samples)

    def take_due(self, now_s: float) -> list[LostSound]:
        """Gives the losses that are to be told now, each once, in order of their ends."""
        with self._lock:
            for reason, lost in list(self._gathered.items()):
                if now_s - self._told_s.get(reason, float("-inf")) >= GATHERED_S:
                    self._told_s[reason] = now_s
                    self._due.append(lost)
                    del self._gathered[reason]
            return self._take()

    def close(self, position: int, outage: Outage | None, now_s: float) -> list[LostSound]:
        """Ends the account: gives all that was not told yet, an outage that goes on up to now, and counts nothing more.

        Args:
            position: of the sample that would come next.
            outage: the one that goes on; None for none.
            now_s: monotonic time in seconds.
        """
        with self._lock:
            if self._closed:
                return []
            self._show(outage, now_s)
            self._closed = True
            if samples := self._shown_samples:
                reason: LossReason = "disconnected" if outage is None else outage.reason
                detail = None if outage is None else outage.detail
                self._due.append(LostSound(reason, position, position + samples, samples, detail=detail))
                self._lost_samples += samples
                self._by_reason[reason] += samples
                self._shown_samples = 0
            self._due += self._gathered.values()
            self._gathered.clear()
            return self._take()

    def _show(self, outage: Outage | None, until_s: float) -> None:
        if not self._closed and outage is not None and outage is not self._over:
            self._shown_samples = max(self._shown_samples, int((until_s - outage.since_s) * SAMPLE_RATE))

    def _gather(self, reason: LossReason, start: int, end: int, samples: int) -> None:
        before = self._gathered.get(reason)
        if before is None:
            self._gathered[reason] = LostSound(reason, start, end, samples)
        else:
            self._gathered[reason] = replace(before, end=max(before.end, end), samples=before.samples + samples)

    def _take(self) -> list[LostSound]:
        due, self._due = sorted(self._due, key=lambda lost: lost.end), []
        told = []
        for lost in due:
            before_ms = milliseconds(self._told_samples)
            self._told_samples += lost.samples
            if lost_ms := milliseconds(self._told_samples) - before_ms:
                told.append(replace(lost, lost_ms=lost_ms))
        return told
