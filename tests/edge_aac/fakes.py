"""Stand-ins for tokenizers, sources, captioners and sinks, so that a test needs no model, no device and no waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from edge_aac.audio.connection import SourceState
from edge_aac.audio.sources.address import Source
from edge_aac.audio.windows import WINDOW_SAMPLES, Window
from edge_aac.errors import DataError
from edge_aac.models.contract import CancelledError, Description, Latency, ScoredCaption, WindowModel, not_cancelled
from edge_aac.records import Caption, LatencyMs, Model, Record, Score
from tests.waiting import PATIENCE_S

Array = npt.NDArray[Any]
MODEL = Model(bundle="fake", version="1", backend="onnxruntime", precision="fp32")
SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>")


def word_tokenizer(words: Sequence[str]) -> Tokenizer:
    """A tokenizer with one token a word: the special tokens are 0 to 3, the words follow."""
    vocabulary = {word: number for number, word in enumerate((*SPECIAL_TOKENS, *words))}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    return tokenizer


def scored(text: str, hybrid: float = 0.5, direction: float = 0.0) -> ScoredCaption:
    """A scored caption whose text embedding points to ``direction``, an angle in degrees."""
    angle = np.deg2rad(direction)
    embedding = np.array([np.cos(angle), np.sin(angle)], np.float32)
    return ScoredCaption(text, hybrid, -1.0, 0.9, embedding)


def described(
    model: WindowModel, fbank: npt.NDArray[np.float32], rng: np.random.Generator, sound_samples: int = WINDOW_SAMPLES
) -> Description:
    """One window, of which only its filter bank matters; what is wrong with it is raised."""
    (found,) = model.describe([Window(0, sound_samples, fbank, -20.0, -3.0, -20.0)], [rng])
    if isinstance(found, DataError):
        raise found
    return found


class FakeModel:
    """A model that says what its script says, window after window, and the last of it for ever.

    Args:
        script: one caption, or error, a window.
        seconds: how long a batch takes, however many windows it has.
        by_position: what is said depends on where the window starts (in hops of ``by_position`` samples), not on how
            many were described before: so it does not depend on what other sources give.
    """

    identity = MODEL
    language = "und"
    same_similarity = 0.8

    def __init__(
        self,
        script: Sequence[ScoredCaption | DataError] = (scored("rain"),),
        seconds: float = 0.0,
        by_position: int | None = None,
    ) -> None:
        self._script = script
        self._seconds = seconds
        self._by_position = by_position
        self.draws: list[float] = []
        self.sound_samples: list[int] = []
        self.batches: list[int] = []
        self.embedded: list[str] = []

    def describe(
        self,
        windows: Sequence[Window],
        rngs: Sequence[np.random.Generator],
        cancelled: Callable[[], bool] = not_cancelled,
    ) -> list[Description | DataError]:
        """Asks ``cancelled`` every 10 ms of its time, as a decoder does before every step."""
        self.batches.append(len(windows))
        until = time.monotonic() + self._seconds
        while (left := until - time.monotonic()) > 0:
            if cancelled():
                raise CancelledError
            time.sleep(min(left, 0.01))
        return [self._describe(window, rng) for window, rng in zip(windows, rngs, strict=True)]

    def _describe(self, window: Window, rng: np.random.Generator) -> Description | DataError:
        assert window.fbank.dtype == np.float32
        number = len(self.draws) if self._by_position is None else window.start // self._by_position
        best = self._script[min(number, len(self._script) - 1)]
        self.draws.append(float(rng.random()))
        self.sound_samples.append(window.samples)
        if isinstance(best, DataError):
            return best
        return Description([best], np.ones(2, np.float32), 3, Latency(encode=1.0, decode=2.0, rerank=0.5))

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """An embedding of its own for each distinct text."""
        self.embedded += texts
        return np.stack([np.roll(np.eye(1, 64, dtype=np.float32)[0], sum(map(ord, text)) % 64) for text in texts])


@dataclass
class FakeSharedWork:
    """What a model shares: a part every half second."""

    hop_samples: int = 8_000
    computed: int = 23
    reused: int = 34


class SharingModel(FakeModel):
    """A model whose windows share work."""

    shared_work = FakeSharedWork()


class FakeSource:
    """A source that gives prepared blocks.

    Args:
        blocks: float32 samples, or (samples lost before the block, samples).
        live: as in :class:`edge_aac.audio.sources.address.Source`.
        error: raised after the last block, in place of the end.
        endless: waits for :meth:`close` after the last block.
        pace_s: seconds from block to block.
        label: of the source; by default ``mic7`` or ``garden.wav``.
    """

    def __init__(
        self,
        blocks: Sequence[Array | tuple[int, Array]],
        *,
        live: bool = False,
        error: BaseException | None = None,
        endless: bool = False,
        pace_s: float = 0.0,
        label: str = "",
    ) -> None:
        self.label = label or ("mic7" if live else "garden.wav")
        self.live = live
        self.state: SourceState = "listening"
        self.reconnects = 0
        self._blocks = list(blocks)
        self._error = error
        self._endless = endless
        self._pace_s = pace_s
        self._lost = 0
        self.closed = threading.Event()

    def read(self) -> Array | None:
        if self.closed.wait(self._pace_s) if self._pace_s else self.closed.is_set():
            return None
        if self._blocks:
            block = self._blocks.pop(0)
            if isinstance(block, tuple):
                self._lost += block[0]
                block = block[1]
            return block
        if self._error is not None:
            raise self._error
        if self._endless:
            self.closed.wait()
        return None

    @property
    def exhausted(self) -> bool:
        """Whether all its blocks were read."""
        return not self._blocks

    def lost_samples(self) -> int:
        return self._lost

    def close(self) -> None:
        self.closed.set()


def read_until_closed(source: Source) -> list[Array | None]:
    """What a read that waits in another thread gives when the source is closed; nothing if it waits for ever."""
    results: list[Array | None] = []
    thread = threading.Thread(target=lambda: results.append(source.read()), daemon=True)
    thread.start()
    time.sleep(0.05)
    source.close()
    thread.join(PATIENCE_S)
    return results


class FakeSink:
    """Keeps what it is given.

    Args:
        seconds: how long one record takes.
        error: raised at record number ``fails_at``.
        faults: raised one after the other, before anything is taken.
        stuck: where given, every record waits until it is set.
    """

    def __init__(
        self,
        seconds: float = 0.0,
        *,
        error: BaseException | None = None,
        fails_at: int = 0,
        faults: Sequence[BaseException] = (),
        stuck: threading.Event | None = None,
    ) -> None:
        self._seconds = seconds
        self._faults = list(faults)
        self._error = error
        self._fails_at = fails_at
        self._stuck = stuck
        self.records: list[Record] = []
        self.closed = False
        self.busy = threading.Event()

    def publish(self, record: Record) -> None:
        self.busy.set()
        if self._stuck is not None:
            self._stuck.wait()
        if self._error is not None and len(self.records) >= self._fails_at:
            raise self._error
        if self._faults:
            raise self._faults.pop(0)
        time.sleep(self._seconds)
        self.records.append(record)

    def close(self) -> None:
        self.closed = True

    @property
    def captions(self) -> list[Caption]:
        return [record for record in self.records if isinstance(record, Caption)]


def caption_record(seq: int = 0, **changes: Any) -> Caption:
    """A complete caption record of a file."""
    fields: dict[str, Any] = {
        "node": "kitchen",
        "source": "garden.wav",
        "seq": seq,
        "start_s": 0.0,
        "end_s": 10.0,
        "caption": "a dog barks twice while rain falls",
        "score": Score(hybrid=0.41, log_likelihood=-0.62, similarity=0.85),
        "candidates": 6,
        "rms_dbfs": -31.2,
        "dropped_ms": 0,
        "model": MODEL,
        "latency_ms": LatencyMs(total=41.0, encode=17.0, decode=20.0, rerank=4.0),
    }
    return Caption(**{**fields, **changes})
