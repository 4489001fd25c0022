"""Decoded once: what is cut, what is remembered, and what is listed as broken."""

from __future__ import annotations

import csv
import json
import os
import resource
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import soundfile

import quantize.data.waveform_cache as module
from edge_aac.audio.sources.file import load_waveform
from edge_aac.errors import DataError, DeviceError, InputMissingError
from quantize.data.manifests import CaptionedClip
from quantize.data.waveform_cache import WaveformCache, decoded_stretch

STEP = 1 / 2**15


def clip(path: Path, start_s: float = 0.0, duration_s: float | None = None) -> CaptionedClip:
    return CaptionedClip(path.name, path, ("a sound",), start_s, duration_s)


def noise(path: Path, seconds: float, rate: int = 16_000, channels: int = 1, subtype: str | None = None) -> Path:
    rng = np.random.default_rng(7)
    soundfile.write(path, 0.2 * rng.standard_normal((round(seconds * rate), channels)), rate, subtype=subtype)
    return path


def files(cache: WaveformCache, suffix: str) -> list[Path]:
    return sorted(cache.folder.rglob(f"*{suffix}"))


@pytest.fixture
def cache(tmp_path: Path) -> WaveformCache:
    return WaveformCache(tmp_path / "cache")


def no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(module, "decoded_stretch", refuse)


@pytest.mark.parametrize(
    ("suffix", "rate", "channels"), [(".wav", 44_100, 2), (".flac", 16_000, 1), (".ogg", 8_000, 1)]
)
def test_sound_is_that_of_the_decoder_to_a_16_bit_step(
    cache: WaveformCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, rate: int, channels: int
) -> None:
    path = noise(tmp_path / f"a{suffix}", 1.5, rate, channels)
    expected = load_waveform(path)
    assert cache.prepare([clip(path)]).ready == (clip(path),)
    no_decoding(monkeypatch)
    cached = cache.waveform(clip(path))
    assert cached.dtype == np.float32 and cached.shape == expected.shape
    assert np.abs(cached - expected).max() <= 0.51 * STEP * max(1.0, np.abs(expected).max())


def test_16_bit_sound_at_16_khz_is_kept_bit_for_bit(cache: WaveformCache, tmp_path: Path) -> None:
    path = noise(tmp_path / "a.wav", 1.0, subtype="PCM_16")
    assert np.array_equal(cache.waveform(clip(path)), load_waveform(path))


def test_sound_beyond_full_scale_is_not_clipped(cache: WaveformCache, tmp_path: Path) -> None:
    wave = (3.0 * np.sin(np.arange(16_000))).astype(np.float32)
    soundfile.write(tmp_path / "loud.wav", wave, 16_000, subtype="FLOAT")
    cached = cache.waveform(clip(tmp_path / "loud.wav"))
    assert np.abs(cached - wave).max() <= 3.0 * STEP and np.abs(cached).max() > 2.9


@pytest.mark.parametrize(("suffix", "rate"), [(".wav", 16_000), (".wav", 44_100), (".flac", 22_050), (".ogg", 44_100)])
def test_a_stretch_is_that_of_the_whole_file(tmp_path: Path, suffix: str, rate: int) -> None:
    path = noise(tmp_path / f"a{suffix}", 11.3, rate)
    whole = load_waveform(path)
    for start_s, duration_s in ((0.0, 2.0), (1.25, 3.0), (7.3337, 1.5), (9.0, None), (10.5, 10.0)):
        start = round(start_s * 16_000)
        expected = whole[start : None if duration_s is None else start + round(duration_s * 16_000)]
        got = decoded_stretch(path, start_s, duration_s)
        assert got.shape == expected.shape and len(got) > 0
        np.testing.assert_allclose(got, expected, atol=1e-5)


def test_what_lies_outside_the_stretch_is_not_decoded(tmp_path: Path) -> None:
    """Damage before and behind the stretch shows whether it was read."""
    wave = np.zeros(60 * 16_000, np.float32)
    wave[: 16_000 * 20] = np.nan
    wave[16_000 * 45 :] = np.nan
    soundfile.write(tmp_path / "a.wav", wave, 16_000, subtype="FLOAT")
    assert len(decoded_stretch(tmp_path / "a.wav", 30.0, 10.0)) == 160_000
    with pytest.raises(DataError, match="no numbers"):
        decoded_stretch(tmp_path / "a.wav", 40.0, 10.0)
    with pytest.raises(DataError, match="no numbers"):
        decoded_stretch(tmp_path / "a.wav", 2.0, 10.0)


def broken_files(folder: Path) -> dict[str, Path]:
    folder.mkdir()
    (folder / "text.wav").write_text("this is no sound")
    (folder / "empty.wav").write_bytes(b"")
    soundfile.write(folder / "silent.wav", np.zeros(0), 16_000)
    soundfile.write(folder / "short.wav", np.zeros(1_500), 16_000)
    soundfile.write(folder / "nan.wav", np.full(16_000, np.nan, np.float32), 16_000, subtype="FLOAT")
    whole = noise(folder / "whole.wav", 2).read_bytes()
    (folder / "cut.wav").write_bytes(whole[: len(whole) // 2])
    flac = noise(folder / "whole.flac", 2).read_bytes()
    (folder / "cut.flac").write_bytes(flac[: len(flac) // 2])
    return {path.name: path for path in folder.iterdir() if not path.name.startswith("whole")}


def test_broken_clips_are_listed_with_their_reasons(cache: WaveformCache, tmp_path: Path) -> None:
    broken = broken_files(tmp_path / "in")
    good = noise(tmp_path / "good.wav", 1)
    clips = [
        clip(good),
        *(clip(path) for path in broken.values()),
        CaptionedClip("late", good, ("x",), 30.0, 10.0),
        CaptionedClip("gone", tmp_path / "gone.wav", ("x",)),
        CaptionedClip("folder", tmp_path, ("x",)),
    ]
    seen: list[tuple[int, int]] = []
    report = cache.prepare(clips, progress=lambda done, total: seen.append((done, total)))
    assert report.ready == (clips[0],)
    reasons = {each.name: each.reason for each in report.broken}
    assert list(reasons) == [*broken, "late", "gone", "folder"]
    words = {
        "text.wav": "not a sound file",
        "empty.wav": "empty",
        "silent.wav": "without any sound",
        "short.wav": "less than 0.1 s",
        "nan.wav": "no numbers",
        "cut.wav": "truncated",
        "cut.flac": "",
        "late": "0.000 s from 30 s on",
        "gone": "not there",
        "folder": "folder",
    }
    assert reasons.keys() == words.keys()
    assert all(reasons[name] and word in reasons[name] for name, word in words.items())
    assert seen == [(count, len(clips)) for count in range(1, len(clips) + 1)]
    with pytest.raises(DataError, match="no numbers"):
        cache.waveform(clip(broken["nan.wav"]))


def test_a_report_lies_beside_the_cache(cache: WaveformCache, tmp_path: Path) -> None:
    (tmp_path / 'o"d,d.wav').write_text("no sound")
    report = cache.prepare([clip(noise(tmp_path / "good.wav", 1)), clip(tmp_path / 'o"d,d.wav')])
    report.write(cache.folder)
    written = json.loads((cache.folder / "clips.json").read_text(encoding="utf-8"))
    assert (written["ready"], written["broken"], written["clips"][0]["name"]) == (1, 1, 'o"d,d.wav')
    with (cache.folder / "broken.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.reader(stream))
    assert rows == [["name", "reason"], [report.broken[0].name, report.broken[0].reason]]


def test_a_verdict_is_remembered_until_the_file_changes(
    cache: WaveformCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.wav"
    path.write_text("no sound")
    first = cache.prepare([clip(path)])
    with monkeypatch.context() as patch:
        no_decoding(patch)
        assert cache.prepare([clip(path)]) == first
        with pytest.raises(AssertionError, match="decoded again"):
            cache.prepare([clip(path)], retry_broken=True)
    noise(path, 1)
    assert cache.prepare([clip(path)]).broken == ()


def test_a_changed_file_is_decoded_again(cache: WaveformCache, tmp_path: Path) -> None:
    path = noise(tmp_path / "a.wav", 1)
    assert len(cache.waveform(clip(path))) == 16_000
    old = path.stat()
    soundfile.write(path, np.zeros(16_000), 16_000)
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns + 1_000_000))
    assert path.stat().st_size == old.st_size
    assert not cache.waveform(clip(path)).any()


def test_a_missing_file_may_come_back(cache: WaveformCache, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    assert len(cache.prepare([clip(path)]).broken) == 1
    with pytest.raises(InputMissingError, match="not there"):
        cache.waveform(clip(path))
    noise(path, 1)
    assert cache.prepare([clip(path)]).broken == ()


def test_half_a_cached_file_is_decoded_again(cache: WaveformCache, tmp_path: Path) -> None:
    path = noise(tmp_path / "a.wav", 2)
    expected = cache.waveform(clip(path))
    (cached,) = files(cache, ".flac")
    for kept in (0, 40, cached.stat().st_size // 2):
        cached.write_bytes(cached.read_bytes()[:kept])
        assert np.array_equal(cache.waveform(clip(path)), expected)


def test_stretches_of_a_file_are_kept_apart(cache: WaveformCache, tmp_path: Path) -> None:
    path = noise(tmp_path / "a.wav", 3)
    clips = [clip(path), clip(path, 1.0), clip(path, 1.0, 1.0)]
    assert cache.prepare(clips, jobs=3).ready == tuple(clips)
    assert [len(cache.waveform(each)) for each in clips] == [48_000, 32_000, 16_000]


def _fill(folder: Path, clips: list[CaptionedClip]) -> int:
    return len(WaveformCache(folder).prepare(clips).ready)


def test_two_processes_fill_the_same_cache(cache: WaveformCache, tmp_path: Path) -> None:
    clips = [clip(noise(tmp_path / f"{number}.wav", 1)) for number in range(12)]
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
        done = [pool.submit(_fill, cache.folder, clips) for _ in range(2)]
    assert [each.result() for each in done] == [12, 12]
    assert len(files(cache, ".flac")) == 12 and not files(cache, ".new")


def test_a_full_disk_is_one_sentence_and_leaves_nothing(cache: WaveformCache, tmp_path: Path) -> None:
    path = noise(tmp_path / "a.wav", 5)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(DeviceError, match="full"):
            cache.prepare([clip(path)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [each for each in cache.folder.rglob("*") if each.is_file()] == []
    assert cache.prepare([clip(path)]).broken == ()


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(DeviceError, match="cannot be written"):
        WaveformCache(tmp_path / "taken").prepare([clip(noise(tmp_path / "a.wav", 1))])
