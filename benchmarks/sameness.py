"""What the sameness gate saves and what it costs, at several thresholds, on recordings.

    python -m benchmarks.sameness --sounds FOLDER

FOLDER holds a folder of recordings for each label (as the ESC-10 and "everyday" sets do). A scene is two minutes of a
steady sound over which other sounds come now and then. Each window is encoded and decoded once; then the gate's rule is
applied to the embeddings, so that all thresholds judge the same windows.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.command_line import at_least, run
from edge_aac.audio.sources.file import read_blocks
from edge_aac.audio.windows import WINDOW_SAMPLES, Window, file_windows
from edge_aac.bundle.store import DEFAULT_BUNDLE
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import InputMissingError
from edge_aac.models.contract import Description, Undecoded
from edge_aac.models.seq2seq import Captioner, window_rng
from edge_aac.streaming.gate import SameGate, SoundMemory
from edge_aac.timebase import SAMPLE_RATE
from quantize.captioning import described
from quantize.graphs.calibration_windows import SOUND_SUFFIXES

STEADY = ("rain", "sea_waves", "fire_crackling", "helicopter", "chainsaw", "clock_tick")
SUDDEN = {
    "dog_bark": ("dog", "bark"),
    "rooster": ("rooster", "crow"),
    "baby_cry": ("baby", "infant", "cry", "cries"),
    "sneeze": ("sneez",),
}
"""Sounds that come now and then, each with what is in a caption that names it."""
THRESHOLDS = (0.95, 0.97, 0.98, 0.99, 0.995, 0.998)
LEVELS_DB = (2.0, 100.0)
SETTLE_S = (0, 6, 10)
SCENE_S = 120
FIRST_EVENT_S, BETWEEN_EVENTS_S = 25, 30
EVENT_RATIO_DB = (0.0, 5.0, 10.0)
"""Level of a sudden sound above the steady one, at its loudest second."""

_MIN_OVERLAP = SAMPLE_RATE
Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Event:
    """A sudden sound, from one position to another."""

    begin: int
    end: int
    label: str

    def named_in(self, text: str) -> bool:
        """Whether a caption names it."""
        return any(part in text for part in SUDDEN[self.label])

    def overlap(self, start: int) -> int:
        """Samples that it shares with a window."""
        return max(0, min(start + WINDOW_SAMPLES, self.end) - max(start, self.begin))


@dataclass(frozen=True)
class Scene:
    """Samples at 16 kHz, sudden sounds, and how the background was made."""

    samples: Array
    events: tuple[Event, ...]
    steady: str


@dataclass(frozen=True)
class Heard:
    """A window without its frames, what decoding gives, its caption's embedding, and the caption by another seed."""

    window: Window
    description: Description
    words: Array
    other_text: str

    @property
    def text(self) -> str:
        """The caption."""
        return self.description.best.text


def main() -> None:
    """Parse the command line, measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default=DEFAULT_BUNDLE)
    parser.add_argument("--sounds", type=Path, required=True, help="folder with a folder of recordings for each label")
    parser.add_argument("--scenes", type=at_least(1), default=24, help="of each way to make a steady sound")
    parser.add_argument("--hop", type=float, default=2.0, help="seconds from one window to the next")
    arguments = parser.parse_args()
    captioner = Captioner.open(arguments.bundle, EngineOptions(threads=1))
    hop_samples = round(arguments.hop * SAMPLE_RATE)
    heard = [
        (scene, _heard(captioner, scene, hop_samples))
        for scene in scenes(arguments.sounds, arguments.scenes, np.random.default_rng(0))
    ]
    result: dict[str, Any] = {"bundle": arguments.bundle, "hop_s": arguments.hop, "scenes": len(heard)}
    for steady in ("one_recording", "several_recordings"):
        chosen = [(scene, windows) for scene, windows in heard if scene.steady == steady]
        result[steady] = {
            f"{threshold} {level_db} dB {settle_s} s": judged(
                chosen,
                SameGate(threshold, level_db, settle_s * SAMPLE_RATE, SCENE_S * SAMPLE_RATE),
                captioner.same_similarity,
            )
            for threshold in THRESHOLDS
            for level_db in LEVELS_DB
            for settle_s in SETTLE_S
        }
    print(json.dumps(result, indent=1))


def scenes(folder: Path, count: int, random: np.random.Generator) -> Iterator[Scene]:
    """Scenes whose steady sound is one recording over and over, and scenes that fade from one to the next of a kind."""
    steady, sudden = ({label: _recordings(folder, label) for label in labels} for labels in (STEADY, SUDDEN))
    for number in range(count):
        label = STEADY[number % len(STEADY)]
        for way in ("one_recording", "several_recordings"):
            pool = steady[label]
            chosen = random.permutation(len(pool))[: 1 if way == "one_recording" else len(pool)]
            background = _joined([pool[place] for place in chosen], SCENE_S * SAMPLE_RATE)
            events = []
            for begin_s in range(FIRST_EVENT_S, SCENE_S - 10, BETWEEN_EVENTS_S):
                kind = list(SUDDEN)[int(random.integers(len(SUDDEN)))]
                sound = sudden[kind][int(random.integers(len(sudden[kind])))]
                begin = begin_s * SAMPLE_RATE + int(random.integers(SAMPLE_RATE * 2))
                end = min(len(background), begin + len(sound))
                ratio_db = EVENT_RATIO_DB[int(random.integers(len(EVENT_RATIO_DB)))]
                gain = _loudest(background[begin:end]) / _loudest(sound) * 10 ** (ratio_db / 20)
                background[begin:end] += gain * sound[: end - begin]
                events.append(Event(begin, end, kind))
            yield Scene(np.clip(background, -1, 1), tuple(events), way)


def judged(scenes_heard: Sequence[tuple[Scene, list[Heard]]], rule: SameGate, same_similarity: float) -> dict[str, Any]:
    """What a rule does to all scenes.

    Returns:
        ``windows``, and of those the share ``not_decoded``, in all and ``steady_not_decoded`` of those that hold no
        sudden sound; ``other_caption``, the share of all windows whose repeated caption is of another event than
        decoding would give; ``told``, sudden sounds that a caption names where every window is decoded, and
        ``missed``, those of them that no caption names behind the gate; ``missed_by_other_draws``, those that no
        caption names where every window is decoded with another seed: what chance alone does.
    """
    windows = steady = saved = steady_saved = other = told = missed = by_chance = 0
    for scene, heard in scenes_heard:
        given: list[Heard] = []
        reference: Heard | None = None
        memory = SoundMemory(rule)
        for heard_window in heard:
            window, embedding = heard_window.window, heard_window.description.audio_embedding
            same = memory.is_same(window, embedding)
            if same:
                memory.settle(window, Undecoded(embedding, heard_window.description.latency_ms))
            else:
                memory.settle(window, heard_window.description)
                reference = heard_window
            assert reference is not None
            given.append(reference)
            is_steady = not any(event.overlap(window.start) for event in scene.events)
            windows += 1
            steady += is_steady
            saved += same
            steady_saved += same and is_steady
            other += same and not _alike(reference, heard_window, same_similarity)
        for event in scene.events:
            inside = [number for number, one in enumerate(heard) if event.overlap(one.window.start) >= _MIN_OVERLAP]
            in_full = any(event.named_in(heard[number].text) for number in inside)
            gated = any(event.named_in(given[number].text) for number in inside)
            told += in_full
            missed += in_full and not gated
            by_chance += in_full and not any(event.named_in(heard[number].other_text) for number in inside)
    return {
        "windows": windows,
        "not_decoded": round(saved / windows, 3),
        "steady_not_decoded": round(steady_saved / steady, 3),
        "other_caption": round(other / windows, 4),
        "told": told,
        "missed": missed,
        "missed_by_other_draws": by_chance,
    }


def _heard(captioner: Captioner, scene: Scene, hop_samples: int) -> list[Heard]:
    windows = list(file_windows([scene.samples], hop_samples))
    found: list[Description] = list(described(captioner, [(each, window_rng(0, each.start)) for each in windows]))
    again = described(captioner, [(each, window_rng(1, each.start)) for each in windows])
    words = captioner.embed([each.best.text for each in found])
    return [
        Heard(replace(window, fbank=np.zeros((0, 0), np.float32)), each, text, other.best.text)
        for window, each, text, other in zip(windows, found, words, again, strict=True)
    ]


def _alike(one: Heard, other: Heard, same_similarity: float) -> bool:
    return one.text == other.text or float(one.words @ other.words) >= same_similarity


def _recordings(folder: Path, label: str) -> list[Array]:
    paths = sorted(path for path in (folder / label).glob("*") if path.suffix.lower() in SOUND_SUFFIXES)
    if not paths:
        raise InputMissingError(f"{folder} holds no recordings of {label}: name another folder with --sounds")
    return [np.concatenate(list(read_blocks(path))) for path in paths]


def _joined(recordings: Sequence[Array], samples: int) -> Array:
    """Recordings over and over, each fading into the next within half a second."""
    fade = SAMPLE_RATE // 2
    ramp = np.linspace(0, 1, fade, dtype=np.float32)
    joined = np.zeros(samples + max(len(each) for each in recordings), np.float32)
    place, number = 0, 0
    while place < samples:
        piece = recordings[number % len(recordings)].copy()
        piece /= max(_loudest(piece), 1e-6) / 0.05
        piece[:fade] *= ramp if place else 1
        piece[-fade:] *= ramp[::-1]
        joined[place : place + len(piece)] += piece
        place += len(piece) - fade
        number += 1
    return joined[:samples]


def _loudest(samples: Array) -> float:
    """Root mean square of the loudest second."""
    whole = samples[: len(samples) // SAMPLE_RATE * SAMPLE_RATE].reshape(-1, SAMPLE_RATE)
    return max(1e-6, float(np.sqrt(np.square(whole).mean(axis=1).max()))) if len(whole) else 1e-6


if __name__ == "__main__":
    run(main)
