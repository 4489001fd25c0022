"""Windows: the right samples, the right level, and the same bits however the stream is cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge_aac.audio.features import filter_bank
from edge_aac.audio.windows import Window, WindowSlicer, file_windows
from edge_aac.errors import ConfigError, DataError


def _noise(samples: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return (random.uniform(-0.5, 0.5, samples) * np.linspace(0.1, 1, samples)).astype(np.float32)


def _sliced(slicer: WindowSlicer, samples: np.ndarray, chunk: int, position: int = 0) -> list[Window]:
    windows = []
    for start in range(0, len(samples), chunk):
        windows += slicer.push(position + start, samples[start : start + chunk])
    return windows + slicer.flush()


def _assert_equal(one: list[Window], other: list[Window]) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert (a.start, a.samples, a.rms_dbfs, a.peak_dbfs) == (b.start, b.samples, b.rms_dbfs, b.peak_dbfs)
        assert a.audible_dbfs == b.audible_dbfs
        assert np.array_equal(a.fbank, b.fbank)


def test_windows_of_ten_seconds() -> None:
    audio = _noise(16_000 * 15)
    windows = _sliced(WindowSlicer(), audio, 1600)
    assert [window.start for window in windows] == [0, 32_000, 64_000, 80_000]
    for window in windows:
        piece = audio[window.start : window.start + 160_000]
        assert window.samples == 160_000
        assert window.fbank.shape == (998, 128)
        assert window.fbank.flags.c_contiguous
        assert window.fbank.dtype == np.float32
        assert np.array_equal(window.fbank, filter_bank(piece))
        assert window.rms_dbfs == pytest.approx(10 * np.log10(np.mean(np.square(piece, dtype=np.float64))), abs=1e-6)
        assert window.peak_dbfs == pytest.approx(20 * np.log10(np.abs(piece).max()), abs=1e-6)


@pytest.mark.parametrize("samples", [1, 100, 4_799, 4_800, 4_801, 4_960, 20_011, 50_000])
@pytest.mark.parametrize("hop", [160, 1_600, 3_200, 4_800, 9_600])
def test_chunks_make_no_difference(samples: int, hop: int) -> None:
    audio = _noise(samples)
    expected = _sliced(WindowSlicer(4_800, hop), audio, samples)
    for chunk in (7, 160, 1_601, 16_000, 17_001):
        _assert_equal(_sliced(WindowSlicer(4_800, hop), audio, chunk), expected)


def test_single_samples_make_no_difference() -> None:
    audio = _noise(7_003)
    _assert_equal(_sliced(WindowSlicer(4_800, 1_600), audio, 1), _sliced(WindowSlicer(4_800, 1_600), audio, 7_003))


def test_windows_come_as_soon_as_their_samples_are_there() -> None:
    slicer = WindowSlicer(4_800, 1_600)
    audio = _noise(6_400)
    assert slicer.push(0, audio[:4_799]) == []
    assert [window.start for window in slicer.push(4_799, audio[4_799:4_800])] == [0]
    assert [window.start for window in slicer.push(4_800, audio[4_800:])] == [1_600]


@pytest.mark.parametrize("samples", [1, 399, 400, 1_000, 159_999])
def test_a_short_stream_is_padded(samples: int) -> None:
    audio = _noise(samples)
    (window,) = _sliced(WindowSlicer(), audio, 1600)
    assert (window.start, window.samples) == (0, samples)
    padded = np.concatenate((audio, np.zeros(160_000 - samples, np.float32)))
    assert np.array_equal(window.fbank, filter_bank(padded))
    assert window.rms_dbfs == pytest.approx(10 * np.log10(np.mean(np.square(audio, dtype=np.float64))), abs=1e-6)


@pytest.mark.parametrize(("tail", "starts"), [(0, [0]), (1_599, [0]), (1_600, [0, 1_600]), (1_759, [0, 1_600])])
def test_the_tail(tail: int, starts: list[int]) -> None:
    audio = _noise(4_800 + tail)
    windows = _sliced(WindowSlicer(4_800, 3_200), audio, 1_000)
    assert [window.start for window in windows] == starts
    for window in windows:
        assert np.array_equal(window.fbank, filter_bank(audio[window.start : window.start + 4_800]))


def test_tail_of_a_hop_longer_than_the_window() -> None:
    audio = _noise(9_600 + 4_800 + 3_210)
    windows = _sliced(WindowSlicer(4_800, 9_600), audio, 777)
    assert [window.start for window in windows] == [0, 9_600, 12_800]
    assert np.array_equal(windows[-1].fbank, filter_bank(audio[12_800:17_600]))
    only_tail = _sliced(WindowSlicer(4_800, 9_600), audio[:9_000], 777)
    assert [window.start for window in only_tail] == [0, 4_160]


def test_no_audio_no_window() -> None:
    assert WindowSlicer().flush() == []
    slicer = WindowSlicer(4_800, 1_600)
    assert slicer.push(0, np.zeros(0, np.float32)) == []
    assert slicer.flush() == []


def test_no_window_spans_a_jump() -> None:
    slicer = WindowSlicer(4_800, 3_200)
    audio = _noise(30_000)
    assert slicer.push(0, audio[:4_700]) == []
    before, *windows = slicer.push(10_007, audio[10_007:17_000])
    assert (before.start, before.samples) == (0, 4_700), "what came before the jump is not lost"
    assert np.array_equal(before.fbank, filter_bank(np.pad(audio[:4_700], (0, 100))))
    assert [window.start for window in windows] == [10_007]
    for window in windows:
        assert np.array_equal(window.fbank, filter_bank(audio[window.start : window.start + 4_800]))
    assert [window.start for window in slicer.flush()] == [10_007 + 2_080]


def test_a_jump_near_the_end() -> None:
    slicer = WindowSlicer(4_800, 1_600)
    assert len(slicer.push(0, _noise(4_800))) == 1
    slicer.push(9_000, _noise(1_599))
    assert slicer.flush() == []
    assert len(slicer.push(20_000, _noise(4_800))) == 1
    slicer.push(30_000, _noise(1_600))
    (window,) = slicer.flush()
    assert (window.start, window.samples) == (30_000, 1_600)


def test_a_jump_after_next_to_no_fresh_sound() -> None:
    slicer = WindowSlicer(4_800, 1_600)
    slicer.push(0, _noise(4_800 + 1_599))
    assert slicer.push(20_000, _noise(100)) == [], "all but a tenth of a second was in a window"
    assert slicer.push(40_000, _noise(100)) == []


def test_flush_ends_the_stream() -> None:
    slicer = WindowSlicer(4_800, 1_600)
    audio = _noise(10_000)
    first = _sliced(slicer, audio, 1_000)
    assert slicer.flush() == []
    _assert_equal(_sliced(slicer, audio, 1_000), first)


def test_silence_has_a_finite_level() -> None:
    (window,) = _sliced(WindowSlicer(), np.zeros(160_000, np.float32), 16_000)
    assert (window.rms_dbfs, window.peak_dbfs) == (-120.0, -120.0)


def test_full_scale_is_zero() -> None:
    (window,) = _sliced(WindowSlicer(), np.ones(160_000, np.float32), 16_000)
    assert (window.rms_dbfs, window.peak_dbfs) == (0.0, 0.0)


@pytest.mark.parametrize("samples", [1_000, 4_799, 4_800, 9_000, 160_000])
def test_the_audible_level_of_a_tone_is_its_level(samples: int) -> None:
    tone = (0.1 * np.sin(2 * np.pi * 1_000 * np.arange(samples) / 16_000)).astype(np.float32)
    for window in _sliced(WindowSlicer(4_800, 1_600), tone, 999):
        # A stream that starts within a wave rings for a moment.
        assert window.audible_dbfs == pytest.approx(window.rms_dbfs, abs=0.5)


@pytest.mark.parametrize("dc", [0.0, 0.003, -0.3])
@pytest.mark.parametrize("samples", [3_333, 20_000])
def test_dc_and_rumble_are_not_audible(dc: float, samples: int) -> None:
    hiss = 10 ** (-85 / 20) * np.random.default_rng(0).standard_normal(samples)
    rumble = 0.01 * np.sin(2 * np.pi * 12 * np.arange(samples) / 16_000)
    for window in _sliced(WindowSlicer(4_800, 1_600), (hiss + dc + rumble).astype(np.float32), 999):
        assert window.audible_dbfs < -75
        assert window.rms_dbfs > -60


def test_a_short_sound_is_as_audible_as_it_is() -> None:
    audio = np.zeros(160_000, np.float32)
    audio[70_000:71_600] = 0.01 * np.random.default_rng(0).standard_normal(1_600)
    (window,) = _sliced(WindowSlicer(), audio, 1_600)
    assert window.rms_dbfs == pytest.approx(-60, abs=1)
    assert window.audible_dbfs == pytest.approx(-40, abs=1.5)


def test_dc_that_differs_after_a_jump_is_no_click() -> None:
    slicer = WindowSlicer(4_800, 4_800)
    windows = slicer.push(0, np.full(4_800, 0.3, np.float32)) + slicer.push(9_000, np.full(4_800, -0.3, np.float32))
    assert [window.audible_dbfs for window in windows] == [-120.0, -120.0]


def test_a_window_does_not_hear_what_was_before_it() -> None:
    audio = np.concatenate((_noise(4_800), np.zeros(4_800, np.float32)))
    assert [window.audible_dbfs > -60 for window in _sliced(WindowSlicer(4_800, 4_800), audio, 700)] == [True, False]


def test_samples_that_are_no_numbers_have_no_audible_level() -> None:
    audio = _noise(14_400)
    audio[6_000] = np.nan
    levels = [window.audible_dbfs for window in _sliced(WindowSlicer(4_800, 4_800), audio, 700)]
    assert np.isnan(levels).tolist() == [False, True, False]


def test_windows_do_not_share_memory() -> None:
    windows = _sliced(WindowSlicer(4_800, 1_600), _noise(8_000), 1_600)
    before = windows[1].fbank.copy()
    windows[0].fbank[:] = 0
    assert np.array_equal(windows[1].fbank, before)


@pytest.mark.parametrize("chunk", [160, 1_601, 50_000])
def test_windows_come_with_their_sound(chunk: int) -> None:
    audio = _noise(50_003)
    windows = _sliced(WindowSlicer(4_800, 1_600, keeps_sound=True), audio, chunk, position=7)
    assert len(windows) > 20
    for window in windows:
        assert window.waveform is not None
        assert np.array_equal(window.waveform, audio[window.start - 7 :][:4_800])
    # Of a padded one the real sound alone.
    (short,) = _sliced(WindowSlicer(4_800, 1_600, keeps_sound=True), audio[:1_234], chunk)
    assert short.waveform is not None
    assert np.array_equal(short.waveform, audio[:1_234])


def test_windows_of_models_that_hear_frames_come_without() -> None:
    windows = _sliced(WindowSlicer(4_800, 1_600), _noise(20_000), 1_600)
    assert windows and all(window.waveform is None for window in windows)


def test_the_sound_of_a_window_behind_a_jump() -> None:
    slicer = WindowSlicer(4_800, 1_600, keeps_sound=True)
    audio = _noise(20_000)
    slicer.push(0, audio[:10_000])
    windows = [*slicer.push(12_000, audio[12_000:]), *slicer.flush()]
    for window in windows:
        assert window.waveform is not None
        assert np.array_equal(window.waveform, audio[window.start :][:4_800])
    assert windows[-1].start >= 12_000


@pytest.mark.parametrize(("window", "hop"), [(160_000, 0), (160_000, -160), (160_000, 100), (160_001, 160), (320, 160)])
def test_unusable_lengths(window: int, hop: int) -> None:
    with pytest.raises(ConfigError, match="10 ms"):
        WindowSlicer(window, hop)


def test_file_windows(tmp_path: Path) -> None:
    audio = _noise(16_000 * 13)
    path = tmp_path / "a.wav"
    soundfile.write(path, audio, 16_000, subtype="FLOAT")
    expected = _sliced(WindowSlicer(hop_samples=16_000), audio, 4_099)
    _assert_equal(list(file_windows(path, 16_000)), expected)
    _assert_equal(list(file_windows(str(path), 16_000)), expected)
    _assert_equal(list(file_windows([audio[:5], audio[5:]], 16_000)), expected)
    (tmp_path / "b.wav").touch()
    with pytest.raises(DataError):
        list(file_windows(tmp_path / "b.wav"))
