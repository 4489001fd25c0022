"""A host without threads or waiting: frames of a device on their way into a ring, by clocks that a test sets."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from edge_aac.audio.clock import SampleClock
from edge_aac.audio.connection import Loss
from edge_aac.audio.ring import SampleRing
from edge_aac.streaming.losses import LossAccount
from edge_aac.streaming.missing import MissingSound
from firmware_bridge.fields import Abilities, Codec
from firmware_bridge.frame import Audio, Hello, decode
from firmware_bridge.inbox import Inbox
from firmware_bridge.timeline import Placed, Timeline
from tests.edge_aac.fake_clocks import FakeClocks

KEY = bytes(range(32))
DEVICE = 0x24_0A_C4_12_34_56


def hello(boot: int = 7, number: int = 1, rate_hz: int = 16_000, channels: int = 1, device: int = DEVICE) -> Hello:
    """A HELLO of a device that can do all."""
    everything = Abilities.DISPLAY | Abilities.ALERT | Abilities.GATE
    return Hello(device, boot, number, rate_hz, channels, Codec.PCM, 320, everything, 64, "kitchen", "1.0")


def pcm(sequence: int, first_sample: int, values: npt.NDArray[np.int16] | None = None, gated: int = 0) -> Audio:
    """An AUDIO frame; 320 zeros where no values are given."""
    data = np.zeros(320, "<i2") if values is None else values.astype("<i2")
    return Audio(DEVICE, sequence % 2**32, first_sample, gated % 2**32, Codec.PCM, 1, len(data), data.tobytes())


class SimulatedChannel:
    """What a channel makes of a device's frames: positions, times, and the account of losses.

    Attributes:
        clocks: set by the test.
        losses: the account, as health records and captions give it.
        sound: pairs of position and samples, in order.
    """

    def __init__(self, latency_s: float = 0.06, first: Hello | None = None) -> None:
        self.clocks = FakeClocks()
        self.losses = LossAccount()
        self.inbox = Inbox(first or hello(), latency_s, lambda: self.clocks.running_s)
        self.clock = SampleClock(self.clocks.clocks)
        self.ring = SampleRing(16_000)
        self.sound: list[tuple[int, npt.NDArray[np.float32]]] = []
        self.keep_sound = True
        self._timeline = Timeline()
        self._missing = MissingSound(self.ring, self.clock, self.losses, self.clocks.clocks, lambda: None)
        self._source = _Account()

    def take(self, data: bytes) -> None:
        """A frame was read from the link, now."""
        frame = decode(data)
        assert isinstance(frame, Audio)
        self.inbox.put(frame, self.clocks.running_s)
        self.advance()

    def advance(self) -> None:
        """Do what a capture thread does with the frames that are ready now."""
        while (received := self.inbox.take(0.0)) is not None:
            for placed in self._timeline.place(received):
                self._write(placed)

    def advance_to(self, running_s: float) -> None:
        """Let time pass; a frame that waits for one that never comes is given when its time is over."""
        waited_until_s = min(running_s, self.clocks.running_s + 0.1)
        while self.clocks.running_s < waited_until_s:
            self.clocks.running_s = min(waited_until_s, self.clocks.running_s + 0.005)
            self.advance()
        self.clocks.running_s = max(self.clocks.running_s, running_s)

    @property
    def lost_samples(self) -> int:
        """All that was lost."""
        return self.losses.total_samples(None, self.clocks.running_s)

    @property
    def pending_samples(self) -> int:
        """What is known to be lost, and waits for the sound behind it, which a resampler still holds."""
        return sum(loss.samples for loss in self._source.losses)

    def time_of(self, position: int) -> float:
        """Monotonic time in seconds at which the sample before a position was heard, as records give it."""
        return self.clock.running_time_of(position)

    def _write(self, placed: Placed) -> None:
        if placed.lost_samples:
            self._source.losses.append(Loss("lost", placed.lost_samples))
        if not len(placed.samples):
            return
        self._missing.note(self._source, len(placed.samples))
        position = self.ring.written_samples
        self.clock.note(position + len(placed.samples))
        if self.keep_sound:
            self.sound.append((position, placed.samples))
        self.ring.write(placed.samples, block=False)
        self.ring.read(16_000, timeout_s=0.0)


class _Account:
    """The part of a source that an account of losses looks at."""

    live = True
    outage = None
    reason = None

    def __init__(self) -> None:
        self.losses: list[Loss] = []

    def take_losses(self) -> list[Loss]:
        losses, self.losses = self.losses, []
        return losses


def counted_samples(frames: int, samples: int = 320) -> Iterator[tuple[int, npt.NDArray[np.int16]]]:
    """Frames whose samples tell their own positions: sample ``n`` has the value ``n % 30011``."""
    for number in range(frames):
        first = number * samples
        yield number, (np.arange(first, first + samples) % 30_011).astype(np.int16)
