"""Bundles of models that hear patches: exported from torch, and the same however their sound comes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from edge_aac.audio.windows import Window, WindowSlicer, file_windows
from edge_aac.bundle.store import Bundle, open_bundle
from edge_aac.engines.contract import EngineOptions
from edge_aac.models.contract import Description, shared_work
from edge_aac.models.registry import open_model
from edge_aac.models.seq2seq import Captioner, window_rng
from quantize.bundles.dual_encoder import write_dual_encoder
from quantize.captioning import heard
from quantize.device.check_windows import check_windows
from quantize.models.config import CaptionerConfig
from tests.quantize.bundles.patched_cases import patched_config, random_captioner, write_patched

SECOND, HALF, PATCHES = 16_000, 8_000, 19
LONG = "EDGE_AAC_LONG_PATCHES" in os.environ
HOP_HALVES = range(1, 21) if LONG else (1, 3, 20)
BATCHES = range(1, 17) if LONG else (1, 7, 16)


@pytest.fixture(scope="module")
def embeddings(small_config: CaptionerConfig, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, np.ndarray]:
    """A bundle, and the audio embeddings that torch gives for the check windows, before anything is folded."""
    captioner = random_captioner(patched_config(small_config))
    with torch.no_grad():
        _, _, embeddings = captioner.encode(torch.from_numpy(np.stack(check_windows(4))))
    folder = write_patched(tmp_path_factory.mktemp("bundles") / "patched", captioner)
    return open_bundle(str(folder)), embeddings.numpy()


@pytest.fixture(scope="module")
def bundle(embeddings: tuple[Bundle, np.ndarray]) -> Bundle:
    return embeddings[0]


def _described(model: Captioner, windows: Sequence[Window], batch: int = 1) -> list[Description]:
    found: list[Description] = []
    for start in range(0, len(windows), batch):
        part = windows[start : start + batch]
        for description in model.describe(part, [window_rng(0, window.start) for window in part]):
            assert isinstance(description, Description)
            found.append(description)
    return found


def _same(one: Sequence[Description], other: Sequence[Description]) -> bool:
    """Caption for caption; the text embedder's padding may show in the last bits of a similarity."""
    return all(
        np.array_equal(a.audio_embedding, b.audio_embedding)
        and a.familiarity == b.familiarity
        and [(c.text, c.log_likelihood) for c in a.ranked] == [(c.text, c.log_likelihood) for c in b.ranked]
        for a, b in zip(one, other, strict=True)
    )


def _sound(seconds: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    swell = 1.1 + np.sin(np.arange(seconds * SECOND) / SECOND + seed)
    return (0.1 * swell * rng.standard_normal(seconds * SECOND)).astype(np.float32)


def test_two_graphs_hear_what_the_torch_model_hears(embeddings: tuple[Bundle, np.ndarray]) -> None:
    bundle, want = embeddings
    forms = {role: graphs[0] for role, graphs in bundle.manifest.graphs.items()}
    assert list(forms) == ["stem", "encoder", "decoder", "text_embedder"]
    assert forms["stem"].shapes == {"patches": ["patches", 98, 128], "vectors": ["patches", 16]}
    assert forms["encoder"].shapes["vectors"] == ["windows", PATCHES, 16]
    assert "familiarity" in forms["encoder"].shapes
    operators = Counter(node.op_type for node in onnx.load(str(bundle.path(forms["stem"]))).graph.node)
    assert operators["Conv"] > 40 and not operators["BatchNormalization"], "norms are folded into the convolutions"
    found = _described(Captioner(bundle), [heard(window) for window in check_windows(4)])
    assert np.ptp(want, axis=0).max() > 0.1, "or all sounds are alike to it"
    assert np.allclose([each.audio_embedding for each in found], want, atol=5e-3)


@pytest.mark.parametrize("hop_halves", HOP_HALVES)
def test_streaming_is_offline_bit_for_bit(bundle: Bundle, hop_halves: int) -> None:
    """At every hop of whole half seconds, with gaps, of several sources at once, in batches of any size."""
    hop = hop_halves * HALF
    of_each = []
    for seed in range(2):
        sound = _sound(13, seed)
        slicer = WindowSlicer(hop_samples=hop)
        windows: list[Window] = []
        for position, last, cut in ((0, 12, 1234), (13 * SECOND + seed, 13, 20_000)):
            for start in range(0, last * SECOND, cut):
                windows += slicer.push(position + start, sound[start : min(start + cut, last * SECOND)])
        of_each.append([*windows, *slicer.flush()])
    mixed = sorted((window for windows in of_each for window in windows), key=lambda window: window.start)
    want = _described(Captioner(bundle), [replace(window, stretch=None) for window in mixed])
    for batch in BATCHES:
        model = Captioner(bundle)
        assert _same(_described(model, mixed, batch), want), (hop_halves, batch)
        work = model.shared_work
        assert work is not None
        assert work.computed + work.reused == PATCHES * len(mixed)
        steps = [b.start - a.start for windows in of_each for a, b in pairwise(windows) if a.stretch is b.stretch]
        # Besides the windows that begin a stretch, what is new of each; the last one of a stretch lies on any grid.
        most = PATCHES * (len(mixed) - len(steps)) + sum(
            PATCHES if step % HALF else min(PATCHES, step // HALF) for step in steps
        )
        assert work.computed <= most


def test_a_recording_gives_the_captions_of_its_windows(bundle: Bundle) -> None:
    """Where nothing is known of a stretch, as of windows that a caller makes."""
    windows = list(file_windows([_sound(14, 5)], 2 * HALF))
    model = Captioner(bundle)
    want = _described(Captioner(bundle), [heard(w.fbank, w.start, w.samples) for w in windows], 8)
    assert _same(_described(model, windows, 8), want)


def test_a_dual_encoder_of_the_same_graphs(bundle: Bundle, tmp_path: Path) -> None:
    made = open_bundle(str(write_dual_encoder(bundle, tmp_path / "labels", "labels", ["rain", "a dog barks"])))
    assert made.manifest.graphs["stem"] == bundle.manifest.graphs["stem"]
    model = open_model(made, EngineOptions("onnxruntime", 1), {})
    windows = list(file_windows([_sound(13, 1)], 2 * HALF))
    found = model.describe(windows, [window_rng(0, 0)] * len(windows))
    want = _described(Captioner(bundle), windows)
    for description, other in zip(found, want, strict=True):
        assert isinstance(description, Description)
        assert np.allclose(description.audio_embedding, other.audio_embedding, atol=1e-4)
    work = shared_work(model)
    assert work is not None and work.reused > 0
