"""How often a listener is told of a sound that goes on: events a sound, sounds missed, sounds that were not there.

    python -m benchmarks.events --data FOLDER --scenes 50

Each scene is a minute of one to three sounds of the bundle's classes, mixed from recordings: a steady sound lasts for
10 to 40 s, a short one comes again every few seconds for 4 to 20 s. Which sound is heard when is known, and every event
is held against it: one that names a sound that is heard at that time is of that sound, one that names another class is
false, one that names no class ("only a quiet background hiss") is counted apart. The ideal is one event a sound, none
missed, none false.
"""

from __future__ import annotations

import argparse
import json
import statistics
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command_line import at_least, run
from benchmarks.readings import class_reader
from edge_aac.bundle.store import DEFAULT_BUNDLE
from edge_aac.records import Event, Record
from edge_aac.streaming.event_settings import EventRules, EventSettings
from edge_aac.timebase import SAMPLE_RATE
from quantize.data.clips import Clip, Waveform, load_clips
from quantize.data.lexicon import LEXICON
from quantize.data.sound_shaping import coloured_noise, faded, looped, normalised

SECONDS = 60
LEVEL_DBFS = -26.0
LEVEL_SPREAD_DB = 4.0
BED_DBFS = -62.0
SLACK_S = 10.0
"""A window is as long: what it names may lie this far from the start or the end of the event."""


@dataclass(frozen=True)
class Heard:
    """A sound of a scene: its class, and where it begins and ends, in seconds."""

    label: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class LongScene:
    """A waveform at 16 kHz, float32, shape (n,), and the sounds in it."""

    waveform: Waveform
    sounds: tuple[Heard, ...]


@dataclass(frozen=True)
class Told:
    """An event: the classes that its caption names, and where it begins and ends, in seconds."""

    labels: tuple[str, ...]
    start_s: float
    end_s: float


def long_scene(clips: Sequence[Clip], rng: np.random.Generator, seconds: int = SECONDS) -> LongScene:
    """A scene of one to three sounds of different classes.

    Args:
        clips: recordings to draw from.
        rng: source of all randomness.
        seconds: length of the scene; at least 45.
    """
    by_label: dict[str, list[Clip]] = {}
    for clip in clips:
        by_label.setdefault(clip.label, []).append(clip)
    samples = seconds * SAMPLE_RATE
    mix = coloured_noise(samples, rng) * np.float32(10 ** (BED_DBFS / 20))
    count = min(int(rng.integers(1, 4)), len(by_label))
    sounds = []
    for label in rng.choice(sorted(by_label), size=count, replace=False):
        of_label = by_label[str(label)]
        clip = of_label[int(rng.integers(len(of_label)))]
        countable = LEXICON[clip.label].countable
        length = round(rng.uniform(*((4.0, 20.0) if countable else (10.0, 40.0))) * SAMPLE_RATE)
        sound = normalised(
            _repeated(clip, length, rng) if countable else faded(looped(clip.waveform, length, rng), 0.2)
        )
        start = int(rng.integers(samples - len(sound) + 1))
        level_db = LEVEL_DBFS + rng.uniform(-LEVEL_SPREAD_DB, LEVEL_SPREAD_DB)
        mix[start : start + len(sound)] += sound * np.float32(10 ** (level_db / 20))
        sounds.append(Heard(clip.label, start / SAMPLE_RATE, (start + len(sound)) / SAMPLE_RATE))
    return LongScene(np.clip(mix, -1.0, 1.0).astype(np.float32), tuple(sounds))


def _repeated(clip: Clip, length: int, rng: np.random.Generator) -> Waveform:
    """A short sound again and again, with pauses of 1 to 4 s, up to a length in samples; once at least."""
    bursts = [clip.waveform[burst.start : burst.end] for burst in clip.bursts] or [clip.waveform]
    parts: list[Waveform] = []
    total = 0
    while not parts or total < length:
        burst = faded(bursts[int(rng.integers(len(bursts)))])
        if parts:
            parts.append(np.zeros(round(rng.uniform(1.0, 4.0) * SAMPLE_RATE), np.float32))
        parts.append(burst)
        total = sum(map(len, parts))
    return np.concatenate(parts)[: max(length, len(parts[0]))]


def score(scenes: Sequence[tuple[LongScene, Sequence[Told]]]) -> dict[str, Any]:
    """Figures over scenes and the events that were told of each."""
    counts: list[int] = []
    start_errors, end_errors = [], []
    false = mixed = told_in_all = nothing = 0
    for scene, told in scenes:
        told_in_all += len(told)
        nothing += sum(not one.labels for one in told)
        mixed += sum(len(one.labels) > 1 for one in told)
        found = {sound: 0 for sound in scene.sounds}
        for one in told:
            owners = [sound for sound in scene.sounds if sound.label in one.labels and _together(sound, one)]
            false += len(owners) < len(one.labels)
            for sound in owners:
                found[sound] += 1
                if found[sound] == 1:
                    start_errors.append(one.start_s - sound.start_s)
                    end_errors.append(one.end_s - sound.end_s)
        counts += found.values()
    heard = [count for count in counts if count]
    return {
        "scenes": len(scenes),
        "sounds": len(counts),
        "events": told_in_all,
        "events_a_sound_that_was_told": round(statistics.mean(heard), 2) if heard else None,
        "sounds_told_once": sum(count == 1 for count in counts),
        "sounds_told_again": sum(count > 1 for count in counts),
        "sounds_missed": len(counts) - len(heard),
        "events_false": false,
        "events_of_no_class": nothing,
        "events_that_name_two_sounds": mixed,
        "start_error_s_median": _median(start_errors),
        "start_error_s_median_absolute": _median([abs(error) for error in start_errors]),
        "end_error_s_median": _median(end_errors),
        "end_error_s_median_absolute": _median([abs(error) for error in end_errors]),
    }


def _together(sound: Heard, told: Told) -> bool:
    return told.start_s < sound.end_s + SLACK_S and told.end_s > sound.start_s - SLACK_S


def _median(errors: Sequence[float]) -> float | None:
    return round(statistics.median(errors), 1) if errors else None


class _Collector:
    """A sink that keeps each source's events, by number."""

    def __init__(self) -> None:
        self.events: dict[str, dict[int, Event]] = {}

    def publish(self, record: Record) -> None:
        if isinstance(record, Event):
            self.events.setdefault(record.source, {})[record.event] = record

    def close(self) -> None:
        """Nothing is held back."""


def told_of(bundle: str, scenes: Sequence[LongScene], hop_s: float, rules: EventRules) -> list[list[Told]]:
    """The events of each scene, as ``edge-aac stream`` makes them, each with its last caption."""
    from edge_aac.audio.sources.demo import DemoSource
    from edge_aac.audio.windows import WINDOW_SAMPLES, WindowSlicer
    from edge_aac.models.seq2seq import Captioner
    from edge_aac.streaming.channel import ChannelSettings
    from edge_aac.streaming.gate import EnergyGate
    from edge_aac.streaming.hub import Hub, Outlet
    from edge_aac.streaming.session import Session

    stop, sink, model = threading.Event(), _Collector(), Captioner.open(bundle)
    read = class_reader(model.sound_names)
    hub = Hub([Outlet("collector", sink, ("event",), 4096, stop)])
    session = Session(model=model, hub=hub, node="benchmark", stop=stop, health_interval_s=0.0)
    for number, scene in enumerate(scenes):
        session.add(
            DemoSource(scene.waveform, label=str(number)),
            WindowSlicer(WINDOW_SAMPLES, round(hop_s * SAMPLE_RATE)),
            ChannelSettings(EnergyGate(-70.0), events=rules),
        )
    session.run()
    return [
        [
            Told(tuple(read(event.caption)), event.start_s or 0.0, event.end_s or 0.0)
            for event in sink.events.get(str(number), {}).values()
        ]
        for number in range(len(scenes))
    ]


def main() -> None:
    """Make the scenes, listen to them, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of recordings with a clips.csv")
    parser.add_argument("--folds", type=at_least(1), nargs="+", default=[4])
    parser.add_argument("--bundle", default=DEFAULT_BUNDLE)
    parser.add_argument("--scenes", type=at_least(1), default=50)
    parser.add_argument("--seed", type=at_least(0), default=0)
    parser.add_argument("--hop", type=float, default=2.0, help="seconds from one window to the next")
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="setting of [events]")
    arguments = parser.parse_args()
    clips = load_clips(arguments.data, tuple(arguments.folds))
    scenes = [long_scene(clips, np.random.default_rng([arguments.seed, number])) for number in range(arguments.scenes)]
    rules = EventSettings(**dict(option.split("=", 1) for option in arguments.option)).rules()
    told = told_of(arguments.bundle, scenes, arguments.hop, rules)
    print(json.dumps(score(list(zip(scenes, told, strict=True))), indent=1))


if __name__ == "__main__":
    run(main)
