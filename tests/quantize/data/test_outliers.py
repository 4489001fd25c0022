"""Recordings of no known class: read, heard in scenes, learnt from without the teacher, measured and attributed."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from edge_aac.errors import ConfigError, DataError, UsageError
from edge_aac.models.seq2seq import Captioner
from edge_aac.timebase import SAMPLE_RATE
from quantize.bundles.card import write_card
from quantize.bundles.training_data import outliers_of, training_data_of
from quantize.data.clips import COLUMNS, load_clips, load_outliers
from quantize.data.scenes import SceneBuilder, SceneRecipe
from quantize.data.sound_bank import MixRecipe, SoundBank
from quantize.data.unknown import outlying_sound
from quantize.evaluation.windows import evaluation_windows
from quantize.training.batches import Batch, collate
from quantize.training.recipe import Recipe, load_recipe
from quantize.training.sources import SceneSource, open_example_source
from quantize.training.teacher import Teacher
from quantize.training.train import note_outliers
from quantize.training.trainee import CaptionObjective, DistillObjective, Projections, Trainee
from tests.edge_aac.models.ensemble_bundles import tiny_member

HERTZ = (1000.0, 2000.0, 3000.0)


@pytest.fixture(scope="module")
def outliers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three whistles: two in fold 1, one in fold 2."""
    folder = tmp_path_factory.mktemp("outliers")
    rows = []
    for number, hertz in enumerate(HERTZ):
        whistle = 0.3 * np.sin(2.0 * np.pi * hertz * np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE)
        soundfile.write(folder / f"{number}.flac", whistle, SAMPLE_RATE)
        rows.append([f"{number}.flac", "unknown", 1 + number // 2, "a whistle", "someone", "CC0", "a package"])
    with (folder / "clips.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([COLUMNS, *rows])
    return folder


@pytest.fixture(scope="module")
def unknown_recipe(taught_recipe: Recipe) -> Recipe:
    """Of a student; half of the scenes are unknown."""
    return replace(taught_recipe, scenes=replace(taught_recipe.scenes, unknown_probability=0.5))


def whistled(sound: np.ndarray) -> bool:
    """Whether a sound holds nearly nothing but a few tones."""
    power = np.square(np.abs(np.fft.rfft(sound)))
    return float(np.sort(power)[-len(power) // 20 :].sum()) > 0.9 * float(power.sum())


def test_folds_are_kept_apart(outliers: Path) -> None:
    assert [clip.path for clip in load_outliers(outliers, (1,))] == ["0.flac", "1.flac"]
    assert [clip.path for clip in load_outliers(outliers, (2,))] == ["2.flac"]
    with pytest.raises(DataError, match="no recording in folds"):
        load_outliers(outliers, (3,))


def test_a_known_class_among_them_is_refused(recordings: Path) -> None:
    with pytest.raises(DataError, match=r"'rain': recordings of no known class are labelled \"unknown\""):
        load_outliers(recordings, (1,))


def test_what_is_not_labelled_a_known_class_is_no_recording_to_learn_from(outliers: Path) -> None:
    with pytest.raises(DataError, match="no words for the class 'unknown'"):
        load_clips(outliers, (1,))


@pytest.mark.parametrize("room", [4000, 40_000, 160_000])
def test_they_fit_their_room_and_are_not_silent(outliers: Path, room: int) -> None:
    waveforms = [clip.waveform for clip in load_outliers(outliers, (1, 2))]
    for seed in range(30):
        sound = outlying_sound(waveforms, room, np.random.default_rng(seed))
        assert 0 < len(sound) <= room and sound.dtype == np.float32
        assert np.abs(sound).max() > 0.01 and np.isfinite(sound).all()
        assert np.array_equal(sound, outlying_sound(waveforms, room, np.random.default_rng(seed)))


def test_a_short_one_is_heard_once_again_and_again_and_two_together(outliers: Path) -> None:
    waveforms = [clip.waveform for clip in load_outliers(outliers, (1, 2))]
    seconds = [len(outlying_sound(waveforms, 160_000, np.random.default_rng(n))) / SAMPLE_RATE for n in range(60)]
    assert min(seconds) < 0.8 and max(seconds) > 3.0


def test_most_unknown_scenes_hold_them_and_the_others_do_not(recordings: Path, outliers: Path) -> None:
    clips, unknown = load_clips(recordings, (1,)), load_outliers(outliers, (1,))
    builder = SceneBuilder(clips, SceneRecipe(unknown_probability=1.0), unknown)
    sounds = [builder.unknown_sound(80_000, np.random.default_rng(seed)) for seed in range(80)]
    assert np.mean([whistled(sound) for sound in sounds]) > 0.6
    scene = builder.scene(np.random.default_rng(0))
    assert scene.relation == "unknown" and not scene.events and not scene.activity.any()


def test_the_bank_of_short_mixes_holds_them(recordings: Path, outliers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quantize.data.sound_bank.UNKNOWN_SOUNDS", 12)
    monkeypatch.setattr("quantize.data.sound_bank.NOISES", 1)
    clips, unknown = load_clips(recordings, (1,)), load_outliers(outliers, (1,))
    banks = [
        SoundBank(SceneBuilder(clips, SceneRecipe(), some), clips, MixRecipe(1 * (1.0,), unknown_probability=0.5), 0)
        for some in ([], unknown)
    ]
    assert banks[0].unknown.shape == banks[1].unknown.shape
    assert not torch.equal(banks[0].unknown, banks[1].unknown)


def test_a_source_hears_those_of_the_training_folds_and_says_so(
    unknown_recipe: Recipe, recordings: Path, outliers: Path
) -> None:
    source = SceneSource(unknown_recipe, recordings, outliers)
    assert source.fingerprint()["outliers"] == ["0.flac", "1.flac"]
    assert "outliers" not in SceneSource(unknown_recipe, recordings).fingerprint()
    heard = source.examples(None, unknown_recipe.train, 0, masked=False)
    unheard = SceneSource(unknown_recipe, recordings).examples(None, unknown_recipe.train, 0, masked=False)
    places = [place for place in range(12) if heard[place].unknown]
    assert 2 <= len(places) <= 10
    assert any(not torch.equal(heard[place].fbank, unheard[place].fbank) for place in places)


def test_a_corpus_has_none(tmp_path: Path, outliers: Path) -> None:
    with pytest.raises(ConfigError, match="leave --outliers out"):
        open_example_source(load_recipe("clotho-small"), tmp_path, tmp_path, outliers=outliers)


@pytest.fixture
def batch(unknown_recipe: Recipe, recordings: Path, outliers: Path) -> Batch:
    source = SceneSource(unknown_recipe, recordings, outliers)
    from quantize.data.tokenizer import train_tokenizer

    tokenizer = train_tokenizer(source.captions(), unknown_recipe.model.decoder.vocab_size)
    examples = source.examples(tokenizer, replace(unknown_recipe.train, captions_per_scene=2), 0, masked=False)
    return collate([examples[place] for place in range(8)])


@pytest.fixture
def models(unknown_recipe: Recipe) -> Iterator[tuple[Trainee, Teacher]]:
    from quantize.models.captioner import Captioner as Model

    torch.manual_seed(0)
    config = unknown_recipe.model
    student, teacher = Model(config), Model(config)
    settings = unknown_recipe.distill
    yield (
        Trainee(student, projections=Projections(config, config)).eval(),
        Teacher(teacher, None, settings.top_tokens, settings.temperature),
    )


def compared(models: tuple[Trainee, Teacher], recipe: Recipe, batch: Batch, follow: bool) -> dict[str, float]:
    trainee, teacher = models
    settings = replace(recipe.distill, distil_unknown=follow)
    captions = CaptionObjective(replace(recipe.train, contrastive_weight=0.0))
    with torch.no_grad():
        terms = DistillObjective(captions, settings, teacher)(trainee, batch)
    return {name: float(term) for name, term in terms.items()}


def test_a_teacher_that_is_not_followed_on_the_unknown_teaches_the_rest_alone(
    models: tuple[Trainee, Teacher], unknown_recipe: Recipe, batch: Batch
) -> None:
    assert batch.unknown is not None and 0 < int(batch.unknown.sum()) < 8
    signals = models[1].signals(batch.fbank, batch.decoder_input_ids)
    other = replace(
        signals,
        **{
            name: torch.where(
                batch.unknown.reshape(-1, *[1] * (getattr(signals, name).dim() - 1)),
                getattr(signals, name) + 3.0,
                getattr(signals, name),
            )
            for name in ("hidden", "memory", "audio_embedding", "activity_logits")
        },
    )
    right, wrong = replace(batch, signals=signals), replace(batch, signals=other)
    names = ("teacher_hidden", "teacher_memory", "teacher_embedding", "teacher_similarity", "teacher_activity")
    with_unknown = [compared(models, unknown_recipe, one, follow=True) for one in (right, wrong)]
    without_unknown = [compared(models, unknown_recipe, one, follow=False) for one in (right, wrong)]
    for name in names:
        assert with_unknown[0][name] != pytest.approx(with_unknown[1][name], rel=1e-3), name
        assert without_unknown[0][name] == pytest.approx(without_unknown[1][name], rel=1e-6), name


def test_a_batch_of_nothing_but_the_unknown_owes_the_teacher_nothing(
    models: tuple[Trainee, Teacher], unknown_recipe: Recipe, batch: Batch
) -> None:
    all_unknown = replace(batch, unknown=torch.ones(8, dtype=torch.bool))
    terms = compared(models, unknown_recipe, all_unknown, follow=False)
    assert all(terms[name] == 0.0 for name in terms if name.startswith("teacher_"))
    assert np.isfinite(terms["loss"]) and terms["loss"] > 0.0


def test_what_a_run_heard_is_attributed(
    unknown_recipe: Recipe, recordings: Path, outliers: Path, tmp_path: Path
) -> None:
    note_outliers(SceneSource(unknown_recipe, recordings, outliers), tmp_path)
    data_used = training_data_of(unknown_recipe, recordings, outliers=outliers_of(tmp_path, outliers))
    unknown = [recording for recording in data_used.recordings if recording.label == "unknown"]
    assert [(one.file, one.title, one.author) for one in unknown] == [
        ("0.flac", "a whistle", "someone"),
        ("1.flac", "a whistle", "someone"),
    ]


def test_a_run_that_heard_none_attributes_none(
    unknown_recipe: Recipe, recordings: Path, outliers: Path, tmp_path: Path
) -> None:
    note_outliers(SceneSource(unknown_recipe, recordings), tmp_path)
    assert not list(tmp_path.iterdir()) and outliers_of(tmp_path, outliers) == []


def test_heard_ones_cannot_be_left_unattributed(
    unknown_recipe: Recipe, recordings: Path, outliers: Path, tmp_path: Path
) -> None:
    source = SceneSource(unknown_recipe, recordings, outliers)
    note_outliers(source, tmp_path)
    with pytest.raises(ConfigError, match="from 2 recordings of other sounds: name their folder with --outliers"):
        outliers_of(tmp_path, None)
    other = tmp_path / "other"
    shutil.copytree(outliers, other)
    rows = (other / "clips.csv").read_text(encoding="utf-8").replace("0.flac", "2.flac")
    (other / "clips.csv").write_text(rows, encoding="utf-8")
    with pytest.raises(DataError, match=r"learnt from 0\.flac, which .* does not list"):
        outliers_of(tmp_path, other)
    (tmp_path / "last.pt").touch()
    note_outliers(source, tmp_path)
    with pytest.raises(ConfigError, match="holds a run with other outliers"):
        note_outliers(SceneSource(unknown_recipe, recordings), tmp_path)


def test_the_card_counts_them_apart_from_what_can_be_named(
    unknown_recipe: Recipe, recordings: Path, outliers: Path, tmp_path: Path
) -> None:
    manifest: dict[str, Any] = {
        "name": "small",
        "version": "1",
        "license": "CC0-1.0",
        "attributions": ["Made here"],
        "parameters": {"captioner": 1000, "text_embedder": 1000},
        "quality": {},
        "graphs": {},
    }
    cards = []
    for given in (outliers, None):
        run = tmp_path / f"run-{len(cards)}"
        run.mkdir()
        note_outliers(SceneSource(unknown_recipe, recordings, given), run)
        data_used = training_data_of(unknown_recipe, recordings, outliers=outliers_of(run, given))
        write_card(tmp_path / "README.md", manifest, asdict(unknown_recipe), data_used.recordings)
        cards.append(" ".join((tmp_path / "README.md").read_text(encoding="utf-8").split()))
    for card in cards:
        assert "3 classes of sound (clock tick, dog bark, rain)" in card and "6 recordings, folds 1: 6 CC0" in card
    assert "2 recordings of other sounds, from 1 sources" in cards[0] and "2 recordings of others taught it" in cards[0]
    assert "other sounds, from" not in cards[1] and "made-up sounds alone taught it" in cards[1]


def test_held_out_ones_are_measured(
    recordings: Path, outliers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner = Captioner.open(tiny_member(tmp_path / "tiny", seed=1))
    windows = [w for w in evaluation_windows(captioner, recordings, 2, 2, outliers=outliers) if w.kind == "outlier"]
    assert [(w.source, w.truth) for w in windows] == [("2.flac", ())]
    monkeypatch.setattr("quantize.evaluation.windows.attributions", lambda captioner: {"2.flac": "unknown"})
    with pytest.raises(UsageError, match="trained on 1 recordings of fold 2"):
        evaluation_windows(captioner, recordings, 2, 2, outliers=outliers)
