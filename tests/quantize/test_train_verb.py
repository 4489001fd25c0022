"""`edge-aac train` and `export` as a user calls them: from recordings to captions."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

RECIPES = Path(__file__).parents[2] / "quantize" / "recipes"


def edge_aac(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge_aac.cli", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment)


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
    text = re.sub(r"(?m)^train = .*$", "train = [1]", text)
    text = re.sub(r"(?m)^validation = .*$", "validation = [2]", text)
    path = tmp_path / "quick.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_from_recordings_to_captions(quick_recipe: Path, recordings: Path, tmp_path: Path) -> None:
    run, bundle = tmp_path / "run", tmp_path / "bundle"
    trained = edge_aac(
        "train", "--recipe", quick_recipe, "--data", recordings, "--run", run, "--output", bundle,
        "--epochs", 1, "--threads", 1,
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    assert "single_named" in trained.stderr
    assert "max abs difference" in trained.stderr
    clip = recordings / "1-0-rain.flac"
    said = edge_aac("caption", "--bundle", bundle, clip)
    assert said.returncode == 0, said.stderr
    (line,) = said.stdout.splitlines()
    assert json.loads(line)["model"]["bundle"] == "esc10-tiny"

    quality = tmp_path / "quality.json"
    quality.write_text('{"right": 0.5}', encoding="utf-8")
    exported = edge_aac("export", "--run", run, "--data", recordings, "--output", bundle, "--quality", quality)
    assert exported.returncode == 0, exported.stderr
    assert json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))["quality"] == {"right": 0.5}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--recipe", "nonsense", "--data", "DATA"], 66, "no recipe"),
        (["--recipe", "esc10-tiny", "--data", "EMPTY"], 66, "clips.csv"),
    ],
)
def test_mistakes_are_one_sentence(
    arguments: list[str], code: int, words: str, recordings: Path, tmp_path: Path
) -> None:
    places = {"DATA": str(recordings), "EMPTY": str(tmp_path)}
    done = edge_aac("train", "--run", tmp_path / "run", *[places.get(word, word) for word in arguments])
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr
