"""The manual page and the completions name what the verbs declare."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_python

ROOT = Path(__file__).parents[2]


@cache
def made(form: str) -> str:
    """What debian/manual.py prints."""
    done = subprocess.run(
        [sys.executable, ROOT / "debian" / "manual.py", form], check=True, capture_output=True, text=True, timeout=120
    )
    return done.stdout


def test_the_manual_page_names_every_verb_and_option_and_is_sound() -> None:
    page = made("man")
    for words in ("edge\\-aac stream", "\\-\\-device", "edge\\-aac service install", "\\-\\-purge", "EXIT STATUS"):
        assert words in page
    if shutil.which("man") is None:
        pytest.skip("man is not installed (apt install man-db)")
    shown = subprocess.run(
        ["man", "--warnings", "--local-file", "-"], input=page, check=False, capture_output=True, text=True, timeout=60
    )
    assert shown.returncode == 0 and shown.stderr == ""
    assert "edge-aac service install" in shown.stdout


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["str"], "stream"),
        (["stream", "--dev"], "--device"),
        (["stream", "--format", "j"], "json"),
        (["service", "ins"], "install"),
        (["service", "uninstall", "--pur"], "--purge"),
        (["config", "--check", "/etc/hostn"], "/etc/hostname"),
    ],
)
def test_bash_completes(words: list[str], completed: str, tmp_path: Path) -> None:
    script = tmp_path / "completion"
    script.write_text(made("bash"))
    typed = " ".join(f"'{word}'" for word in ["edge-aac", *words])
    line = f'. {script}; COMP_WORDS=({typed}); COMP_CWORD={len(words)}; _edge_aac; echo "${{COMPREPLY[*]}}"'
    done = subprocess.run(["bash", "-c", line], check=True, capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == (completed, "")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_can_read_theirs(shell: str, tmp_path: Path) -> None:
    text = made(shell)
    assert "stream" in text and "device" in text and "uninstall" in text
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed (apt install {shell})")
    script = tmp_path / f"completion.{shell}"
    script.write_text(text)
    done = subprocess.run([shell, "-n", script], check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
