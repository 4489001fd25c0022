"""Times of a source's samples, and where its records go: what all that publishes of it has in common."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from edge_aac.records import TimeSpan
from edge_aac.streaming.hub import Delivery

Publish = Callable[[Delivery], None]


@dataclass(frozen=True)
class ChannelTime:
    """Times of a source's samples.

    Attributes:
        span: gives the time span from one position in samples to another, as records have it.
        heard_s: gives the monotonic time in seconds at which the sample before a position arrived.
        lost_samples: gives the samples at 16 kHz that were lost so far.
        now_s: gives the monotonic time in seconds.
    """

    span: Callable[[int, int], TimeSpan]
    heard_s: Callable[[int], float]
    lost_samples: Callable[[], int]
    now_s: Callable[[], float] = time.monotonic
