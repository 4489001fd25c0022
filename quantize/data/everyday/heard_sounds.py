"""What a tagger hears in every sound of a store, as events; kept in a table, for hours of sound take it a while.

``heard.jsonl`` begins with a line that says what the rest depends on; each line after it holds the events of the sound
of that number in the store. A run that was broken off goes on where it was.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from edge_aac.errors import ConfigError, DataError, InputMissingError
from edge_aac.timebase import SAMPLE_RATE
from quantize.data.clips import Waveform
from quantize.data.everyday.events import Belief, HeardEvent
from quantize.data.everyday.hearing import HearingRules, heard_events
from quantize.data.everyday.lexicon import Lexicon, sound_of
from quantize.data.everyday.sharpening import FADED_DB, FRAME_S, sharpened
from quantize.data.sounds.store import SoundStore, StoredSound
from quantize.progress import OnProgress

HEARD = "heard.jsonl"
SCHEMA = "edge-aac/heard/1"
HOP_S, WINDOW_S = 0.5, 2.0
"""The tagger's features are averaged over windows of 2 s every 0.5 s: how often it is right was counted so."""

LONGEST_S = 30.0
"""Of a longer sound only so much is heard and used."""

_SHORTEST_S = 1.0
_REPORTED = 50


class HearingTagger(Protocol):
    """What is asked of a tagger; see :class:`quantize.models.taggers.Tagger`."""

    def tag(self, waveforms: torch.Tensor) -> Any: ...

    def classify(self, features: torch.Tensor) -> torch.Tensor: ...


@torch.no_grad()
def probabilities(tagger: HearingTagger, waveform: Waveform) -> npt.NDArray[np.float64]:
    """A tagger's probabilities over time.

    Args:
        tagger: of AudioSet's classes.
        waveform: (samples,) float32 in ±1 at 16 kHz.

    Returns:
        (T, classes): step t tells of t · 0.5 s to (t + 1) · 0.5 s, by the mean of the features over the 2 s around it.
    """
    steps = max(1, round(len(waveform) / SAMPLE_RATE / HOP_S))
    tags = tagger.tag(for_tagger(waveform))
    features = tags.features[0]
    weights = _window_weights(steps, len(features), tags.step_s).to(features)
    result: npt.NDArray[np.float64] = tagger.classify(weights @ features).sigmoid().double().numpy()
    return result


def for_tagger(waveform: Waveform) -> torch.Tensor:
    """A waveform (samples,) as a batch of one, (1, samples), with silence behind what is shorter than 1 s.

    A tagger reduces time by blocks: what is shorter than one has no features.
    """
    padded = np.pad(waveform, (0, max(0, round(_SHORTEST_S * SAMPLE_RATE) - len(waveform))))
    return torch.from_numpy(np.ascontiguousarray(padded[None], np.float32))


def block_overlap(starts: torch.Tensor, ends: torch.Tensor, blocks: int, block_s: float) -> torch.Tensor:
    """Seconds that stretches of time share with a tagger's blocks.

    Args:
        starts, ends: (N,), in seconds.
        blocks: number of blocks, one after the other from 0 s on.
        block_s: length of one.

    Returns:
        (N, blocks).
    """
    first = torch.arange(blocks) * block_s
    shared = torch.minimum(ends[:, None], first + block_s) - torch.maximum(starts[:, None], first)
    return shared.clamp(min=0.0)


def _window_weights(steps: int, blocks: int, block_s: float) -> torch.Tensor:
    """(steps, blocks), rows with the sum 1: the share of the window around each step that each block covers."""
    middles = (torch.arange(steps) + 0.5) * HOP_S
    covered = block_overlap(middles - WINDOW_S / 2.0, middles + WINDOW_S / 2.0, blocks, block_s)
    # The last block stands for what a tagger drops at the end.
    covered[covered.sum(dim=1) == 0.0, -1] = 1.0
    return covered / covered.sum(dim=1, keepdim=True)


def hear_store(
    store: SoundStore,
    tagger: HearingTagger,
    lexicon: Lexicon,
    folder: Path,
    metadata: Mapping[str, Any],
    on_progress: OnProgress,
) -> None:
    """Have a tagger hear all sounds of a store; goes on behind the last one when called again.

    Args:
        store: the sounds, and their labels where they have some.
        tagger: hears them.
        lexicon: the sounds that there are words for.
        folder: of the table; is made if need be.
        metadata: everything that the events depend on; a table that was begun with another is refused.
        on_progress: called with the number of sounds that are done.

    Raises:
        ConfigError: the folder holds a table of another store, tagger or lexicon.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / HEARD
    rules = HearingRules()
    given = {"schema": SCHEMA, "sounds": len(store.rows), "rules": asdict(rules), **metadata}
    given |= {"windows_s": [WINDOW_S, HOP_S, LONGEST_S], "sharpened": [FRAME_S, FADED_DB]}
    head = json.dumps(given, sort_keys=True)
    done = _done(path, head)
    with path.open("a", encoding="utf-8") as table:
        if not done:
            table.write(head + "\n")
        for number in range(max(done - 1, 0), len(store.rows)):
            table.write(json.dumps(_table(_events(store, number, tagger, lexicon, rules))) + "\n")
            if (number + 1) % _REPORTED == 0:
                table.flush()
                on_progress(number + 1)
    on_progress(len(store.rows))


def _events(
    store: SoundStore, number: int, tagger: HearingTagger, lexicon: Lexicon, rules: HearingRules
) -> Sequence[HeardEvent]:
    row = store.rows[number]
    waveform = heard_part(store, row)
    label = sound_of(lexicon, row.label) if row.label else None
    labels = [label] if label else []
    events = heard_events(lexicon, probabilities(tagger, waveform), HOP_S, waveform, labels, rules)
    return sharpened(events, waveform, WINDOW_S)


def heard_part(store: SoundStore, row: StoredSound) -> Waveform:
    """What is heard of a stored sound: (samples,) float32 in ±1."""
    return store.waveform(row)[: round(LONGEST_S * SAMPLE_RATE)]


def _done(path: Path, head: str) -> int:
    """Whole lines that are there, the head among them; what a broken-off run left of one more is cut off.

    Raises:
        ConfigError: the head is another.
    """
    if not path.is_file():
        return 0
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        os.truncate(path, len(whole))
    if not whole:
        return 0
    if whole.split(b"\n", 1)[0].decode() != head:
        raise ConfigError(
            f"{path} was made with another store, tagger or lexicon: give another folder, or remove the file"
        )
    return whole.count(b"\n")


def read_heard(folder: Path) -> list[tuple[HeardEvent, ...]]:
    """The events of every sound of a store, in the store's order.

    Raises:
        InputMissingError: there is no table, or it is not complete.
        DataError: it is damaged.
    """
    path = folder / HEARD
    if not path.is_file():
        raise InputMissingError(f"no {HEARD} in {folder}: have a tagger hear the sounds first")
    try:
        lines = _lines(path)
        sounds = int(next(lines)["sounds"])
        heard = [tuple(map(_event, line)) for line in lines]
    except (ValueError, KeyError, TypeError, StopIteration) as error:
        raise DataError(f"{path} is damaged ({error}): remove it, and have the tagger hear the sounds again") from error
    if len(heard) != sounds:
        raise InputMissingError(f"{path} holds {len(heard)} of {sounds} sounds: run the same command again")
    return heard


def _lines(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8") as table:
        for line in table:
            yield json.loads(line)


def _table(events: Sequence[HeardEvent]) -> list[Any]:
    """Events in short: beliefs, start and end in seconds, level in dB, count, longest gap in seconds."""
    return [
        [
            [[belief.sound, belief.confidence] for belief in event.beliefs],
            round(event.start_s, 3),
            round(event.end_s, 3),
            event.level_db,
            event.count,
            round(event.longest_gap_s, 3),
        ]
        for event in events
    ]


def _event(entry: Any) -> HeardEvent:
    beliefs, start_s, end_s, level_db, count, gap_s = entry
    return HeardEvent(
        tuple(Belief(str(sound), float(confidence)) for sound, confidence in beliefs),
        float(start_s),
        float(end_s),
        float(level_db),
        count=None if count is None else int(count),
        longest_gap_s=float(gap_s),
    )
