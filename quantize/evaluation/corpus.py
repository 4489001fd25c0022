"""Captions of a corpus's recordings, beside the reference captions that people wrote."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from edge_aac.audio.windows import WINDOW_SAMPLES, file_windows
from edge_aac.errors import DataError, InputMissingError
from edge_aac.models.contract import ScoredCaption, WindowModel, hears_sound
from edge_aac.models.seq2seq import window_rng
from quantize.captioning import described
from quantize.data.manifests import CaptionedClip, Manifest
from quantize.data.waveform_cache import decoded_stretch


class CorpusFormat(str, Enum):
    """Columns of the manifest: see :mod:`quantize.data.manifests`."""

    CLOTHO = "clotho"
    AUDIOCAPS = "audiocaps"
    FOLDER = "folder"


@dataclass(frozen=True)
class CaptionedRecording:
    """A recording with its caption: that of the 10 s window with the highest hybrid score."""

    name: str
    references: tuple[str, ...]
    windows: int
    best: ScoredCaption


@dataclass
class CaptionedCorpus:
    """A corpus with its captions; ``skipped`` holds each recording that could not be used, and why."""

    recordings: list[CaptionedRecording] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


def caption_corpus(
    captioner: WindowModel, manifest: Manifest, seed: int, progress: Callable[[int], None] = lambda done: None
) -> CaptionedCorpus:
    """Caption every clip; those that cannot be used are skipped and listed.

    Raises:
        DataError: not one clip could be used.
    """
    corpus = CaptionedCorpus(skipped={clip.name: clip.reason for clip in manifest.broken})
    for done, clip in enumerate(manifest.clips, 1):
        try:
            corpus.recordings.append(_caption_clip(captioner, clip, seed))
        except (DataError, InputMissingError) as error:
            corpus.skipped[clip.name] = str(error)
        except OSError as error:  # of a disk that is damaged, a network that is gone
            corpus.skipped[clip.name] = f"'{clip.path}' cannot be read ({error.strerror or error})"
        progress(done)
    if not corpus.recordings:
        name, reason = next(iter(corpus.skipped.items()))
        raise DataError(f"none of {len(corpus.skipped)} recordings could be used, {name} for one: {reason}")
    return corpus


def _caption_clip(captioner: WindowModel, clip: CaptionedClip, seed: int) -> CaptionedRecording:
    waveform = decoded_stretch(clip.path, clip.start_s, clip.duration_s)
    windows = file_windows([waveform], WINDOW_SAMPLES, keeps_sound=hears_sound(captioner))
    drawn = ((window, window_rng(seed, window.start)) for window in windows)
    captions = [description.best for description in described(captioner, drawn)]
    if not captions:
        raise DataError(f"{clip.path} ends before the clip begins")
    best = max(captions, key=lambda caption: caption.hybrid)
    return CaptionedRecording(clip.name, clip.captions, len(captions), best)
