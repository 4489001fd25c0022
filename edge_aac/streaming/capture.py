"""The capture thread of one source: it writes the source's ring and nothing else."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from edge_aac.audio.clock import Clocks, SampleClock
from edge_aac.audio.connection import ExplainsLosses, Outage, PermanentDeviceError
from edge_aac.audio.digital_silence import DigitalSilence
from edge_aac.audio.reconnect import OPENING_S
from edge_aac.audio.ring import SampleRing
from edge_aac.audio.sources.address import Source
from edge_aac.backoff import Backoff
from edge_aac.errors import ConfigError, EdgeAacError, UsageError
from edge_aac.heartbeat import Heartbeat
from edge_aac.records import as_text
from edge_aac.records.health import HealthState
from edge_aac.streaming.losses import LossAccount
from edge_aac.streaming.missing import MissingSound

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

FIRST_BACKOFF_S = 1.0
MAX_BACKOFF_S = 60.0

PAUSED = "it is paused by a command"

_PAUSED_LOOK_S = 5.0

_FINAL = (UsageError, ConfigError, PermanentDeviceError)

log = logging.getLogger(__name__)


class Capture:
    """Reads a source into a ring, and keeps the clock that says when each sample arrived, and the account of losses.

    A live source that fails is closed and opened again with growing pauses, for ever; the time without it is a gap.
    Only an error that no retry mends ends it: a wrong address or setting, a device that cannot be reached at all
    (:class:`~edge_aac.audio.connection.PermanentDeviceError`), or a fault of the program.

    One that can be opened anew may be paused: it is closed, and the time until it is opened again is no loss.

    Args:
        source: opened.
        ring: written by this thread alone.
        clock: learns when each sample was heard.
        losses: learns what is missing.
        clocks: of the machine.
        wake: called when the ring has reached :attr:`due_position`, is half full, or was closed.
        reopen: opens the source anew; None where it is not retried.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what the thread writes
        self,
        source: Source,
        ring: SampleRing,
        clock: SampleClock,
        losses: LossAccount,
        clocks: Clocks,
        wake: Callable[[], None],
        reopen: Callable[[], Source] | None = None,
    ) -> None:
        self.due_position = 0
        """Position in samples from which on the reader has something to do."""
        self._reason: str | None = None
        """Why the source failed; None while it has not."""
        self._heartbeat = Heartbeat()
        self._source = source
        self._source_lock = threading.Lock()
        self._ring = ring
        self._clock = clock
        self._missing = MissingSound(ring, clock, losses, clocks, wake)
        self._silence = DigitalSilence(source.label)
        self._wake = wake
        self._reopen = reopen if source.live else None
        self._reopened = 0
        self._opened_s = time.monotonic()
        self._backoff = Backoff(FIRST_BACKOFF_S, MAX_BACKOFF_S)
        self._failures = 0
        """Tries in a row that failed, since a source lasted."""
        self._closed = threading.Event()
        self._changed = threading.Event()
        """Set where it was closed, paused or resumed: ends a wait."""
        self._paused = self._pause_due = self._parked = False
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="edge-aac-capture", daemon=True)

    @property
    def state(self) -> HealthState:
        """What the source does now, see :class:`edge_aac.records.Health`."""
        if self._reason is not None and not self.paused:
            return "failed"
        if self._over:
            return "ended"
        if self._paused:
            return "paused"
        state = self._source.state
        return "mute" if state == "listening" and self._silence.warning else state

    @property
    def reason(self) -> str | None:
        """Why the source is not heard; None while it is."""
        if self.paused:
            return PAUSED
        if self._reason is not None:
            return self._reason
        source = self._source
        reason = source.reason if isinstance(source, ExplainsLosses) and not self._over else None
        return None if reason is None else as_text(reason)

    @property
    def warnings(self) -> list[str]:
        """What is wrong with sound that arrives, each as a sentence."""
        warning = self._silence.warning
        return [] if warning is None or self._over or self._paused else [as_text(warning)]

    @property
    def outage(self) -> Outage | None:
        """The outage that goes on now; None for none."""
        if self._parked:
            return None
        if self._missing.outage is not None:
            return self._missing.outage
        source = self._source
        return source.outage if isinstance(source, ExplainsLosses) else None

    @property
    def reconnects(self) -> int:
        """How often its sound came back."""
        return self._reopened + self._source.reconnects

    @property
    def heartbeat(self) -> tuple[int, float]:
        """Rounds of the thread, those inside its source's :meth:`read` included, and the seconds allowed to this one.

        A source that waits for its device in ``read`` has a ``heartbeat`` of its own.
        """
        own, inner = self._heartbeat, getattr(self._source, "heartbeat", None)
        if not isinstance(inner, Heartbeat):
            return own.beats, own.allowance_s
        return own.beats + inner.beats, max(own.allowance_s, inner.allowance_s)

    @property
    def silence_s(self) -> float:
        """Seconds for which its source may give no sound and still be listening; 0 where it says nothing of that."""
        return float(getattr(self._source, "stall_s", 0.0))

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def can_pause(self) -> bool:
        """Whether the source may be paused: one that can be opened anew."""
        return self._reopen is not None

    @property
    def paused(self) -> bool:
        """Whether the source is paused, and could be heard otherwise."""
        return self._paused and not self._over

    @property
    def _over(self) -> bool:
        """Whether nothing more is heard: the thread of a source that was closed may take its time to end."""
        return self._ended or self._closed.is_set()

    @property
    def parked(self) -> bool:
        """Whether the source is paused and closed, and nothing more of it comes into the ring."""
        return self._parked

    def pause(self) -> None:
        """Close the source until :meth:`resume`; from this call on nothing is written. Any thread may call it."""
        if not self._paused:
            self._paused = self._pause_due = True
            self._changed.set()
            with self._source_lock:
                self._source.close()

    def resume(self) -> None:
        """Open the source again, however often it takes. Any thread may call it."""
        self._paused = False
        self._changed.set()

    def start(self) -> None:
        """Start the thread; where it was started before, nothing is done."""
        if self._thread.ident is None:
            self._thread.start()

    def close(self) -> None:
        """Close the source, which ends a read that waits."""
        self._closed.set()
        self._changed.set()
        with self._source_lock:
            self._source.close()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread's end; a read that does not end by itself is left behind after ``timeout_s``."""
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            error = self._read_and_replace()
        except BaseException as fault:  # a fault of the program: raised again where the ring is read
            error = fault
        if error is not None:
            self._reason = as_text(str(error) or type(error).__name__)
        self._ring.close(error)
        self._ended = True
        self._wake()

    def _read_and_replace(self) -> EdgeAacError | None:
        """Read the source, and those that take its place, to the last end; the error of that one, or None."""
        while True:
            failure = self._read_to_the_end()
            if self._pause_due and not self._closed.is_set():
                if not self._park():
                    return None
            elif failure is None or not self._replace_source(failure):
                return failure

    def _read_to_the_end(self) -> EdgeAacError | None:
        """Write what the source gives; its own error, or None where it ended or was paused."""
        source = self._source
        heard = False
        try:
            while not self._pause_due and (block := self._next_block(source)) is not None and not self._pause_due:
                self._missing.note(source, len(block))
                # Before the write: whoever reads the samples finds their time there.
                position = self._ring.written_samples + len(block)
                if source.live:
                    self._clock.note(position)
                    self._silence.observe(block)
                # Before the write too, which may wait for the reader.
                self._wake_at(position)
                self._ring.write(block, block=not source.live)
                self._wake_at(position)
                if not heard:
                    heard = True
                    self._note_sound()
        except EdgeAacError as error:
            return error
        return None

    def _next_block(self, source: Source) -> npt.NDArray[np.float32] | None:
        self._heartbeat.beat()
        return source.read()

    @property
    def due(self) -> bool:
        """Whether the ring's reader has something to do."""
        return self._ended or self._missing.hurried or self._is_due(self._ring.written_samples)

    def _is_due(self, position: int) -> bool:
        return position >= self.due_position or 2 * self._ring.backlog_samples >= self._ring.capacity_samples

    def _wake_at(self, position: int) -> None:
        if self._is_due(position):
            self._wake()

    def _note_sound(self) -> None:
        if self._reason is not None:
            log.warning("%s is back", self._source.label)
            self._reopened += 1
            self._reason = None

    def _park(self) -> bool:
        """Wait for the end of a pause, and open the source again; False where it was closed or cannot be opened."""
        self._missing.begin_pause(self.outage)
        self._reason = None
        self._pause_due, self._parked = False, True
        self._wake()
        while self._paused and not self._closed.is_set():
            self._heartbeat.beat(_PAUSED_LOOK_S)
            self._changed.wait(_PAUSED_LOOK_S)
            self._changed.clear()
        self._missing.end_pause()
        self._parked = False
        if self._closed.is_set() or self._reopen is None:
            return False
        self._heartbeat.beat(OPENING_S)
        try:
            opened = self._reopen()
        except EdgeAacError as error:
            if isinstance(error, _FINAL):
                raise
            return self._replace_source(error)
        return self._put_in_place(opened)

    def _wait_for_try(self) -> bool:
        """Wait before the next try; False where the source was closed or paused meanwhile."""
        self._failures += 1
        wait_s = self._backoff.wait_s(self._failures, random.random())
        self._heartbeat.beat(wait_s)
        self._changed.wait(wait_s)
        self._changed.clear()
        return not self._closed.is_set() and not self._pause_due

    def _replace_source(self, failure: EdgeAacError) -> bool:
        """Open a live source anew, however often it takes; False where no retry would help or it was closed.

        Where it is paused meanwhile, it is left closed.
        """
        if self._reopen is None or isinstance(failure, _FINAL):
            return False
        label = self._source.label
        if self._reason is None:
            log.warning("%s failed and is tried again: %s", label, failure)
        self._reason = as_text(str(failure))
        self._missing.begin_outage(self._reason)
        with self._source_lock:
            self._source.close()
        if time.monotonic() - self._opened_s >= self._backoff.steady_s:
            self._failures = 0
        while self._wait_for_try():
            self._heartbeat.beat(OPENING_S)
            try:
                opened = self._reopen()
            except _FINAL:
                raise
            except EdgeAacError as error:
                self._reason = as_text(str(error))
                log.debug("%s: %s", label, error)
                continue
            return self._put_in_place(opened)
        return not self._closed.is_set()

    def _put_in_place(self, opened: Source) -> bool:
        """Read another source from now on; False where this one was closed meanwhile."""
        self._opened_s = time.monotonic()
        with self._source_lock:
            self._reopened += self._source.reconnects
            self._source = opened
            if self._closed.is_set() or self._pause_due:
                opened.close()
        self._missing.forget_source()
        return not self._closed.is_set()
