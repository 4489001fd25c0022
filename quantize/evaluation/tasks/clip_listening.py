"""Recordings as dual encoders hear them that have clips of their own length and rate, such as CLAP."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from edge_aac.audio.clips import Clip
from edge_aac.audio.sources.file import read_channels
from edge_aac.bundle.store import Bundle
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import DataError, InputMissingError, UsageError
from edge_aac.fluency.sound_names import SoundNames
from edge_aac.models.clip_encoder import ClipEncoder
from edge_aac.models.dual_encoder_manifest import DualEncoderManifest
from edge_aac.models.shared_space import unit
from quantize.evaluation.evaluate import Identified
from quantize.evaluation.tasks.listening import AudioClip, Compared, Heard, Vectors, collected


class ClipListener:
    """A dual encoder that hears clips as a :class:`quantize.evaluation.tasks.listeners.Listener`.

    Args:
        bundle: with a rule for clips.

    Raises:
        UsageError: its captions are to be compared, of which it makes none.
        InputMissingError, DataError, DeviceError: it cannot be run here.
    """

    compared = "the mean of the audio embeddings of its clips, weighed by how much sound they hold"

    def __init__(self, bundle: Bundle, asked: Compared | None) -> None:
        if asked is Compared.CAPTION:
            raise UsageError(f"the bundle {bundle.manifest.name} makes no captions: leave --compare caption out")
        self._rate = bundle.manifest.sample_rate
        self._encoder = ClipEncoder(bundle, EngineOptions())
        self.templates: Sequence[str] = self._encoder.templates
        self.sound_names: SoundNames | None = self._encoder.sound_names

    @property
    def model(self) -> Identified:
        """See :class:`quantize.evaluation.tasks.listeners.Listener`."""
        return self._encoder

    def written(self, text: str) -> str:
        """See :class:`quantize.evaluation.tasks.listeners.Listener`."""
        return self._encoder.written(text)

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """See :class:`quantize.evaluation.tasks.listeners.Listener`."""
        return self._encoder.embed(texts)

    def listen(self, clips: Sequence[AudioClip], seed: int, progress: Callable[[int], None]) -> Heard:
        """See :class:`quantize.evaluation.tasks.listeners.Listener`: as `edge-aac label` does; nothing is random."""
        found = ((number, _heard(self._encoder, clip, self._rate)) for number, clip in enumerate(clips))
        return collected(self._encoder, clips, found, progress)


def hears_clips(bundles: Sequence[Bundle]) -> bool:
    """Whether it is one bundle, which hears clips."""
    manifest = bundles[0].manifest
    return len(bundles) == 1 and isinstance(manifest, DualEncoderManifest) and manifest.clip is not None


def _heard(encoder: ClipEncoder, clip: AudioClip, rate: int) -> Vectors | str:
    """Its unit vector, or what is wrong with it."""
    total: Vectors | None = None
    try:
        for part in _parts(encoder, clip, rate):
            vector = unit(encoder.embed_clip(part.waveform)).astype(np.float64) * (part.end_s - part.start_s)
            total = vector if total is None else total + vector
    except (DataError, InputMissingError) as error:
        return str(error)
    except OSError as error:  # of a disk that is damaged, a network that is gone
        return f"it cannot be read ({error.strerror or error})"
    if total is None or not (length := float(np.linalg.norm(total))):
        return "it holds no sound"
    unit_vector: Vectors = total / length
    return unit_vector


def _parts(encoder: ClipEncoder, clip: AudioClip, rate: int) -> Iterator[Clip]:
    """The bundle's clips of a stretch; what lies before and behind it is in none."""
    position = 0
    start = round(clip.start_s * rate)
    end = None if clip.duration_s is None else start + round(clip.duration_s * rate)
    cutter = encoder.cutter()
    for frames in read_channels(clip.path, rate):
        first = max(0, start - position)
        last = len(frames) if end is None else min(len(frames), end - position)
        if last > first:
            yield from cutter.push(frames[first:last])
        position += len(frames)
        if end is not None and position >= end:
            break
    yield from cutter.flush()
