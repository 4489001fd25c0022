"""The measures of ``scores.json`` for a bundle of everyday sounds. Shares in 0..1, intervals at 95 %."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from quantize.data.everyday.lexicon import Lexicon
from quantize.data.everyday.named_sounds import matched, named_right, sound_scores
from quantize.evaluation.everyday.classes import NOTHING, UNKNOWN, class_table, confusion_table
from quantize.evaluation.everyday.judging import (
    names_speaker,
    names_thing,
    right,
    strictly_named,
    wrongly_named,
)
from quantize.evaluation.everyday.reliability import reliability
from quantize.evaluation.everyday.truth import JudgedWindow
from quantize.evaluation.statistics import bootstrap, wilson

Windows = Sequence[JudgedWindow]
Test = Callable[[JudgedWindow], bool]


def sound_tables(lexicon: Lexicon, judged: Windows) -> dict[str, Any]:
    """All measures; a group without a window is left out."""
    groups: dict[tuple[str, str], list[JudgedWindow]] = defaultdict(list)
    for window in judged:
        groups[window.kind, window.collection].append(window)
    kinds: dict[str, list[JudgedWindow]] = defaultdict(list)
    for (kind, _), windows in groups.items():
        kinds[kind] += windows
    tables: dict[str, tuple[Callable[[Lexicon, Windows], dict[str, Any]], Windows]] = {
        "single_clips": (_single_clips, groups["single", "ten"]),
        "everyday_clips": (_everyday_clips, groups["single", "everyday"]),
        "two_sound_scenes": (_ten_class_scenes, groups["scene", "ten"]),
        "everyday_scenes": (_everyday_scenes, groups["scene", "everyday"]),
        "noise_windows": (_nothing_named, kinds["noise"]),
        "silent_windows": (_nothing_named, kinds["silence"]),
        "hum_windows": (_nothing_named, kinds["hum"]),
        "handling_windows": (_nothing_named, kinds["handling"]),
        "quiet_windows": (_nothing_named, [*kinds["noise"], *kinds["silence"], *kinds["hum"], *kinds["handling"]]),
        "speech_windows": (_speech, kinds["speech"]),
        "absent_windows": (_absent, kinds["absent"]),
        "classes": (class_table, [*kinds["single"], *kinds["scene"]]),
        "confusion_of_single_clips": (confusion_table, kinds["single"]),
        "reliability": (reliability, judged),
    }
    return {name: table(lexicon, windows) for name, (table, windows) in tables.items() if windows}


def _shares(windows: Windows, tests: Mapping[str, Test]) -> dict[str, Any]:
    """Count, the share of windows that pass each test, and the shares' intervals (Wilson)."""
    hits = {name: sum(map(test, windows)) for name, test in tests.items()}
    return {
        "count": len(windows),
        **{name: round(count / len(windows), 4) for name, count in hits.items()},
        "intervals": {name: _rounded(wilson(count, len(windows))) for name, count in hits.items()},
    }


def _clips(lexicon: Lexicon, windows: Windows) -> dict[str, Any]:
    """Of recordings of one sound; ``coarser`` is a name above the sound's, but no top of AudioSet's tree."""

    def exact(window: JudgedWindow) -> bool:
        return window.heard[0] in window.named

    def coarser(window: JudgedWindow) -> bool:
        return named_right(lexicon, window.named, window.heard[0])

    def clean(window: JudgedWindow) -> bool:
        return not wrongly_named(lexicon, window)

    table = _shares(
        windows,
        {
            "right_sound_named": exact,
            "right_and_no_other": lambda window: exact(window) and clean(window),
            "right_or_coarser_named": coarser,
            "right_or_coarser_and_no_other": lambda window: coarser(window) and clean(window),
            "nothing_named": lambda window: not window.named,
        },
    )
    asked = [window for window in windows if window.teacher is not None]
    if asked:
        table["teacher"] = _shares(
            asked,
            {
                "right_sound_named": lambda window: window.heard[0] in _answer(window),
                "right_or_coarser_named": lambda window: named_right(lexicon, _answer(window), window.heard[0]),
                "most_probable_class_right_or_coarser": lambda window: named_right(
                    lexicon, _top_class(window), window.heard[0]
                ),
            },
        )
    return table


def _answer(window: JudgedWindow) -> list[str]:
    return [window.teacher.sound] if window.teacher and window.teacher.sound else []


def _top_class(window: JudgedWindow) -> list[str]:
    return [window.teacher.top_class_sound] if window.teacher and window.teacher.top_class_sound else []


def _single_clips(lexicon: Lexicon, windows: Windows) -> dict[str, Any]:
    table = _clips(lexicon, windows)
    by_class: dict[str, list[bool]] = defaultdict(list)
    for window in windows:
        by_class[window.heard[0]].append(window.heard[0] in window.named)
    return {**table, "by_class": {name: round(sum(hits) / len(hits), 3) for name, hits in sorted(by_class.items())}}


def _everyday_clips(lexicon: Lexicon, windows: Windows) -> dict[str, Any]:
    return {**_clips(lexicon, windows), "sounds": len({window.heard[0] for window in windows})}


def _ten_class_scenes(lexicon: Lexicon, windows: Windows) -> dict[str, Any]:
    """Events by their exact names: a coarser name counts nothing, nor against a caption that has the exact one too."""
    named = [strictly_named(lexicon, window) for window in windows]
    counts = np.array(
        [
            (len(set(names) & set(window.heard)), len(names), len(window.heard))
            for names, window in zip(named, windows, strict=True)
        ]
    )
    hits, said, there = counts.sum(axis=0).tolist()
    exact = [set(names) == set(window.heard) for names, window in zip(named, windows, strict=True)]
    coarser = sound_scores(lexicon, [w.reading for w in windows], [w.moments for w in windows])
    return {
        "count": len(windows),
        "precision": round(hits / max(said, 1), 4),
        "recall": round(hits / max(there, 1), 4),
        "f1": round(2.0 * hits / max(said + there, 1), 4),
        "exact": round(sum(exact) / len(exact), 4),
        "f1_coarser_half": round(coarser.f1, 4),
        **_order(lexicon, windows),
        "intervals": {
            "f1": _rounded(bootstrap(counts)),
            "exact": _rounded(wilson(sum(exact), len(exact))),
            "order_of_sequences_right": _order_interval(lexicon, windows),
        },
    }


def _everyday_scenes(lexicon: Lexicon, windows: Windows) -> dict[str, Any]:
    """Events with a coarser name counting half."""
    # Twice the credit is a whole number; F1 is twice the credit, of all named and all heard together.
    counts = np.array(
        [
            (
                round(2.0 * sum(pair[2] for pair in matched(lexicon, window.named, window.heard))),
                2 * len(window.named),
                2 * len(window.heard),
            )
            for window in windows
        ]
    )
    parts: dict[str, list[JudgedWindow]] = defaultdict(list)
    for window in windows:
        parts[f"{len(window.heard)} in {'sequence' if len(window.moments) > 1 else 'overlap'}"].append(window)
    return {
        "count": len(windows),
        **_events(lexicon, windows),
        **_order(lexicon, windows),
        "intervals": {
            "f1": _rounded(bootstrap(counts)),
            "order_of_sequences_right": _order_interval(lexicon, windows),
        },
        "by_relation": {name: {"count": len(part), **_events(lexicon, part)} for name, part in sorted(parts.items())},
    }


def _events(lexicon: Lexicon, windows: Windows) -> dict[str, float]:
    scores = sound_scores(lexicon, [w.reading for w in windows], [w.moments for w in windows])
    names = ("precision", "recall", "f1", "exact", "exact_or_coarser")
    return {name: round(getattr(scores, name), 4) for name in names}


def _order(lexicon: Lexicon, windows: Windows) -> dict[str, Any]:
    """Sequences whose caption names all that is heard, exactly or coarser, in its order; of all sequences."""
    scores = sound_scores(lexicon, [w.reading for w in windows], [w.moments for w in windows])
    return {"sequences": scores.ordered, "order_of_sequences_right": round(scores.order, 4)}


def _order_interval(lexicon: Lexicon, windows: Windows) -> list[float]:
    scores = sound_scores(lexicon, [w.reading for w in windows], [w.moments for w in windows])
    return _rounded(wilson(round(scores.order * scores.ordered), scores.ordered))


def _nothing_named(lexicon: Lexicon, windows: Windows) -> dict[str, Any]:
    table = _shares(
        windows,
        {
            "no_class_named": lambda window: not window.named,
            "told_as_unknown": lambda window: window.reading.unknown,
        },
    )
    return {**table, "falsely_named": _counted(name for window in windows for name in window.named)}


def _speech(lexicon: Lexicon, windows: Windows) -> dict[str, Any]:
    table = _shares(
        windows,
        {
            "somebody_speaks_and_no_thing": lambda window: right(lexicon, window),
            "somebody_speaks": lambda window: names_speaker(lexicon, window),
            "no_thing_named": lambda window: not names_thing(lexicon, window),
        },
    )
    voices: dict[str, list[bool]] = defaultdict(list)
    for window in windows:
        voices[window.source.split()[0]].append(right(lexicon, window))
    things = (name for window in windows if names_thing(lexicon, window) for name in wrongly_named(lexicon, window))
    return {
        **table,
        "by_voice": {voice: round(sum(hits) / len(hits), 3) for voice, hits in sorted(voices.items())},
        "falsely_named": _counted(things),
    }


def _absent(lexicon: Lexicon, windows: Windows) -> dict[str, Any]:
    """Recordings of sounds that were never trained on: each window is of one outcome."""

    def outcome(window: JudgedWindow) -> str:
        if wrongly_named(lexicon, window):
            return "another"
        if window.heard[0] in window.named:
            return "itself"
        if window.named:
            return "parent"
        return UNKNOWN if window.reading.unknown else NOTHING

    def true(window: JudgedWindow) -> bool:
        return outcome(window) != "another"

    sounds = sorted({window.heard[0] for window in windows})
    outcomes = Counter(outcome(window) for window in windows)
    held_out = [window for window in windows if window.held_out]
    return {
        **_shares(windows, {"parent_unknown_or_nothing": true}),
        "classes": sounds,
        "outcomes": {name: outcomes[name] for name in ("itself", "parent", UNKNOWN, NOTHING, "another")},
        "of_held_out_fold": {
            "count": len(held_out),
            "parent_unknown_or_nothing": round(sum(map(true, held_out)) / max(len(held_out), 1), 4),
        },
        "by_class": {
            sound: round(float(np.mean([true(window) for window in windows if window.heard[0] == sound])), 4)
            for sound in sounds
        },
        "falsely_named": _counted(name for window in windows for name in wrongly_named(lexicon, window)),
    }


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(Counter(names).most_common())


def _rounded(interval: tuple[float, float]) -> list[float]:
    return [round(value, 4) for value in interval]
