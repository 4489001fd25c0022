"""A running session, as those see it who only look."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edge_aac.records import Model, SinkHealth
from edge_aac.streaming.channel import Channel


@dataclass(frozen=True)
class Watched:
    """A session as the metrics see it; all of it may be read from another thread.

    Attributes:
        channels: the session's channels.
        sinks: gives state and counters of each sink by name.
        model: identity of the model.
        missing: gives a sentence for each part that has stood still too long; none where all is alive.
        temperatures_c: gives the temperature of each of the machine's zones in degrees Celsius.
        powers_w: gives the power on each of the machine's rails in watts.
    """

    channels: Sequence[Channel]
    sinks: Callable[[], Mapping[str, SinkHealth]]
    model: Model
    missing: Callable[[], Sequence[str]] = tuple
    temperatures_c: Callable[[], Mapping[str, float]] = dict
    powers_w: Callable[[], Mapping[str, float]] = dict
