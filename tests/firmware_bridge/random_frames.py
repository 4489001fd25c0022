"""Random frames of all types, and damage to bytes: inputs for comparing the two libraries."""

from __future__ import annotations

import random

from firmware_bridge.adpcm import AdpcmEncoder
from firmware_bridge.fields import Abilities, Codec, Pattern, Priority, Result
from firmware_bridge.frame import MAX_RATE_HZ, MIN_RATE_HZ, Ack, Alert, Audio, Caption, Frame, Hello, Status, Time

# Characters of one to four bytes, the first and last of each length among them.
_CHARACTERS = "az \0\x7f\x80é߿ࠀ日\ud7ff\ue000�\U00010000🔔\U0010ffff"


def _bits(generator: random.Random, bits: int) -> int:
    """A number of up to ``bits`` bits: often the smallest or the largest, and of any length."""
    choice = generator.randrange(8)
    if choice < 2:
        return choice * (2**bits - 1)
    return generator.getrandbits(generator.randint(1, bits))


def _text(generator: random.Random, most_bytes: int, fewest: int = 0) -> str:
    text = ""
    wanted = generator.choice((fewest, most_bytes, generator.randint(fewest, most_bytes)))
    while len(text.encode()) < wanted:
        text += generator.choice(_CHARACTERS)
    while len(text.encode()) > most_bytes:
        text = text[:-1]
    return text or "x" * fewest


def _hello(generator: random.Random, device: int) -> Frame:
    return Hello(
        device,
        _bits(generator, 32),
        _bits(generator, 32),
        generator.choice((MIN_RATE_HZ, 16000, MAX_RATE_HZ, generator.randint(MIN_RATE_HZ, MAX_RATE_HZ))),
        generator.randint(1, 2),
        Codec(generator.randrange(2)),
        generator.choice((1, 1000, generator.randint(1, 1000))),
        Abilities(generator.randrange(8)),
        generator.choice((0, 240, generator.randint(0, 240))),
        _text(generator, 32),
        _text(generator, 32),
    )


def _audio(generator: random.Random, device: int) -> Frame:
    channels, codec = generator.randint(1, 2), Codec(generator.randrange(2))
    most = 497 // channels if codec is Codec.PCM else 1000 if channels == 1 else 980
    # Mostly short, for speed; sometimes as long as a frame may be.
    samples = most if generator.randrange(200) == 0 else generator.randint(1, 24)
    if codec is Codec.PCM:
        payload = generator.randbytes(2 * samples * channels)
    elif generator.randrange(2):
        payload = b"".join(
            AdpcmEncoder(generator.randint(-32768, 32767), generator.randint(0, 88)).encode(
                [generator.randint(-32768, 32767) for _ in range(samples)]
            )
            for _ in range(channels)
        )
    else:
        payload = b"".join(_block(generator, samples) for _ in range(channels))
    numbers = (_bits(generator, 32), _bits(generator, 64), _bits(generator, 32))
    return Audio(device, *numbers, codec, channels, samples, payload)


def _block(generator: random.Random, samples: int) -> bytes:
    """A block with codes that an encoder would not choose."""
    codes = bytearray(generator.randbytes((samples + 1) // 2))
    if samples % 2:
        codes[-1] &= 15
    return generator.randbytes(2) + bytes([generator.randint(0, 88), 0]) + codes


def random_frame(generator: random.Random) -> Frame:
    """A frame that the format allows, near its limits more often than chance has it."""
    device = max(_bits(generator, 64), 1)
    kind = generator.randrange(8)
    if kind == 0:
        return _hello(generator, device)
    if kind in {1, 2}:
        return _audio(generator, device)
    if kind == 3:
        counters = [_bits(generator, 32) for _ in range(5)]
        temperature, rssi = _bits(generator, 16) - 32768, _bits(generator, 8) - 128
        return Status(device, *counters, temperature, _bits(generator, 16), rssi, _bits(generator, 8))
    number = max(_bits(generator, 16), 1)
    priority = Priority(generator.randrange(4))
    if kind == 4:
        return Caption(device, number, priority, _bits(generator, 16), _text(generator, 240, 1))
    if kind == 5:
        return Alert(device, number, Pattern(generator.randrange(6)), priority, _bits(generator, 16))
    if kind == 6:
        return Time(device, _bits(generator, 32), _bits(generator, 32), _bits(generator, 64), _bits(generator, 64))
    if generator.randrange(4) == 0:
        return Ack(device, Hello.TYPE, Result.HELLO_WANTED, 0)
    return Ack(device, generator.choice((Caption.TYPE, Alert.TYPE)), Result(generator.randrange(3)), number)


def damaged(generator: random.Random, data: bytes) -> bytes:
    """The bytes with one to three of them changed, left out, doubled or moved, or cut, or with others behind them."""
    bytes_left = bytearray(data)
    for _ in range(generator.randint(1, 3)):
        at = generator.randrange(len(bytes_left) + 1)
        # Most of what is checked stands in the first bytes.
        at = min(at, generator.choice((40, 2000)), max(len(bytes_left) - 1, 0))
        way = generator.randrange(6)
        if way < 3 and bytes_left:
            bytes_left[at] = generator.choice((0, 1, 255, bytes_left[at] ^ 1 << generator.randrange(8)))
        elif way == 3:
            del bytes_left[at : at + generator.randint(1, 3)]
        elif way == 4:
            bytes_left[at:at] = generator.randbytes(generator.randint(1, 3))
        else:
            del bytes_left[generator.randrange(len(bytes_left) + 1) :]
    return bytes(bytes_left)
