"""The programme of the demo: what is heard from when to when, and its samples.

Open recordings, one by one, each with a little room before the next. ``recordings/ATTRIBUTIONS.csv`` says who made each
and under which licence. Of each an audio tagger is sure (0.7 or more), so that who has learnt the sound can know it.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

import numpy as np
import numpy.typing as npt

from edge_aac.errors import InputMissingError
from edge_aac.timebase import SAMPLE_RATE

PROGRAMME_S = 48.0
"""Length of the programme; a longer scene plays it again."""

_ROOM_DBFS = -62.0
# Zeros would be a device that gives nothing; a room is never quite silent.


@dataclass(frozen=True)
class DemoEvent:
    """A sound of the programme.

    Attributes:
        start_s, end_s: when it is heard, in seconds from the start of the scene.
        sound: its name in the lexicon of everyday sounds.
        recording: its file in the folder ``recordings``.
    """

    start_s: float
    end_s: float
    sound: str
    recording: str


PROGRAMME = (
    DemoEvent(1.0, 4.4, "birdsong", "birds.flac"),
    DemoEvent(5.2, 8.6, "birdsong", "birds.flac"),
    DemoEvent(12.0, 18.0, "drum", "drums.flac"),
    DemoEvent(22.0, 27.0, "guitar", "guitar.flac"),
    DemoEvent(31.0, 31.4, "crow", "crow.flac"),
    DemoEvent(32.0, 32.4, "crow", "crow.flac"),
    DemoEvent(33.0, 33.4, "crow", "crow.flac"),
    DemoEvent(34.0, 34.4, "crow", "crow.flac"),
    DemoEvent(38.0, 43.0, "speech", "restaurant.flac"),
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
        seed: the same seed and length give the same samples; of another seed, the room's noise differs.

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
    for event in demo_programme(seconds):
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


def _add(scene: npt.NDArray[np.float32], first: int, samples: npt.NDArray[np.float32]) -> None:
    """Adds samples to a scene from a position on, as far as the scene goes."""
    part = samples[: max(0, len(scene) - first)]
    scene[first : first + len(part)] += part
