"""The frames that devices and the host exchange, as values and as bytes (docs/firmware_bridge.md, version 1).

Pure: no input or output, no state. :func:`encode` and :func:`decode` are inverse to each other. What is wrong with
bytes from outside raises :class:`FrameError`; what is wrong with a frame that is to be sent raises ``ValueError``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from firmware_bridge.adpcm import block_bytes, check_block
from firmware_bridge.fields import Abilities, Codec, Pattern, Priority, Result

VERSION = 1
MAX_FRAME_BYTES = 1024
MAX_TEXT_BYTES = 240
MAX_NAME_BYTES = 32
MAX_SAMPLES = 1000
MIN_RATE_HZ, MAX_RATE_HZ = 8000, 48000
_ALL_ABILITIES = Abilities.DISPLAY | Abilities.ALERT | Abilities.GATE
_HEADER = struct.Struct("<BBQ")
HEADER_BYTES = _HEADER.size


class FrameError(ValueError):
    """Bytes are no frame of version 1."""


class UnknownTypeError(FrameError):
    """A frame of a type that version 1 does not have, or not for the host: it is to be ignored."""


def _need(holds: bool, fault: str) -> None:
    if not holds:
        raise ValueError(fault)


@dataclass(frozen=True)
class Hello:
    """Who a device is, and what its AUDIO frames hold."""

    TYPE: ClassVar[int] = 1
    _FIXED: ClassVar[struct.Struct] = struct.Struct("<IIIBBHBBBBH")

    device: int
    boot: int
    number: int
    rate_hz: int
    channels: int
    codec: Codec
    frame_samples: int
    abilities: Abilities
    caption_bytes: int
    name: str
    firmware: str

    def __post_init__(self) -> None:
        _need(MIN_RATE_HZ <= self.rate_hz <= MAX_RATE_HZ, "the rate is out of range")
        _need(self.channels in {1, 2}, "the channels are neither 1 nor 2")
        _need(1 <= self.frame_samples <= MAX_SAMPLES, "the samples of a frame are out of range")
        _need(0 <= self.abilities <= _ALL_ABILITIES, "an ability is unknown")
        _need(0 <= self.caption_bytes <= MAX_TEXT_BYTES, "the bytes of a caption are out of range")

    def body(self) -> bytes:
        """The body's bytes."""
        name, firmware = self.name.encode(), self.firmware.encode()
        _need(max(len(name), len(firmware)) <= MAX_NAME_BYTES, "a name is longer than 32 bytes")
        numbers = (self.boot, self.number, self.rate_hz, self.channels, self.codec, self.frame_samples)
        lengths = (len(name), len(firmware), 0)
        return self._FIXED.pack(*numbers, self.abilities, self.caption_bytes, *lengths) + name + firmware

    @classmethod
    def parse(cls, device: int, body: bytes) -> Hello:
        """Reads a body."""
        boot, number, rate_hz, channels, codec, frame_samples, abilities, *rest = cls._FIXED.unpack_from(body)
        caption_bytes, name_bytes, firmware_bytes, zero = rest
        texts = body[cls._FIXED.size :]
        _need(len(texts) == name_bytes + firmware_bytes, "the length is not what its fields say")
        _need(max(name_bytes, firmware_bytes) <= MAX_NAME_BYTES and zero == 0, "a name's length is out of range")
        name, firmware = texts[:name_bytes].decode(), texts[name_bytes:].decode()
        kinds = (Codec(codec), frame_samples, Abilities(abilities), caption_bytes)
        return cls(device, boot, number, rate_hz, channels, *kinds, name, firmware)


@dataclass(frozen=True)
class Audio:
    """Samples of a device's microphone, still encoded."""

    TYPE: ClassVar[int] = 2
    _FIXED: ClassVar[struct.Struct] = struct.Struct("<IQIBBH")

    device: int
    sequence: int
    first_sample: int
    gated_samples: int
    codec: Codec
    channels: int
    samples: int
    payload: bytes

    def __post_init__(self) -> None:
        _need(self.channels in {1, 2}, "the channels are neither 1 nor 2")
        _need(1 <= self.samples <= MAX_SAMPLES, "the samples are out of range")
        _need(
            len(self.payload) == payload_bytes(self.codec, self.channels, self.samples), "the payload's length is wrong"
        )
        if self.codec is Codec.ADPCM:
            for block in self.blocks():
                check_block(block, self.samples)

    def blocks(self) -> list[bytes]:
        """The ADPCM block of each channel."""
        size = block_bytes(self.samples)
        return [self.payload[start : start + size] for start in range(0, len(self.payload), size)]

    def body(self) -> bytes:
        """The body's bytes."""
        numbers = (self.sequence, self.first_sample, self.gated_samples, self.codec, self.channels, self.samples)
        return self._FIXED.pack(*numbers) + self.payload

    @classmethod
    def parse(cls, device: int, body: bytes) -> Audio:
        """Reads a body."""
        sequence, first, gated, codec, channels, samples = cls._FIXED.unpack_from(body)
        return cls(device, sequence, first, gated, Codec(codec), channels, samples, body[cls._FIXED.size :])


@dataclass(frozen=True)
class Status:
    """How a device fares; counters are modulo 2^32."""

    TYPE: ClassVar[int] = 3
    _FIXED: ClassVar[struct.Struct] = struct.Struct("<IIIIIhHbB")
    UNKNOWN_TEMPERATURE: ClassVar[int] = -32768
    UNKNOWN_LEVEL: ClassVar[int] = 255

    device: int
    uptime_s: int
    overrun_samples: int = 0
    frames_sent: int = 0
    frames_refused: int = 0
    captions_shown: int = 0
    temperature_cdeg: int = UNKNOWN_TEMPERATURE
    battery_mv: int = 0
    rssi_dbm: int = 0
    level_below_fs_db: int = UNKNOWN_LEVEL

    def body(self) -> bytes:
        """The body's bytes."""
        counters = (self.uptime_s, self.overrun_samples, self.frames_sent, self.frames_refused, self.captions_shown)
        return self._FIXED.pack(
            *counters, self.temperature_cdeg, self.battery_mv, self.rssi_dbm, self.level_below_fs_db
        )

    @classmethod
    def parse(cls, device: int, body: bytes) -> Status:
        """Reads a body."""
        return cls(device, *cls._FIXED.unpack(body))


@dataclass(frozen=True)
class Caption:
    """A text to show for ``show_s`` seconds (0: until the next)."""

    TYPE: ClassVar[int] = 4
    _FIXED: ClassVar[struct.Struct] = struct.Struct("<HBBHH")

    device: int
    id: int
    priority: Priority
    show_s: int
    text: str

    def __post_init__(self) -> None:
        _need(self.id > 0, "the id is 0")
        _need(1 <= len(self.text.encode()) <= MAX_TEXT_BYTES, "the text is empty or longer than 240 bytes")

    def body(self) -> bytes:
        """The body's bytes."""
        text = self.text.encode()
        return self._FIXED.pack(self.id, self.priority, 0, self.show_s, len(text)) + text

    @classmethod
    def parse(cls, device: int, body: bytes) -> Caption:
        """Reads a body."""
        caption_id, priority, zero, show_s, text_bytes = cls._FIXED.unpack_from(body)
        text = body[cls._FIXED.size :]
        _need(zero == 0 and len(text) == text_bytes, "the length is not what its fields say")
        return cls(device, caption_id, Priority(priority), show_s, text.decode())


@dataclass(frozen=True)
class Alert:
    """A pattern to play for ``seconds`` seconds (0: once)."""

    TYPE: ClassVar[int] = 5
    _FIXED: ClassVar[struct.Struct] = struct.Struct("<HBBH")

    device: int
    id: int
    pattern: Pattern
    priority: Priority
    seconds: int

    def __post_init__(self) -> None:
        _need(self.id > 0, "the id is 0")

    def body(self) -> bytes:
        """The body's bytes."""
        return self._FIXED.pack(self.id, self.pattern, self.priority, self.seconds)

    @classmethod
    def parse(cls, device: int, body: bytes) -> Alert:
        """Reads a body."""
        alert_id, pattern, priority, seconds = cls._FIXED.unpack(body)
        return cls(device, alert_id, Pattern(pattern), Priority(priority), seconds)


@dataclass(frozen=True)
class Time:
    """Answers the HELLO with this boot and number; ``unix_ms`` is 0 where the host does not know the time."""

    TYPE: ClassVar[int] = 6
    _FIXED: ClassVar[struct.Struct] = struct.Struct("<IIQQ")

    device: int
    boot: int
    number: int
    session: int
    unix_ms: int

    def body(self) -> bytes:
        """The body's bytes."""
        return self._FIXED.pack(self.boot, self.number, self.session, self.unix_ms)

    @classmethod
    def parse(cls, device: int, body: bytes) -> Time:
        """Reads a body."""
        return cls(device, *cls._FIXED.unpack(body))


@dataclass(frozen=True)
class Ack:
    """Answers a CAPTION or ALERT, or (of HELLO, ``HELLO_WANTED``, id 0) asks for a HELLO."""

    TYPE: ClassVar[int] = 7
    _FIXED: ClassVar[struct.Struct] = struct.Struct("<BBH")

    device: int
    of_type: int
    result: Result
    id: int

    def __post_init__(self) -> None:
        if self.of_type == Hello.TYPE:
            _need(self.result == Result.HELLO_WANTED and self.id == 0, "an ACK of HELLO only asks for one")
        else:
            _need(self.of_type in {Caption.TYPE, Alert.TYPE}, "an ACK answers CAPTION and ALERT")
            _need(self.result != Result.HELLO_WANTED and self.id > 0, "an ACK of a frame has its id and result")

    def body(self) -> bytes:
        """The body's bytes."""
        return self._FIXED.pack(self.of_type, self.result, self.id)

    @classmethod
    def parse(cls, device: int, body: bytes) -> Ack:
        """Reads a body."""
        of_type, result, frame_id = cls._FIXED.unpack(body)
        return cls(device, of_type, Result(result), frame_id)


Frame: TypeAlias = Hello | Audio | Status | Caption | Alert | Time | Ack
_KINDS: tuple[type[Frame], ...] = (Hello, Audio, Status, Caption, Alert, Time, Ack)
_PARSERS: dict[int, Callable[[int, bytes], Frame]] = {kind.TYPE: kind.parse for kind in _KINDS}


def payload_bytes(codec: Codec, channels: int, samples: int) -> int:
    """Bytes of an AUDIO frame's payload with ``samples`` samples a channel."""
    return 2 * samples * channels if codec is Codec.PCM else block_bytes(samples) * channels


def encode(frame: Frame) -> bytes:
    """Returns the frame's bytes: header and body.

    Raises:
        ValueError: a field does not fit, or the frame would be longer than 1024 bytes.
    """
    _need(frame.device != 0, "the device id is 0")
    try:
        data = _HEADER.pack(VERSION, frame.TYPE, frame.device) + frame.body()
    except struct.error as error:
        raise ValueError(f"a field of {type(frame).__name__} is out of range: {error}") from error
    _need(len(data) <= MAX_FRAME_BYTES, f"the frame would have {len(data)} bytes; {MAX_FRAME_BYTES} are allowed")
    return data


def decode(data: bytes) -> Frame:
    """Reads a frame.

    Raises:
        UnknownTypeError: its type is unknown.
        FrameError: anything else is not as the format says.
    """
    if not HEADER_BYTES <= len(data) <= MAX_FRAME_BYTES:
        raise FrameError(f"{len(data)} bytes are no frame")
    version, kind, device = _HEADER.unpack_from(data)
    if version != VERSION:
        raise FrameError(f"version {version} is not {VERSION}")
    if device == 0:
        raise FrameError("the device id is 0")
    parser = _PARSERS.get(kind)
    if parser is None:
        raise UnknownTypeError(f"type {kind} is unknown")
    try:
        return parser(device, data[HEADER_BYTES:])
    except (ValueError, struct.error) as error:
        raise FrameError(f"a frame of type {kind}: {error}") from error
