"""A device that a link has heard of."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from firmware_bridge.device_ids import id_text, label_of
from firmware_bridge.frame import Audio, Hello, Status
from firmware_bridge.inbox import Inbox

MAX_ID = 65_535
_EARLY_FRAMES, _EARLY_S = 256, 5.0


@dataclass
class DeviceCounters:
    """What came from a device.

    Attributes:
        frames: frames of all types.
        audio_frames: AUDIO frames.
        refused_frames: AUDIO frames that contradict its HELLO.
    """

    frames: int = 0
    audio_frames: int = 0
    refused_frames: int = 0


@dataclass(eq=False)
class Device:
    """A device, as its link knows it. The link's thread writes it; any thread may read it.

    Attributes:
        hello: its newest HELLO.
        status: its newest STATUS; None before the first.
        heard_s: monotonic time in seconds at which its newest frame came.
        heard_unix_s: the same in seconds since the epoch.
        reply_to: where frames to it are sent, of UDP; None of a byte stream.
    """

    hello: Hello
    status: Status | None = None
    heard_s: float = 0.0
    heard_unix_s: float = 0.0
    reply_to: tuple[str, int] | None = None
    counters: DeviceCounters = field(default_factory=DeviceCounters)
    _last_id: int = 0
    _early_since_s: float = float("inf")
    _early: deque[tuple[Audio, float]] | None = field(default_factory=lambda: deque(maxlen=_EARLY_FRAMES))
    """Frames that came before anybody listened; None from then on, or once nobody has listened for long."""
    _inboxes: list[Inbox] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def id(self) -> int:
        """Its id."""
        return self.hello.device

    @property
    def id_text(self) -> str:
        """Its id, as it is written."""
        return id_text(self.id)

    @property
    def label(self) -> str:
        """What it calls itself, else its id."""
        return label_of(self.hello.name, self.id)

    def heard(self, reply_to: tuple[str, int] | None = None) -> None:
        """Take note that a frame of it came."""
        self.counters.frames += 1
        self.heard_s, self.heard_unix_s = time.monotonic(), time.time()
        self.reply_to = reply_to

    def next_id(self) -> int:
        """The id of the next CAPTION or ALERT, whoever sends it: one that came before would be a repetition."""
        with self._lock:
            self._last_id = self._last_id % MAX_ID + 1
            return self._last_id

    def greet(self, hello: Hello) -> None:
        """Take note of a HELLO."""
        before, self.hello = self.hello, hello
        if _stream_of(before) != _stream_of(hello):
            with self._lock:
                if self._early is not None:
                    self._early.clear()
                for inbox in self._inboxes:
                    inbox.restart(hello)

    def take_audio(self, audio: Audio, arrived_s: float) -> None:
        """Hand a frame on to those who listen."""
        self.counters.audio_frames += 1
        if audio.channels != self.hello.channels:
            self.counters.refused_frames += 1
            return
        with self._lock:
            if self._early is not None:
                self._early_since_s = min(self._early_since_s, arrived_s)
                if arrived_s - self._early_since_s > _EARLY_S:
                    self._early = None  # nobody is about to listen: it is paused, or shows captions alone
                else:
                    self._early.append((audio, arrived_s))
            for inbox in self._inboxes:
                inbox.put(audio, arrived_s)

    @property
    def is_listened_to(self) -> bool:
        """Whether anybody listens to it."""
        return bool(self._inboxes)

    def listen(self, latency_s: float, now_s: Callable[[], float] = time.monotonic) -> Inbox:
        """Begin to listen; see :class:`~firmware_bridge.inbox.Inbox`.

        The first who listens gets what came since the device said HELLO, if that is not long ago: no sample is missed
        while a source is made for a device that has just appeared. Later nothing is kept: whoever ends a pause does not
        hear what was said in it.
        """
        inbox = Inbox(self.hello, latency_s, now_s)
        with self._lock:
            early, self._early = self._early, None
            for audio, arrived_s in early or ():
                if now_s() - arrived_s <= _EARLY_S:
                    inbox.put(audio, arrived_s)
            self._inboxes.append(inbox)
        return inbox

    def ignore(self, inbox: Inbox) -> None:
        """End listening."""
        inbox.close()
        with self._lock:
            if inbox in self._inboxes:
                self._inboxes.remove(inbox)


def _stream_of(hello: Hello) -> tuple[int, int, int]:
    """What all AUDIO frames that may be put in one row have in common."""
    return hello.boot, hello.rate_hz, hello.channels
