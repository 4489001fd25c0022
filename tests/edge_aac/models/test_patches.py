"""Patches of time: each computed once, and no window described otherwise than by itself."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_aac.audio.windows import Window, WindowSlicer, file_windows
from edge_aac.bundle.patches import PatchRule
from edge_aac.bundle.store import open_bundle
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import DataError
from edge_aac.models.contract import CancelledError, Description, SharingModel, WindowModel, shared_work
from edge_aac.models.patches import PatchStem, PatchVectors, patches_of
from edge_aac.models.registry import open_model
from edge_aac.models.seq2seq import Captioner, window_rng
from tests.edge_aac.models.tiny_bundle import Tiny, captioner_table, dual_encoder_table, stem, write

SECOND = 16_000
HALF = SECOND // 2
PATCHES = 19
TINY = Tiny(patches=(98, 50))
ONE_THREAD = EngineOptions("onnxruntime", 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("bundles") / "patched"
    table = captioner_table(path, TINY)
    table["decoding"] |= {"candidates": 1, "max_length": 5}
    return write(path, table)


@pytest.fixture
def model(folder: str) -> Captioner:
    return Captioner.open(folder)


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    """Noise that swells."""
    rng = np.random.default_rng(3)
    seconds = np.arange(18 * SECOND) / SECOND
    return (0.1 * rng.standard_normal(18 * SECOND) * (1.2 + np.sin(seconds))).astype(np.float32)


def _described(model: WindowModel, windows: Sequence[Window], batch: int = 1) -> list[Description]:
    found: list[Description] = []
    for start in range(0, len(windows), batch):
        part = windows[start : start + batch]
        for description in model.describe(part, [window_rng(0, window.start) for window in part]):
            assert isinstance(description, Description)
            found.append(description)
    return found


def _alone(folder: str, windows: Sequence[Window]) -> list[Description]:
    """Each window by itself, of no known stretch, so that nothing can be reused."""
    model = Captioner.open(folder)
    found = _described(model, [replace(window, stretch=None) for window in windows])
    assert model.shared_work is not None and model.shared_work.kept == 0
    return found


# Similarities are left out: the tiny text embedder hears the padding beside the longer texts of a batch.
def _same(one: Sequence[Description], other: Sequence[Description]) -> bool:
    return all(
        np.array_equal(a.audio_embedding, b.audio_embedding)
        and {c.text: c.log_likelihood for c in a.ranked} == {c.text: c.log_likelihood for c in b.ranked}
        for a, b in zip(one, other, strict=True)
    )


def _counts(model: Captioner) -> tuple[int, int]:
    assert model.shared_work is not None
    return model.shared_work.computed, model.shared_work.reused


@pytest.mark.parametrize("hop_halves", [1, 2, 3, 4, 19, 25])
def test_windows_at_a_multiple_of_half_a_second_share_patches_bit_for_bit(
    folder: str, sound: np.ndarray, hop_halves: int
) -> None:
    windows = list(file_windows([sound], hop_halves * HALF))
    want = _alone(folder, windows)
    for batch in (1, 5, 16):
        model = Captioner.open(folder)
        before, _ = _counts(model)
        assert _same(_described(model, windows, batch), want)
        computed, reused = _counts(model)
        new = PATCHES + sum(min(PATCHES, (b.start - a.start) // HALF) for a, b in pairwise(windows))
        aligned = all(window.start % HALF == 0 for window in windows)
        assert computed - before == new or not aligned
        assert computed - before + reused == PATCHES * len(windows)


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_other_hops_are_right_and_only_dearer(folder: str, sound: np.ndarray, batch: int) -> None:
    for hop_samples in (11_200, 160 * 73):
        windows = list(file_windows([sound], hop_samples))
        assert _same(_described(Captioner.open(folder), windows, batch), _alone(folder, windows))
    # At 0.75 s every second window lies on the same grid.
    model = Captioner.open(folder)
    _, before = _counts(model)
    _described(model, list(file_windows([sound], 12_000)), batch)
    assert _counts(model)[1] > before


def _pushed(slicer: WindowSlicer, pieces: Sequence[tuple[int, np.ndarray]], cut: int) -> Iterator[Window]:
    for position, samples in pieces:
        for start in range(0, len(samples), cut):
            yield from slicer.push(position + start, samples[start : start + cut])
    yield from slicer.flush()


@pytest.mark.parametrize("batch", [1, 4, 16])
def test_gaps_and_several_sources_share_nothing_that_is_not_the_same(
    folder: str, sound: np.ndarray, batch: int
) -> None:
    """A gap of whole half seconds, another of odd length, a stretch too short for a window, and what follows it."""
    first = [
        (0, sound[: 13 * SECOND]),
        (14 * SECOND, sound[SECOND : 12 * SECOND]),
        (30 * SECOND + 77, sound[2 * SECOND : 5 * SECOND]),
        (40 * SECOND, sound[5 * SECOND : 17 * SECOND]),
    ]
    # The same positions with other sound.
    second = [(position, -np.roll(samples, 999)) for position, samples in first]
    of_each = [
        list(_pushed(WindowSlicer(hop_samples=2 * HALF), pieces, cut)) for pieces, cut in ((first, 4321), (second, 800))
    ]
    assert any(window.samples < 10 * SECOND for window in of_each[0]), "or no zeros pad a window"
    mixed = [window for pair in zip(*of_each, strict=True) for window in pair]
    model = Captioner.open(folder)
    assert _same(_described(model, mixed, batch), _alone(folder, mixed))
    assert _counts(model)[1] > 100


def test_a_padded_window_leaves_nothing_for_the_sound_that_goes_on(folder: str, sound: np.ndarray) -> None:
    """Of one stretch: a window whose end was padded, and one that has sound in its place."""
    (whole,) = file_windows([sound[: 10 * SECOND]])
    heard = 4 * SECOND
    (padded,) = file_windows([sound[:heard]])
    both = [replace(padded, stretch=whole.stretch), whole]
    model = Captioner.open(folder)
    before, _ = _counts(model)
    assert _same(_described(model, both), _alone(folder, both))
    computed, reused = _counts(model)
    # Patches 0 to 6 end within 4 s; of these, frames are the same.
    assert (computed - before, reused) == (2 * PATCHES - 7, 7)


def test_windows_out_of_order_are_right(folder: str, sound: np.ndarray, model: Captioner) -> None:
    windows = list(file_windows([sound], HALF))
    order = [windows[number] for number in (5, 2, 9, 9, 0, 7, 8)]
    assert _same(_described(model, order, 3), _alone(folder, order))


def test_what_is_kept_is_bounded_and_goes_with_its_source(model: Captioner, sound: np.ndarray) -> None:
    work = model.shared_work
    assert work is not None
    slicers = [WindowSlicer(hop_samples=2 * HALF) for _ in range(5)]
    for second in range(16):
        batch = [
            window
            for slicer in slicers
            for window in slicer.push(second * SECOND, sound[second * SECOND : (second + 1) * SECOND])
        ]
        if batch:
            _described(model, batch, len(batch))
            del batch
        assert work.kept <= PATCHES * len(slicers)
    assert work.kept == PATCHES * len(slicers)
    slicers[0].push(100 * SECOND, sound[:SECOND])
    gc.collect()
    assert work.kept == PATCHES * 4, "a gap ends a stretch"
    del slicers
    gc.collect()
    assert work.kept == 0


def test_of_many_grids_no_more_is_kept_than_of_eight(model: Captioner, sound: np.ndarray) -> None:
    work = model.shared_work
    assert work is not None
    windows = list(file_windows([sound[: 12 * SECOND]], 160 * 7))
    for window in windows:
        _described(model, [window])
        assert work.kept <= 8 * PATCHES
    assert work.kept == 8 * PATCHES


def test_a_cancelled_batch_keeps_nothing_half_done(folder: str, sound: np.ndarray, model: Captioner) -> None:
    windows = list(file_windows([sound], HALF))[:4]
    asked = iter(range(1000))
    rngs = [window_rng(0, window.start) for window in windows]
    with pytest.raises(CancelledError):
        model.describe(windows, rngs, lambda: next(asked) > 7)
    assert _same(_described(model, windows, 4), _alone(folder, windows))


class Accelerator:
    """A stem that takes patches by the handful, and notes how many."""

    def __init__(self, most: int) -> None:
        self.largest_shapes = {"patches": (most, 98, 128)}
        self.input_shapes = {"patches": (None, 98, 128)}
        self.runs: list[int] = []

    def run(self, inputs: dict[str, Any]) -> dict[str, Any]:
        patches = inputs["patches"]
        self.runs.append(len(patches))
        assert len(patches) <= self.largest_shapes["patches"][0] and patches.flags.c_contiguous
        return {"vectors": patches[:, ::40, :2].reshape(len(patches), -1).astype(np.float32)}


def test_several_sources_share_the_runs_of_an_accelerator(sound: np.ndarray) -> None:
    rule = PatchRule(frames=98, hop_frames=50)
    engine = Accelerator(40)
    vectors = PatchVectors(PatchStem(engine), rule)
    of_each = [list(file_windows([sound * gain], 2 * HALF)) for gain in (1.0, 0.5, -0.3)]
    first = vectors.of([windows[0] for windows in of_each])
    assert engine.runs == [40, 17]
    engine.runs.clear()
    second = vectors.of([windows[1] for windows in of_each])
    assert engine.runs == [3 * 2], "two new patches of each source, in one run"
    assert first.shape == second.shape == (3, PATCHES, 6)
    assert np.array_equal(first[:, 2:], second[:, :-2])
    for number, windows in enumerate(of_each):
        direct = patches_of(windows[1].fbank, rule)[:, ::40, :2].reshape(PATCHES, -1)
        assert np.array_equal(second[number], direct)


def test_the_models_tell_what_their_windows_share(folder: str, tmp_path: Path) -> None:
    model = Captioner.open(folder)
    assert isinstance(model, SharingModel)
    work = shared_work(model)
    assert work is not None and work.hop_samples == HALF
    plain = Captioner.open(write(tmp_path / "plain", captioner_table(tmp_path / "plain")))
    assert shared_work(plain) is None


@pytest.mark.parametrize("batch", [1, 5])
def test_a_dual_encoder_shares_patches_too(tmp_path: Path, sound: np.ndarray, batch: int) -> None:
    folder = write(tmp_path / "labels", dual_encoder_table(tmp_path / "labels", TINY))
    model = open_model(open_bundle(folder), ONE_THREAD, {})
    windows = list(file_windows([sound], 2 * HALF))
    found = _described(model, windows, batch)
    want = _described(open_model(open_bundle(folder), ONE_THREAD, {}), [replace(w, stretch=None) for w in windows])
    assert [d.best.text for d in found] == [d.best.text for d in want]
    assert all(np.allclose(a.audio_embedding, b.audio_embedding, atol=1e-5) for a, b in zip(found, want, strict=True))
    work = shared_work(model)
    assert work is not None and work.reused > 100


def test_a_dual_encoder_ends_between_patches_too(tmp_path: Path, sound: np.ndarray) -> None:
    folder = write(tmp_path / "labels", dual_encoder_table(tmp_path / "labels", TINY))
    model = open_model(open_bundle(folder), ONE_THREAD, {})
    asked = iter(range(1000))
    (window,) = file_windows([sound[: 10 * SECOND]])
    with pytest.raises(CancelledError):
        model.describe([window], [window_rng(0, 0)], lambda: next(asked) > 5)
    assert next(asked) == 7, "once before the run, and before six patches"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"patches": None}, "there is a stem graph, but no patches"),
        ({"patches": {"frames": 98, "hop_frames": 49}}, "do not fill a window"),
        ({"patches": {"frames": 40, "hop_frames": 50}}, "leave sound out"),
        ({"patches": {"frames": 0, "hop_frames": 50}}, "greater than or equal to 1"),
        ({"patches": {"frames": 98}}, "hop_frames"),
        ({"patches": {"frames": 98, "hop_frames": 50, "overlap": 1}}, "overlap"),
        ({"patches": {"frames": 198, "hop_frames": 50}}, "takes patches of shape"),
        ({"patches": {"frames": 98, "hop_frames": 25}}, "takes vectors of shape"),
    ],
)
@pytest.mark.parametrize("table_of", [captioner_table, dual_encoder_table])
def test_a_manifest_that_its_stem_contradicts_is_refused(
    tmp_path: Path, table_of: Any, change: dict[str, Any], said: str
) -> None:
    table = {**table_of(tmp_path / "b", TINY), **change}
    with pytest.raises(DataError, match=said):
        open_model(open_bundle(write(tmp_path / "b", table)), ONE_THREAD, {})


def test_patches_without_a_stem_are_refused(tmp_path: Path) -> None:
    table = captioner_table(tmp_path / "b", TINY)
    del table["graphs"]["stem"]
    with pytest.raises(DataError, match="no stem graph that hears them"):
        open_bundle(write(tmp_path / "b", table))


def test_a_stem_of_other_sizes_than_its_encoder_reads_is_refused(tmp_path: Path) -> None:
    wide = stem(replace(TINY, vector=7))
    with pytest.raises(DataError, match="vector size is"):
        Captioner.open(write(tmp_path / "b", captioner_table(tmp_path / "b", TINY, stem=wide)))


def test_a_stem_that_gives_no_numbers_is_refused(tmp_path: Path) -> None:
    broken = stem(TINY)
    for tensor in broken.graph.initializer:
        if tensor.name == "to_vector":
            tensor.raw_data = np.full((128, TINY.vector), np.nan, np.float32).tobytes()
    with pytest.raises(DataError, match="contradicts its stem, which gives vectors that are no numbers"):
        Captioner.open(write(tmp_path / "b", captioner_table(tmp_path / "b", TINY, stem=broken)))
