"""The programme of the demo: what is heard from when to when, and its samples.

Rain and a clock are synthesised; after them come open recordings, one by one, each with a little room before the next.
``recordings/ATTRIBUTIONS.csv`` says who made each and under which licence.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

import numpy as np
import numpy.typing as npt

from edge_aac.audio.sources.demo.rain import synthesise_demo
from edge_aac.errors import InputMissingError
from edge_aac.timebase import SAMPLE_RATE

PROGRAMME_S = 50.0
"""Length of the programme; a longer scene plays it again."""

_ROOM_DBFS = -62.0
# Zeros would be a device that gives nothing; a room is never quite silent.

_RAIN_FADE_S = 1.5


@dataclass(frozen=True)
class DemoEvent:
    """A sound of the programme.

    Attributes:
        start_s, end_s: when it is heard, in seconds from the start of the scene.
        sound: its name in the lexicon of everyday sounds.
        recording: file in the folder ``recordings``; None where it is synthesised.
    """

    start_s: float
    end_s: float
    sound: str
    recording: str | None = None


PROGRAMME = (
    DemoEvent(0.0, 14.0, "rain"),
    DemoEvent(0.0, 14.0, "clock"),
    DemoEvent(16.0, 19.4, "birdsong", "birds.flac"),
    DemoEvent(20.2, 23.6, "birdsong", "birds.flac"),
    DemoEvent(26.0, 31.0, "stream", "stream.flac"),
    DemoEvent(34.0, 39.0, "speech", "restaurant.flac"),
    DemoEvent(42.0, 48.0, "drum", "drums.flac"),
)
"""The events of one round, in the order of their onsets."""


def demo_programme(seconds: float = PROGRAMME_S) -> tuple[DemoEvent, ...]:
    """Tells what is heard in :func:`play_programme`, whatever the seed.

    Args:
        seconds: length of the scene.

    Returns:
        Events in the order of their onsets, cut at the end of the scene.
    """
    events = []
    for round_s in _rounds_s(seconds):
        for event in PROGRAMME:
            start_s, end_s = round_s + event.start_s, min(round_s + event.end_s, seconds)
            if start_s < seconds:
                events.append(DemoEvent(start_s, end_s, event.sound, event.recording))
    return tuple(events)


def play_programme(seconds: float, seed: int = 0) -> npt.NDArray[np.float32]:
    """Makes the samples of the programme.

    Args:
        seconds: length of the scene.
        seed: the same seed and length give the same samples; of another seed, rain and clock differ.

    Returns:
        Mono samples at 16 kHz in ±1, float32, shape (16000 × seconds,).

    Raises:
        InputMissingError: a recording cannot be read.
    """
    count = round(seconds * SAMPLE_RATE)
    random = np.random.default_rng((seed, 1))
    scene: npt.NDArray[np.float32] = random.standard_normal(count, dtype=np.float32)
    scene *= 10 ** (_ROOM_DBFS / 20)
    recordings: dict[str, npt.NDArray[np.float32]] = {}
    for number, round_s in enumerate(_rounds_s(seconds)):
        first = round(round_s * SAMPLE_RATE)
        # Seeds are below 2**32, so no round of one is a round of another.
        _add(scene, first, _rain(min(seconds - round_s, PROGRAMME[0].end_s), seed + (number << 32)))
    for event in demo_programme(seconds):
        if event.recording is not None:
            if event.recording not in recordings:
                recordings[event.recording] = read_recording(event.recording)
            _add(scene, round(event.start_s * SAMPLE_RATE), recordings[event.recording])
    np.clip(scene, -1.0, 1.0, out=scene)
    return scene


def read_recording(name: str) -> npt.NDArray[np.float32]:
    """Reads a recording of the folder ``recordings``: mono at 16 kHz in ±1, float32, shape (n,).

    Raises:
        InputMissingError: it is not there, or damaged.
    """
    import soundfile

    place = resources.files("edge_aac.audio.sources.demo") / "recordings" / name
    try:
        with place.open("rb") as stream:
            samples, rate = soundfile.read(stream, dtype="float32")
    except (OSError, soundfile.LibsndfileError) as error:
        raise InputMissingError(
            f"the demo's recording {place} cannot be read ({error}): install edge-aac anew"
        ) from error
    if rate != SAMPLE_RATE or samples.ndim != 1:
        raise InputMissingError(f"the demo's recording {place} is not the one that edge-aac brings: install it anew")
    mono: npt.NDArray[np.float32] = samples
    return mono


def _rounds_s(seconds: float) -> list[float]:
    """Starts of the rounds of a scene in seconds."""
    return [PROGRAMME_S * number for number in range(max(1, int(-(-seconds // PROGRAMME_S))))]


def _rain(seconds: float, seed: int) -> npt.NDArray[np.float32]:
    """Rain and a clock that fade out at the end of the programme's rain."""
    rain = synthesise_demo(seconds, seed)
    left_s = PROGRAMME[0].end_s - np.arange(len(rain), dtype=np.float32) / SAMPLE_RATE
    rain *= np.clip(left_s / _RAIN_FADE_S, 0.0, 1.0)
    return rain


def _add(scene: npt.NDArray[np.float32], first: int, samples: npt.NDArray[np.float32]) -> None:
    """Adds samples to a scene from a position on, as far as the scene goes."""
    part = samples[: max(0, len(scene) - first)]
    scene[first : first + len(part)] += part
