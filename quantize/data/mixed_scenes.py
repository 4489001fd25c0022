"""Two scenes in one: which sounds lie where and how loud after mixing, and a caption that is true of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edge_aac.timebase import SAMPLE_RATE
from quantize.data.captions import BEHIND, FOREGROUND_DB, caption, clause, noun, pick
from quantize.data.clips import ENVELOPE_SAMPLES
from quantize.data.lexicon import LABELS, LEXICON
from quantize.data.mixup import Mix
from quantize.data.scenes import SCENE_SAMPLES, Event, Relation, Scene

MASKED_DB = 15.0
"""A sound this far below the other scene is not counted as heard. A choice, not a measurement."""

MOSTLY_HEARD, COUNTABLE_HEARD = 0.5, 0.9
"""Fractions of a sound's 10 ms steps: heard in less, it cannot be named; in less, it cannot be counted."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class MixedScenes:
    """Two scenes and how they were mixed: ``mix(first.waveform, second.waveform, …)``."""

    first: Scene
    second: Scene
    mix: Mix


@dataclass(frozen=True)
class PlacedEvent(Event):
    """An event of a mix, which need not be 10 s long.

    Attributes:
        mix_samples: length of the mix.
        near_and_far: it unites sounds of one class of which only some are far.
    """

    mix_samples: int = SCENE_SAMPLES
    near_and_far: bool = False

    @property
    def covers(self) -> float:
        return (self.end - self.start) / self.mix_samples


def mixed_scene(mixed: MixedScenes) -> Scene | None:
    """The mix as a scene: what :func:`mixed_caption` words, and what is heard when.

    Levels come from the waveforms as they are in the mix, so that "in the background" and "nearby" are said of what is
    weaker and louder there. What the two scenes have in common becomes one event.

    Returns:
        The scene, as long as the mix; None where one of the scenes drowns a sound of the other. Its relation is
        "overlap" where sounds share any time at all: word it by :func:`mixed_caption`, which says "while" where they
        share enough.
    """
    samples = len(mixed.mix.waveform)
    steps = -(-samples // ENVELOPE_SAMPLES)
    activity = np.zeros((steps, len(LABELS)), dtype=bool)
    powers = [
        _step_power(scene.waveform * np.float32(gain), start, steps)
        for scene, gain, start in zip(_scenes(mixed), mixed.mix.gains, mixed.mix.starts, strict=True)
    ]
    events: list[PlacedEvent] = []
    for index, scene in enumerate(_scenes(mixed)):
        audible = powers[index] >= powers[1 - index] * 10.0 ** (-MASKED_DB / 10.0)
        start, level_db = mixed.mix.starts[index], _level_db(scene, mixed.mix.gains[index])
        for event in scene.events:
            present = _placed(scene.activity[:, LABELS.index(event.label)], start, steps)
            heard = float(audible[present].mean()) if present.any() else 0.0
            if heard < MOSTLY_HEARD:
                return None
            activity[:, LABELS.index(event.label)] |= present & audible
            events.append(
                PlacedEvent(
                    event.label,
                    event.start + start,
                    event.end + start,
                    event.count if heard >= COUNTABLE_HEARD else None,
                    event.far,
                    event.gain_db + level_db,
                    event.longest_gap_s,
                    samples,
                )
            )
    ordered = tuple(sorted(_relative(_united(events)), key=lambda event: event.start))
    unknown = not ordered and any(scene.relation == "unknown" for scene in _scenes(mixed))
    return Scene(mixed.mix.waveform, ordered, "unknown" if unknown else _relation(ordered), activity)


def mixed_caption(scene: Scene, rng: np.random.Generator) -> str:
    """A caption of :func:`mixed_scene`, by the grammar of :mod:`quantize.data.captions`.

    Sounds that share no time are told in their order; "while" is said of two that share at least half of the shorter,
    as everywhere in that grammar; any others are joined by "and", which claims no more than that both are there.
    """
    groups = _in_turn(scene.events)
    if len(scene.events) <= 2 and (len(groups) > 1 or _together(scene.events)):
        return caption(scene, rng)
    parts = [_group(scene, group, rng) for group in groups]
    text = parts[0]
    for index, part in enumerate(parts[1:], 1):
        if index == len(parts) - 1 and len(groups[index]) == 1 and rng.random() < 0.3:
            text = f"{text} followed by {noun(groups[index][0], rng)}"
        else:
            text = f"{text} {pick(('then', 'and then'), rng)} {part}"
    return " ".join(text.split())


def _scenes(mixed: MixedScenes) -> tuple[Scene, Scene]:
    return mixed.first, mixed.second


def _step_power(waveform: npt.NDArray[np.float32], start: int, steps: int) -> npt.NDArray[np.float64]:
    """Power of each 10 ms of the mix that a scene contributes; (steps,)."""
    placed = np.zeros(steps * ENVELOPE_SAMPLES)
    placed[start : start + len(waveform)] = waveform
    power: npt.NDArray[np.float64] = np.square(placed).reshape(-1, ENVELOPE_SAMPLES).mean(axis=1)
    return power


def _placed(active: Mask, start: int, steps: int) -> Mask:
    """A class's activity in the mix's steps; a step counts where the sound is heard in any of it."""
    samples = np.zeros(steps * ENVELOPE_SAMPLES, dtype=bool)
    shifted = np.repeat(active, ENVELOPE_SAMPLES)[: len(samples) - start]
    samples[start : start + len(shifted)] = shifted
    placed: Mask = np.logical_or.reduce(samples.reshape(-1, ENVELOPE_SAMPLES), axis=1)
    return placed


def _level_db(scene: Scene, gain: float) -> float:
    """Level in the mix of a sound whose ``gain_db`` is 0.

    The scene's scale is not kept with it. The sounds have unit power times their gain where they are heard, so it is
    the power there over the sum of these; a bed of noise, at least 12 dB below, adds little.
    """
    heard = scene.activity[:, [LABELS.index(event.label) for event in scene.events]]
    gains = np.array([10.0 ** (event.gain_db / 10.0) for event in scene.events])
    steps = np.logical_or.reduce(heard, axis=1)
    if not steps.any():
        return 0.0
    waveform = scene.waveform[: len(steps) * ENVELOPE_SAMPLES]
    power = _step_power(waveform, 0, len(steps))[steps].sum() / float((heard @ gains).sum())
    return 10.0 * math.log10(max(power, 1e-20)) + 20.0 * math.log10(gain)


def _united(events: Sequence[PlacedEvent]) -> list[PlacedEvent]:
    """The events, those of the same class as one: nobody says that a dog barks while a dog barks."""
    by_label: dict[str, PlacedEvent] = {}
    for event in sorted(events, key=lambda event: event.start):
        known = by_label.get(event.label)
        by_label[event.label] = event if known is None else _union(known, event)
    return list(by_label.values())


def _union(first: PlacedEvent, second: PlacedEvent) -> PlacedEvent:
    apart = second.start >= first.end
    counted = first.count is not None and second.count is not None
    between_s = max(0, second.start - first.end) / SAMPLE_RATE
    return replace(
        first,
        end=max(first.end, second.end),
        # Barks of two scenes that sound at the same time may fall together.
        count=(first.count or 0) + (second.count or 0) if apart and counted else None,
        far=first.far and second.far,
        near_and_far=first.far != second.far,
        gain_db=max(first.gain_db, second.gain_db),
        # No more than this: pauses at the end of the one and the start of the other may join.
        longest_gap_s=first.longest_gap_s + between_s + second.longest_gap_s,
    )


def _relative(events: Sequence[PlacedEvent]) -> list[PlacedEvent]:
    """Events whose gains say what the grammar reads from them.

    It calls near what is at +2 dB or more: relative to the second loudest, this is the one that is so much louder
    than all others. It also takes for granted that a far sound is not the louder one: where mixing made it so, nothing
    is said of its distance, and nothing is near.
    """
    if not events:
        return []
    loudest = max(events, key=lambda event: event.gain_db)
    levels = sorted((event.gain_db for event in events), reverse=True)
    unclear = loudest.far or loudest.near_and_far or len(levels) == 1
    reference = levels[0] if unclear else levels[1]
    quietest_near = min((event.gain_db for event in events if not event.far), default=math.inf)
    return [
        replace(event, gain_db=event.gain_db - reference, far=event.far and event.gain_db <= quietest_near)
        for event in events
    ]


def _relation(events: Sequence[Event]) -> Relation:
    if len(events) <= 1:
        return "single" if events else "none"
    return "sequence" if len(_in_turn(events)) == len(events) else "overlap"


def _in_turn(events: Sequence[Event]) -> list[list[Event]]:
    """Groups of which each begins when all of the one before has ended."""
    groups: list[list[Event]] = []
    for event in events:
        if groups and event.start < max(other.end for other in groups[-1]):
            groups[-1].append(event)
        else:
            groups.append([event])
    return groups


def _together(events: Sequence[Event]) -> bool:
    """Whether one, none or two events may be worded by the grammar for overlap."""
    if len(events) < 2:
        return True
    first, second = events
    shared = min(first.end, second.end) - max(first.start, second.start)
    return shared >= min(first.end - first.start, second.end - second.start) // 2


def _group(scene: Scene, events: Sequence[Event], rng: np.random.Generator) -> str:
    if len(events) == 1:
        return clause(events[0], rng)
    if len(events) == 2 and _together(events):
        return caption(replace(scene, events=tuple(events), relation="overlap"), rng)
    behind = min(events, key=lambda event: event.gain_db)
    others = [event for event in events if event is not behind]
    text = " and ".join(clause(event, rng) for event in others)
    under = all(behind.gain_db < event.gain_db - FOREGROUND_DB for event in others)
    lasting = behind.start <= min(e.start for e in others) and behind.end >= max(e.end for e in others)
    if not LEXICON[behind.label].countable and lasting:
        if under and rng.random() < 0.5:
            return f"{text} with {noun(behind, rng)} {pick(BEHIND, rng)}"
        return f"{text} while {clause(behind, rng)}"
    return f"{text} and {clause(behind, rng)}"
