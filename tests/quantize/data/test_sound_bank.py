"""Short mixes made of filter banks: what a mix of waveforms would give, with the truth of what is heard when."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from edge_aac.audio.features import filter_bank
from quantize.data.clips import load_clips
from quantize.data.lexicon import LABELS
from quantize.data.scenes import SceneBuilder, SceneRecipe
from quantize.data.sound_bank import (
    BANK_SAMPLES,
    LOG_FLOOR,
    NEPERS_A_DB,
    REFERENCE_LEVEL,
    SCALE,
    MixDataset,
    MixRecipe,
    SoundBank,
)
from quantize.data.sound_shaping import coloured_noise

FRAMES, BANK_FRAMES = 64, 498
# Nothing at random but which sound and where.
PLAIN = MixRecipe(
    sound_counts=(0.0, 1.0),
    frames=FRAMES,
    variants_per_clip=2,
    gain_db=0.0,
    bed_probability=0.0,
    attenuation_db=(0.0, 0.0),
    shift_bins=0,
    equaliser_db=0.0,
)


@pytest.fixture(scope="module")
def bank(recordings: Path) -> SoundBank:
    clips = load_clips(recordings, (1,))
    return SoundBank(SceneBuilder(clips, SceneRecipe()), clips, PLAIN, seed=7)


def made_bank(**rows: Tensor) -> Any:
    """A bank of one row a class: log powers (498, 128) of which what lies above the floor is heard."""
    labels = list(rows)
    logs = torch.stack([rows[label] for label in labels])
    return SimpleNamespace(
        fbank=(logs / SCALE).half(),
        heard=(logs > LOG_FLOOR + 1.0).any(dim=2),
        by_label={label: [row] for row, label in enumerate(labels)},
        noise=torch.full((1, BANK_FRAMES, 128), -5.0 / SCALE).half(),
    )


def steady(level: float) -> Tensor:
    return torch.full((BANK_FRAMES, 128), level)


def logs(dataset: MixDataset, index: int = 0) -> Tensor:
    return dataset[index][0] * SCALE


def test_powers_of_unrelated_sounds_add() -> None:
    """Over 5 s to 1 dB in every band; in a single frame and bin two waves may strengthen or cancel each other."""
    rng = np.random.default_rng(0)
    first, second = (0.05 * coloured_noise(BANK_SAMPLES, rng) for _ in range(2))
    parts = [torch.from_numpy(filter_bank(wave)) * SCALE for wave in (first, second)]
    whole = torch.from_numpy(filter_bank(first + second)) * SCALE
    # Below 200 Hz some of the bands are narrower than a bin of the spectrum, and always silent.
    filled = whole.amax(dim=0) > LOG_FLOOR + 1.0
    assert int(filled.sum()) > 110
    mixed, whole, first_alone = torch.logaddexp(*parts)[:, filled], whole[:, filled], parts[0][:, filled]
    levels = [power.exp().mean(dim=0).log() / NEPERS_A_DB for power in (mixed, whole, first_alone)]
    assert float((levels[0] - levels[1]).abs().max()) < 1.0
    assert float((levels[0] - levels[1]).abs().mean()) < 0.25
    assert float((levels[2] - levels[1]).abs().mean()) > 1.0
    assert float((mixed - whole).abs().median()) < 0.7


def test_a_mix_of_two_is_the_sum_of_their_powers() -> None:
    mixes = replace(PLAIN, sound_counts=(0.0, 0.0, 1.0))
    got = logs(MixDataset(made_bank(rain=steady(2.0), dog_bark=steady(1.0)), mixes, 1, 0, 4))
    # A piece that begins or ends within the mix leaves the other alone there.
    sums = torch.tensor([LOG_FLOOR, 1.0, 2.0, float(np.logaddexp(1.0, 2.0))])
    nearest = (got[..., None] - sums).abs().min(dim=-1)
    assert float(nearest.values.max()) < 5e-3, "half precision"
    assert 3 in nearest.indices.unique().tolist()


def test_the_bank_holds_sounds_at_one_level_and_where_they_are_heard(bank: SoundBank, recordings: Path) -> None:
    clips = load_clips(recordings, (1,))
    assert bank.fbank.shape == (2 * len(clips), BANK_FRAMES, 128) and bank.fbank.dtype == torch.float16
    assert bank.heard.shape == (2 * len(clips), BANK_FRAMES)
    assert set(bank.by_label) == {"rain", "dog_bark", "clock_tick"}
    assert sorted(row for rows in bank.by_label.values() for row in rows) == list(range(2 * len(clips)))
    for index, clip in enumerate(clips):
        assert {2 * index, 2 * index + 1} <= set(bank.by_label[clip.label])
    # The first variant again, from the same random numbers.
    builder = SceneBuilder(clips, SceneRecipe())
    sound, active = builder.variant(clips[0], BANK_SAMPLES, np.random.default_rng(7))
    padded = np.pad(sound * REFERENCE_LEVEL, (0, BANK_SAMPLES - len(sound)))
    expected = torch.from_numpy(filter_bank(padded))
    assert torch.allclose(bank.fbank[0].float(), expected, atol=2e-3)
    assert torch.equal(bank.heard[0][: len(active)], torch.from_numpy(active[:BANK_FRAMES]))
    assert not bank.heard[0][len(active) :].any()
    assert bool(bank.fbank.isfinite().all()) and bool(bank.noise.isfinite().all())


def test_frames_that_are_heard_are_the_loud_ones(bank: SoundBank) -> None:
    for rows in bank.by_label.values():
        for row in rows:
            heard, levels = bank.heard[row], bank.fbank[row].float().amax(dim=1)
            assert bool(heard.any())
            if not heard.all():
                assert float(levels[heard].mean()) > float(levels[~heard].mean())


def test_a_single_sound_is_a_piece_of_its_row_with_its_activity(bank: SoundBank) -> None:
    dataset = MixDataset(bank, PLAIN, 1, 0, 12)
    for index in range(12):
        fbank, activity = dataset[index]
        assert fbank.shape == (FRAMES, 128) and fbank.dtype == torch.float32
        assert activity.shape == (FRAMES, len(LABELS)) and activity.dtype == torch.bool
        (label,) = activity.any(dim=0).nonzero()[:, 0].tolist()
        assert any(_is_piece(bank, row, fbank, activity[:, label]) for row in bank.by_label[LABELS[label]])


def _is_piece(bank: SoundBank, row: int, fbank: Tensor, heard: Tensor) -> bool:
    """Whether a mix is so many frames of a row, with the floor before and behind it."""
    margin = torch.full((FRAMES, 128), LOG_FLOOR / SCALE)
    padded = torch.cat([margin, bank.fbank[row].float().clamp(min=LOG_FLOOR / SCALE), margin])
    silence = torch.zeros(FRAMES, dtype=torch.bool)
    padded_heard = torch.cat([silence, bank.heard[row], silence])
    return any(
        torch.equal(padded_heard[start : start + FRAMES], heard)
        # Adding the floor's own power lifts what is as quiet as it.
        and float((padded[start : start + FRAMES] - fbank).abs().max()) < 0.12
        for start in range(BANK_FRAMES + FRAMES)
    )


def test_every_mix_with_a_sound_has_a_moment_at_which_it_is_heard(bank: SoundBank) -> None:
    counts = (0.0, 0.4, 0.4, 0.2)
    dataset = MixDataset(bank, replace(PLAIN, sound_counts=counts, frames=20), 1, 0, 60)
    drawn = [int(dataset[index][1].any(dim=0).sum()) for index in range(60)]
    assert set(drawn) == {1, 2, 3}


def test_a_sound_that_is_never_heard_is_no_error() -> None:
    silent = made_bank(rain=steady(LOG_FLOOR), dog_bark=steady(LOG_FLOOR))
    fbank, activity = MixDataset(silent, PLAIN, 1, 0, 1)[0]
    assert not activity.any() and bool(fbank.isfinite().all())


def test_the_second_sound_differs_in_level_by_no_more_than_asked() -> None:
    mixes = replace(PLAIN, sound_counts=(0.0, 0.0, 1.0), gain_db=6.0)
    far_apart = made_bank(rain=torch.cat([steady(0.0)[:, :64], steady(LOG_FLOOR)[:, :64]], dim=1),
                          dog_bark=torch.cat([steady(LOG_FLOOR)[:, :64], steady(0.0)[:, :64]], dim=1))  # fmt: skip
    differences = []
    for index in range(40):
        got = logs(MixDataset(far_apart, mixes, 1, 0, 40), index)
        differences.append(float(got[:, 0].max() - got[:, 127].max()) / NEPERS_A_DB)
    assert max(map(abs, differences)) < 6.1
    assert min(differences) < -3.0 and max(differences) > 3.0


def test_the_whole_mix_is_attenuated_but_not_below_silence() -> None:
    level = logs(MixDataset(made_bank(rain=steady(2.0), dog_bark=steady(2.0)), PLAIN, 1, 0, 1)).max()
    quieter = replace(PLAIN, attenuation_db=(20.0, 20.0))
    got = logs(MixDataset(made_bank(rain=steady(2.0), dog_bark=steady(2.0)), quieter, 1, 0, 1))
    assert float(level - got.max()) == pytest.approx(20.0 * NEPERS_A_DB, abs=1e-3)
    assert float(got.min()) >= LOG_FLOOR - 1e-4
    drowned = replace(PLAIN, attenuation_db=(200.0, 200.0))
    nothing = logs(MixDataset(made_bank(rain=steady(2.0), dog_bark=steady(2.0)), drowned, 1, 0, 1))
    assert torch.allclose(nothing, torch.full_like(nothing, LOG_FLOOR))


def test_the_floor_is_the_filter_bank_of_silence() -> None:
    silence = filter_bank(np.zeros(16_000, np.float32))
    assert np.allclose(silence * SCALE, LOG_FLOOR, atol=1e-2)


def test_without_a_sound_there_is_a_bed_of_noise_and_no_activity() -> None:
    quiet = replace(PLAIN, sound_counts=(1.0,))
    dataset = MixDataset(made_bank(rain=steady(2.0), dog_bark=steady(2.0)), quiet, 1, 0, 20)
    for index in range(20):
        fbank, activity = dataset[index]
        assert not activity.any()
        below_db = (-5.0 - fbank * SCALE) / NEPERS_A_DB
        assert float(below_db.min()) > -0.1 and float(below_db.max()) < 20.1


def test_an_unknown_sound_is_heard_but_is_no_activity() -> None:
    """Alone where there is no other, else beside it."""
    bank = made_bank(rain=steady(LOG_FLOOR), dog_bark=steady(LOG_FLOOR))
    bank.unknown = torch.full((1, BANK_FRAMES, 128), 3.0 / SCALE).half()
    alone = replace(PLAIN, sound_counts=(1.0,), unknown_probability=1.0)
    for index in range(5):
        fbank, activity = MixDataset(bank, alone, 1, 0, 5)[index]
        assert not activity.any() and float(fbank.max()) * SCALE == pytest.approx(3.0, abs=0.02)
    loud = made_bank(rain=steady(2.0), dog_bark=steady(2.0))
    loud.unknown = bank.unknown
    both = [MixDataset(loud, replace(PLAIN, unknown_probability=share), 1, 0, 1)[0][1] for share in (1.0, 0.0)]
    assert all(int(activity.any(dim=0).sum()) == 1 for activity in both)


def test_a_bed_lies_as_far_below_as_asked() -> None:
    bedded = replace(PLAIN, bed_probability=1.0, bed_snr_db=(10.0, 10.0))
    row = steady(LOG_FLOOR)
    row[200:210] = 5.0
    got = logs(MixDataset(made_bank(rain=row, dog_bark=row), bedded, 1, 0, 1))
    assert float(got.min()) == pytest.approx(-5.0 - 10.0 * NEPERS_A_DB, abs=1e-2)
    assert float(got.max()) == pytest.approx(5.0, abs=1e-2)


def test_a_shift_moves_the_bands_and_repeats_the_edge() -> None:
    row = steady(LOG_FLOOR)
    row[:, 60] = 3.0
    row[:, 0], row[:, 127] = 1.0, 2.0
    shifted = replace(PLAIN, shift_bins=3)
    dataset = MixDataset(made_bank(rain=row, dog_bark=row), shifted, 1, 0, 60)
    seen = set()
    for index in range(60):
        frame = logs(dataset, index).amax(dim=0)
        moved = int(frame.argmax()) - 60
        seen.add(moved)
        edge = frame[:moved] if moved > 0 else frame[128 + moved :] if moved else frame[:1]
        assert torch.allclose(edge, torch.full_like(edge, 1.0 if moved >= 0 else 2.0), atol=5e-3)
    assert seen == {-3, -2, -1, 0, 1, 2, 3}


def test_the_equaliser_is_smooth_and_within_its_bounds() -> None:
    equalised = replace(PLAIN, equaliser_db=6.0)
    dataset = MixDataset(made_bank(rain=steady(2.0), dog_bark=steady(2.0)), equalised, 1, 0, 10)
    shapes = torch.stack([(logs(dataset, index).amax(dim=0) - 2.0) / NEPERS_A_DB for index in range(10)])
    assert float(shapes.abs().max()) <= 6.05
    assert float(shapes.diff(dim=1).abs().max()) < 12.0 / 25.4 + 0.05, "a straight line between six knots"
    assert float(shapes.std(dim=0).min()) > 0.5


def test_a_mix_depends_on_seed_epoch_and_index_alone(bank: SoundBank) -> None:
    mixes = replace(MixRecipe(), frames=FRAMES)

    def mix(seed: int, epoch: int, index: int) -> tuple[Tensor, Tensor]:
        return MixDataset(bank, mixes, seed, epoch, 100)[index]

    fbank, activity = mix(1, 2, 3)
    again, same = mix(1, 2, 3)
    assert torch.equal(fbank, again) and torch.equal(activity, same)
    for other in ((2, 2, 3), (1, 3, 3), (1, 2, 4)):
        assert not torch.equal(fbank, mix(*other)[0])
    dataset = MixDataset(bank, mixes, 1, 2, 100)
    assert len(dataset) == 100
    assert all(bool(dataset[index][0].isfinite().all()) for index in range(100))
    assert torch.equal(dataset[3][0], fbank), "whatever was drawn before it"
