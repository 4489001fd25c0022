"""Keeps a live source connected: tries again with backoff, counts what is lost meanwhile, and reports its state."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_aac.audio.connection import (
    Connection,
    Loss,
    LossReason,
    Outage,
    PermanentDeviceError,
    RefusedError,
    SourceState,
)
from edge_aac.backoff import Backoff
from edge_aac.errors import DeviceError
from edge_aac.heartbeat import Heartbeat
from edge_aac.timebase import SAMPLE_RATE

_log = logging.getLogger(__name__)

OpenOnce = Callable[[threading.Event], Connection]
"""Opens the device, once; it may give up with a DeviceError as soon as the event is set. Its errors show the source's
label, not its address."""

STALL_S = 2.0
"""Seconds without sound after which an open device counts as stalled, where its source says nothing else."""

FIRST_SOUND_S = 5.0
"""The same before a connection's first sound, which takes longer: a sound server may hold back two seconds at first."""

_READ_TIMEOUT_S = 0.1
_SIGN_EVERY_S = 0.5
_CLOSE_WAIT_S = 0.5
OPENING_S = 45.0
"""Opening a device may take this long: a sound server that does not answer is given up after 30 s."""
_LOSS_WARNING_EVERY_S = 60.0


@dataclass(frozen=True)
class Timing:
    """Time and chance, which a test replaces.

    Attributes:
        now_s: gives monotonic time in seconds.
        wait: waits for an event, for so many seconds at most; True where it is set.
        chance: gives a number, evenly distributed from 0 to 1.
    """

    now_s: Callable[[], float] = time.monotonic
    wait: Callable[[threading.Event, float], bool] = threading.Event.wait
    chance: Callable[[], float] = random.random


class Reconnecting:
    """A live :class:`~edge_aac.audio.sources.address.Source` made of connections, one after the other.

    A :class:`~edge_aac.errors.DeviceError` while opening or reading leads to another try, for ever. Any other error of
    ``open_once``, and :class:`~edge_aac.audio.connection.PermanentDeviceError`, ends the source. A device that opens
    but stays mute is not back: it is closed and tried again. The first failure of an outage is logged as a warning,
    the later ones for debugging.

    Args:
        label: the source's name in records and messages.
        open_once: opens the device.
        wait_for_device: open it in :meth:`read`, however long that takes to succeed; otherwise here and now.
        stall_s: seconds without sound after which a device that was heard counts as stalled.
        first_sound_s: seconds without sound after which a device that was just opened does.
        opening_s: seconds that ``open_once`` may take and is not taken for hung.
        backoff: waiting times between tries.
        timing: time and chance.
        sign: gives something that changes when the device may have come, such as the kernel's list of cards: then it
            is tried at once, however long the pause. It is asked twice a second. None for a device without such a sign.
        stop: once set, the opening here and now is given up; None for never.

    Raises:
        EdgeAacError: the device cannot be opened now, and is not to be waited for.
    """

    live = True

    def __init__(  # noqa: PLR0913 - two more for tests
        self,
        label: str,
        open_once: OpenOnce,
        *,
        wait_for_device: bool = False,
        stall_s: float = STALL_S,
        first_sound_s: float = FIRST_SOUND_S,
        opening_s: float = OPENING_S,
        backoff: Backoff | None = None,
        timing: Timing | None = None,
        sign: Callable[[], object] | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self.label = label
        self.heartbeat = Heartbeat()
        self._open_once = open_once
        self.stall_s = stall_s
        self._opening_s = opening_s
        self._first_sound_s = first_sound_s
        self._backoff = backoff or Backoff()
        self._timing = timing or Timing()
        self._sign = sign
        self._closed = threading.Event()
        self._reading = threading.Lock()
        self._state: SourceState = "waiting"
        self._reconnects = 0
        self._lost_samples = 0.0
        self._taken_samples = 0
        self._losses: list[Loss] = []
        self._outage: Outage | None = None
        self._reason: str | None = None
        self._unreported_loss_s = 0.0
        self._loss_reported_s = float("-inf")
        self._failures = 0
        """In a row, since the device was last heard steadily."""
        self._wait_s = 0.0
        self._refusal_logged = self._back_logged = False
        self._quiet_s = 0.0
        self._heard_since_s: float | None = None
        """Start of the sound of this connection, in monotonic seconds; None before its first sound."""
        self._heard_until_s: float | None = None
        """Monotonic time from which on sound is missed; None before the first connection."""
        self._connection: Connection | None = None
        if not wait_for_device:
            self._connection = open_once(self._closed if stop is None else stop)
            self._heard_until_s = self._timing.now_s()

    @property
    def state(self) -> SourceState:
        """State of the source; see :data:`~edge_aac.audio.connection.SourceState`."""
        return self._state

    @property
    def reconnects(self) -> int:
        """Number of times that sound came back after the connection had been lost."""
        return self._reconnects

    @property
    def outage(self) -> Outage | None:
        """The outage that goes on; see :class:`~edge_aac.audio.connection.ExplainsLosses`."""
        return self._outage

    @property
    def reason(self) -> str | None:
        """Why the source is not heard now; None while it is."""
        return self._reason

    def read(self) -> npt.NDArray[np.float32] | None:
        """Gives the next block; see :meth:`edge_aac.audio.sources.address.Source.read`."""
        with self._reading:
            try:
                while not self._closed.is_set():
                    self.heartbeat.beat()
                    connection = self._connection or self._connected()
                    samples = None if connection is None else self._heard(connection)
                    if samples is not None and len(samples):
                        return samples
            except BaseException as error:
                self._state, self._reason = "failed", str(error) or type(error).__name__
                self._closed.set()
                self._let_go()
                raise
            self._let_go()
            return None

    def lost_samples(self) -> int:
        """Samples lost on the way and while the device was away; brought up to date at each try during an outage.

        The time before a device that is waited for first comes is no loss.
        """
        return int(self._lost_samples)

    def take_losses(self) -> list[Loss]:
        """Gives what was lost before the last block; see :class:`~edge_aac.audio.connection.ExplainsLosses`."""
        losses, self._losses = self._losses, []
        return losses

    def close(self) -> None:
        """Ends a :meth:`read` that waits, and releases the device."""
        self._closed.set()
        # A thread that is just opening the device closes it by itself.
        if self._reading.acquire(timeout=_CLOSE_WAIT_S):
            self._let_go()
            self._reading.release()

    def _connected(self) -> Connection | None:
        """Waits as long as the failures before demand, and makes one try."""
        self.heartbeat.beat(self._wait_s)
        if self._wait_s and self._paused():
            return None
        self.heartbeat.beat(self._opening_s)
        try:
            connection = self._open_once(self._closed)
        except PermanentDeviceError:
            raise
        except DeviceError as error:
            self._fail("waiting", error)
            return None
        self._connection = connection
        self._quiet_s = 0.0
        self._heard_since_s = None
        return None if self._closed.is_set() else connection

    def _paused(self) -> bool:
        """Waits before the next try, or until there is a sign of the device; True where the source was closed."""
        if self._sign is None:
            return self._timing.wait(self._closed, self._wait_s)
        before, left_s = self._sign(), self._wait_s
        while left_s > 0 and self._sign() == before:
            if self._timing.wait(self._closed, min(left_s, _SIGN_EVERY_S)):
                return True
            left_s -= _SIGN_EVERY_S
        return self._closed.is_set()

    def _heard(self, connection: Connection) -> npt.NDArray[np.float32] | None:
        try:
            sound = connection.read(_READ_TIMEOUT_S)
        except DeviceError as error:
            self._fail("waiting", error)
            return None
        if sound is None:
            # Counted in waits, not by the clock: a process that was stopped for a while has missed no sound yet.
            self._quiet_s += _READ_TIMEOUT_S
            longest_s = self._first_sound_s if self._heard_since_s is None else self.stall_s
            if self._quiet_s >= longest_s - _READ_TIMEOUT_S / 2:  # sums of 0.1 are not exact
                self._fail("stalled", DeviceError(f"it is open, but there was no sound for {longest_s:g} s"))
            return None
        self._quiet_s = 0.0
        if self._heard_since_s is None:
            self._heard_since_s = sound.arrived_s - sound.duration_s
            self._state, self._reason = "listening", None
            if self._failures:
                self._log_return()
                # What the connection lost before its first sound is part of the gap.
                self._count_gap(self._heard_since_s)
                if (outage := self._outage) is not None:
                    self._outage = None
                    self._note_loss(outage.reason, outage)
            else:
                self._count_loss(sound.lost_s)
        else:
            self._count_loss(sound.lost_s)
        self._heard_until_s = sound.arrived_s
        if self._failures and sound.arrived_s - self._heard_since_s >= self._backoff.steady_s:
            self._failures = 0
            self._refusal_logged = self._back_logged = False
        return sound.samples

    def _log_return(self) -> None:
        returned = self._heard_until_s is not None
        if returned:
            self._reconnects += 1
        # A device that comes and goes is logged once.
        level = logging.DEBUG if self._back_logged else logging.WARNING
        _log.log(level, "%s is back" if returned else "%s is there", self.label)
        self._back_logged = True

    def _fail(self, state: SourceState, error: DeviceError) -> None:
        """Closes the connection, if there is one, and decides how long the next try has to wait."""
        self._let_go()
        if self._closed.is_set():
            return
        self._state, self._reason = state, str(error)
        if self._outage is None and self._heard_until_s is not None:
            reason: LossReason = "stalled" if state == "stalled" else "disconnected"
            self._outage = Outage(reason, self._heard_until_s, str(error))
        self._count_gap(self._timing.now_s())
        refused = isinstance(error, RefusedError)
        warn = not self._failures or (refused and not self._refusal_logged)
        self._refusal_logged |= refused
        level = logging.WARNING if warn else logging.DEBUG
        _log.log(level, "%s cannot be heard and is waited for: %s", self.label, str(error).rstrip("."))
        if refused:
            self._wait_s = self._backoff.refused_s
        elif not self._failures and self._heard_since_s is not None:
            # It was heard until now: it may be back at once.
            self._wait_s = 0.0
        else:
            self._wait_s = self._backoff.wait_s(max(1, self._failures), self._timing.chance())
        self._failures += 1
        self._heard_since_s = None

    def _count_gap(self, until_s: float) -> None:
        if self._heard_until_s is not None:
            self._lost_samples += max(0.0, until_s - self._heard_until_s) * SAMPLE_RATE
            self._heard_until_s = max(self._heard_until_s, until_s)

    def _count_loss(self, lost_s: float) -> None:
        if not lost_s:
            return
        self._lost_samples += lost_s * SAMPLE_RATE
        self._note_loss("lost")
        self._unreported_loss_s += lost_s
        now_s = self._timing.now_s()
        if now_s - self._loss_reported_s >= _LOSS_WARNING_EVERY_S:
            _log.warning("%s: %.2f s of sound were lost on the way", self.label, self._unreported_loss_s)
            self._unreported_loss_s = 0.0
            self._loss_reported_s = now_s

    def _note_loss(self, reason: LossReason, outage: Outage | None = None) -> None:
        """Puts down all that was counted since the loss before; parts of a sample wait for the next one."""
        samples = int(self._lost_samples) - self._taken_samples
        self._taken_samples += samples
        self._losses.append(Loss(reason, samples, outage))

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
