"""What the windows of an evaluation hold, and what was said of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from edge_aac.models.contract import Description
from quantize.data.everyday.reading import Reading
from quantize.data.scenes import SCENE_SAMPLES

Kind = Literal["single", "scene", "noise", "silence", "hum", "handling", "speech", "absent"]
QUIET_KINDS: tuple[Kind, ...] = ("noise", "silence", "hum", "handling")
"""Kinds of window in which nothing is to be named."""

Collection = Literal["", "ten", "everyday"]
"""Where the recordings of a window are from: a folder of ESC-10's ten classes alone, or any other; "" for none."""

Moments = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class SoundWindow:
    """10 s of sound whose truth is known.

    Attributes:
        kind: what it is to show; "absent" is a recording of a sound that the bundle was not trained on.
        source: path of the recording, or number and make of what was composed.
        waveform: (160000,) float32 in ±1 at 16 kHz.
        moments: sounds of each moment, moment after moment; none where nothing is heard.
        collection: where its recordings are from.
        references: true captions, where there are.
        held_out: whether it comes from the held-out fold alone.
        sound_samples: number of samples of the recording; silence fills up the 10 s.
    """

    kind: Kind
    source: str
    waveform: npt.NDArray[np.float32]
    moments: Moments = ()
    collection: Collection = ""
    references: tuple[str, ...] = ()
    held_out: bool = True
    sound_samples: int = SCENE_SAMPLES


@dataclass(frozen=True)
class TeacherAnswer:
    """What a tagger answers for a window, when it must name one thing.

    Attributes:
        sound: the most confident sound, as exact as it is sure; None where it hears none.
        top_class_sound: the sound of its most probable class among those that are a sound; None where it hears none.
    """

    sound: str | None
    top_class_sound: str | None


@dataclass(frozen=True)
class JudgedWindow:
    """A window with its caption, what the caption says, and the scores of that caption as the runtime gives them.

    Attributes:
        confidences: named sound → how sure the bundle is of it (0..1); None where it does not tell.
        teacher: answer of a tagger; None where none was asked.
    """

    kind: Kind
    source: str
    moments: Moments
    collection: Collection
    references: tuple[str, ...]
    held_out: bool
    caption: str
    reading: Reading
    hybrid: float
    log_likelihood: float | None
    similarity: float | None
    familiarity: float | None = None
    confidences: Mapping[str, float] | None = None
    teacher: TeacherAnswer | None = None

    @property
    def heard(self) -> tuple[str, ...]:
        """The sounds of the window, each once."""
        return tuple(dict.fromkeys(sound for moment in self.moments for sound in moment))

    @property
    def named(self) -> tuple[str, ...]:
        """The sounds that the caption names, each once."""
        return tuple(dict.fromkeys(self.reading.sounds))


def named_confidences(description: Description) -> Mapping[str, float] | None:
    """How sure a bundle is of each sound that the best caption names: sound → 0..1; None where it does not tell."""
    return None if description.sounds is None else dict(description.sounds)
