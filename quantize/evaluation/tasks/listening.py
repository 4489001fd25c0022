"""What a bundle makes of recordings that is compared with texts: embeddings of the sound, or of its caption."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edge_aac.audio.windows import WINDOW_SAMPLES, Window, file_windows
from edge_aac.bundle.manifest import Manifest, Seq2SeqManifest
from edge_aac.errors import DataError, InputMissingError, UsageError
from edge_aac.models.contract import Description, SelectiveModel, WindowModel
from edge_aac.models.dual_encoder_manifest import DualEncoderManifest
from edge_aac.models.seq2seq import window_rng
from quantize.captioning import BATCH_WINDOWS
from quantize.data.waveform_cache import decoded_stretch

Vectors = npt.NDArray[np.float64]

TEXTS_AT_ONCE = 64
"""Texts in one run of the text embedder, so that the captions of a corpus need no more memory."""


class Compared(str, Enum):
    """What of a recording is compared with texts."""

    AUDIO = "audio"
    CAPTION = "caption"

    @property
    def words(self) -> str:
        """For the report."""
        if self is Compared.AUDIO:
            return "the mean of the audio embeddings of its windows of 10 s, weighed by how much sound they hold"
        return "the text embedding of the caption of its window of 10 s with the highest hybrid score"


class TextModel(Protocol):
    """A model that embeds texts."""

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Embeddings (N, E) of at least one text."""


@dataclass(frozen=True)
class AudioClip:
    """A recording, or a stretch of one, that is heard.

    Attributes:
        name: unique among those that are heard.
        path: the sound file.
        start_s: start of the stretch in the file, in seconds.
        duration_s: its length in seconds; None: to the end of the file.
    """

    name: str
    path: Path
    start_s: float = 0.0
    duration_s: float | None = None


@dataclass
class Heard:
    """Recordings as a bundle heard them.

    Attributes:
        numbers: of the clips that could be used, in their order.
        vectors: (N, E), of unit length.
        captions: of each; empty where no caption was made.
        skipped: name of each other clip → why.
    """

    numbers: list[int] = field(default_factory=list)
    vectors: Vectors = field(default_factory=lambda: np.zeros((0, 0)))
    captions: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


def compared_of(manifests: Sequence[Manifest], asked: Compared | None) -> Compared:
    """What of a recording a model can compare with texts: what is asked for, else its sound where sounds and texts
    share a space, else its caption.

    Args:
        manifests: of the model's bundles.
        asked: None leaves it to the bundles.

    Raises:
        UsageError: sounds are asked for, and share no space with texts.
    """
    shares = all(
        isinstance(manifest, DualEncoderManifest)
        or (isinstance(manifest, Seq2SeqManifest) and bool(manifest.rerank.similarity))
        for manifest in manifests
    )
    if asked is Compared.AUDIO and not shares:
        raise UsageError(
            f"the bundle {manifests[0].name} does not compare sounds with texts: give --compare caption, by which its "
            "captions are compared with them"
        )
    return asked or (Compared.AUDIO if shares else Compared.CAPTION)


def listen(
    model: WindowModel,
    clips: Sequence[AudioClip],
    compared: Compared,
    seed: int,
    progress: Callable[[int], None] = lambda done: None,
) -> Heard:
    """Hear clips as `edge-aac caption` does, in windows of 10 s.

    Args:
        model: an open bundle.
        clips: at least one.
        compared: what is compared with texts.
        seed: seed of the candidates, where captions are made.
        progress: called with the number of clips that were heard.

    Raises:
        DataError: not one clip could be used.
    """
    return collected(model, clips, _each(model, clips, compared, seed), progress)


def collected(
    model: TextModel,
    clips: Sequence[AudioClip],
    results: Iterable[tuple[int, Vectors | Caption | str]],
    progress: Callable[[int], None],
) -> Heard:
    """What each clip gave, as one.

    Args:
        model: embeds captions.
        clips: at least one.
        results: number of each clip, in order, with its unit vector, its caption, or what is wrong with it.
        progress: called with the number of clips that were heard.

    Raises:
        DataError: not one clip could be used.
    """
    heard = Heard()
    rows: list[Vectors] = []
    for done, (number, result) in enumerate(results, 1):
        if isinstance(result, str):
            heard.skipped[clips[number].name] = result
        else:
            heard.numbers.append(number)
            if isinstance(result, Caption):
                heard.captions.append(result.text)
            else:
                rows.append(result)
        progress(done)
    if not heard.numbers:
        name, reason = next(iter(heard.skipped.items()))
        raise DataError(f"none of {len(heard.skipped)} recordings could be used, {name} for one: {reason}")
    heard.vectors = np.stack(rows) if rows else embedded(model, heard.captions)
    return heard


def embedded(model: TextModel, texts: Sequence[str]) -> Vectors:
    """Text embeddings (N, E), of unit length; each distinct text is embedded once, so that equals score the same.

    Raises:
        DataError: an embedding is no number.
    """
    distinct = list(dict.fromkeys(texts))
    parts = [model.embed(distinct[at : at + TEXTS_AT_ONCE]) for at in range(0, len(distinct), TEXTS_AT_ONCE)]
    vectors = np.concatenate(parts).astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or not lengths.all():
        raise DataError("the text embedder gave no usable numbers: build the bundle again")
    place = {text: number for number, text in enumerate(distinct)}
    unit: Vectors = (vectors / lengths)[[place[text] for text in texts]]
    return unit


@dataclass
class Caption:
    """The best caption of a clip so far."""

    text: str
    hybrid: float


@dataclass
class _Growing:
    """A clip of which not all windows were heard yet."""

    number: int
    windows_left: int
    total: Vectors | None = None
    best: Caption | None = None
    fault: str = ""

    def add(self, window: Window, found: npt.NDArray[np.float32] | Description | DataError) -> None:
        """Take in what one of its windows gave."""
        self.windows_left -= 1
        if isinstance(found, DataError):
            self.fault = str(found)
        elif isinstance(found, Description):
            if self.best is None or found.best.hybrid > self.best.hybrid:
                self.best = Caption(found.best.text, found.best.hybrid)
        else:
            vector = found.astype(np.float64)
            length = float(np.linalg.norm(vector))
            if not np.isfinite(length) or length == 0.0:
                self.fault = "the encoder gave no usable numbers for it"
                return
            part = vector * (window.samples / length)
            self.total = part if self.total is None else self.total + part

    def result(self) -> Vectors | Caption | str:
        """Its unit vector or its caption, or what is wrong with it."""
        if self.fault:
            return self.fault
        if self.best is not None:
            return self.best
        if self.total is None or not (length := float(np.linalg.norm(self.total))):
            return "it holds no sound"
        return self.total / length


def _each(
    model: WindowModel, clips: Sequence[AudioClip], compared: Compared, seed: int
) -> Iterator[tuple[int, Vectors | Caption | str]]:
    """Number of each clip, in order, with what it gave; windows of several clips share a batch."""
    growing: dict[int, _Growing] = {}

    def given() -> Iterator[tuple[int, Window]]:
        for number, clip in enumerate(clips):
            growing[number] = _Growing(number, 0)
            try:
                windows = list(
                    file_windows(
                        [decoded_stretch(clip.path, clip.start_s, clip.duration_s)], WINDOW_SAMPLES, keeps_sound=True
                    )
                )
            except (DataError, InputMissingError) as error:
                growing[number].fault = str(error)
                continue
            except OSError as error:  # of a disk that is damaged, a network that is gone
                growing[number].fault = f"it cannot be read ({error.strerror or error})"
                continue
            growing[number].windows_left = len(windows)
            yield from ((number, window) for window in windows)

    remaining = given()
    while taken := list(islice(remaining, BATCH_WINDOWS)):
        for (number, window), found in zip(taken, _described(model, taken, compared, seed), strict=True):
            growing[number].add(window, found)
        for number in [number for number, clip in growing.items() if not clip.windows_left]:
            yield number, growing.pop(number).result()
    for number in list(growing):
        yield number, growing.pop(number).result()


def _described(
    model: WindowModel, taken: Sequence[tuple[int, Window]], compared: Compared, seed: int
) -> Sequence[npt.NDArray[np.float32] | Description | DataError]:
    """What each window of a batch gave: its audio embedding, or its description where captions are compared."""
    windows = [window for _, window in taken]
    rngs = [window_rng(seed, window.start) for window in windows]
    if compared is Compared.CAPTION:
        return model.describe(windows, rngs)
    found = (
        model.describe_wanted(windows, rngs, lambda _number, _embedding: False)
        if isinstance(model, SelectiveModel)
        else model.describe(windows, rngs)
    )
    return [each if isinstance(each, DataError) else each.audio_embedding for each in found]
