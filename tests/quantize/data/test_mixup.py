"""Mix-up of two clips: ratio, place, level, and which pairs are drawn."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from edge_aac.errors import ConfigError, DataError
from quantize.data.manifests import CaptionedClip
from quantize.data.mixup import Mix, draw_pairs, mix


def noise(samples: int, level: float, seed: int = 0) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def parts(first: np.ndarray, second: np.ndarray, mixed: Mix) -> list[np.ndarray]:
    """Each clip as the mix says that it is in it, over the length of the mix."""
    placed = []
    for clip, gain, start in zip((first, second), mixed.gains, mixed.starts, strict=True):
        part = np.zeros(len(mixed.waveform))
        part[start : start + len(clip)] = gain * clip.astype(np.float64)
        placed.append(part)
    return placed


@pytest.mark.parametrize(("first_samples", "second_samples"), [(4000, 1000), (1000, 4000), (2000, 2000), (3000, 1)])
def test_the_mix_is_the_sum_of_both_where_it_says(first_samples: int, second_samples: int) -> None:
    first, second = noise(first_samples, 0.05), noise(second_samples, 0.2, seed=1) + np.float32(0.1)
    mixed = mix(first, second, np.random.default_rng(3))
    assert mixed.waveform.dtype == np.float32
    assert mixed.waveform.shape == (max(first_samples, second_samples),)
    np.testing.assert_allclose(mixed.waveform, sum(parts(first, second, mixed)), atol=1e-6)
    assert min(mixed.starts) == 0
    assert max(mixed.starts) + min(first_samples, second_samples) <= len(mixed.waveform)


def test_the_ratio_of_mean_powers_is_the_one_drawn() -> None:
    first, second = noise(4000, 0.02), noise(1000, 0.3, seed=1)
    for seed in range(20):
        mixed = mix(first, second, np.random.default_rng(seed))
        powers = [np.square(gain * clip).mean() for gain, clip in zip(mixed.gains, (first, second), strict=True)]
        assert 10.0 * math.log10(powers[0] / powers[1]) == pytest.approx(mixed.ratio_db, abs=1e-3)
        assert mixed.gains[0] == 1.0, "the first clip sets the level"


def test_ratios_and_offsets_are_uniform_over_their_whole_range() -> None:
    first, second = noise(150, 0.05), noise(100, 0.05, seed=1)
    rng = np.random.default_rng(0)
    mixes = [mix(first, second, rng) for _ in range(3000)]
    ratios = np.array([mixed.ratio_db for mixed in mixes])
    counts = np.histogram(ratios, bins=10, range=(-5.0, 5.0))[0]
    assert counts.sum() == 3000
    # 300 expected in each, with a standard deviation of 16.4.
    assert np.all(np.abs(counts - 300) < 5 * 16.4)
    assert {max(mixed.starts) for mixed in mixes} == set(range(51))


def test_another_range_of_ratios() -> None:
    first, second = noise(100, 0.05), noise(100, 0.05, seed=1)
    assert mix(first, second, np.random.default_rng(0), ratio_db=0.0).ratio_db == 0.0
    rng = np.random.default_rng(0)
    drawn = [abs(mix(first, second, rng, ratio_db=20.0).ratio_db) for _ in range(50)]
    assert 10.0 < max(drawn) <= 20.0
    for bad in (-1.0, math.nan, math.inf):
        with pytest.raises(ConfigError, match="give a ratio of 0 dB or more"):
            mix(first, second, rng, ratio_db=bad)


def test_a_mix_that_would_clip_turns_both_down_alike() -> None:
    first = np.full(1000, 0.9, np.float32)
    second = np.full(1000, 0.9, np.float32)
    mixed = mix(first, second, np.random.default_rng(0))
    assert np.abs(mixed.waveform).max() == pytest.approx(1.0, abs=1e-6)
    assert np.abs(mixed.waveform).max() <= 1.0
    assert mixed.gains[0] < 1.0
    assert 20.0 * math.log10(mixed.gains[0] / mixed.gains[1]) == pytest.approx(mixed.ratio_db)


def test_the_clips_are_left_as_they_were_and_the_seed_decides() -> None:
    first, second = noise(500, 0.1), noise(300, 0.1, seed=1)
    before = first.copy(), second.copy()
    one, other = (mix(first, second, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(one.waveform, other.waveform)
    np.testing.assert_array_equal(first, before[0])
    np.testing.assert_array_equal(second, before[1])


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (np.zeros(100, np.float32), "silent"),
        (np.full(100, 1e-6, np.float32), "silent"),
        (np.zeros(0, np.float32), "give one channel"),
        (np.ones((2, 100), np.float32), "give one channel"),
        (np.array([0.1, np.nan], np.float32), "not finite"),
    ],
)
def test_clips_that_cannot_be_mixed_are_refused(bad: np.ndarray, words: str) -> None:
    good = noise(100, 0.1)
    with pytest.raises(DataError, match=f"the first clip .*{words}"):
        mix(bad, good, np.random.default_rng(0))
    with pytest.raises(DataError, match=f"the second clip .*{words}"):
        mix(good, bad, np.random.default_rng(0))


def clip(name: str, path: str | None = None, **fields: object) -> CaptionedClip:
    return CaptionedClip(name, Path(path or f"{name}.wav"), (f"caption of {name}",), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [0, 1, 20, 30, 45])
def test_pairs_are_of_distinct_recordings_and_never_come_twice(count: int) -> None:
    pairs = draw_pairs([clip(str(number)) for number in range(10)], count, np.random.default_rng(1))
    assert len(pairs) == count
    assert all(one.name != other.name for one, other in pairs)
    assert len({frozenset((one.name, other.name)) for one, other in pairs}) == count


def test_two_stretches_of_one_recording_are_no_pair() -> None:
    same_file = [clip(f"a{start}", "a.wav", start_s=float(start)) for start in range(3)]
    same_recording = [clip("b1", recording="b"), clip("b2", recording="b")]
    clips = [*same_file, *same_recording]
    pairs = draw_pairs(clips, 6, np.random.default_rng(0))
    assert {frozenset((one.name, other.name)) for one, other in pairs} == {
        frozenset((one.name, other.name)) for one in same_file for other in same_recording
    }
    with pytest.raises(DataError, match="5 clips give 6 pairs of different recordings, fewer than the 7 asked for"):
        draw_pairs(clips, 7, np.random.default_rng(0))


def test_a_stretch_that_is_listed_twice_counts_once() -> None:
    clips = [clip("a"), clip("a again", "a.wav"), clip("b")]
    [(one, other)] = draw_pairs(clips, 1, np.random.default_rng(0))
    assert {one.name, other.name} == {"a", "b"}
    with pytest.raises(DataError, match="1 pairs"):
        draw_pairs(clips, 2, np.random.default_rng(0))


@pytest.mark.parametrize("count", [50, 400])
def test_pairs_follow_from_the_seed_and_either_clip_comes_first(count: int) -> None:
    clips = [clip(f"{number:02d}") for number in range(30)]
    drawn = [
        [(one.name, other.name) for one, other in draw_pairs(clips, count, np.random.default_rng(seed))]
        for seed in (4, 4, 5)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    ascending = sum(one < other for one, other in drawn[0])
    assert 0.25 * count < ascending < 0.75 * count


def test_without_clips_there_are_no_pairs() -> None:
    assert draw_pairs([], 0, np.random.default_rng(0)) == []
    with pytest.raises(DataError, match="0 clips give 0 pairs"):
        draw_pairs([], 1, np.random.default_rng(0))
    with pytest.raises(ConfigError, match="-1 pairs"):
        draw_pairs([clip("a")], -1, np.random.default_rng(0))
