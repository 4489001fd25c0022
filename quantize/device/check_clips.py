"""Clips and texts that forms of models of clips are compared on: made here, the same on every machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from edge_aac.audio.sources.demo import synthesise_demo
from edge_aac.audio.windowed_sinc import SincResampler
from edge_aac.models.tokens import verbatim_arrays
from edge_aac.timebase import SAMPLE_RATE
from quantize.device.check_windows import check_scene

Array = npt.NDArray[np.float32]
Inputs: TypeAlias = Mapping[str, npt.NDArray[Any]]
Tokens: TypeAlias = npt.NDArray[np.int64]

# Of different lengths; one with the mark that GPT-2's CLAP takes for padding.
CHECK_TEXTS = (
    "this is a sound of a dog barking",
    "rain falls on a roof while thunder rumbles in the distance and a car drives by",
    "birds sing! loud",
    "Regen fällt, 雨が降る",
    "",
)


def check_clips(samples: int) -> Array:
    """(B, samples): the demo, taken as if it were at the model's rate, a piece of it repeated, and noise."""
    waveform = synthesise_demo(12.0, 0)
    piece = waveform[len(waveform) // 3 :][:20_000]
    noise = np.random.default_rng(0).normal(0.0, 0.1, samples).astype(np.float32)
    return np.stack([np.resize(waveform, samples), np.resize(piece, samples), noise])


def scene_clips(count: int, rate: int, samples: int) -> list[Array]:
    """The beginnings of so many made-up scenes, (samples,) each at ``rate``; what is shorter is repeated."""
    return [first_clip(at_rate(check_scene(number), rate), samples) for number in range(count)]


def at_rate(sound: Array, rate: int) -> Array:
    """Sound at 16 kHz, (n,), brought to another rate."""
    resampler = SincResampler(SAMPLE_RATE, rate)
    return np.concatenate([resampler.accept(sound[:, None]), resampler.flush()])[:, 0]


def first_clip(sound: Array, samples: int) -> Array:
    """The first clip of a sound; a shorter one is repeated."""
    return np.tile(sound, -(-samples // len(sound)))[:samples]


def check_texts(tokenizer: Tokenizer, suffix: str, max_tokens: int) -> list[str]:
    """Those check texts that a model has positions for, without the suffix."""
    rows = [verbatim_arrays(tokenizer, [text + suffix])[0] for text in CHECK_TEXTS]
    return [text for text, row in zip(CHECK_TEXTS, rows, strict=True) if row.shape[1] <= max_tokens]


def check_tokens(tokenizer: Tokenizer, suffix: str, max_tokens: int) -> tuple[Tokens, Tokens]:
    """Token ids and attention mask, (N, S) each, of :func:`check_texts`."""
    return verbatim_arrays(tokenizer, [text + suffix for text in check_texts(tokenizer, suffix, max_tokens)])


def one_by_one(token_ids: Tokens, attention_mask: Tokens) -> list[Inputs]:
    """Texts (N, S) as inputs of single runs, without their padding."""
    lengths = np.maximum(attention_mask.sum(axis=1), 1)
    return [
        {"token_ids": token_ids[row : row + 1, :length], "attention_mask": attention_mask[row : row + 1, :length]}
        for row, length in enumerate(lengths)
    ]
