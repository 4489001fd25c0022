"""`script/run` offers ffmpeg, and installs it only where somebody says yes."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_OFFER = f". {ROOT}/script/environment.sh; offer_ffmpeg; echo on"

pytestmark = pytest.mark.one_python


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with all that may be called: apt-get and sudo write down what they are asked for."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("apt-get", "sudo"):
        (folder / name).write_text(f'#!/bin/sh\necho "{name} $*" >> "{tmp_path}/calls"\n', encoding="utf-8")
        (folder / name).chmod(0o755)
    (folder / "dpkg-query").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    (folder / "dpkg-query").chmod(0o755)
    for name in ("bash", "sh", "id", "env", "grep"):
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    return folder


def _calls(programs: Path) -> str:
    calls = programs.parent / "calls"
    return calls.read_text(encoding="utf-8") if calls.exists() else ""


def _on_terminal(programs: Path, answer: bytes) -> str:
    """What the offer says on a terminal where somebody types an answer."""
    process, terminal = pty.fork()
    if process == 0:
        os.execve("/bin/bash", ["bash", "-c", _OFFER], {"PATH": str(programs)})
    os.write(terminal, answer)
    said = b""
    while b"on\r\n" not in said.replace(b"going on", b""):
        try:
            said += os.read(terminal, 1000)
        except OSError:
            break
    os.waitpid(process, 0)
    os.close(terminal)
    return said.decode()


def test_nobody_is_asked_who_cannot_answer(programs: Path) -> None:
    done = subprocess.run(
        ["/bin/bash", "-c", _OFFER],
        env={"PATH": str(programs)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "on\n"
    assert "apt install ffmpeg" in done.stderr
    assert _calls(programs) == ""


@pytest.mark.parametrize("answer", [b"\n", b"n\n", b"\x04"])
def test_no_is_no(programs: Path, answer: bytes) -> None:
    said = _on_terminal(programs, answer)
    assert "install ffmpeg too" in said and "going on without" in said
    assert _calls(programs) == ""


def test_yes_installs_it(programs: Path) -> None:
    said = _on_terminal(programs, b"y\n")
    assert "going on without" not in said
    assert "apt-get install" in _calls(programs) and "ffmpeg" in _calls(programs)


def test_who_has_it_hears_nothing_of_it(programs: Path) -> None:
    (programs / "ffmpeg").symlink_to("/bin/true")
    assert _on_terminal(programs, b"").strip() == "on"
