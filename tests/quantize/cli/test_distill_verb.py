"""`edge-aac distill` as a user calls it: costs, stored examples, a student, its bundle, mistakes in one sentence."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from edge_aac.cli import main
from edge_aac.errors import ConfigError, EdgeAacError, InputMissingError, UsageError
from quantize.cli.distill import distill
from quantize.training.distributed import World
from quantize.training.recipe import Recipe, load_recipe
from quantize.training.sources import SceneSource
from quantize.training.train import Run
from tests.quantize.training.distill_cases import (
    RecordedProgress,
    epoch_rows,
    write_recipe_toml,
    write_sentence_embedder,
)

Result = Any
"""Of the CLI runner: typer brings its own click."""

Verb = Callable[..., Result]


@pytest.fixture(scope="module")
def recipe_file(taught_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    beats = replace(taught_recipe.model.beats, layers=1, run_layers=1)
    recipe = replace(taught_recipe, model=replace(taught_recipe.model, beats=beats))
    return write_recipe_toml(recipe, tmp_path_factory.mktemp("recipe") / "student.toml")


@pytest.fixture(scope="module")
def teacher_run(small_recipe: Recipe, recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher that was trained a little."""
    folder = tmp_path_factory.mktemp("teacher-run")
    train = replace(small_recipe.train, epochs=1, scenes_per_epoch=8, batch_scenes=2, corpus_scenes=8)
    recipe = replace(small_recipe, train=train, folds=replace(small_recipe.folds, validation=()))
    Run(recipe, SceneSource(recipe, recordings), folder).train(RecordedProgress())
    return folder


@pytest.fixture
def verb(recipe_file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Verb:
    """The verb with this recipe, in this process."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("EDGE_AAC_DATA", raising=False)

    def call(*arguments: object) -> Result:
        return CliRunner().invoke(distill, ["--recipe", str(recipe_file), *map(str, arguments)])

    return call


def refusal(result: Result) -> EdgeAacError:
    """What the command line prints as one sentence."""
    assert isinstance(result.exception, EdgeAacError), result.output
    assert "\n" not in str(result.exception)
    return result.exception


def test_the_recipe_is_read_back_as_it_was(recipe_file: Path, taught_recipe: Recipe) -> None:
    read = load_recipe(str(recipe_file))
    assert read.train == taught_recipe.train and read.stored == taught_recipe.stored
    assert read.model.beats.layers == 1


def test_dry_run_shows_what_teacher_and_student_cost(verb: Verb, teacher_run: Path, recordings: Path) -> None:
    for data in ([], ["--data", recordings]):
        done = verb("--teacher", teacher_run, "--dry-run", *data)
        assert done.exit_code == 0, done.output
        table = done.output.lower()
        for wanted in ("parameters", "mac", "byte", "encoder", "decoder"):
            assert wanted in table, done.output
        assert len(re.findall(r"\d", table)) > 20
    assert not list(recordings.glob("*.pt"))


def test_from_a_teacher_to_a_bundle_that_captions(
    verb: Verb, teacher_run: Path, recordings: Path, sentence_embedder_folder: Path, tmp_path: Path
) -> None:
    examples, run, bundle = tmp_path / "examples", tmp_path / "run", tmp_path / "bundle"
    given = ["--teacher", teacher_run, "--data", recordings, "--sentence-embedder", sentence_embedder_folder,
             "--examples", examples, "--threads", 1]  # fmt: skip
    stored = verb(*given, "--precompute")
    assert stored.exit_code == 0, (stored.output, stored.exception)
    shards = {path: path.stat().st_mtime_ns for path in examples.rglob("*.tar")}
    assert len(shards) == 2 and not run.exists()

    done = verb(*given, "--run", run, "--output", bundle)
    assert done.exit_code == 0, (done.output, done.exception)
    assert {path: path.stat().st_mtime_ns for path in examples.rglob("*.tar")} == shards, "none is made again"
    assert "the text student" in done.output and "spearman" in done.output and "max abs difference" in done.output
    assert "teacher_tokens" in epoch_rows(run)[-1]

    clip = recordings / "1-0-rain.flac"
    command = [sys.executable, "-m", "edge_aac.cli", "caption", "--bundle", str(bundle), str(clip)]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    (line,) = result.stdout.splitlines()
    assert json.loads(line)["model"]["bundle"] == "student"

    again = verb(*given, "--run", run, "--no-text-student")
    assert again.exit_code == 0 and "goes on after step 6" in again.output + again.stderr

    other = verb("--teacher", _another(teacher_run, tmp_path), *given[2:], "--run", tmp_path / "other")
    assert isinstance(refusal(other), ConfigError)


def _another(teacher_run: Path, tmp_path: Path) -> Path:
    """The same teacher with other weights."""
    folder = tmp_path / "another-teacher"
    folder.mkdir()
    for path in teacher_run.iterdir():
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    state = torch.load(folder / "last.pt", weights_only=True)
    state["averaged"]["module.captioner.final_logits_bias"] += 1.0
    torch.save(state, folder / "last.pt")
    return folder


def test_a_teacher_that_heard_what_is_held_out_is_refused_at_once(
    verb: Verb, teacher_run: Path, recordings: Path, tmp_path: Path
) -> None:
    given = ("--teacher", teacher_run, "--data", recordings, "--examples", tmp_path / "examples", "--precompute")
    error = refusal(verb(*given, "--absent", "rain"))
    assert isinstance(error, ConfigError) and "the teacher heard the class rain" in str(error)
    assert not (tmp_path / "examples").exists()


def test_a_sentence_embedder_that_the_text_student_cannot_follow_is_refused_at_once(
    verb: Verb, teacher_run: Path, recordings: Path, tmp_path: Path
) -> None:
    run, wider = tmp_path / "run", write_sentence_embedder(tmp_path / "wider", dim=12)
    error = refusal(verb("--teacher", teacher_run, "--data", recordings, "--sentence-embedder", wider, "--run", run))
    assert isinstance(error, ConfigError) and "embedding_dim = 12 in [text]" in str(error)
    assert not run.exists()


@pytest.mark.parametrize("rank", [0, 1])
def test_what_rank_0_does_alone_is_done_outside_of_the_group(
    rank: int, verb: Verb, teacher_run: Path, recordings: Path, sentence_embedder_folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    events: list[str] = []

    class Joined(World):
        def __exit__(self, *error: object) -> None:
            events.append("group left")

    def trained(*_: object) -> tuple[None, None]:
        events.append("trained")
        return None, None

    monkeypatch.setattr(World, "from_environment", lambda: Joined(rank=rank))
    monkeypatch.setattr("quantize.cli.distill._train", trained)
    monkeypatch.setattr("quantize.cli.distill.distil_text", lambda *_: events.append("text student"))
    monkeypatch.setattr("quantize.cli.distill.export_run", lambda *_, **__: events.append("exported"))
    done = verb(
        "--teacher", teacher_run, "--data", recordings, "--sentence-embedder", sentence_embedder_folder,
        "--run", tmp_path / "run", "--output", tmp_path / "bundle",
    )  # fmt: skip
    assert done.exit_code == 0, (done.output, done.exception)
    assert events == ["trained", "group left", *(["text student", "exported"] if rank == 0 else [])]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--run", "r"), "--data"),
        (("--data", "d"), "--run"),
        (("--data", "d", "--run", "r", "--precompute"), "--precompute"),
        (("--data", "d", "--precompute"), "--examples"),
        (("--data", "d", "--run", "r", "--folds", "one"), "1,2,3"),
    ],
)
def test_usage_errors(arguments: tuple[str, ...], words: str, verb: Verb, teacher_run: Path) -> None:
    error = refusal(verb("--teacher", teacher_run, *arguments))
    assert isinstance(error, UsageError) and error.exit_code == 2
    assert words in str(error)


def test_what_is_missing_is_named(verb: Verb, teacher_run: Path, recordings: Path, tmp_path: Path) -> None:
    tmp_path.joinpath("empty").mkdir()
    error = refusal(verb("--teacher", tmp_path / "empty", "--dry-run"))
    assert isinstance(error, InputMissingError) and error.exit_code == 66
    assert "--teacher" in str(error)
    given = ("--teacher", teacher_run, "--data", recordings, "--run", tmp_path / "run")
    assert "--sentence-embedder" in str(refusal(verb(*given)))
    nowhere = refusal(verb(*given, "--sentence-embedder", tmp_path / "empty"))
    assert isinstance(nowhere, InputMissingError)


def test_what_the_shell_is_told(recipe_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the command's own way to it, in this process: test_train_verb.py has a process of its own for that."""
    with pytest.raises(SystemExit) as ended:
        main(["distill", "--recipe", str(recipe_file), "--dry-run", "--teacher", str(tmp_path)])
    assert ended.value.code == 66
    assert len(capsys.readouterr().err.splitlines()) == 1
