"""A whole session over a device and clocks of the test: no second of it is waited for, and no window is skipped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np

from edge_aac.audio.connection import Sound
from edge_aac.audio.reconnect import Reconnecting, Timing
from edge_aac.audio.windows import WindowSlicer
from edge_aac.backoff import Backoff
from edge_aac.errors import DeviceError
from edge_aac.records import Caption, Event, Gap, Health
from edge_aac.streaming.channel import Channel, ChannelSettings
from edge_aac.streaming.gate import EnergyGate
from edge_aac.streaming.hub import Hub, Outlet
from edge_aac.streaming.session import Session
from tests.edge_aac.fake_clocks import FakeClocks
from tests.edge_aac.fakes import FakeModel, FakeSink
from tests.waiting import PATIENCE_S, until

BLOCK = 1_600
WINDOW, HOP = 160_000, 32_000
START_S = 1_777_629_600.0

Step = Callable[["Device"], "Sound | None"]
"""One read of the device's connection; it raises a DeviceError where the connection is lost."""


class Device:
    """A microphone whose script is played as fast as its session takes it.

    Args:
        steps: what its reads give, one after the other; what comes after a lost connection is given by the next one.
        rate: samples that it gives in what it calls a second, by 16000.
        interval_s: seconds between two health records; time is the test's.
    """

    def __init__(self, steps: Sequence[Step], rate: float = 1.0, interval_s: float = 10.0) -> None:
        self.world = FakeClocks(START_S)
        self.rate = rate
        self.heard_samples = 0
        """Samples that were given, without those that were lost."""
        self.sink = FakeSink()
        self.stop = threading.Event()
        self.tries_that_fail = 0
        self.on_wait: Callable[[float], None] = lambda _seconds: None
        self._random = np.random.default_rng(0)
        self._steps = list(steps)
        self._closed = threading.Event()
        timing = Timing(lambda: self.world.running_s, self._wait, lambda: 0.0)
        source = Reconnecting("mic0", self._open, backoff=Backoff(jitter=0.0), timing=timing)
        self.session = Session(
            model=FakeModel(),
            hub=Hub([Outlet("fake", self.sink, ("caption", "event", "gap", "health"), 100_000)]),
            node="kitchen",
            stop=self.stop,
            health_interval_s=interval_s,
            clocks=self.world.clocks,
        )
        settings = ChannelSettings(EnergyGate(-70.0), every_window=True)
        self.channel: Channel = self.session.add(source, WindowSlicer(WINDOW, HOP), settings)

    def run(self) -> None:
        """Play the script to its end."""
        self.session.run()

    @property
    def captions(self) -> list[Caption]:
        return self.sink.captions

    @property
    def gaps(self) -> list[Gap]:
        return [record for record in self.sink.records if isinstance(record, Gap)]

    @property
    def health(self) -> list[Health]:
        return [record for record in self.sink.records if isinstance(record, Health)]

    @property
    def events(self) -> list[Event]:
        return [record for record in self.sink.records if isinstance(record, Event)]

    def sound(self, samples: int = BLOCK, lost_s: float = 0.0) -> Sound:
        """Let the time of some noise pass, and give it."""
        seconds = samples / 16_000 / self.rate
        self.world.running_s += lost_s + seconds
        self.heard_samples += samples
        noise = self._random.normal(0, 0.1, samples).astype(np.float32)
        return Sound(noise, seconds, self.world.running_s, lost_s)

    def _wait(self, event: threading.Event, seconds: float) -> bool:
        self.world.running_s += seconds
        self.on_wait(seconds)
        return event.is_set()

    def _open(self, closed: threading.Event) -> _Connection:
        self._closed = closed
        if self.tries_that_fail:
            self.tries_that_fail -= 1
            raise DeviceError("There is no input 'mic0'.")
        return _Connection(self)

    def read(self, timeout_s: float) -> Sound | None:
        """The next step of the script, once the session has described all that it can."""
        self._wait_for_the_session()
        if not self._steps:
            self.stop.set()
            self._closed.wait(PATIENCE_S)
            return None
        sound = self._steps.pop(0)(self)
        if sound is None:
            self.world.running_s += timeout_s
        return sound

    def _wait_for_the_session(self) -> None:
        counters = self.channel.counters

        def settled() -> bool:
            told = counters.captions + counters.silent + counters.skipped.total()
            cut = self.channel.capture.due_position > self.channel._ring.written_samples
            return (cut and told == counters.windows) or self.stop.is_set()

        until(settled, interval_s=0.0005)


class _Connection:
    def __init__(self, device: Device) -> None:
        self._device = device

    def read(self, timeout_s: float) -> Sound | None:
        return self._device.read(timeout_s)

    def close(self) -> None:
        pass


def sound(seconds: float) -> list[Step]:
    """Noise in blocks of 0.1 s of the device's own time."""
    return [lambda device: device.sound()] * round(seconds * 10)


def muted(seconds: float) -> list[Step]:
    """Zeros in blocks of 1 s."""

    def zeros(device: Device) -> Sound:
        device.world.running_s += 1.0
        device.heard_samples += 16_000
        return Sound(np.zeros(16_000, np.float32), 1.0, device.world.running_s)

    return [zeros] * round(seconds)


def burst(seconds: float) -> list[Step]:
    """Noise that arrives all at once, in blocks, when the last of it was heard."""

    def first(device: Device) -> Sound:
        device.world.running_s += seconds
        return rest(device)

    def rest(device: Device) -> Sound:
        device.heard_samples += BLOCK
        block = device._random.normal(0, 0.1, BLOCK).astype(np.float32)
        return Sound(block, BLOCK / 16_000, device.world.running_s)

    return [first, *[rest] * (round(seconds * 10) - 1)]


def lost_on_the_way(seconds: float) -> list[Step]:
    """A block before which some sound was lost."""
    return [lambda device: device.sound(lost_s=seconds)]


def unplugged(tries: int) -> list[Step]:
    """The device goes, and cannot be opened so many times; the time is that of the pauses between the tries."""

    def gone(device: Device) -> Sound | None:
        device.tries_that_fail = tries
        raise DeviceError("The input 'mic0' stopped.")

    return [gone]


def stalled(seconds: float) -> list[Step]:
    """The device is open and gives nothing."""
    return [lambda _device: None] * round(seconds * 10)


def asleep(seconds: float) -> list[Step]:
    """The machine is suspended; then there is sound again."""

    def sleep(device: Device) -> Sound:
        device.world.slept_s += seconds
        return device.sound()

    return [sleep]


def clock_set(seconds: float) -> list[Step]:
    """Somebody sets the wall clock."""

    def step(device: Device) -> Sound:
        device.world.set_by_s += seconds
        return device.sound()

    return [step]
