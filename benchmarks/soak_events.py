"""What four microphones hear in the soak, what is kept of it, and whether each scene became events and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from edge_aac.audio.windows import WINDOW_SAMPLES
from edge_aac.records import Event, Record
from edge_aac.streaming.channel import Channel
from edge_aac.timebase import SAMPLE_RATE

SCENE_S = 24
SCENES = 3
UNIX_S = 1_777_629_600.0

_BLOCKS_S = (0.1, 0.25, 0.5, 2.0)
_RATES = (1.0, 1.0001, 0.9999, 1.00005)
_SLACK_S = 15.0
"""An event lasts as long as the windows that hold it."""

_WINDOW_S = WINDOW_SAMPLES / SAMPLE_RATE
"""So long after a scene's end windows still hold some of it, and may name a sound that earlier ones did not."""


@dataclass(frozen=True)
class Plan:
    """What one source hears.

    Attributes:
        label: name of the source.
        block_samples: samples of a block.
        rate: rate of its clock.
        scenes: (second at which it begins, number of the scene), in order.
    """

    label: str
    block_samples: int
    rate: float
    scenes: tuple[tuple[int, int], ...]


class EventSink:
    """Keeps the events' starts and ends, and counts all records."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.open: dict[tuple[str, int], str] = {}
        self.spans: list[tuple[str, str, str]] = []
        """Source, start and end of each event that has ended."""
        self.faults: list[str] = []

    def publish(self, record: Record) -> None:
        """Take a record in."""
        self.counts[record.kind] += 1
        if not isinstance(record, Event):
            return
        key = record.source, record.event
        if record.state == "start":
            if key in self.open:
                self.faults.append(f"{key} started twice")
            self.open[key] = record.start or ""
        elif key not in self.open:
            self.faults.append(f"{key} had no start")
        elif record.state == "end":
            self.spans.append((record.source, self.open.pop(key), record.end or ""))

    def close(self) -> None:
        """Nothing is held back."""


def plans(hours: float, every_minutes: float) -> list[Plan]:
    """What the four sources hear: scenes at times of their own, the last one long enough before the end."""
    random, end_s, made = np.random.default_rng(0), int(3600 * hours), []
    for number, (block_s, rate) in enumerate(zip(_BLOCKS_S, _RATES, strict=True)):
        scenes, at_s = [], int(random.integers(20, 40))
        while at_s + SCENE_S + 30 < end_s:
            scenes.append((at_s, int(random.integers(SCENES))))
            at_s += int(60 * every_minutes * random.uniform(0.8, 1.2)) + SCENE_S
        made.append(Plan(f"mic{number}", round(block_s * SAMPLE_RATE), rate, tuple(scenes)))
    return made


def unexpected(planned: Sequence[Plan], channels: Sequence[Channel], kept: EventSink) -> list[str]:
    """What is not as it should be of the windows and events."""
    found = [*kept.faults, *[f"{key} has no end" for key in kept.open]]
    for channel in channels:
        one = channel.counters
        outcomes = one.described + one.same + one.silent + one.failed + one.skipped.total()
        if outcomes != one.windows:
            found.append(f"{channel.label}: {one.windows} windows, {outcomes} outcomes")
        if one.failed or one.lost_samples:
            found.append(f"{channel.label}: {one.failed} windows failed, {one.lost_ms} ms of sound lost")
    spans: dict[str, list[tuple[float, float]]] = {plan.label: [] for plan in planned}
    for source, start, end in kept.spans:
        spans[source].append((_seconds(start), _seconds(end)))
    for plan in planned:
        heard = [(at_s / plan.rate, (at_s + SCENE_S) / plan.rate) for at_s, _ in plan.scenes]
        untold = sum(not any(_meet(scene, span) for span in spans[plan.label]) for scene in heard)
        nothing = [span for span in spans[plan.label] if not any(_meet(scene, span) for scene in heard)]
        if untold:
            found.append(f"{plan.label}: {untold} of {len(heard)} scenes were told by no event")
        if nothing:
            first, last = nothing[0]
            found.append(f"{plan.label}: {len(nothing)} events of no scene, as from {first:.1f} s to {last:.1f} s")
    return found


def named_late(planned: Sequence[Plan], kept: EventSink) -> int:
    """Events that begin after their scene's end: of sounds that only its last windows name."""
    rates = {plan.label: plan for plan in planned}
    count = 0
    for source, start, _ in kept.spans:
        plan, at_s = rates[source], _seconds(start)
        ends = [(begin_s + SCENE_S) / plan.rate for begin_s, _ in plan.scenes]
        count += any(end_s < at_s < end_s + _WINDOW_S for end_s in ends)
    return count


def _meet(scene: tuple[float, float], span: tuple[float, float]) -> bool:
    return (
        span[0] < scene[1] + _WINDOW_S
        and span[1] > scene[0]
        and span[0] > scene[0] - _SLACK_S
        and span[1] < scene[1] + _SLACK_S
    )


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp() - UNIX_S
