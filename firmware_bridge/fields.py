"""The numbers in frames that stand for one of several meanings (docs/firmware_bridge.md)."""

from __future__ import annotations

from enum import IntEnum, IntFlag


class Codec(IntEnum):
    """How the samples of an AUDIO frame are written."""

    PCM = 0
    ADPCM = 1


class Abilities(IntFlag):
    """What a device can do."""

    DISPLAY = 1
    ALERT = 2
    GATE = 4


class Pattern(IntEnum):
    """What a vibrator, lamp or buzzer does."""

    STOP = 0
    ONE_SHORT = 1
    TWO_SHORT = 2
    THREE_SHORT = 3
    LONG = 4
    IN_TURNS = 5


class Priority(IntEnum):
    """How much a caption or alert matters."""

    LOW = 0
    NORMAL = 1
    IMPORTANT = 2
    URGENT = 3


class Result(IntEnum):
    """How a CAPTION or ALERT was taken, or that a HELLO is wanted."""

    DONE = 0
    CANNOT = 1
    BUSY = 2
    HELLO_WANTED = 3
