"""Mixtures: the same by number, of nothing that is held out, changed as the recipe says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_aac.errors import ConfigError, DataError
from edge_aac.timebase import SAMPLE_RATE
from quantize.data.sounds.mixtures import MixtureMaker, MixtureRecipe
from quantize.data.sounds.pieces import room_response
from quantize.data.sounds.store import SoundStore, StoredSound, StoreWriter, sixteen_bit

PLAIN = MixtureRecipe(
    sound_counts=(1.0,),
    speed_probability=0.0,
    equaliser_probability=0.0,
    distance_probability=0.0,
    repeat_probability=0.0,
    noise_probability=0.0,
)


def tone(hertz: float, seconds: float) -> np.ndarray:
    return 0.1 * np.sin(2.0 * np.pi * hertz * np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE)


def strongest_hz(waveform: np.ndarray) -> float:
    power = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    return float(np.argmax(power)) * SAMPLE_RATE / len(waveform)


@pytest.fixture
def store(tmp_path: Path) -> SoundStore:
    writer = StoreWriter(tmp_path)
    for source, hertz, seconds, fold in (
        ("short", 507.3, 0.5, 1),
        ("long", 1000.0, 9.0, 2),
        ("held", 3000.0, 2.0, 4),
    ):
        row = StoredSound("", f"{hertz:.0f} Hz", "", fold, "CC0-1.0", "us", "")
        writer.append(source, [(row, sixteen_bit(tone(hertz, seconds)))])
    return SoundStore.open(tmp_path)


def test_a_mixture_is_the_same_whenever_and_wherever_it_is_asked_for(store: SoundStore) -> None:
    one, other = (MixtureMaker(store, MixtureRecipe(), 7, (4,)) for _ in range(2))
    for index in reversed(range(12)):
        other.mixture(0, index)
    for index in range(12):
        first, again = one.mixture(0, index), other.mixture(0, index)
        assert np.array_equal(first.waveform, again.waveform)
        assert first.rows == again.rows
    assert not np.array_equal(one.mixture(0, 0).waveform, one.mixture(1, 0).waveform)
    assert not np.array_equal(
        one.mixture(0, 0).waveform, MixtureMaker(store, MixtureRecipe(), 8, (4,)).mixture(0, 0).waveform
    )


def test_mixtures_have_the_length_and_the_peak_of_the_recipe(store: SoundStore) -> None:
    maker = MixtureMaker(store, MixtureRecipe(length_s=3.0, peak_db=(-20.0, -6.0)), 1, (4,))
    for index in range(40):
        waveform = maker.mixture(0, index).waveform
        assert (waveform.shape, waveform.dtype) == ((3 * SAMPLE_RATE,), np.float32)
        assert 0.1 <= np.abs(waveform).max() <= 10 ** (-6 / 20) + 1e-6


def test_no_mixture_holds_a_held_out_sound(store: SoundStore) -> None:
    maker = MixtureMaker(store, MixtureRecipe(), 1, (4,))
    heard = {row.source for index in range(60) for row in maker.mixture(0, index).rows}
    assert heard == {"short", "long"}
    with pytest.raises(DataError, match="no sound is left"):
        MixtureMaker(store, MixtureRecipe(), 1, (1, 2, 4))


def test_sources_are_drawn_as_often_as_their_weights_say(store: SoundStore) -> None:
    recipe = MixtureRecipe(sound_counts=(1.0,), source_weights=(("lon", 3.0), ("held", 0.0)))
    maker = MixtureMaker(store, recipe, 1, ())
    drawn = [maker.mixture(0, index).rows[0].source for index in range(400)]
    assert "held" not in drawn
    assert 0.67 < drawn.count("long") / 400 < 0.83


def test_a_plain_sound_is_heard_as_it_is(store: SoundStore) -> None:
    maker = MixtureMaker(store, PLAIN, 1, (1, 4))
    assert strongest_hz(maker.mixture(0, 0).waveform) == pytest.approx(1000.0, abs=1.0)
    short = MixtureMaker(store, PLAIN, 1, (2, 4)).mixture(0, 0).waveform
    assert np.count_nonzero(short) == pytest.approx(0.5 * SAMPLE_RATE, rel=0.05)
    starts = {int(np.flatnonzero(MixtureMaker(store, PLAIN, 1, (2, 4)).mixture(0, i).waveform)[0]) for i in range(8)}
    assert len(starts) == 8


def test_speed_moves_the_pitch(store: SoundStore) -> None:
    recipe = MixtureRecipe(
        **{**PLAIN.__dict__, "speed_probability": 1.0, "speed_octaves": 0.5},
    )
    maker = MixtureMaker(store, recipe, 1, (1, 4))
    pitches = [strongest_hz(maker.mixture(0, index).waveform) for index in range(30)]
    assert 1000.0 * 2**-0.51 < min(pitches) < 850.0
    assert 1150.0 < max(pitches) < 1000.0 * 2**0.51


def test_a_short_sound_is_repeated(store: SoundStore) -> None:
    recipe = MixtureRecipe(**{**PLAIN.__dict__, "repeat_probability": 1.0})
    maker = MixtureMaker(store, recipe, 1, (2, 4))
    heard_s = [np.count_nonzero(maker.mixture(0, index).waveform) / SAMPLE_RATE for index in range(20)]
    assert min(heard_s) >= 0.95
    assert max(heard_s) > 2.0


def test_the_equaliser_changes_the_balance_and_no_frequency(store: SoundStore) -> None:
    recipe = MixtureRecipe(
        **{**PLAIN.__dict__, "sound_counts": (0.0, 1.0), "gain_db": 0.0, "equaliser_probability": 1.0}
    )
    maker = MixtureMaker(store, recipe, 1, (1, 4))
    waveform = maker.mixture(0, 3).waveform
    assert strongest_hz(waveform) == pytest.approx(1000.0, abs=1.0)


def test_a_distant_sound_rings_on_and_dies_within_the_reverberation_time() -> None:
    recipe = MixtureRecipe(reverberation_s=(0.5, 0.5), direct_db=(0.0, 0.0))
    response = room_response(recipe, np.random.default_rng(3))
    assert len(response) == SAMPLE_RATE // 2
    energy = np.square(response, dtype=np.float64)
    assert energy[1:].sum() == pytest.approx(1.0, rel=1e-3)
    # Energy falls by 60 dB over the reverberation time, so by 24 dB in two fifths of it.
    early = energy[SAMPLE_RATE // 20 : SAMPLE_RATE // 10].sum()
    late = energy[SAMPLE_RATE // 4 : 3 * SAMPLE_RATE // 10].sum()
    assert 10.0 * np.log10(early / late) == pytest.approx(24.0, abs=2.5)


def test_a_distant_sound_in_a_mixture_lasts_longer(store: SoundStore) -> None:
    near = MixtureMaker(store, PLAIN, 1, (2, 4)).mixture(0, 5).waveform
    far = MixtureMaker(store, MixtureRecipe(**{**PLAIN.__dict__, "distance_probability": 1.0}), 1, (2, 4))
    assert np.count_nonzero(np.abs(far.mixture(0, 5).waveform) > 1e-4) > 1.1 * np.count_nonzero(np.abs(near) > 1e-4)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("sound_counts", (0.5, 0.2)), ("length_s", 0.1), ("peak_db", (0.0, -20.0)), ("gain_db", -1.0)],
)
def test_recipes_without_sense_are_refused(setting: str, value: object) -> None:
    with pytest.raises(ConfigError, match=setting):
        MixtureRecipe(**{setting: value})
