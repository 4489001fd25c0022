"""A bundle takes the place of an older one whole, or the older one stays: whatever ends the writing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the build-time side needs torch: pip install 'edge-aac[train]'")

from edge_aac.bundle.store import open_bundle  # noqa: E402
from edge_aac.errors import DeviceError  # noqa: E402
from quantize.bundles.staging import staged_bundle  # noqa: E402
from tests.edge_aac.bundle.bundle_folder import manifest_table, write_bundle  # noqa: E402

ROOT = Path(__file__).parents[3]

WRITER = """
import os, signal, sys
from pathlib import Path
from quantize.bundles.staging import staged_bundle

output, point = Path(sys.argv[1]), sys.argv[2]
with staged_bundle(output) as folder:
    (folder / "gigabytes").write_bytes(bytes(1000))
    print("writing", flush=True)
    if point == "wait":
        sys.stdin.read()
    if point == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    Path.rename = lambda source, target: os.rename(source, target) or os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """A bundle of version 1, alone in its folder."""
    _write(tmp_path / "place" / "tiny", "1")
    return tmp_path / "place" / "tiny"


def _write(folder: Path, version: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_bundle(folder, {**manifest_table(), "version": version})


def _beside(output: Path) -> list[str]:
    return sorted(path.name for path in output.parent.iterdir())


def _version(output: Path) -> str:
    return open_bundle(str(output)).manifest.version


def _start(output: Path, point: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(output), point]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline() == "writing\n"
    return process


def test_a_new_bundle_takes_the_place_of_the_old_one(output: Path) -> None:
    with staged_bundle(output) as folder:
        _write(folder, "2")
        assert _version(output) == "1"
    assert _version(output) == "2"
    assert _beside(output) == ["tiny"]


@pytest.mark.parametrize("moved", [0, 1, 2])
@pytest.mark.parametrize("late", [False, True])
def test_an_interrupt_while_they_change_places_loses_neither(
    output: Path, moved: int, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename: Callable[..., Any] = Path.rename
    moves: list[Path] = []

    def interrupted(source: Path, target: Path) -> Path:
        moves.append(target)
        if len(moves) == moved + 1 and not late:
            raise KeyboardInterrupt
        result: Path = rename(source, target)
        if len(moves) == moved + 1:
            raise KeyboardInterrupt
        return result

    def attempt() -> None:
        with staged_bundle(output) as folder:
            _write(folder, "2")
            monkeypatch.setattr(Path, "rename", interrupted)

    if moved < 2:
        with pytest.raises(KeyboardInterrupt):
            attempt()
    else:
        attempt()
    assert _version(output) == ("2" if (moved, late) == (1, True) or moved == 2 else "1")
    assert _beside(output) == ["tiny"]


def test_what_cannot_be_moved_is_named_and_stays(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(source: Path, target: Path) -> Path:
        raise OSError(16, "Device or resource busy")

    with pytest.raises(DeviceError, match="tiny cannot be replaced.*busy.*--output"), staged_bundle(output) as folder:
        _write(folder, "2")
        monkeypatch.setattr(Path, "rename", busy)
    assert _version(output) == "1"


@pytest.mark.parametrize("point", ["before", "between"])
def test_what_a_killed_process_left_goes_with_the_next_one(output: Path, point: str) -> None:
    process = _start(output, point)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert any(name.startswith(".tiny.") for name in _beside(output))
    assert output.exists() == (point == "before")
    with pytest.raises(KeyboardInterrupt), staged_bundle(output):
        assert _version(output) == "1", "the old one is back where it was"
        raise KeyboardInterrupt
    assert _beside(output) == ["tiny"]


def test_what_a_living_process_writes_and_what_is_not_ours_stays(output: Path) -> None:
    other = output.parent / ".tiny.settings"
    other.mkdir()
    process = _start(output, "wait")
    try:
        (scratch,) = set(_beside(output)) - {"tiny", other.name}
        with staged_bundle(output) as folder:
            _write(folder, "2")
        assert set(_beside(output)) == {"tiny", other.name, scratch}
        assert os.listdir(output.parent / scratch / "tiny") == ["gigabytes"]
    finally:
        process.kill()
        process.communicate()
