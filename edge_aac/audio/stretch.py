"""What tells windows of the same sound from windows of another."""

from __future__ import annotations


class Stretch:
    """An unbroken stretch of one source's sound; each is equal to itself alone.

    Two windows of one stretch hold the same frames, bit for bit, where their absolute positions overlap, unless zeros
    pad them. So a model may keep what it computed of a part of one for the other, by the stretch and the position, for
    as long as something holds the stretch: a slicer does until its next gap, and each of its windows.
    """

    __slots__ = ("__weakref__",)
