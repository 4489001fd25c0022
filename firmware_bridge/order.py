"""Puts a device's AUDIO frames in order, and says to the sample what is missing between them."""

from __future__ import annotations

from dataclasses import dataclass

from firmware_bridge.frame import Audio

MAX_HELD_FRAMES = 64
RESTART_AFTER_FRAMES = 25
_HALF = 1 << 31
_ALL = 1 << 32


@dataclass(frozen=True)
class Ordered:
    """A frame in its place.

    Attributes:
        audio: the frame.
        arrived_s: monotonic time in seconds at which it arrived.
        lost_samples: samples a channel that are missing before it, at the device's rate; None where nobody can know:
            it is the first, or the device has begun to count anew.
        gated_samples: samples before it that the device left out on purpose, since they were quiet.
    """

    audio: Audio
    arrived_s: float
    lost_samples: int | None
    gated_samples: int


@dataclass
class OrderCounters:
    """What became of frames.

    Attributes:
        frames: frames that were given in order.
        missing: frames that never came, or too late.
        late: frames that came after their place had been given up.
        duplicates: frames that came twice.
        reordered: frames that came after one that belongs behind them, and in time.
    """

    frames: int = 0
    missing: int = 0
    late: int = 0
    duplicates: int = 0
    reordered: int = 0


class FrameOrder:
    """The jitter buffer of one device: nobody waits for a frame that is next; a gap is waited out for a set time.

    Args:
        latency_s: seconds for which a frame that is missing is waited for, from the arrival of one behind it.
    """

    def __init__(self, latency_s: float) -> None:
        self.counters = OrderCounters()
        self._latency_s = latency_s
        self._held: dict[int, tuple[Audio, float]] = {}
        """By sequence: frames that came before one that belongs before them."""
        self._last: Audio | None = None
        """The newest frame that was given."""
        self._strays: list[tuple[Audio, float]] = []
        """Frames in a row that lie behind: the device may have begun to count anew without a word."""

    def push(self, audio: Audio, arrived_s: float) -> None:
        """Takes a frame."""
        if audio.sequence in self._held:
            self.counters.duplicates += 1
            return
        last = self._last
        if last is not None and _ahead(audio, last) <= 0:
            self._note_stray(audio, arrived_s)
            return
        self._strays.clear()
        if any(_ahead(held, audio) > 0 for held, _ in self._held.values()):
            self.counters.reordered += 1
        self._held[audio.sequence] = audio, arrived_s

    def pop(self, now_s: float) -> Ordered | None:
        """The next frame, where it is there, or where the ones before it have been waited for long enough."""
        if not self._held:
            return None
        first, arrived_s = self._first()
        last = self._last
        is_next = last is None or _ahead(first, last) == 1
        if not is_next and len(self._held) < MAX_HELD_FRAMES and now_s < self.due_s:
            return None
        del self._held[first.sequence]
        self._last = first
        self.counters.frames += 1
        if last is None:
            return Ordered(first, arrived_s, None, 0)
        self.counters.missing += _ahead(first, last) - 1
        return _placed(first, arrived_s, last)

    @property
    def due_s(self) -> float:
        """Monotonic time in seconds at which :meth:`pop` gives a frame, though none comes; infinite for never."""
        return min((arrived_s for _, arrived_s in self._held.values()), default=float("inf")) + self._latency_s

    def _first(self) -> tuple[Audio, float]:
        if len(self._held) == 1 or self._last is None:
            return next(iter(self._held.values()))
        last = self._last
        return min(self._held.values(), key=lambda held: _ahead(held[0], last))

    def _note_stray(self, audio: Audio, arrived_s: float) -> None:
        """A frame from before the newest one: it is late, or a copy; or, where many follow in a row, of a restart."""
        last = self._last
        if last is not None and audio == last:
            self.counters.duplicates += 1
            return
        self.counters.late += 1
        if self._strays and _ahead(audio, self._strays[-1][0]) != 1:
            self._strays.clear()
        self._strays.append((audio, arrived_s))
        if len(self._strays) >= RESTART_AFTER_FRAMES:
            self._last = None
            self._held = {stray.sequence: (stray, arrived) for stray, arrived in self._strays}
            self._strays = []


def _ahead(audio: Audio, other: Audio) -> int:
    """How many frames one is ahead of another, in sequence numbers modulo 2^32: from -2^31 to 2^31 - 1."""
    return (audio.sequence - other.sequence + _HALF) % _ALL - _HALF


def _placed(audio: Audio, arrived_s: float, last: Audio) -> Ordered:
    between = audio.first_sample - last.first_sample - last.samples
    if between < 0:  # a sample clock that runs backwards is another one
        return Ordered(audio, arrived_s, None, 0)
    gated = min((audio.gated_samples - last.gated_samples) % _ALL, between)
    return Ordered(audio, arrived_s, between - gated, gated)
