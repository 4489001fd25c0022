"""A student of the tiny CLAP: from recordings of tones to a bundle that `edge-aac label` opens."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from edge_aac.audio.features import filter_bank
from edge_aac.bundle.store import check_all, open_bundle
from edge_aac.cli import main
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import ConfigError, DataError, InputMissingError, UsageError
from edge_aac.models.dual_encoder import DualEncoder
from edge_aac.models.dual_encoder_manifest import DualEncoderManifest
from edge_aac.timebase import SAMPLE_RATE
from quantize.cli.distill import distill
from quantize.data.everyday.lexicon import english
from quantize.data.sounds.store import StoredSound
from quantize.files import ATTRIBUTIONS
from quantize.models.clap.graphs import bundle_facts
from quantize.models.clap.loading import load_clap_weights
from quantize.models.dual_student import AnyClap, DualStudent, narrowed
from quantize.training.dual_encoder import DualTraining, PairedWindows, load_dual_run
from quantize.training.dual_objective import DualObjective, collate_pairs, similarity_divergence
from quantize.training.dual_recipe import DualRecipe, load_dual_recipe
from quantize.training.dual_sounds import DrawnWindows, Recordings, heard_by
from quantize.training.dual_texts import Texts, texts_of_file, texts_of_lexicon
from tests.quantize.data.everyday.stored_tones import stored_tones
from tests.quantize.models.audio_language_reference import Reference
from tests.quantize.training.distill_cases import RecordedProgress
from tests.quantize.training.dual_cases import LABELS, RECIPE, SOUNDS, write_recordings


@dataclass(frozen=True)
class Finished:
    """What a run was made of, its folder ``folder / "run"`` and its losses' means, an epoch each."""

    folder: Path
    teacher: AnyClap
    clap: Path
    recipe: DualRecipe
    epochs: list[dict[str, float]]

    @property
    def recordings(self) -> Recordings:
        return Recordings.open(self.folder / "data", self.recipe.train.held_out)

    @property
    def texts(self) -> Texts:
        return texts_of_file(self.folder / "texts.txt")

    def training(self, run: Path, recipe: DualRecipe | None = None) -> DualTraining:
        return DualTraining(recipe or self.recipe, self.teacher, self.recordings, self.texts, run)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("dual")
    clap = Reference.of("EDGE_AAC_REFERENCE_CLAP", "clap_tiny").folder
    write_recordings(folder / "data")
    lines = [*LABELS, "A whistle.", "a whistle and a low hum", ""]
    (folder / "texts.txt").write_text("\n".join(lines), encoding="utf-8")
    (folder / "own.toml").write_text(RECIPE, encoding="utf-8")
    made = Finished(folder, load_clap_weights(clap), clap, load_dual_recipe(str(folder / "own.toml")), [])
    made.training(folder / "run").train(RecordedProgress())
    log = (folder / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    made.epochs.extend(row for row in map(json.loads, log) if "epoch" in row)
    return made


def test_texts_of_a_file_are_plain_and_distinct(finished: Finished, tmp_path: Path) -> None:
    texts = finished.texts
    assert texts.texts == (*LABELS, "a whistle and a low hum") == texts.labels
    assert texts.saying("a_shrill_beep", english()) == (2,)
    assert texts.saying("", english()) == () == texts.saying("dog_bark", english())
    (tmp_path / "one.txt").write_text("Rain!\nrain\n", encoding="utf-8")
    with pytest.raises(DataError, match="fewer than two"):
        texts_of_file(tmp_path / "one.txt")
    with pytest.raises(InputMissingError):
        texts_of_file(tmp_path / "none.txt")


def test_the_lexicon_says_each_sound_in_several_ways() -> None:
    texts = texts_of_lexicon(english())
    said = [texts.texts[place] for place in texts.saying("dog_bark", english())]
    assert {"a dog barks", "a dog barking"} <= set(said)
    assert len({texts.groups[place] for place in texts.saying("dog_bark", english())}) == 1
    assert set(texts.labels) <= set(texts.texts) and len(set(texts.texts)) == len(texts.texts) > len(texts.labels)


def test_the_teacher_hears_whole_windows_without_their_silence(finished: Finished, tmp_path: Path) -> None:
    teacher = finished.teacher
    noise = np.random.default_rng(1).normal(0, 0.1, 12 * SAMPLE_RATE).astype(np.float32)
    long = StoredSound("", "noise", "", 1, "", "", "", 0, len(noise))
    windows = DrawnWindows(Recordings((long,), (), lambda row: noise), (long,), 1, 2)
    heard = heard_by(teacher, windows, tmp_path / "heard")
    sound = windows.sound(0)
    assert (len(sound), teacher.clip_length.samples) == (160_000, 64_000)
    clips = [teacher.clip_length.clip(sound[at : at + 64_000], SAMPLE_RATE) for at in (0, 48_000, 96_000)]
    rows = torch.nn.functional.normalize(teacher.embed_audio(torch.stack(clips)), dim=-1)
    wanted = torch.nn.functional.normalize(rows.mean(dim=0), dim=-1)
    np.testing.assert_allclose(heard[0], wanted.numpy(), atol=1e-5)
    # What is kept is not computed again, and is not believed when it is damaged.
    kept = tmp_path / "heard" / "00000000.npy"
    np.save(kept, np.ones_like(heard))
    assert (heard_by(teacher, windows, tmp_path / "heard") == 1.0).all()
    kept.write_bytes(b"damaged")
    with pytest.raises(DataError, match="delete it"):
        heard_by(teacher, windows, tmp_path / "heard")


def test_held_out_folds_are_not_learnt_from(finished: Finished, tmp_path: Path) -> None:
    assert {row.fold for row in finished.recordings.learnt} == {1}
    assert {row.fold for row in finished.recordings.held_out} == {2}
    with pytest.raises(DataError, match="no sound to learn from"):
        Recordings.open(finished.folder / "data", (1, 2))
    stored_tones(tmp_path / "store")
    store = Recordings.open(tmp_path / "store", (2, 4))
    assert {row.fold for row in store.learnt} == {1, 3}
    assert len(store.waveform(store.learnt[0])) == 5 * SAMPLE_RATE


def test_a_sound_is_said_by_its_label_or_as_the_teacher_finds_likely(finished: Finished) -> None:
    training = finished.training(finished.folder / "run")
    # So sure of its own scale that chance has no part.
    taught = replace(training.taught, scale=1e6)
    labelled = replace(training.texts, of_label={name: (3,) for name in SOUNDS})
    for texts, wanted in ((training.texts, None), (labelled, 3)):
        windows = PairedWindows(taught, texts, training.token_ids, finished.recipe.train, 0)
        for place in range(len(windows)):
            nearest = int((taught.read @ taught.heard[windows.number(place)]).argmax())
            said = nearest if wanted is None else wanted
            assert torch.equal(windows[place].read[0], taught.read[said]) and windows[place].group == said


def test_training_lowers_each_loss(finished: Finished) -> None:
    first, last = finished.epochs[0], finished.epochs[-1]
    assert all(last[term] < 0.5 * first[term] for term in ("feature", "similarity"))
    assert last["cosine_to_teacher"] > first["cosine_to_teacher"]
    training = finished.training(finished.folder / "run")
    texts = replace(training.texts, of_label={"hum": (0,), "buzz": (3,), "noise": (2,)})
    windows = PairedWindows(training.taught, texts, training.token_ids, finished.recipe.train, 0)
    batch = collate_pairs([windows[place] for place in range(8)])
    torch.manual_seed(0)
    student = DualStudent(training.recipe.sound, training.recipe.text, 24)
    objective = DualObjective(replace(finished.recipe.train, contrastive_weight=1.0), training.taught.scale)
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-2)
    losses = []
    for _ in range(15):
        losses.append(objective(student, batch)["contrastive"])
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.7 * losses[0]


def test_similarity_is_a_divergence() -> None:
    torch.manual_seed(0)
    one, other = torch.randn(3, 5), torch.randn(3, 5)
    assert float(similarity_divergence(one, one)) == pytest.approx(0.0, abs=1e-6)
    p, q = other.softmax(-1), one.softmax(-1)
    rows = (p * (p / q).log()).sum(-1).mean()
    p, q = other.T.softmax(-1), one.T.softmax(-1)
    assert float(similarity_divergence(one, other)) == pytest.approx(
        float(0.5 * (rows + (p * (p / q).log()).sum(-1).mean())), rel=1e-5
    )


def test_a_broken_off_run_ends_with_the_same_bits(finished: Finished, tmp_path: Path) -> None:
    recipe = finished.recipe.changed(epochs=3)
    recipe = replace(recipe, train=replace(recipe.train, scenes_per_epoch=8, checkpoint_steps=1))
    with pytest.raises(KeyboardInterrupt):
        finished.training(tmp_path / "broken", recipe).train(RecordedProgress(steps_left=4))
    for run in ("broken", "whole"):
        finished.training(tmp_path / run, recipe).train(RecordedProgress())
    whole, resumed = (load_dual_run(tmp_path / run)[0].state_dict() for run in ("whole", "broken"))
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_a_run_of_something_else_is_refused(finished: Finished, tmp_path: Path) -> None:
    run = finished.folder / "run"
    with pytest.raises(ConfigError, match="another recipe"):
        finished.training(run, finished.recipe.changed(seed=2))
    other = tmp_path / "texts.txt"
    other.write_text("rain\nwind\n" + (finished.folder / "texts.txt").read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(ConfigError, match="give a new folder|or a new folder"):
        DualTraining(finished.recipe, finished.teacher, finished.recordings, texts_of_file(other), run)
    with pytest.raises(InputMissingError, match="no run of a dual encoder"):
        load_dual_run(tmp_path)


def test_the_token_table_begins_as_the_teacher_s(finished: Finished) -> None:
    table = torch.randn(7, 3) @ torch.randn(3, 12)
    kept = narrowed(table, 5)
    assert kept.shape == (7, 5) and float(kept.std()) == pytest.approx(1.0, abs=0.02)
    centred = table - table.mean(dim=0)
    # Three directions hold all that there is: distances stay, but for one scale.
    ratio = torch.cdist(kept, kept)[0, 1:] / torch.cdist(centred, centred)[0, 1:]
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio), rtol=1e-3, atol=1e-4)
    student, tokenizer, recipe, _ = load_dual_run(finished.folder / "run")
    assert (
        recipe.text.vocab_size == tokenizer.get_vocab_size() < bundle_facts(finished.teacher).tokenizer.get_vocab_size()
    )
    assert student.to_teacher.weight.shape == (24, 20)


@pytest.fixture(scope="module")
def bundle(finished: Finished) -> Path:
    output = finished.folder / "bundle"
    places = {"--recipe": "own.toml", "--data": "data", "--texts": "texts.txt", "--run": "run", "--output": "bundle"}
    words = [word for name, place in places.items() for word in (name, str(finished.folder / place))]
    result = CliRunner().invoke(distill, ["--kind", "dual_encoder", "--teacher", str(finished.clap), *words])
    assert result.exit_code == 0, result.exception
    told = [line.partition(":")[0] for line in result.stderr.splitlines() if "max abs difference" in line]
    assert told == ["stem", "encoder", "text_embedder"]
    return output


def test_the_bundle_s_outputs_are_torch_s(finished: Finished, bundle: Path) -> None:
    opened = open_bundle(str(bundle))
    check_all(opened)
    manifest = opened.manifest_of(DualEncoderManifest)
    student, tokenizer, _, labels = load_dual_run(finished.folder / "run")
    assert manifest.hears_windows and tuple(manifest.labels) == labels
    assert manifest.logit_scale == pytest.approx(float(student.scale.detach()))
    assert (bundle / ATTRIBUTIONS).read_text(encoding="utf-8").count("somebody") >= 1
    model = DualEncoder(opened, EngineOptions(threads=1))
    texts = ["a whistle", "words that it never read"]
    for text, found in zip(texts, model.embed(texts), strict=True):
        ids = torch.tensor([tokenizer.encode(text).ids])
        with torch.no_grad():
            np.testing.assert_allclose(found, student.text(ids, torch.ones_like(ids))[0].numpy(), atol=1e-3)


def test_labels_rank_as_the_teacher_s(finished: Finished, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    teacher, scale = finished.teacher, bundle_facts(finished.teacher).logit_scale
    for name in SOUNDS:
        file = finished.folder / "data" / f"1-{name}.wav"
        with pytest.raises(SystemExit) as ended:
            main(["label", str(file), "--labels", *LABELS, "--bundle", str(bundle), "--format", "json"])
        assert not ended.value.code
        told = json.loads(capsys.readouterr().out.splitlines()[0])["labels"]
        sound, rate = soundfile.read(file, dtype="float32")
        heard = teacher.embed_audio(teacher.clip_length.clip(sound, rate)[None])
        cosines = teacher.similarity(heard, teacher.embed_text(LABELS))[0]
        order = [LABELS.index(label["label"]) for label in told]
        # Where the teacher itself makes a difference.
        apart = [(a, b) for a in range(4) for b in range(4) if cosines[a] > cosines[b] + 0.05 * scale]
        assert len(apart) >= 4 and all(order.index(a) < order.index(b) for a, b in apart), name


def test_sounds_are_told_apart_as_by_the_teacher(finished: Finished) -> None:
    student, *_ = load_dual_run(finished.folder / "run")
    taught = finished.training(finished.folder / "run").taught
    numbers = {taught.windows.row(number).label: number for number in range(len(taught.windows))}
    assert set(numbers) == set(SOUNDS)
    fbanks = torch.from_numpy(np.stack([taught.windows.fbank(number) for number in numbers.values()]))
    with torch.no_grad():
        found = torch.nn.functional.normalize(student.to_teacher(student.sound(fbanks)), dim=-1)
    cosines = found @ taught.heard[[*numbers.values()]].T
    noise = [*numbers].index("noise")
    assert int(cosines[noise].argmax()) == int(cosines[:, noise].argmax()) == noise, cosines


def test_a_stream_names_what_it_hears(finished: Finished, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--bundle", str(bundle), "--device", f"file:{finished.folder / 'data' / '1-hum.wav'}"]
    with pytest.raises(SystemExit) as ended:
        main(["stream", *words, "--label", "a low hum", "--label", "a shrill beep"])
    assert not ended.value.code
    assert "a low hum" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (("--kind", "dual_encoder", "--data", "x", "--run", "x"), "needs --teacher FOLDER"),
        (("--kind", "dual_encoder", "--teacher", "x", "--data", "x"), "needs --run FOLDER"),
        (("--kind", "dual_encoder", "--examples", "x"), "--examples is not for --kind dual_encoder"),
        (("--kind", "prompted", "--texts", "x"), "--texts is not for --kind prompted"),
    ],
)
def test_what_the_verb_refuses(words: Sequence[str], match: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGE_AAC_DATA", raising=False)
    error = CliRunner().invoke(distill, ["--recipe", "clap-small", *words]).exception
    assert isinstance(error, UsageError) and match in str(error)


def test_recipes(tmp_path: Path) -> None:
    recipe = load_dual_recipe("clap-small")
    assert recipe.name == "clap-small" and recipe.train.teacher_prompt == "this is a sound of {}"
    with pytest.raises(InputMissingError, match="clap-small"):
        load_dual_recipe("nobody's")
    path = tmp_path / "own.toml"
    for text, match in (
        (RECIPE.replace("masks = 0", "teacher_prompt = 'sound'"), r"must hold \{\} once"),
        (RECIPE.replace("batch_scenes = 4", "batch_scenes = 1"), "at least 2"),
        (RECIPE.replace("stem_width = 0.1", "stem_width = 0.0"), "above 0"),
        (RECIPE.partition("[train]")[0], "lacks 'train'"),
        ("[model]\n", "unknown table"),
        ("not toml", "not valid TOML"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError, match=match):
            load_dual_recipe(str(path))


def test_windows_are_heard_as_bundles_hear_them(finished: Finished) -> None:
    windows = DrawnWindows(finished.recordings, finished.recordings.learnt, 1, 1)
    sound = windows.sound(0)
    padded = np.concatenate([sound, np.zeros(160_000 - len(sound), np.float32)])
    np.testing.assert_array_equal(windows.fbank(0), filter_bank(padded))
