"""`script/run` as a new user calls it: a fresh copy, an empty home. Needs a network, as every first run does."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from edge_aac.audio.sources.demo import synthesise_demo
from tests.system.command import write_wav

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What git tracks, and nothing that was built here."""
    folder = tmp_path_factory.mktemp("fresh")
    archive = folder / "tree.tar"
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\n")
    with tarfile.open(archive, "w") as tar:
        for name in filter(None, names):
            if (ROOT / name).is_file():
                tar.add(ROOT / name, name)
    checkout = folder / "edge-aac"
    with tarfile.open(archive) as tar:
        tar.extractall(checkout)
    (folder / "home").mkdir()
    return checkout


def run(checkout: Path, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("EDGE_AAC_", "VIRTUAL_ENV"))}
    # Whoever runs the tests may have a microphone, and then the demo would not be what is captioned.
    no_inputs = {"ALSA_CONFIG_PATH": "/nonexistent", "PULSE_SERVER": "unix:/nonexistent"}
    environment = {**kept, **no_inputs, "HOME": str(checkout.parent / "home")}
    return subprocess.run(
        [str(checkout / "script" / "run"), *arguments],
        cwd=cwd or checkout,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )


def test_first_run_sets_up_and_captions_and_the_second_only_captions(fresh: Path, tmp_path: Path) -> None:
    first = run(fresh, "--format", "json")
    assert first.returncode == 0, first.stderr
    assert "setting up edge-aac" in first.stderr
    assert all("caption" in json.loads(line) for line in first.stdout.splitlines())
    installed = subprocess.run(
        [str(fresh / ".venv" / "bin" / "python"), "-m", "pip", "list"], check=True, capture_output=True, text=True
    ).stdout
    assert "torch" not in installed and "transformers" not in installed

    write_wav(tmp_path / "scene.wav", synthesise_demo(12))
    # A relative path is the user's, not the checkout's.
    second = run(fresh, "--device", "file:scene.wav", cwd=tmp_path)
    assert second.returncode == 0, second.stderr
    assert "setting up" not in second.stderr
    assert {json.loads(line)["source"] for line in second.stdout.splitlines()} == {"scene.wav"}
