"""Live sources heard by a model of patches: each patch once, and the captions of the windows by themselves."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.simulated_time import SimulatedTime, SteppedSource, in_blocks
from edge_aac.audio.windows import WindowSlicer, file_windows
from edge_aac.models.contract import Description
from edge_aac.models.seq2seq import Captioner, window_rng
from edge_aac.streaming.channel import ChannelSettings
from edge_aac.streaming.gate import EnergyGate
from edge_aac.streaming.hop import HopLimits
from edge_aac.streaming.hub import Hub, Outlet
from edge_aac.streaming.session import Session
from tests.edge_aac.fakes import FakeSink
from tests.edge_aac.models.tiny_bundle import Tiny, captioner_table, write

SECOND, PATCHES, SECONDS = 16_000, 19, 16
LABELS = ("mic0", "mic1", "mic2")

pytestmark = pytest.mark.one_python


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("bundles") / "patched"
    table = captioner_table(path, Tiny(patches=(98, 50)))
    table["decoding"] |= {"candidates": 1}
    return write(path, table)


def _sound(number: int) -> np.ndarray:
    rng = np.random.default_rng(number)
    swell = 1.2 + np.sin((1 + number) * np.arange(SECONDS * SECOND) / SECOND)
    return (0.1 * rng.standard_normal(SECONDS * SECOND) * swell).astype(np.float32)


def _offline(folder: str, sound: np.ndarray, hop: int) -> list[str]:
    """Captions of all windows, each described by itself."""
    model, captions = Captioner.open(folder), []
    for window in file_windows([sound], hop):
        (found,) = model.describe([replace(window, stretch=None)], [window_rng(0, window.start)])
        assert isinstance(found, Description)
        captions.append(found.best.text)
    return captions


@pytest.mark.parametrize("hop", [SECOND // 2, SECOND, 11_200])
def test_a_stream_gives_what_its_windows_give_by_themselves(folder: str, hop: int) -> None:
    time, model, sink = SimulatedTime(), Captioner.open(folder), FakeSink()
    work = model.shared_work
    assert work is not None
    before = work.computed
    made = Session(
        model=model,
        hub=Hub([Outlet("fake", sink, ("caption",), 10_000, threading.Event())]),
        node="kitchen",
        stop=threading.Event(),
        health_interval_s=0.0,
        clocks=time.clocks,
    )
    settings = ChannelSettings(EnergyGate(-70.0), every_window=True, hop_limits=HopLimits(10.0, 10.0))
    for number, label in enumerate(LABELS):
        made.add(
            SteppedSource(time, label, in_blocks(_sound(number), SECOND // 10)), WindowSlicer(hop_samples=hop), settings
        )
    made.run()
    for number, label in enumerate(LABELS):
        captions = [record.caption for record in sink.captions if record.source == label]
        assert captions == _offline(folder, _sound(number), hop), label
        assert len(set(captions)) > 1, "or the sound makes no difference"
    windows = len(sink.captions)
    computed = work.computed - before
    assert computed + work.reused == PATCHES * windows
    if hop % (SECOND // 2) == 0:
        new = min(PATCHES, hop // (SECOND // 2))
        assert computed == len(LABELS) * PATCHES + (windows - len(LABELS)) * new
    assert work.kept <= 8 * PATCHES * len(LABELS)


def test_another_model_computes_its_own_patches(folder: str, tmp_path: Path) -> None:
    """What was kept for one bundle is nothing to another, though the sound goes on."""
    other_table = captioner_table(tmp_path / "other", Tiny(patches=(98, 50), vector=9))
    first, second = Captioner.open(folder), Captioner.open(write(tmp_path / "other", other_table))
    windows = list(file_windows([_sound(0)], SECOND))
    for model, some in ((first, windows[:3]), (second, windows[3:])):
        work = model.shared_work
        assert work is not None
        before, reused = work.computed, work.reused
        for window in some:
            model.describe([window], [window_rng(0, window.start)])
        assert work.computed - before == PATCHES + 2 * (len(some) - 1)
        assert work.reused > reused
