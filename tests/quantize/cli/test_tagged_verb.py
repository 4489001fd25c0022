"""`edge-aac distill --tagger` as a user calls it: from a store of sound to a bundle that captions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from edge_aac.audio.features import filter_bank
from edge_aac.errors import ConfigError, InputMissingError, UsageError
from edge_aac.models.seq2seq import Captioner
from quantize.cli.distill import distill
from quantize.data.everyday.heard_sounds import HEARD
from quantize.data.everyday.lexicon import english
from quantize.data.shards import ShardReader
from quantize.evaluation.windows import attributions_of
from quantize.training import everyday, taught
from quantize.training.loop import kept_weights
from tests.edge_aac.fakes import described
from tests.quantize.cli.test_distill_verb import refusal
from tests.quantize.data.everyday.stored_tones import TONES, ToneTagger, stored_tones, tone
from tests.quantize.training.distill_cases import epoch_rows, write_recipe_toml, write_sentence_embedder
from tests.quantize.training.everyday_cases import small_everyday_recipe
from tests.waiting import PATIENCE_S

Verb = Callable[..., Any]

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe, a store, a tagger's file and a sentence embedder."""
    folder = tmp_path_factory.mktemp("given")
    write_recipe_toml(small_everyday_recipe(), folder / "recipe.toml")
    stored_tones(folder / "store")
    (folder / "tagger.pt").write_bytes(b"a tagger of tones")
    write_sentence_embedder(folder / "embedder")
    return folder


def _verb(patched: pytest.MonkeyPatch, given: Path, cache: Path) -> Verb:
    """The verb with this recipe, in this process; the tagger's file is one of tones."""
    patched.setenv("COLUMNS", "200")
    patched.setenv("XDG_CACHE_HOME", str(cache))
    patched.delenv("EDGE_AAC_DATA", raising=False)
    patched.setattr(everyday, "load_tagger", lambda path: ToneTagger())

    def call(*arguments: object, recipe: object = given / "recipe.toml") -> Any:
        return CliRunner().invoke(distill, ["--recipe", str(recipe), *map(str, arguments)])

    return call


@pytest.fixture
def verb(given: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Verb:
    return _verb(monkeypatch, given, tmp_path / "cache")


@dataclass(frozen=True)
class Finished:
    """What the verb did, first with --precompute and then with all.

    Attributes:
        folder: holds the folders heard, run and bundle.
        hearing: the arguments of both.
        learning: those of the second besides.
        heard: what the tagger had heard after the first; ``ran``: whether there was a run then.
        done: what the second told.
    """

    folder: Path
    hearing: list[object]
    learning: list[object]
    heard: bytes
    ran: bool
    done: Any


@pytest.fixture(scope="module")
def finished(given: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("finished")
    hearing = ["--tagger", given / "tagger.pt", "--data", given / "store", "--examples", folder / "heard"]
    learning = ["--run", folder / "run", "--sentence-embedder", given / "embedder", "--output", folder / "bundle"]
    with pytest.MonkeyPatch.context() as patched:
        verb = _verb(patched, given, folder / "cache")
        precomputed = verb(*hearing, "--precompute")
        assert precomputed.exit_code == 0, precomputed.output
        heard, ran = (folder / "heard" / HEARD).read_bytes(), (folder / "run").exists()
        done = verb(*hearing, *learning)
        assert done.exit_code == 0, done.output
    return Finished(folder, hearing, learning, heard, ran, done)


def test_from_a_tagger_to_a_bundle_that_captions(finished: Finished, verb: Verb) -> None:
    run, bundle = finished.folder / "run", finished.folder / "bundle"
    assert not finished.ran, "--precompute only hears"
    told = finished.done.output
    assert "the stem, taught by the tagger" in told and "the encoder, taught by the tagger" in told
    assert (finished.folder / "heard" / HEARD).read_bytes() == finished.heard
    assert len(epoch_rows(run)) == len(epoch_rows(run / "stem")) == len(epoch_rows(run / "tagging")) == 2
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["sureness"]["names"] == list(english().order)
    assert manifest["patches"] == {"frames": 98, "hop_frames": 50}
    captioner = Captioner.open(str(bundle))
    trained_on = attributions_of(captioner.bundle)
    assert trained_on["0.flac"] == "dog_bark" and trained_on["2.flac"] == "unknown"
    card = (bundle / "README.md").read_text(encoding="utf-8")
    assert "words for 269 of them" in card and "4 recordings and groups of computed sounds, folds 1, 2, 3" in card
    assert "outliers" not in card
    assert "4.flac" not in trained_on, "fold 4 was held out"
    sound = filter_bank(tone(TONES["Siren"], 10.0).astype(np.float32))
    description = described(captioner, sound, np.random.default_rng(0))
    assert description.best.text
    again = verb(*finished.hearing, *finished.learning)
    assert again.exit_code == 0 and len(epoch_rows(run)) == 2


def test_captions_are_learnt_over_an_encoder_that_was_taught_before(
    finished: Finished, verb: Verb, given: Path, tmp_path: Path
) -> None:
    hearing = ["--tagger", given / "tagger.pt", "--data", given / "store", "--sentence-embedder", given / "embedder"]
    encoder = finished.folder / "run" / taught.FILE
    second = [*hearing, "--examples", tmp_path / "again", "--run", tmp_path / "second", "--no-text-student"]
    done = verb(*second, "--encoder", encoder)
    assert done.exit_code == 0, done.output
    assert not (tmp_path / "again" / everyday.MIXTURES).exists() and not (tmp_path / "second" / "stem").exists()
    one, other = (kept_weights(run)[0] for run in (finished.folder / "run", tmp_path / "second"))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    small = tmp_path / "small.safetensors"
    taught.write_taught({"lm_head.bias": torch.zeros(3)}, small)
    assert "no encoder of this recipe's sizes" in str(
        refusal(verb(*second[:-1], "--encoder", small, "--run", tmp_path))
    )
    missing = verb(*second[:-1], "--encoder", tmp_path / "none.safetensors", "--run", tmp_path)
    assert "none.safetensors" in str(refusal(missing))


def test_two_ranks_learn_one_captioner(given: Path, tmp_path: Path) -> None:
    """Under torchrun the first hears and exports, and both learn."""
    arguments = ["--recipe", given / "recipe.toml", "--tagger", given / "tagger.pt", "--data", given / "store"]
    arguments += ["--examples", tmp_path / "heard", "--run", tmp_path / "run", "--output", tmp_path / "bundle"]
    arguments += ["--sentence-embedder", given / "embedder"]
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        "-m", "--", "tests.quantize.cli.tagged_cases", *map(str, arguments),
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=PATIENCE_S * 3
    )
    assert done.returncode == 0, done.stderr
    run = tmp_path / "run"
    assert len(epoch_rows(run)) == len(epoch_rows(run / "stem")) == len(epoch_rows(run / "tagging")) == 2
    assert done.stderr.count("the stem, taught by the tagger") == 1, "the first rank alone tells"
    mixtures = ShardReader(tmp_path / "heard" / everyday.MIXTURES)
    assert len(mixtures) == 8, "the first rank alone hears"
    captioner = Captioner.open(str(tmp_path / "bundle"))
    sound = filter_bank(tone(TONES["Siren"], 10.0).astype(np.float32))
    assert described(captioner, sound, np.random.default_rng(0)).best.text


def test_absent_sounds_are_left_out_of_all(verb: Verb, given: Path, tmp_path: Path) -> None:
    given_all = ["--tagger", given / "tagger.pt", "--data", given / "store", "--examples", tmp_path / "heard"]
    given_all += ["--run", tmp_path / "run", "--sentence-embedder", given / "embedder"]
    done = verb(*given_all, "--absent", "dog_bark", "--output", tmp_path / "bundle")
    assert done.exit_code == 0, done.output
    table = json.loads((tmp_path / "run" / "recipe.json").read_text(encoding="utf-8"))
    assert table["folds"]["absent"] == ["dog_bark"]
    heard = attributions_of(Captioner.open(str(tmp_path / "bundle")).bundle)
    assert set(heard.values()) == {"siren", "unknown"}
    assert isinstance(refusal(verb(*given_all)), ConfigError)


def test_mistakes_are_one_sentence(verb: Verb, given: Path, tmp_path: Path) -> None:
    sound = ["--data", given / "store", "--examples", tmp_path / "heard", "--precompute"]
    tagger = ["--tagger", given / "tagger.pt"]
    for arguments, recipe, part in (
        (sound, given / "recipe.toml", "give --tagger FILE"),
        ([*sound, *tagger], "esc10-tiny", "no table [tagging]"),
        ([*sound, *tagger, "--teacher", tmp_path], given / "recipe.toml", "give one teacher"),
        ([*sound[:2], *tagger, "--precompute"], given / "recipe.toml", "--examples"),
        ([*sound, *tagger, "--dry-run"], given / "recipe.toml", "without --dry-run"),
        ([*sound, *tagger, "--llm-model", "x"], given / "recipe.toml", "not for --tagger"),
    ):
        error = refusal(verb(*arguments, recipe=recipe))
        assert isinstance(error, UsageError) and part in str(error), str(error)
    run = ["--data", given / "store", "--examples", tmp_path / "heard", "--run", tmp_path / "run"]
    assert "--sentence-embedder" in str(refusal(verb(*tagger, *run)))
    assert not (tmp_path / "heard").exists(), "told before anything is heard"
    error = refusal(verb(*tagger, *sound[2:], "--data", tmp_path))
    assert isinstance(error, InputMissingError) and "no store of sound" in str(error)


def test_a_file_that_is_no_tagger_is_one_sentence(
    verb: Verb, given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    sound = ["--tagger", given / "tagger.pt", "--data", given / "store", "--examples", tmp_path / "heard"]
    assert "tagger.pt" in str(refusal(verb(*sound, "--precompute")))
