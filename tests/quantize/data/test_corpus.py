"""Windows, the held-out part and the captions of a corpus."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_aac.errors import ConfigError, DataError
from quantize.data.corpus import corpus_captions, split_by_recording, window
from quantize.data.manifests import CaptionedClip


def clip(name: str, recording: str = "") -> CaptionedClip:
    return CaptionedClip(name, Path(name), (f"{name} one", f"{name} two"), recording=recording)


@pytest.mark.parametrize("samples", [1_600, 159_999, 160_000])
def test_a_short_recording_is_padded_at_its_end(samples: int) -> None:
    waveform = np.arange(1, samples + 1, dtype=np.float32)
    got = window(waveform, np.random.default_rng(0))
    assert got.shape == (160_000,) and got.dtype == np.float32
    assert np.array_equal(got[:samples], waveform) and not got[samples:].any()


def test_a_long_recording_is_cut_anywhere() -> None:
    waveform = np.arange(160_003, dtype=np.float32)
    windows = [window(waveform, np.random.default_rng(seed)) for seed in range(60)]
    assert {int(got[0]) for got in windows} == {0, 1, 2, 3}
    assert all(got.shape == (160_000,) and (np.diff(got) == 1).all() for got in windows)
    assert np.array_equal(windows[7], window(waveform, np.random.default_rng(7)))


def test_no_recording_lies_on_both_sides() -> None:
    clips = [clip(f"{number}-{take}", f"take {number}") for take in range(3) for number in range(20)]
    clips += [clip("alone.wav"), clip("alone.wav")]
    rest, held_out = split_by_recording(clips, 0.25, seed=1)
    assert len(rest) + len(held_out) == len(clips)
    here, there = ({each.recording or each.path for each in part} for part in (rest, held_out))
    assert not here & there and len(there) == round(0.25 * 21)
    assert [each for each in clips if each in rest] == rest


def test_the_split_depends_on_the_seed_alone() -> None:
    clips = [clip(f"{number}.wav") for number in range(40)]
    first = {each.name for each in split_by_recording(clips, 0.3, seed=1)[1]}
    assert {each.name for each in split_by_recording(clips[::-1], 0.3, seed=1)[1]} == first
    assert {each.name for each in split_by_recording(clips, 0.3, seed=2)[1]} != first


@pytest.mark.parametrize("share", [0.001, 0.999])
def test_neither_side_is_empty(share: float) -> None:
    rest, held_out = split_by_recording([clip("a.wav"), clip("b.wav"), clip("c.wav")], share, seed=0)
    assert rest and held_out


def test_what_cannot_be_split_is_one_sentence() -> None:
    with pytest.raises(DataError, match="two are needed"):
        split_by_recording([clip("a.wav"), clip("a.wav")], 0.5, seed=0)
    for share in (0.0, 1.0, float("nan")):
        with pytest.raises(ConfigError, match="between 0 and 1"):
            split_by_recording([clip("a.wav"), clip("b.wav")], share, seed=0)


def test_captions_come_clip_by_clip() -> None:
    assert list(corpus_captions([clip("b"), clip("a")])) == ["b one", "b two", "a one", "a two"]
