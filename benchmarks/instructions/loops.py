"""The hot loops between sound and record, each with a stand-in for the graphs: those are ONNX Runtime's to count.

Every loop does its work anew each time that it is called. What it shows is in :mod:`benchmarks.instructions.ratios`.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_aac.audio.features import FFT_SIZE, FRAME_LENGTH_SAMPLES, FilterBank
from edge_aac.audio.resample import MonoResampler
from edge_aac.audio.ring import SampleRing
from edge_aac.audio.windows import WINDOW_SAMPLES, WindowSlicer
from edge_aac.bundle.manifest import DecodingRules
from edge_aac.engines.steps import HostSteps, Memory
from edge_aac.models.contract import ScoredCaption
from edge_aac.models.decoding import find_candidates
from edge_aac.models.sampling import draw_by_rules
from edge_aac.streaming.event_settings import EventRules
from edge_aac.streaming.events import EventTracker
from edge_aac.timebase import SAMPLE_RATE

Loop = Callable[[], object]
Array = npt.NDArray[np.float32]

_PIECE = SAMPLE_RATE // 50
"""Samples in 20 ms, as a microphone gives them."""

_VOCABULARY = 4000


def loops() -> dict[str, Loop]:
    """Name → loop."""
    return {
        **_capture(),
        **_features(),
        **_resampling(),
        **_picking(),
        **_steps(),
        **_ranking(),
        **_tracking(),
        **_records(),
    }


def _noise(seconds: float, rate: int = SAMPLE_RATE) -> Array:
    sound: Array = (0.1 * np.random.default_rng(0).standard_normal(round(seconds * rate))).astype(np.float32)
    return sound


def _pieces(sound: Array, length: int) -> list[Array]:
    return [sound[start : start + length] for start in range(0, len(sound), length)]


def _capture() -> dict[str, Loop]:
    pieces = _pieces(_noise(1.0), _PIECE)

    def through(seconds: int) -> Loop:
        ring = SampleRing(seconds * SAMPLE_RATE)

        def loop() -> None:
            for piece in pieces:
                ring.write(piece, block=False)
                ring.read(_PIECE, 0.0)

        for _ in range(seconds + 1):
            loop()  # it has been written round
        return loop

    held = np.zeros(2 * SAMPLE_RATE, np.float32)

    def copied() -> None:
        for piece in pieces:
            held[: len(piece)] = piece
            held[: len(piece)].copy()

    return {"ring of 2 s": through(2), "ring of 60 s": through(60), "copies of the same": copied}


def _features() -> dict[str, Loop]:
    window, second = _noise(WINDOW_SAMPLES / SAMPLE_RATE), _noise(1.0)
    frames = np.lib.stride_tricks.sliding_window_view(window, FRAME_LENGTH_SAMPLES)[::160].copy()
    bank, in_pieces, slicer = FilterBank(), FilterBank(), WindowSlicer(hop_samples=SAMPLE_RATE)
    slicer.push(0, window)
    positions = itertools.count(WINDOW_SAMPLES, SAMPLE_RATE)
    pieces = _pieces(second, _PIECE)
    return {
        "frames of 10 s": lambda: FilterBank().accept(window),
        "frames of 1 s": lambda: bank.accept(second),
        "frames of 1 s in pieces": lambda: [in_pieces.accept(piece) for piece in pieces],
        "transforms of 10 s": lambda: np.fft.rfft(frames, FFT_SIZE, axis=1),
        "window of 10 s": lambda: WindowSlicer().push(0, window),
        "window after 1 s": lambda: slicer.push(next(positions), second),
    }


def _resampling() -> dict[str, Loop]:
    rate = 48_000
    mono = _noise(1.0, rate)[:, np.newaxis]
    stereo = np.concatenate((mono, mono[::-1]), axis=1)

    def heard(sound: Array, length: int) -> Loop:
        resampler, pieces = MonoResampler(rate), [sound[at : at + length] for at in range(0, len(sound), length)]
        return lambda: [resampler.accept(piece) for piece in pieces]

    return {
        "resampled at once": heard(mono, rate),
        "resampled in pieces": heard(mono, rate // 50),
        "stereo resampled in pieces": heard(stereo, rate // 50),
    }


def _picking() -> dict[str, Loop]:
    random = np.random.default_rng(0)

    def picked(rows: int, vocabulary: int, length: int) -> Loop:
        logits = (3.0 * random.standard_normal((rows, vocabulary))).astype(np.float32)
        prefixes = random.integers(4, vocabulary, (rows, length))
        points, rules = random.random(rows), DecodingRules(max_length=48)
        return lambda: draw_by_rules(logits, prefixes, rules, points)

    logits = random.standard_normal((6, _VOCABULARY)).astype(np.float32)
    return {
        "token of 6 rows": picked(6, _VOCABULARY, 8),
        "token of 24 rows": picked(24, _VOCABULARY, 8),
        "token of four times the vocabulary": picked(6, 4 * _VOCABULARY, 8),
        "token after 40": picked(6, _VOCABULARY, 40),
        "exponentials of 6 rows": lambda: np.exp(logits),
    }


class _Decoder:
    """The same logits and cache rows at every step."""

    input_shapes: Mapping[str, tuple[int | str | None, ...]] = {}

    def __init__(self, rows: int, layers: int, heads: int, size: int) -> None:
        random = np.random.default_rng(0)
        logits = (3.0 * random.standard_normal((rows, 64))).astype(np.float32)
        new = random.standard_normal((layers, rows, heads, 1, size)).astype(np.float32)
        self._given = {"logits": logits, "new_keys": new, "new_values": new}

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        return self._given


def _steps() -> dict[str, Loop]:
    rows, layers, heads, size, memory_steps = 6, 2, 4, 32, 20

    def decoded(capacity: int, length: int) -> Loop:
        engine = _Decoder(rows, layers, heads, size)
        shape = (layers, rows, heads, capacity, size)
        cache = (np.zeros(shape, np.float32), np.zeros(shape, np.float32))
        crosses = np.zeros((1, layers, heads, memory_steps, size), np.float32)
        memory = Memory(crosses, crosses, np.zeros((1, memory_steps), bool))
        rules = DecodingRules(candidates=rows, min_length=length - 1, max_length=length, no_repeat_ngram=0)

        def loop() -> None:
            steps: Any = HostSteps(engine, cache, memory)  # type: ignore[arg-type]  # it only runs
            find_candidates(steps, rules, [np.random.default_rng(0)])

        return loop

    return {
        "captions of 10 tokens": decoded(48, 10),
        "captions of 40 tokens": decoded(48, 40),
        "captions of 10 tokens in a cache of 480": decoded(480, 10),
    }


def _ranking() -> dict[str, Loop]:
    from tokenizers import Tokenizer, models, pre_tokenizers

    from edge_aac.bundle.manifest import RerankWeights
    from edge_aac.fluency.languages import fluency_check
    from edge_aac.models.decoding import Candidate
    from edge_aac.models.rerank import Reranker

    nouns = ("dog", "drum", "bird", "car", "bell", "clock", "train", "child", "cat", "engine", "door", "guitar")
    words = ("a", "sounds", "while", "rain", "falls", *nouns)
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel({**vocabulary, "?": len(words)}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    texts = [f"a {noun} sounds while rain falls" for noun in nouns]
    tokens = [tuple(vocabulary[word] for word in text.split()) for text in texts]
    heard = np.random.default_rng(1).standard_normal((1, 64)).astype(np.float32)

    def ranked(count: int, checked: bool) -> Loop:
        engine: Any = _TextEmbedder()
        check = fluency_check("en") if checked else None
        reranker = Reranker(engine, tokenizer, tokenizer, RerankWeights(), fluency_check=check)
        candidates = [Candidate(ids, -1.0 - number) for number, ids in enumerate(tokens[:count])]
        return lambda: reranker.rank([candidates], heard)

    return {
        "3 texts ranked": ranked(3, False),
        "12 texts ranked": ranked(12, False),
        "12 known texts checked and ranked": ranked(12, True),
    }


class _TextEmbedder:
    """The same embedding for every text."""

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        return {"embedding": np.full((len(inputs["token_ids"]), 64), 0.125, np.float32)}


def _tracking() -> dict[str, Loop]:
    sounds = np.linalg.qr(np.random.default_rng(0).standard_normal((64, 64)))[0].astype(np.float32)

    def followed(open_sounds: int, heard_before: int) -> Loop:
        tracker = EventTracker(0.8, _no_phrases, EventRules(2, 30 * SAMPLE_RATE, 0, 10 * SAMPLE_RATE))
        numbers = itertools.count()

        def window() -> None:
            number = next(numbers)
            caption = ScoredCaption(
                f"sound {number % open_sounds}", 0.5, -1.0, 0.5, embedding=sounds[number % open_sounds]
            )
            start = number * SAMPLE_RATE
            tracker.observe(start, start + WINDOW_SAMPLES, [caption])

        for _ in range(heard_before):
            window()
        return lambda: [window() for _ in range(8)]

    return {
        "8 windows of 4 sounds": followed(4, 40),
        "8 windows of 4 sounds, after 400": followed(4, 400),
        "8 windows of 16 sounds": followed(16, 40),
    }


def _no_phrases(texts: Sequence[str]) -> Array:
    raise AssertionError(f"captions come with their embeddings, {texts} did not")


def _records() -> dict[str, Loop]:
    from edge_aac.models.contract import Description, Latency
    from edge_aac.records import Model
    from edge_aac.sinks.stdout import StdoutSink
    from edge_aac.streaming.building import RecordBuilder, file_span

    (window,) = WindowSlicer().push(0, _noise(WINDOW_SAMPLES / SAMPLE_RATE))
    best = ScoredCaption("a dog barks while rain falls", 0.5, -1.0, 0.5)
    description = Description([best], np.zeros(64, np.float32), 6, Latency(1.0, 1.0, 1.0))
    builder = RecordBuilder(
        "node", "microphone", Model(bundle="b", version="1", backend="onnxruntime", precision="fp32")
    )
    sink = StdoutSink("json", stream=open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - as long as the process
    span = file_span(0, WINDOW_SAMPLES)
    plain = json.loads(builder.caption(0, span, window, description).model_dump_json())

    def published() -> None:
        for number in range(10):
            sink.publish(builder.caption(number, span, window, description))

    return {"10 records published": published, "10 records as JSON": lambda: [json.dumps(plain) for _ in range(10)]}
