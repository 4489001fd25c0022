"""Ranges over real windows, the file that they travel in, and the windows themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_aac.audio.features import filter_bank
from edge_aac.bundle.manifest import Seq2SeqManifest
from edge_aac.bundle.store import DEFAULT_BUNDLE, open_bundle
from edge_aac.errors import ConfigError, DataError, EdgeAacError, InputMissingError
from quantize.device.check_windows import check_windows
from quantize.graphs.calibrating import calibrate_graphs
from quantize.graphs.calibration import (
    DEFAULT_METHOD,
    MINMAX,
    Calibration,
    GraphCalibration,
    Spread,
    observe,
    overflowing_nodes,
    read_calibration,
    write_calibration,
)
from quantize.graphs.calibration_windows import encoder_inputs, recorded_windows
from quantize.graphs.half import around
from quantize.graphs.onnx_file import OnnxFile
from quantize.graphs.sound_inputs import SoundInputs
from tests.quantize.graphs.int8_cases import FLOAT, node, save, small_encoder, small_inputs
from tests.system.command import noise, write_wav


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_encoder(tmp_path_factory.mktemp("parent") / "encoder.fp32.onnx")


def test_what_is_observed(parent: Path) -> None:
    seen = observe(parent, small_inputs(5), MINMAX)
    # Inputs of q, k, v, of out, of the second convolution, and its result; not that of the single row.
    assert set(seen.ranges) == {"norm", "context", "stem.relu", "conv.relu"}
    assert seen.windows == 5
    assert all(low <= 0.0 <= high for low, high in seen.ranges.values())
    assert seen.ranges["stem.relu"][0] == 0.0
    assert seen.channel_peaks["norm"].shape == (64,)
    low, high = seen.ranges["norm"]
    assert max(-low, high) == pytest.approx(float(seen.channel_peaks["norm"].max()))


def test_batches_of_windows_count_each(parent: Path) -> None:
    apart = small_inputs(6)
    together = [{"fbank": np.concatenate([one["fbank"] for one in apart])}]
    one, other = observe(parent, apart, MINMAX), observe(parent, together, MINMAX)
    assert (one.windows, other.windows) == (6, 6)
    assert one.ranges.keys() == other.ranges.keys()
    for name, limits in one.ranges.items():
        assert limits == pytest.approx(other.ranges[name], rel=1e-4)


@pytest.mark.parametrize("percent", [99.0, 99.9, 99.99])
def test_percentile_cuts_the_tails(percent: float) -> None:
    rng = np.random.default_rng(0)
    spread, values = Spread(percent / 100), []
    for magnitude in (0.01, 5.0, 1.0, 70.0, 0.3):  # the histogram grows on the way
        values.append(magnitude * rng.standard_normal(20_000).astype(np.float32))
        spread.accept("x", values[-1])
    low, high = spread.range()
    everything = np.concatenate(values)
    share = np.mean((everything >= low) & (everything <= high))
    assert share >= percent / 100
    step = 2 * 512 / 4096  # of a histogram of ±512
    for have, want in zip((low, high), np.percentile(everything, [50 - percent / 2, 50 + percent / 2]), strict=True):
        assert abs(have - want) <= 2 * step
    assert low > everything.min() and high < everything.max()


def test_one_outlier_moves_minmax_only(tmp_path: Path) -> None:
    path = save(
        tmp_path / "g.onnx",
        [node("MatMul", ["x", "w"], "y")],
        {"w": np.eye(64, dtype=np.float32)},
        {"x": (FLOAT, (1, "rows", 64))},
        {"y": FLOAT},
    )
    value = np.random.default_rng(0).uniform(-1, 1, (1, 2000, 64)).astype(np.float32)
    value[0, 0, 0] = 500.0
    assert observe(path, [{"x": value}], MINMAX).ranges["x"][1] == 500.0
    assert observe(path, [{"x": value}], "percentile 99.99").ranges["x"][1] < 2.0
    assert observe(path, [{"x": value}], "percentile 100").ranges["x"][1] == 500.0


def test_digital_silence_gives_a_range(parent: Path) -> None:
    for method in (MINMAX, DEFAULT_METHOD):
        ranges = observe(parent, [{"fbank": np.zeros((1, 16, 64), np.float32)}], method).ranges
        assert all(np.isfinite(limits).all() for limits in ranges.values())
        assert ranges["stem.relu"] == (0.0, 0.0)


@pytest.mark.parametrize("method", ["", "entropy", "percentile", "percentile x", "percentile 101", "percentile nan"])
def test_unknown_methods(parent: Path, method: str) -> None:
    with pytest.raises(ConfigError, match="use minmax, or percentile"):
        observe(parent, small_inputs(1), method)


def test_nothing_to_calibrate_with(parent: Path) -> None:
    with pytest.raises(DataError, match="no window"):
        observe(parent, [])
    with pytest.raises(DataError, match="NaN or infinite"):
        observe(parent, [{"fbank": np.full((1, 16, 64), np.nan, np.float32)}])


def test_masks_are_no_overflow(parent: Path) -> None:
    assert overflowing_nodes(parent, small_inputs(2)) == []


def test_the_encoder_is_searched_for_what_overflows_too(tmp_path: Path) -> None:
    """Over all windows: only the last is loud."""
    rng = np.random.default_rng(0)
    weights = {
        "large.weight": (rng.standard_normal((128, 64)) * 400).astype(np.float32),
        "gamma": np.ones(64, np.float32),
        "beta": np.zeros(64, np.float32),
    }
    nodes = [
        node("MatMul", ["fbank", "large.weight"], "large"),
        node("LayerNormalization", ["large", "gamma", "beta"], "norm", axis=-1),
        node("ReduceMean", ["norm"], "audio_embedding", axes=[1], keepdims=0),
    ]
    inputs = {"fbank": (FLOAT, ("windows", 998, 128))}
    parent = save(tmp_path / "p.onnx", nodes, weights, inputs, {"audio_embedding": FLOAT})
    windows = [rng.standard_normal((998, 128)).astype(np.float32) * size for size in (*[0.01] * 9, 20.0)]
    found = calibrate_graphs({"encoder": parent}, windows, {}, "a test", lambda line: None).graphs["encoder"]
    assert found.overflowing == ("large", "norm")


def test_no_result_overflows_in_the_shipped_encoder() -> None:
    bundle = open_bundle(DEFAULT_BUNDLE)
    manifest = bundle.manifest_of(Seq2SeqManifest)
    sound = SoundInputs.of_files(
        {role: bundle.path(forms[0]) for role, forms in manifest.graphs.items()}, manifest.patches
    )
    path = bundle.folder / "encoder.fp32.onnx"
    found = overflowing_nodes(path, sound.of("encoder", check_windows(4)))
    file = OnnxFile(path)
    # What takes a norm's result need not stay FP32 for the sum inside it.
    assert around(file, found) == set(found)
    assert {node.op_type for node in file.graph.node if node.name in found} <= {"LayerNormalization"}


def _calibration() -> Calibration:
    graph = GraphCalibration(
        parent_sha256="ab" * 32,
        ranges={"norm": (-1.25, 3.0)},
        keep=("out",),
        smoothing={"norm": (0.5, 2.0)},
        overflowing=("x",),
    )
    return Calibration(method=DEFAULT_METHOD, windows=7, source="7 scenes", smooth_alpha=0.5, graphs={"encoder": graph})


def test_the_file_travels(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    write_calibration(path, _calibration())
    assert read_calibration(path) == _calibration()
    table = json.loads(path.read_text(encoding="utf-8"))
    assert table["schema"] == "edge-aac/calibration/1"
    assert table["graphs"]["encoder"]["ranges"] == {"norm": [-1.25, 3.0]}


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "edge-aac/calibration/2"},
        {"windows": 0},
        {"method": None},
        {"graphs": {"encoder": {"ranges": {}}}},
        {"graphs": {"encoder": {"parent_sha256": "x", "ranges": {"norm": [1.0]}}}},
        {"more": 1},
    ],
)
def test_damaged_files(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "calibration.json"
    write_calibration(path, _calibration())
    table = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**table, **change}), encoding="utf-8")
    with pytest.raises(DataError, match="install or build the bundle again"):
        read_calibration(path)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError):
        read_calibration(tmp_path / "calibration.json")
    for content in (b"", b"{", b"\xff", b"[]", b"null"):
        (tmp_path / "calibration.json").write_bytes(content)
        with pytest.raises(DataError):
            read_calibration(tmp_path / "calibration.json")


def test_recordings_take_turns(tmp_path: Path) -> None:
    (tmp_path / "in" / "deeper").mkdir(parents=True)
    write_wav(tmp_path / "in" / "a.wav", noise(25))
    write_wav(tmp_path / "in" / "deeper" / "b.WAV", noise(5))
    write_wav(tmp_path / "in" / "silent.wav", np.zeros(16_000, np.float32))
    (tmp_path / "in" / "notes.txt").write_text("no sound", encoding="utf-8")
    windows = list(recorded_windows(tmp_path / "in", 100))
    assert [window.shape for window in windows] == [(998, 128)] * 4
    # The second window comes from the second recording; the others go on with the first.
    assert np.array_equal(windows[0], filter_bank(_read(tmp_path / "in" / "a.wav")[:160_000]))
    assert not np.array_equal(windows[1][600:], windows[0][600:])
    assert np.unique(windows[1][600:]).size < 200  # zeros follow its 5 s
    assert len(list(recorded_windows(tmp_path / "in", 2))) == 2
    for inputs in encoder_inputs(iter(windows), takes_padding=True):
        assert inputs["fbank"].shape == (1, 998, 128) and not inputs["frame_padding"].any()


def _read(path: Path) -> np.ndarray:
    from edge_aac.audio.sources.file import load_waveform

    return load_waveform(path)


def test_a_damaged_recording_among_good_ones_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, 25 * 16_000)
    write_wav(tmp_path / "a.wav", sound)
    (tmp_path / "b.wav").write_text("no sound")
    broken = sound.astype(np.float32)
    broken[-100] = np.nan
    write_wav(tmp_path / "c.wav", broken, subtype="FLOAT")
    assert len(list(recorded_windows(tmp_path, 100))) == 6, "three of the whole one, three of the one with a bad end"
    first, second = caplog.messages
    assert "b.wav" in first and "from its 1. window on" in first
    assert "c.wav" in second and "from its 4. window on" in second


@pytest.mark.parametrize("kind", ["missing", "empty", "silent", "damaged"])
def test_folders_without_sound(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "recordings"
    if kind != "missing":
        folder.mkdir()
    if kind == "silent":
        write_wav(folder / "a.wav", np.zeros(16_000, np.float32))
    if kind == "damaged":
        (folder / "a.wav").write_bytes(b"RIFF")
    with pytest.raises(EdgeAacError) as caught:
        list(recorded_windows(folder, 4))
    assert isinstance(caught.value, DataError if kind in ("silent", "damaged") else InputMissingError)
