"""`edge-aac train` and `export` as a user calls them: from recordings to captions."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from typer import Typer
from typer.testing import CliRunner

from edge_aac.cli import main
from quantize.cli.export import export
from quantize.cli.train import train

RECIPES = Path(__file__).parents[3] / "quantize" / "recipes"


def edge_aac(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge_aac.cli", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment)


def in_this_process(verb: Typer, *arguments: object) -> str:
    """What a verb prints that does not fail; a process of its own would import torch for seconds."""
    done = CliRunner().invoke(verb, [*map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return str(done.output)


@pytest.fixture
def quick_recipe(tmp_path: Path) -> Path:
    """The shipped recipe with little to do."""
    text = (RECIPES / "esc10-tiny.toml").read_text(encoding="utf-8")
    for setting, value in (
        ("scenes_per_epoch", "16"),
        ("batch_scenes", "4"),
        ("warmup_steps", "1"),
        ("validation_scenes", "2"),
        ("workers", "0\ncorpus_scenes = 30"),
    ):
        text = re.sub(rf"(?m)^{setting} = .*$", f"{setting} = {value}", text)
    text = text.replace("[familiarity]", "[familiarity]\nscenes = 64", 1)
    # No encoder of its own before, and no sentence embedder beside.
    text = re.sub(r"(?ms)^\[pretrain\].*?(?=^\[)", "", text)
    text = re.sub(r"(?m)^contrastive_target = .*$", 'contrastive_target = "together"', text)
    text = re.sub(r"(?m)^train = .*$", "train = [1]", text)
    text = re.sub(r"(?m)^validation = .*$", "validation = [2]", text)
    path = tmp_path / "quick.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_from_recordings_to_captions(quick_recipe: Path, recordings: Path, tmp_path: Path) -> None:
    run, bundle = tmp_path / "run", tmp_path / "bundle"
    trained = in_this_process(
        train, "--recipe", quick_recipe, "--data", recordings, "--run", run, "--output", bundle,
        "--epochs", 1, "--threads", 1, "--precision", "bf16",
    )  # fmt: skip
    assert json.loads((run / "recipe.json").read_text(encoding="utf-8"))["train"]["precision"] == "bf16"
    assert "single_named" in trained
    assert "max abs difference" in trained
    clip = recordings / "1-0-rain.flac"
    output = edge_aac("caption", "--bundle", bundle, clip)
    assert output.returncode == 0, output.stderr
    (line,) = output.stdout.splitlines()
    assert json.loads(line)["model"]["bundle"] == "esc10-tiny"

    quality = tmp_path / "quality.json"
    quality.write_text('{"right": 0.5}', encoding="utf-8")
    in_this_process(export, "--run", run, "--data", recordings, "--output", bundle, "--quality", quality)
    assert json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))["quality"] == {"right": 0.5}


def test_signalled_to_end_it_saves_its_last_step(quick_recipe: Path, recordings: Path, tmp_path: Path) -> None:
    """The request reaches the whole group, as from torchrun or a service manager: the process that mixes scenes too."""
    text = quick_recipe.read_text(encoding="utf-8").replace("workers = 0", "workers = 1\ncheckpoint_steps = 1", 1)
    quick_recipe.write_text(text, encoding="utf-8")
    run = tmp_path / "run"
    command = [
        sys.executable, "-m", "edge_aac.cli", "train", "--recipe", str(quick_recipe), "--data", str(recordings),
        "--run", str(run), "--epochs", "1000", "--threads", "1",
    ]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as training:
        while not (run / "last.pt").is_file() and training.poll() is None:
            time.sleep(0.1)
        os.killpg(training.pid, signal.SIGTERM)
        _, output = training.communicate()
    assert training.returncode == 143, output
    assert "Traceback" not in output
    assert torch.load(run / "last.pt", weights_only=True)["steps_done"] >= 1


_EITHER_PROGRAM = """\
#!/bin/sh
if [ "$RANK" = 0 ] && [ -x {script} ]; then exec {script} "$@"; fi
exec {python} -m edge_aac.cli "$@"
"""
"""One rank is the installed command, where there is one beside this Python, and the other the module."""


def test_verb_runs_on_two_ranks(quick_recipe: Path, recordings: Path, tmp_path: Path) -> None:
    program = tmp_path / "program"
    script = Path(sys.executable).with_name("edge-aac")
    program.write_text(_EITHER_PROGRAM.format(script=script, python=sys.executable), encoding="utf-8")
    program.chmod(0o755)
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python",
        "--", str(program), "train", "--recipe", str(quick_recipe), "--data", str(recordings),
        "--run", str(tmp_path / "run"), "--epochs", "1", "--threads", "1",
    ]  # fmt: skip
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "200"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("single_named") == 1  # the first rank alone tells
    assert len((tmp_path / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()) == 1
    assert len(torch.load(tmp_path / "run" / "last.pt", weights_only=True)["random_states"]) == 2


def test_a_mistake_in_the_recipe_is_one_sentence(recordings: Path, tmp_path: Path) -> None:
    done = edge_aac("train", "--run", tmp_path / "run", "--recipe", "nonsense", "--data", recordings)
    assert done.returncode == 66
    assert "no recipe" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_without_recordings_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the command's own way to the shell, in this process: what trains is imported before the folder is read."""
    with pytest.raises(SystemExit) as ended:
        main(["train", "--run", str(tmp_path / "run"), "--recipe", "esc10-tiny", "--data", str(tmp_path)])
    assert ended.value.code == 66
    told = capsys.readouterr().err
    assert "clips.csv" in told
    assert "Traceback" not in told
