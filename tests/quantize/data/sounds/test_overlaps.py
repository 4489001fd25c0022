"""Copies of held-out recordings are found through level, cut, codec and rate; what is merely alike is not."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from edge_aac.timebase import SAMPLE_RATE
from quantize.data.sounds.overlaps import copies_of_labelled, overlaps
from quantize.data.sounds.store import SoundStore, StoredSound, StoreWriter, sixteen_bit
from quantize.data.sounds.synthesised import synthesised_sounds


def natural(seed: int, seconds: float = 3.0) -> np.ndarray:
    """Noise bands with levels of their own that change all the time, as of something that moves."""
    rng = np.random.default_rng(seed)
    length = round(seconds * SAMPLE_RATE)
    total = np.zeros(length)
    for centre in np.geomspace(150.0, 6500.0, 14):
        carrier = np.sin(2.0 * np.pi * np.cumsum(centre * (1.0 + 0.05 * rng.standard_normal(length))) / SAMPLE_RATE)
        knots = rng.uniform(0.0, 1.0, round(seconds * 12))
        total += carrier * np.interp(np.linspace(0, len(knots) - 1, length), np.arange(len(knots)), knots)
    return 0.3 * total / np.abs(total).max()


def through_codec(waveform: np.ndarray) -> np.ndarray:
    written = io.BytesIO()
    soundfile.write(written, soxr.resample(waveform, SAMPLE_RATE, 44_100), 44_100, format="OGG")
    written.seek(0)
    return soxr.resample(soundfile.read(written)[0], 44_100, SAMPLE_RATE)


def stored(tmp_path: Path, sounds: dict[tuple[str, str, int], np.ndarray]) -> SoundStore:
    writer = StoreWriter(tmp_path)
    for source in dict.fromkeys(source for source, _, _ in sounds):
        rows = [
            (StoredSound("", title, "bell", fold, "CC0", "A. Author", ""), sixteen_bit(waveform))
            for (own, title, fold), waveform in sounds.items()
            if own == source
        ]
        writer.append(source, rows)
    return SoundStore.open(tmp_path)


def test_copies_are_found_and_others_are_not(tmp_path: Path) -> None:
    one = natural(1)
    around = np.concatenate([natural(8, 1.3), 0.5 * one, natural(9, 0.7)])
    store = stored(
        tmp_path,
        {
            ("clips", "one", 4): one,
            ("clips", "two", 2): natural(2),
            ("debian:a", "quieter", 1): 0.1 * one,
            ("debian:a", "cut", 1): one[round(1.1 * SAMPLE_RATE) : round(2.2 * SAMPLE_RATE)],
            ("debian:a", "inside", 1): around,
            ("debian:a", "codec", 1): through_codec(one),
            ("debian:a", "other", 1): natural(3),
            ("debian:a", "silence", 1): np.full(20_000, 1e-5),
            ("debian:a", "click", 1): one[:1500],
            ("debian:b", "second", 3): 0.7 * natural(2),
        },
    )
    found = {(copy.found.title, copy.held_out.title) for copy in copies_of_labelled(store)}
    assert found == {
        ("quieter", "one"),
        ("cut", "one"),
        ("inside", "one"),
        ("codec", "one"),
        ("second", "two"),
    }


def test_different_sounds_of_the_same_kinds_are_no_copies(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path)
    for name, seed in (("one", 1), ("two", 2)):
        writer.append(name, ((row, samples[: 3 * SAMPLE_RATE]) for row, samples in synthesised_sounds(78, seed)))
    store = SoundStore.open(tmp_path)
    noises = {"white_noise", "pink_noise", "fan", "wind", "static", "clicks", "handling_noise", "drops", "engine"}
    first = [row for row in store.rows if row.source == "one" and row.title in noises]
    second = [row for row in store.rows if row.source == "two" and row.title in noises]
    assert len(first) == len(second) > 15
    assert [(copy.held_out.title, copy.found.title) for copy in overlaps(store, first, second)] == []
    assert {copy.found.start for copy in overlaps(store, first, first)} >= {
        row.start for row in first if row.title == "white_noise"
    }


@pytest.mark.parametrize("nothing", [0, 1])
def test_nothing_among_nothing(tmp_path: Path, nothing: int) -> None:
    store = stored(tmp_path, {("clips", "one", 4): natural(1)})
    assert overlaps(store, [] if nothing else store.rows, store.rows if nothing else []) == []
