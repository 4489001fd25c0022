"""Sound that is missing in a ring: what was lost, and what was not to be heard."""

from __future__ import annotations

from collections.abc import Callable

from edge_aac.audio.clock import Clocks, SampleClock
from edge_aac.audio.connection import ExplainsLosses, Loss, Outage
from edge_aac.audio.ring import SampleRing
from edge_aac.audio.sources.address import Source
from edge_aac.streaming.losses import LossAccount
from edge_aac.timebase import SAMPLE_RATE

_SLEPT_S = 0.5
"""The machine was suspended where its two clocks differ by more since the last look."""

_ROOM_WAIT_S = 2.0
"""Longest wait for the reader before the zeros of a long gap; a device's own buffers hold more."""


class MissingSound:
    """Puts zeros in the place of sound that is missing, and losses into their account. The capture thread uses it.

    A pause is no loss: its time passes, and is in no account.

    Args:
        ring: gets the zeros.
        clock: learns that they are no sound.
        losses: learns what was lost.
        clocks: of the machine.
        wake: called where the ring's reader has to make room.

    Attributes:
        outage: that of a source which is opened anew by its capture; None for none.
        hurried: whether the reader is to take what the ring holds, though nothing be due; read by its thread.
    """

    def __init__(
        self, ring: SampleRing, clock: SampleClock, losses: LossAccount, clocks: Clocks, wake: Callable[[], None]
    ) -> None:
        self.outage: Outage | None = None
        self.hurried = False
        self._ring = ring
        self._clock = clock
        self._losses = losses
        self._clocks = clocks
        self._wake = wake
        self._slept_s = clocks.slept_s
        self._lost_before = 0
        self._paused_since_s: float | None = None
        """Seconds since boot from which on nothing was to be heard, until that time has passed in the ring."""
        self._resumed_s = float("-inf")

    def forget_source(self) -> None:
        """Another source is read from now on: it counts its losses from 0."""
        self._lost_before = 0

    def note(self, source: Source, block_samples: int) -> None:
        """Take note of what is missing before a block of ``source``, which is to be written next."""
        block_s = block_samples / SAMPLE_RATE
        if self._paused_since_s is not None:
            until_s = self._clocks.running_s() - block_s if self.outage is None else self.outage.since_s
            unheard_s = until_s + self._clocks.slept_s - self._paused_since_s
            self._paused_since_s = None
            self._write(max(0, round(unheard_s * SAMPLE_RATE)), source.live)
        if isinstance(source, ExplainsLosses):
            losses = source.take_losses()
        else:
            lost = source.lost_samples()
            losses = [Loss("lost", lost - self._lost_before)] if lost > self._lost_before else []
            self._lost_before = max(lost, self._lost_before)
        if source.live:
            slept_s = self._clocks.slept_s
            if (asleep_s := slept_s - self._slept_s) > _SLEPT_S:
                self._slept_s = slept_s
                losses = [*losses, Loss("suspended", round(asleep_s * SAMPLE_RATE))]
        if self.outage is not None:
            losses = [self._loss_of(self.outage, block_s), *losses]
        self._write(self._losses.note(self._ring.written_samples, losses), source.live)
        self.outage = None

    def begin_outage(self, detail: str) -> None:
        """The source has failed: from its last sound on, or the end of a pause, sound is lost until there is some.

        Its failure may have taken long to show. The time before a source first came is no loss.
        """
        if self.outage is None and (since_s := self._heard_until_s()) is not None:
            self.outage = Outage("disconnected", since_s, detail)

    def begin_pause(self, outage: Outage | None) -> None:
        """Nothing is to be heard from now on.

        Args:
            outage: one that goes on: it ends here, and is told.
        """
        if outage is not None:
            self._write(self._losses.note(self._ring.written_samples, [self._loss_of(outage)]), live=True)
        self.outage = None
        # One that follows another before any sound: both are one.
        if self._paused_since_s is None and (since_s := self._heard_until_s()) is not None:
            self._paused_since_s = since_s + self._clocks.slept_s

    def end_pause(self) -> None:
        """All is to be heard again."""
        self._resumed_s, self._slept_s = self._clocks.running_s(), self._clocks.slept_s

    def _heard_until_s(self) -> float | None:
        position = self._ring.written_samples
        return max(self._clock.running_time_of(position), self._resumed_s) if position else None

    def _loss_of(self, outage: Outage, heard_s: float = 0.0) -> Loss:
        """What an outage has cost up to now, less the last ``heard_s`` seconds."""
        missed_s = self._clocks.running_s() - heard_s - outage.since_s
        return Loss(outage.reason, max(0, round(missed_s * SAMPLE_RATE)), outage)

    def _write(self, samples: int, live: bool) -> None:
        if not samples:
            return
        self._clock.note_gap(self._ring.written_samples, samples)
        if live and not self._ring.wait_for_room(samples, 0.0):
            # After a sleep, nobody had the time to take what was heard before it: the zeros would push it out.
            self.hurried = True
            self._wake()
            self._ring.wait_for_room(samples, _ROOM_WAIT_S)
            self.hurried = False
        self._ring.write_gap(samples)
