"""Sound by sound: how often each was there, named and right, and for which others it was taken."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from quantize.data.everyday.lexicon import Lexicon
from quantize.data.everyday.named_sounds import named_right
from quantize.evaluation.everyday.judging import best_credit, branch, by_branch, wrongly_named
from quantize.evaluation.everyday.truth import JudgedWindow

NOTHING, UNKNOWN = "nothing", "unknown"
TEACHER_CAN = 0.5
"""Share of a sound's recordings that a teacher must name rightly to be said to know the sound."""

_MIN_ANSWERS = 3
"""Fewer answers of a teacher tell nothing of what it can."""


def class_table(lexicon: Lexicon, windows: Sequence[JudgedWindow]) -> dict[str, Any]:
    """A row for each sound that is heard or named, branch by branch of AudioSet's tree.

    Of single recordings: number, and shares named exactly, exactly or coarser (below the tree's tops), with no wrong
    name. Of scenes: number that hold it, and the mean credit. ``falsely_named``: captions of either that name it where
    neither it nor an example of it is heard. ``teacher``: answers of a tagger, how often it was right (exactly or
    coarser), and ``can``: whether in at least half, None where it answered fewer than three times.
    """
    singles: dict[str, list[JudgedWindow]] = defaultdict(list)
    scenes: dict[str, list[float]] = defaultdict(list)
    falsely: Counter[str] = Counter()
    for window in windows:
        falsely.update(wrongly_named(lexicon, window))
        for sound in window.heard:
            if window.kind == "single":
                singles[sound].append(window)
            else:
                scenes[sound].append(best_credit(lexicon, window, sound))
    table: dict[str, Any] = {}
    for sound in by_branch(lexicon, {*singles, *scenes, *falsely}):
        row: dict[str, Any] = {"branch": branch(lexicon, sound)}
        if found := singles[sound]:
            row["single_clips"] = {
                "count": len(found),
                "right_sound_named": _share([sound in window.named for window in found]),
                "right_or_coarser_named": _share([named_right(lexicon, window.named, sound) for window in found]),
                "no_wrong_name": _share([not wrongly_named(lexicon, window) for window in found]),
            }
        if credits := scenes[sound]:
            row["scenes"] = {"count": len(credits), "mean_credit": round(sum(credits) / len(credits), 3)}
        row["falsely_named"] = falsely[sound]
        if answers := [window.teacher.sound for window in found if window.teacher is not None]:
            hits = [named_right(lexicon, [answer] if answer else [], sound) for answer in answers]
            share = _share(hits)
            can = share >= TEACHER_CAN if len(answers) >= _MIN_ANSWERS else None
            row["teacher"] = {"count": len(answers), "right_or_coarser_named": share, "can": can}
        table[sound] = row
    return table


def confusion_table(lexicon: Lexicon, windows: Sequence[JudgedWindow]) -> dict[str, Any]:
    """Named sounds (rows) for the sounds of single recordings (columns), both in the order of AudioSet's tree.

    A caption that names two sounds counts in two rows; one that names none in one of the last two rows.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for window in windows:
        told = window.named or ((UNKNOWN,) if window.reading.unknown else (NOTHING,))
        counts.update((row, window.heard[0]) for row in told)
    heard = by_branch(lexicon, {column for _, column in counts})
    named = by_branch(lexicon, {row for row, _ in counts} - {NOTHING, UNKNOWN} | set(heard))
    rows = [*named, UNKNOWN, NOTHING]
    return {
        "captioned": rows,
        "heard": heard,
        "branches": {sound: branch(lexicon, sound) for sound in named},
        "counts": [[counts[row, column] for column in heard] for row in rows],
    }


def _share(hits: Sequence[bool]) -> float:
    return round(sum(hits) / max(len(hits), 1), 3)
