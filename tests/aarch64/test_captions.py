"""Captions of an emulated Arm machine beside those of this one. ``script/test-aarch64`` makes the machine."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_aac.audio.sources.demo import synthesise_demo
from tests.edge_aac.demo_words import SYNTHESISED
from tests.system.command import environment, noise, records, write_wav

ARM_PYTHON = os.environ.get("EDGE_AAC_AARCH64_PYTHON", "")
RECORDINGS = Path(__file__).parents[3] / "shared" / "data" / "esc10"
TIMEOUT_S = 3600  # QEMU needs some seconds a window, and more where the cores are busy
# Sums are added up in another order by another processor's instructions; records give scores with four decimals.
SCORE_TOLERANCE = 1e-3

pytestmark = pytest.mark.skipif(not ARM_PYTHON, reason="script/test-aarch64 runs this, on an Arm machine that it makes")


def _captions(python: str, *arguments: str | Path) -> list[dict[str, Any]]:
    """Records of ``edge-aac caption``, without what it took and with what nothing but the sound decides."""
    # One thread: QEMU emulates threads that wait for each other as busy ones.
    command = [python, "-m", "edge_aac.cli", "caption", "--format", "json", "--threads", "1", "--seed", "5"]
    done = subprocess.run(
        [*command, *map(str, arguments)],
        env=environment(),
        check=False,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr
    tables = records(done.stdout)
    for table in tables:
        del table["latency_ms"]
    return tables


def _numbers(score: dict[str, Any]) -> dict[str, float]:
    """A caption's scores, those of the sounds that it names among them."""
    return {**{name: value for name, value in score.items() if name != "sounds"}, **score.get("sounds", {})}


def _compare(*arguments: str | Path) -> list[dict[str, Any]]:
    here, arm = _captions(sys.executable, *arguments), _captions(ARM_PYTHON, *arguments)
    assert len(here) == len(arm)
    for one, other in zip(here, arm, strict=True):
        scores = _numbers(one.pop("score")), _numbers(other.pop("score"))
        assert one == other
        assert scores[0] == pytest.approx(scores[1], abs=SCORE_TOLERANCE), one["caption"]
    return arm


def test_the_python_is_an_arm_one_and_so_are_its_children() -> None:
    script = "import platform, subprocess, sys; print(platform.machine()); "
    again = "subprocess.run([sys.executable, '-c', 'import platform; print(platform.machine())'])"
    command = [ARM_PYTHON, "-u", "-c", script + again]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.stdout.split() == ["aarch64", "aarch64"]
    assert platform.machine() != "aarch64"


def test_synthesised_sounds(tmp_path: Path) -> None:
    seconds = np.arange(5 * 16_000) / 16_000
    beeps = (0.3 * np.sin(2 * np.pi * 880 * seconds) * (seconds % 1 < 0.2)).astype(np.float32)
    sounds = {"demo": synthesise_demo(14), "noise": noise(5), "beeps": beeps, "quiet": 0.02 * noise(3, seed=1)}
    paths = [write_wav(tmp_path / f"{name}.wav", samples) for name, samples in sounds.items()]
    captions = _compare(*paths, "--hop", "4")
    assert [Path(table["source"]).stem for table in captions] == ["demo", "demo", "noise", "beeps", "quiet"]
    for table in captions[:2]:
        assert re.search("|".join(SYNTHESISED.values()), table["caption"]), table["caption"]


@pytest.mark.parametrize("method", ["greedy", "beam"])
def test_other_methods(method: str, tmp_path: Path) -> None:
    (caption,) = _compare(write_wav(tmp_path / "demo.wav", synthesise_demo(6)), "--method", method)
    assert caption["caption"]


@pytest.mark.slow
def test_recordings() -> None:
    if not RECORDINGS.is_dir():
        pytest.skip(f"no recordings beside this checkout ({RECORDINGS})")
    paths = sorted(RECORDINGS.glob("**/*.flac"))
    assert len(_compare(*paths)) == len(paths)
