"""Where the headers of sound files say how long the sound is, so that tests can make them lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from tests.edge_aac.audio.inputs.sounds import Layout, good_file

Role = Literal["outer", "inner", "count"]
Coding = Literal["<", ">", "text", "midi"]

_MIDI_BITS = 7
_DATA_IN_W64 = b"data\xf3\xac\xd3\x11"
_FACT_IN_W64 = b"fact\xf3\xac\xd3\x11"
_FLAC_TOTAL_AT, _FLAC_TOTAL_BITS = 21, 36


@dataclass(frozen=True)
class Field:
    """One number of a header that depends on the length of the sound.

    Attributes:
        at: its first byte.
        width: its bytes.
        coding: byte order, or decimal text (NIST), or 7 bits a byte from the lowest (SDS).
        role: "inner" counts the bytes of the sound, "count" its frames (or words), "outer" the bytes of the file.
        unit: bytes of sound for which the number grows by one.
        more: bytes that it counts beside the sound.
    """

    at: int
    width: int
    coding: Coding
    role: Role
    unit: int = 1
    more: int = 0

    @property
    def highest(self) -> int:
        if self.coding == "text":
            return int(10**self.width) - 1
        return (1 << (_MIDI_BITS if self.coding == "midi" else 8) * self.width) - 1

    def get(self, content: bytes) -> int:
        raw = content[self.at : self.at + self.width]
        if self.coding == "text":
            return int(raw)
        if self.coding == "midi":
            return sum(byte << _MIDI_BITS * place for place, byte in enumerate(raw))
        return int.from_bytes(raw, "little" if self.coding == "<" else "big")

    def put(self, content: bytearray, value: int) -> None:
        value = min(value, self.highest) if self.coding in ("text", "midi") else value & self.highest
        if self.coding == "text":
            raw = str(value).encode().ljust(self.width)
        elif self.coding == "midi":
            raw = bytes(value >> _MIDI_BITS * place & 0x7F for place in range(self.width))
        else:
            raw = value.to_bytes(self.width, "little" if self.coding == "<" else "big")
        content[self.at : self.at + self.width] = raw

    def claim(self, content: bytearray, sound_bytes: int) -> None:
        """Says that there are so many bytes of sound."""
        self.put(content, sound_bytes // self.unit + self.more)


@dataclass(frozen=True)
class Container:
    """A kind of file whose header says how long the sound is.

    Attributes:
        name: for messages of the tests.
        layout: how the library makes one.
        frame_bytes: bytes of a frame, of all channels.
        fields: finds the numbers in a good file.
        plain: whether users expect it to be heard, whatever its header says. The library's rarer containers may be
            refused instead, in a sentence.
    """

    name: str
    layout: Layout
    frame_bytes: int
    fields: Callable[[bytes], tuple[Field, ...]]
    plain: bool = True

    @property
    def has_outer(self) -> bool:
        return any(field.role == "outer" for field in self.fields(good_file(self.layout, 100)))

    @property
    def is_long(self) -> bool:
        """Whether the length of the sound has 64 bits."""
        return any(field.width == 8 for field in self.fields(good_file(self.layout, 100)))

    def claiming(
        self, content: bytes, sound_bytes: int, roles: tuple[Role, ...] = ("outer", "inner", "count")
    ) -> bytes:
        """The same file with a header for so many bytes of sound."""
        changed = bytearray(content)
        for field in self.fields(content):
            if field.role in roles:
                field.claim(changed, sound_bytes)
        return bytes(changed)

    def saying(self, content: bytes, value: int, roles: tuple[Role, ...] = ("outer", "inner", "count")) -> bytes:
        """The same file with a number in place of each length, cut to the width of its field."""
        changed = bytearray(content)
        for field in self.fields(content):
            if field.role in roles:
                field.put(changed, value)
        return bytes(changed)


def _wav(order: Coding, frame_bytes: int) -> Callable[[bytes], tuple[Field, ...]]:
    def fields(content: bytes) -> tuple[Field, ...]:
        data = content.index(b"data")
        fact = content[:data].find(b"fact")
        count = (Field(fact + 8, 4, order, "count", frame_bytes),) if fact > 0 else ()
        return Field(4, 4, order, "outer", more=data), Field(data + 4, 4, order, "inner"), *count

    return fields


def _rf64(content: bytes) -> tuple[Field, ...]:
    data = content.index(b"data")
    return Field(20, 8, "<", "outer", more=data), Field(28, 8, "<", "inner"), Field(36, 8, "<", "count", 2)


def _w64(frame_bytes: int) -> Callable[[bytes], tuple[Field, ...]]:
    def fields(content: bytes) -> tuple[Field, ...]:
        data, fact = content.index(_DATA_IN_W64), content.find(_FACT_IN_W64)
        count = (Field(fact + 24, 8, "<", "count", frame_bytes),) if fact > 0 else ()
        return Field(16, 8, "<", "outer", more=data + 24), Field(data + 16, 8, "<", "inner", more=24), *count

    return fields


def _aiff(frame_bytes: int) -> Callable[[bytes], tuple[Field, ...]]:
    def fields(content: bytes) -> tuple[Field, ...]:
        comm, ssnd = content.index(b"COMM"), content.index(b"SSND")
        return (
            Field(4, 4, ">", "outer", more=ssnd + 8),
            Field(ssnd + 4, 4, ">", "inner", more=8),
            Field(comm + 10, 4, ">", "count", frame_bytes),
        )

    return fields


def _svx(content: bytes) -> tuple[Field, ...]:
    body = content.index(b"BODY")
    return Field(4, 4, ">", "outer", more=body), Field(body + 4, 4, ">", "inner"), Field(20, 4, ">", "count", 2)


def _caf(content: bytes) -> tuple[Field, ...]:
    return (Field(content.index(b"data") + 4, 8, ">", "inner", more=4),)


def _nist(content: bytes) -> tuple[Field, ...]:
    at = content.index(b"sample_count -i ") + len(b"sample_count -i ")
    return (Field(at, content.index(b"\n", at) - at, "text", "count", 2),)


def _fixed(*fields: Field) -> Callable[[bytes], tuple[Field, ...]]:
    return lambda _content: fields


def flac_saying(content: bytes, total: int) -> bytes:
    """A FLAC file that promises another number of samples: 36 bits of STREAMINFO, 0 where it is unknown."""
    mask = (1 << _FLAC_TOTAL_BITS) - 1
    before = int.from_bytes(content[_FLAC_TOTAL_AT : _FLAC_TOTAL_AT + 5], "big")
    after = before & ~mask | total & mask
    return content[:_FLAC_TOTAL_AT] + after.to_bytes(5, "big") + content[_FLAC_TOTAL_AT + 5 :]


def _mpc_fields() -> tuple[Field, ...]:
    return tuple(Field(at, 4, "<", "count", 2) for at in (26, 30, 34))


def _mat5_fields(order: Coding) -> tuple[Field, ...]:
    return (
        Field(204, 4, order, "outer", more=64),
        Field(260, 4, order, "inner"),
        Field(236, 4, order, "count", 2),
    )


CONTAINERS = (
    Container("WAV", Layout("WAV"), 2, _wav("<", 2)),
    Container("WAV-24-3", Layout("WAV", "PCM_24", channels=3), 9, _wav("<", 9)),
    Container("WAV-8", Layout("WAV", "PCM_U8"), 1, _wav("<", 1)),
    Container("WAV-ULAW", Layout("WAV", "ULAW"), 1, _wav("<", 1)),
    Container("WAV-FLOAT", Layout("WAV", "FLOAT"), 4, _wav("<", 4)),
    Container("WAVEX", Layout("WAVEX"), 2, _wav("<", 2)),
    Container("RIFX", Layout("WAV", endian="BIG"), 2, _wav(">", 2)),
    Container("RF64", Layout("RF64"), 2, _rf64),
    Container("W64", Layout("W64"), 2, _w64(2)),
    Container("W64-ULAW", Layout("W64", "ULAW"), 1, _w64(1)),
    Container("AIFF", Layout("AIFF"), 2, _aiff(2)),
    Container("AIFF-8", Layout("AIFF", "PCM_S8"), 1, _aiff(1)),
    Container("AIFC-sowt", Layout("AIFF", endian="LITTLE"), 2, _aiff(2)),
    Container("AIFC-ulaw", Layout("AIFF", "ULAW"), 1, _aiff(1)),
    Container("AU-big", Layout("AU", endian="BIG"), 2, _fixed(Field(8, 4, ">", "inner"))),
    Container("AU-little", Layout("AU", endian="LITTLE"), 2, _fixed(Field(8, 4, "<", "inner"))),
    Container("AU-ulaw", Layout("AU", "ULAW"), 1, _fixed(Field(8, 4, ">", "inner"))),
    Container("CAF", Layout("CAF"), 2, _caf),
    Container("CAF-little", Layout("CAF", endian="LITTLE"), 2, _caf),
    Container("AVR", Layout("AVR"), 2, _fixed(Field(26, 4, ">", "count", 2)), plain=False),
    Container("HTK", Layout("HTK"), 2, _fixed(Field(0, 4, ">", "count", 2)), plain=False),
    Container("SVX", Layout("SVX"), 2, _svx, plain=False),
    Container("MAT4-little", Layout("MAT4", endian="LITTLE"), 2, _fixed(Field(47, 4, "<", "count", 2)), plain=False),
    Container("MAT4-big", Layout("MAT4", endian="BIG"), 2, _fixed(Field(47, 4, ">", "count", 2)), plain=False),
    Container("MAT5-little", Layout("MAT5", endian="LITTLE"), 2, _fixed(*_mat5_fields("<")), plain=False),
    Container("MAT5-big", Layout("MAT5", endian="BIG"), 2, _fixed(*_mat5_fields(">")), plain=False),
    Container("MPC2K", Layout("MPC2K"), 2, _fixed(*_mpc_fields()), plain=False),
    Container("NIST", Layout("NIST"), 2, _nist, plain=False),
    Container("SDS", Layout("SDS"), 2, _fixed(Field(10, 3, "midi", "count", 2)), plain=False),
    Container("VOC", Layout("VOC"), 2, _fixed(Field(27, 3, "<", "inner", more=12)), plain=False),
    Container("WVE", Layout("WVE", "ALAW"), 1, _fixed(Field(18, 4, ">", "count")), plain=False),
)
# Pipes are read by the same code as files: the tests give them one of each form, the sweep gives them all.
PIPED = ("WAV", "WAV-24-3", "RIFX", "RF64", "W64", "AIFF", "AIFC-ulaw", "AU-big", "CAF", "NIST", "VOC")
# IRCAM, PAF and PVF say nowhere how long they are; what the library writes as XI neither.
UNSIZED = ("IRCAM", "PAF", "PVF", "XI")


def tried_ways() -> list[tuple[Container, str]]:
    """Each container as a file, and some through each pipe."""
    piped = [(item, way) for way in ("fifo", "stdin") for item in CONTAINERS if item.name in PIPED]
    return [*((item, "file") for item in CONTAINERS), *piped]


def wrong_fields() -> Iterator[str]:
    """What in this table does not hold of a good file."""
    for container in CONTAINERS:
        content = good_file(container.layout, 2_000)
        for field in container.fields(content):
            expected = 2_000 * container.frame_bytes // field.unit + field.more
            found = field.get(content)
            if abs(expected - found) > (8 if field.role == "outer" else 0):
                yield f"{container.name} {field}: {found}, expected {expected}"
