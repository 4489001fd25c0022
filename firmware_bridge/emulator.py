"""A device in software: what the firmware does, for tests and for people without hardware. Pure: no link of its own."""

from __future__ import annotations

import secrets
from collections import deque
from dataclasses import dataclass, field

from firmware_bridge.adpcm import AdpcmEncoder
from firmware_bridge.fields import Abilities, Codec, Result
from firmware_bridge.frame import (
    Ack,
    Alert,
    Audio,
    Caption,
    Frame,
    FrameError,
    Hello,
    Status,
    Time,
    decode,
    encode,
)
from firmware_bridge.packets import (
    Direction,
    ReplayWindow,
    StreamReader,
    seal,
    stream_packet,
    unseal,
    with_crc,
    without_crc,
)
from firmware_bridge.sessions import opened_frame, outside_a_session

HELLO_SOON_S, HELLO_EVERY_S, STATUS_EVERY_S = 1.0, 5.0, 10.0
_KEPT_IDS = 8
_ALL = 1 << 32


@dataclass
class EmulatedDevice:
    """A device. Whoever drives it carries its packets, and tells it the time.

    Attributes:
        id: device id.
        name: what it calls itself.
        rate_hz, channels, codec, frame_samples: of its sound.
        key: shared with the host, over UDP; None where nothing is authenticated.
        stream: whether packets are those of a byte stream.
        caption_bytes: most bytes of a caption that it shows.
        gate_dbfs: frames whose mean level is below that are left out; None for no gate.
        boot: random number of this start.
        shown: captions that it has shown, the newest last.
        played: patterns that it has played.
        session: number of the host's start, or of the session; 0 before the first TIME.
        unix_ms: the host's newest time.
    """

    id: int
    name: str = ""
    rate_hz: int = 16_000
    channels: int = 1
    codec: Codec = Codec.PCM
    frame_samples: int = 320
    key: bytes | None = field(default=None, repr=False)
    stream: bool = False
    caption_bytes: int = 120
    gate_dbfs: float | None = None
    boot: int = field(default_factory=lambda: secrets.randbits(32))
    shown: list[Caption] = field(default_factory=list)
    played: list[Alert] = field(default_factory=list)
    session: int = 0
    unix_ms: int = 0
    refused: int = 0
    _counter: int = 0
    _window: ReplayWindow = field(default_factory=ReplayWindow)
    _reader: StreamReader = field(default_factory=StreamReader)
    _hello_number: int = 0
    _hello_s: float = float("-inf")
    _status_s: float | None = None
    _started_s: float | None = None
    _answered: bool = False
    _wanted: bool = False
    _sequence: int = 0
    _sample: int = 0
    _gated: int = 0
    _lost: int = 0
    _encoders: list[AdpcmEncoder] = field(default_factory=list)
    _quiet_samples: int = 0
    _ids: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=_KEPT_IDS))
    _out: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._encoders = [AdpcmEncoder() for _ in range(self.channels)]

    @property
    def may_send(self) -> bool:
        """Whether sound may be sent: over authenticated UDP only in a session."""
        return self.key is None or self.session != 0

    def restart(self) -> None:
        """Power is cut and comes back: everything begins anew."""
        fresh = EmulatedDevice(
            self.id, self.name, self.rate_hz, self.channels, self.codec, self.frame_samples, self.key, self.stream,
            self.caption_bytes, self.gate_dbfs,
        )  # fmt: skip
        vars(self).update(vars(fresh))

    def packets_due(self, now_s: float) -> list[bytes]:
        """HELLO and STATUS where they are due, and answers; to be asked a few times a second."""
        if self._started_s is None:
            self._started_s = self._status_s = now_s
        every_s = HELLO_EVERY_S if self._answered else HELLO_SOON_S
        if now_s - self._hello_s >= (HELLO_SOON_S if self._wanted else every_s):
            self._hello_s, self._wanted = now_s, False
            self._hello_number += 1
            self._send(self.hello)
        if self.may_send and now_s - (self._status_s or 0.0) >= STATUS_EVERY_S:
            self._status_s = now_s
            uptime_s = int(now_s - self._started_s)
            self._send(
                Status(self.id, uptime_s, self._lost % _ALL, self._sequence, self.refused % _ALL, len(self.shown))
            )
        out, self._out = self._out, []
        return out

    @property
    def hello(self) -> Hello:
        """Its newest HELLO."""
        abilities = Abilities.ALERT | (Abilities.DISPLAY if self.caption_bytes else Abilities(0))
        if self.gate_dbfs is not None:
            abilities |= Abilities.GATE
        stream = (self.rate_hz, self.channels, self.codec, self.frame_samples)
        return Hello(
            self.id, self.boot, self._hello_number, *stream, abilities, self.caption_bytes, self.name, "emulator"
        )

    def audio(self, samples: list[list[int]]) -> bytes | None:
        """A packet of AUDIO; None where the gate leaves it out, or nothing may be sent yet.

        Args:
            samples: 16-bit samples of each channel, all of one length.
        """
        count = len(samples[0])
        first, self._sample = self._sample, self._sample + count
        if not self.may_send:
            self._lost += count
            return None
        if self._is_quiet(samples, count):
            self._gated += count
            return None
        if self.codec is Codec.ADPCM:
            encoders = zip(self._encoders, samples, strict=True)
            payload = b"".join(encoder.encode(channel) for encoder, channel in encoders)
        else:
            interleaved = [channel[number] for number in range(count) for channel in samples]
            payload = b"".join(value.to_bytes(2, "little", signed=True) for value in interleaved)
        audio = Audio(
            self.id, self._sequence % _ALL, first, self._gated % _ALL, self.codec, self.channels, count, payload
        )
        self._sequence += 1
        return self._packet(audio)

    def lose(self, count: int) -> None:
        """The device itself loses samples, as where its link is slower than its microphone."""
        self._sample += count
        self._lost += count

    def receive(self, packet: bytes) -> None:
        """Takes a packet from the host, or bytes of a byte stream; answers are among :meth:`packets_due`."""
        for data in self._reader.feed(packet) if self.stream else [packet]:
            try:
                frame = decode(data) if self.stream else self._opened(data)
            except FrameError:
                self.refused += 1
                continue
            if frame.device == self.id:
                self._take(frame)

    def _opened(self, packet: bytes) -> Frame:
        if self.key is None:
            return decode(without_crc(packet))
        sealed = unseal(packet, self.key, Direction.DOWN)
        frame = opened_frame(sealed)
        if not outside_a_session(frame) and (sealed.session != self.session or not self._window.take(sealed.counter)):
            raise FrameError("the session is another one, or the datagram was seen before")
        return frame

    def _take(self, frame: Frame) -> None:
        if isinstance(frame, Time):
            if (frame.boot, frame.number) != (self.boot, self._hello_number):
                self.refused += 1
                return
            self._answered, self.unix_ms = True, frame.unix_ms
            if frame.session != self.session:
                self.session, self._counter, self._window = frame.session, 0, ReplayWindow()
                self._ids.clear()
        elif isinstance(frame, Ack):
            self._wanted = self._wanted or frame.of_type == Hello.TYPE
        elif isinstance(frame, (Caption, Alert)):
            if (frame.TYPE, frame.id) not in self._ids:
                self._ids.append((frame.TYPE, frame.id))
                if isinstance(frame, Caption):
                    self.shown.append(frame)
                else:
                    self.played.append(frame)
            self._send(Ack(self.id, frame.TYPE, Result.DONE, frame.id))
        else:
            self.refused += 1

    def _is_quiet(self, samples: list[list[int]], count: int) -> bool:
        if self.gate_dbfs is None:
            return False
        power = sum(value * value for channel in samples for value in channel) / (count * len(samples))
        if power >= 32768.0**2 * 10 ** (self.gate_dbfs / 10):
            self._quiet_samples = 0
            return False
        # One frame a second all the same: whoever listens knows that the device is there.
        self._quiet_samples += count
        if self._quiet_samples >= self.rate_hz:
            self._quiet_samples = 0
            return False
        return True

    def _send(self, frame: Frame) -> None:
        if self.may_send or outside_a_session(frame):
            self._out.append(self._packet(frame))

    def _packet(self, frame: Frame) -> bytes:
        data = encode(frame)
        if self.stream:
            return stream_packet(data)
        if self.key is None:
            return with_crc(data)
        if outside_a_session(frame):
            return seal(data, self.key, Direction.UP, 0, 0)
        self._counter += 1
        return seal(data, self.key, Direction.UP, self.session, self._counter)
