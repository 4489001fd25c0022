"""Bundles for ensembles: the built-in one, and others of its vocabulary whose weights were disturbed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, numpy_helper

from edge_aac.audio.features import filter_bank
from edge_aac.audio.sources.demo import synthesise_demo
from edge_aac.audio.windows import WINDOW_SAMPLES, Window
from edge_aac.bundle.manifest import MANIFEST
from edge_aac.bundle.store import built_in_bundles
from edge_aac.models.contract import Description, WindowModel
from edge_aac.models.seq2seq import window_rng
from edge_aac.timebase import SAMPLE_RATE
from tests.edge_aac.models.tiny_bundle import GRAPHS, Tiny, captioner_table, entry, write

TINY = Tiny()


def disturbed(model: ModelProto, seed: int, strength: float = 1.0) -> ModelProto:
    """The same graph with noise on all its weights, ``strength`` times as large as they are."""
    rng = np.random.default_rng(seed)
    for weight in model.graph.initializer:
        array = numpy_helper.to_array(weight)
        # Large weights are stored in FP16.
        if array.dtype in {np.dtype(np.float32), np.dtype(np.float16)} and array.ndim > 1:
            spread = strength * float(array.astype(np.float32).std())
            noise = rng.normal(0.0, spread, array.shape).astype(array.dtype)
            weight.CopyFrom(numpy_helper.from_array(array + noise, weight.name))
    return model


def sister_of_built_in(name: str, folder: Path, seed: int, strength: float = 0.3, **changes: Any) -> str:
    """A copy of a built-in bundle whose encoder, decoder and text embedder have noise on their weights."""
    shutil.copytree(built_in_bundles()[name], folder)
    table = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    for role, forms in table["graphs"].items():
        path = folder / forms[0]["file"]
        onnx.save(disturbed(onnx.load(str(path)), seed + len(role), strength), str(path))
        forms[0] |= entry(path)
    return write(folder, {**table, "name": folder.name, "version": "7", **changes})


def tiny_member(folder: Path, seed: int, tiny: Tiny = TINY, **changes: Any) -> str:
    """A tiny bundle with weights of its own; ``changes`` of its manifest are merged into its tables."""
    models = {role: disturbed(make(tiny), seed + number) for number, (role, make) in enumerate(GRAPHS.items())}
    table = captioner_table(folder, tiny, **models)
    table |= {"name": folder.name, "version": str(seed)}
    for key, value in changes.items():
        table[key] = {**table[key], **value} if isinstance(value, Mapping) and key in table else value
    return write(folder, table)


def sounds(count: int) -> list[Window]:
    """Windows of rain and a clock, each of another second."""
    return list(_sounds(count))


@cache
def _sounds(count: int) -> tuple[Window, ...]:
    scene = synthesise_demo(WINDOW_SAMPLES / SAMPLE_RATE + count)
    starts = [number * SAMPLE_RATE for number in range(count)]
    return tuple(
        Window(start, WINDOW_SAMPLES, filter_bank(scene[start : start + WINDOW_SAMPLES]), -20.0, -3.0, -20.0)
        for start in starts
    )


def descriptions(model: WindowModel, windows: Sequence[Window], seed: int = 0) -> list[Description]:
    """Descriptions of windows, none of which has a fault."""
    found = model.describe(windows, [window_rng(seed, window.start) for window in windows])
    assert all(isinstance(each, Description) for each in found), found
    return [each for each in found if isinstance(each, Description)]


def scores(description: Description) -> dict[str, tuple[float, float, float]]:
    """Text → hybrid score, log-likelihood, similarity, in the order of the ranking."""
    return {
        caption.text: (caption.hybrid, caption.log_likelihood or 0.0, caption.similarity or 0.0)
        for caption in description.ranked
    }


def largest_difference(one: Sequence[Description], other: Sequence[Description]) -> float:
    """Of any score; infinite where the captions, or their order, are others."""
    worst = 0.0
    for a, b in zip(one, other, strict=True):
        left, right = scores(a), scores(b)
        if list(left) != list(right):
            return float("inf")
        worst = max(worst, float(np.abs(np.array([*left.values()]) - np.array([*right.values()])).max()))
    return worst
