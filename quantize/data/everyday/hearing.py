"""A tagger's probabilities over time, made into events: what is heard from when to when, and how surely.

1. Each class's probability is brought to what the average class would say (:mod:`~quantize.data.everyday.trust`), and
   counts for its sound. A sound also has what its examples have together: a tagger that gives "dog" and "wolf" 0.4 each
   wavers between two of a kind, and is surer of the kind. What is heard beside something stronger is believed less.
2. Where a recording's labels are known, they and what they are examples of are believed more, what has nothing to do
   with them less. A label that the tagger never confirms is heard wherever anything is.
3. An event begins where its sound reaches ``on`` and goes on until it falls below ``off``; short gaps are bridged,
   short events dropped. How sure it is follows from the mean over the event, as how often a tagger is right was counted
   with the mean over a recording.
4. Of a sound and one of its examples at the same time there is one event: the example, where it is sure enough to be
   one at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edge_aac.errors import DataError
from edge_aac.timebase import SAMPLE_RATE
from quantize.data.clips import Waveform, find_bursts
from quantize.data.everyday.confidence import confidences
from quantize.data.everyday.events import LABELLED, SURE, Belief, HeardEvent
from quantize.data.everyday.lexicon import Lexicon
from quantize.data.everyday.trust import Doubles, at_average, share_right, with_odds

_Mask = npt.NDArray[np.bool_]

_SMOOTHED_S = 1.5
"""Probabilities are averaged over this long: single windows are less often right than several."""


@dataclass(frozen=True)
class HearingRules:
    """When a sound is an event. Confidences 0..1, times in seconds, levels in dB.

    Attributes:
        on: confidence at which an event begins.
        off: confidence below which it ends.
        merge_s: gaps up to this are bridged.
        min_s: shorter events are dropped: taggers hardly know what lasts less than half a second.
        overfiring: sounds that a tagger calls much that is something else: they need ``overfiring_on`` where another
            sound is heard at the same time.
        overfiring_on: confidence for these.
        label_odds: log-odds that a label adds to its sound and to the coarser ones; its examples get half of it, all
            others lose half.
        quiet_dbfs: nothing is heard below this level.
        unknown_s: shortest stretch of sound that is no known one's to be told as unknown.
        background: confidence in noise or silence from which a stretch without a known sound is no unknown one.
    """

    on: float = SURE
    off: float = 0.45
    merge_s: float = 0.6
    min_s: float = 0.5
    overfiring: tuple[str, ...] = ("speech", "music")
    overfiring_on: float = 0.85
    label_odds: float = 1.5
    quiet_dbfs: float = -50.0
    unknown_s: float = 1.0
    background: float = 0.5


def heard_events(
    lexicon: Lexicon,
    probabilities: npt.NDArray[np.floating],
    hop_s: float,
    waveform: Waveform | None = None,
    labels: Sequence[str] = (),
    rules: HearingRules | None = None,
) -> tuple[HeardEvent, ...]:
    """Events of a recording, in the order of their onsets.

    Args:
        lexicon: the sounds.
        probabilities: of AudioSet's 527 classes for each step of time, shape (T, 527).
        hop_s: seconds from step to step; step t tells of t · hop_s to (t + 1) · hop_s.
        waveform: the recording at 16 kHz, for levels, counts and unknown sounds; None where it is not at hand.
        labels: names of sounds that it is known to hold.
        rules: when a sound is an event.

    Raises:
        DataError: see :func:`confidences`; or a label is no sound.
    """
    rules = rules or HearingRules()
    if missing := [label for label in labels if label not in lexicon.sounds]:
        raise DataError(f"there is no sound {missing[0]!r}: use one of the lexicon")
    smoothed_steps = max(1, round(_SMOOTHED_S / hop_s))
    sure = _with_labels(lexicon, confidences(lexicon, probabilities, smoothed_steps), labels, rules)
    steps = len(probabilities)
    levels = _levels(waveform, steps, hop_s)
    spans = {name: _spans(values, hop_s, rules) for name, values in sure.items()}
    spans = _without_overfiring(lexicon, spans, sure, rules)
    found = [(name, span) for name in lexicon.order for span in spans[name]]
    kept = _labelled(lexicon, _most_exact(lexicon, found), labels, levels, rules)
    events = [_event(lexicon, name, span, sure, hop_s, rules.off, name in labels) for name, span in kept]
    events = [_measured(event, span, kept, levels) for event, (_, span) in zip(events, kept, strict=True)]
    if waveform is not None:
        events = [_counted(lexicon, event, events, waveform) for event in events]
        noise = _background(lexicon, probabilities)
        events += _unknown([span for _, span in kept], levels, noise, hop_s, rules)
    return tuple(sorted(events, key=lambda event: (event.start_s, event.end_s)))


_Span = tuple[int, int]
"""First step, and the step after the last."""


def _with_labels(
    lexicon: Lexicon, sure: dict[str, Doubles], labels: Sequence[str], rules: HearingRules
) -> dict[str, Doubles]:
    if not labels:
        return sure
    told: dict[str, Doubles] = {}
    for name, values in sure.items():
        examples = any(label in lexicon.names.ancestors(name) for label in labels)
        meant = any(name == label or name in lexicon.names.ancestors(label) for label in labels)
        odds = rules.label_odds * (1.0 if meant else 0.5 if examples else -0.5)
        told[name] = with_odds(values, odds)
    return told


def _levels(waveform: Waveform | None, steps: int, hop_s: float) -> Doubles:
    """Level of each step in dBFS; -30 where no sound is at hand."""
    if waveform is None:
        return np.full(steps, -30.0)
    samples = round(hop_s * SAMPLE_RATE)
    padded = np.zeros(steps * samples)
    length = min(len(padded), len(waveform))
    padded[:length] = waveform[:length]
    power = np.square(padded).reshape(steps, samples).mean(axis=1)
    levels: Doubles = 10.0 * np.log10(np.maximum(power, 1e-12))
    return levels


def _stretches(mask: _Mask) -> list[_Span]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def _spans(values: Doubles, hop_s: float, rules: HearingRules) -> list[_Span]:
    """Where a sound is heard: on from ``on``, off below ``off``, gaps bridged, short ones dropped."""
    lasting = [(start, end) for start, end in _stretches(values >= rules.off) if values[start:end].max() >= rules.on]
    bridged: list[_Span] = []
    for start, end in lasting:
        if bridged and (start - bridged[-1][1]) * hop_s <= rules.merge_s + 1e-9:
            bridged[-1] = (bridged[-1][0], end)
        else:
            bridged.append((start, end))
    return [(start, end) for start, end in bridged if (end - start) * hop_s >= rules.min_s - 1e-9]


def _overlap(one: _Span, other: _Span) -> int:
    return max(0, min(one[1], other[1]) - max(one[0], other[0]))


def _without_overfiring(
    lexicon: Lexicon, spans: dict[str, list[_Span]], sure: dict[str, Doubles], rules: HearingRules
) -> dict[str, list[_Span]]:
    """Drop what is called speech or music though something else explains it."""
    doubtful = {name for one in rules.overfiring for name in lexicon.sounds if lexicon.names.related(name, one)}
    others = [span for name, found in spans.items() if name not in doubtful for span in found]
    return {
        name: [
            span
            for span in found
            if name not in doubtful
            or sure[name][span[0] : span[1]].max() >= rules.overfiring_on
            or not any(2 * _overlap(span, other) >= span[1] - span[0] for other in others)
        ]
        for name, found in spans.items()
    }


def _most_exact(lexicon: Lexicon, found: Sequence[tuple[str, _Span]]) -> list[tuple[str, _Span]]:
    """One event of a sound and its examples at one time; ``found`` has examples first.

    A coarser event is left out where an example is heard in it; where it is one example alone, that is heard as long as
    the coarser sound: a tagger is seldom sure of the example from the first moment to the last.
    """
    place = {name: number for number, name in enumerate(lexicon.order)}
    entries = list(found)
    while True:
        merged = sorted(_merged(lexicon, entries), key=lambda entry: (place[entry[0]], entry[1]))
        if merged == entries:
            return merged
        # What has grown may reach another of its kinds.
        entries = merged


def _merged(lexicon: Lexicon, found: Sequence[tuple[str, _Span]]) -> list[tuple[str, _Span]]:
    kept: list[tuple[str, _Span]] = []
    for name, span in found:
        inside = [
            index
            for index, (other, within) in enumerate(kept)
            if name in lexicon.names.ancestors(other) and _overlap(span, within)
        ]
        if not inside:
            kept.append((name, span))
        elif len({kept[index][0] for index in inside}) == 1:
            other = kept[inside[0]][0]
            whole = (min(span[0], *(kept[i][1][0] for i in inside)), max(span[1], *(kept[i][1][1] for i in inside)))
            kept = [entry for index, entry in enumerate(kept) if index not in inside] + [(other, whole)]
    return kept


def _labelled(
    lexicon: Lexicon,
    kept: Sequence[tuple[str, _Span]],
    labels: Sequence[str],
    levels: Doubles,
    rules: HearingRules,
) -> list[tuple[str, _Span]]:
    """Have each label told: in place of what it is an example of, or wherever anything is heard."""
    entries = list(kept)
    for label in labels:
        above = lexicon.names.ancestors(label)
        if any(name == label or label in lexicon.names.ancestors(name) for name, _ in entries):
            continue
        coarse = [index for index, (name, _) in enumerate(entries) if name in above]
        if coarse:
            entries = [(label, span) if index in coarse else (name, span) for index, (name, span) in enumerate(entries)]
            continue
        heard = np.flatnonzero(levels > max(rules.quiet_dbfs, float(levels.max(initial=-np.inf)) - 30.0))
        span = (int(heard[0]), int(heard[-1]) + 1) if heard.size else (0, len(levels))
        if span[1] > span[0]:
            entries.append((label, span))
    return entries


def _event(
    lexicon: Lexicon,
    name: str,
    span: _Span,
    sure: dict[str, Doubles],
    hop_s: float,
    off: float,
    labelled: bool,
) -> HeardEvent:
    """An event with what is believed of it: the mean over the steps in which it is heard."""
    start, end = span
    heard = sure[name][start:end] >= off
    beliefs: list[Belief] = []
    floor = LABELLED if labelled else 0.0
    for sound in (name, *lexicon.names.ancestors(name)):
        values = sure[sound][start:end]
        floor = max(floor, float((values[heard] if heard.any() else values).mean()))
        beliefs.append(Belief(sound, round(floor, 4)))
    return HeardEvent(tuple(beliefs), start * hop_s, end * hop_s)


def _measured(event: HeardEvent, span: _Span, kept: Sequence[tuple[str, _Span]], levels: Doubles) -> HeardEvent:
    """The event with its level: of the steps in which it is heard alone, where there are any."""
    steps = np.arange(*span)
    others = np.zeros(len(levels), int)
    for _, (start, end) in kept:
        others[start:end] += 1
    alone = steps[others[steps] <= 1]
    power = 10.0 ** (levels[alone if alone.size else steps] / 10.0)
    shared = 0.0 if alone.size else 10.0 * np.log10(others[steps].mean())
    return replace(event, level_db=round(float(10.0 * np.log10(power.mean()) - shared), 2))


def _counted(lexicon: Lexicon, event: HeardEvent, events: Sequence[HeardEvent], waveform: Waveform) -> HeardEvent:
    """The event with the number of its single sounds, where nothing else is heard and all of them are plain."""
    burst = lexicon[event.beliefs[0].sound].burst_s
    if burst is None or any(other is not event and event.shared_s(other) for other in events):
        return event
    found = find_bursts(waveform[round(event.start_s * SAMPLE_RATE) : round(event.end_s * SAMPLE_RATE)])
    plain = [burst[0] <= (one.end - one.start) / SAMPLE_RATE <= burst[1] for one in found]
    return replace(event, count=len(found)) if found and all(plain) else event


def _background(lexicon: Lexicon, probabilities: npt.NDArray[np.floating]) -> Doubles:
    """How sure each step is noise, hum or silence."""
    averages = at_average(np.asarray(probabilities, np.float64))
    numbers = [number for number, node in enumerate(lexicon.ontology.classes) if node.name in lexicon.background]
    return share_right(averages[:, numbers].max(axis=1, initial=0.0))


def _unknown(
    spans: Sequence[_Span], levels: Doubles, noise: Doubles, hop_s: float, rules: HearingRules
) -> list[HeardEvent]:
    """Stretches in which something is heard, and none of the sounds."""
    free = (levels > max(rules.quiet_dbfs, float(levels.max(initial=-np.inf)) - 20.0)) & (noise < rules.background)
    for start, end in spans:
        free[start:end] = False
    return [
        HeardEvent((), start * hop_s, end * hop_s, round(float(levels[start:end].mean()), 2))
        for start, end in _stretches(free)
        if (end - start) * hop_s >= rules.unknown_s - 1e-9
    ]
