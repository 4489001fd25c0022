"""The Jetson image, as far as it can be tested without Docker and without a Jetson.

The entry script runs with an ``edge-aac`` that only notes how it was called; for the Dockerfile see
test_jetson_dockerfile.py.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge_aac.bundle.store import DEFAULT_BUNDLE

pytestmark = pytest.mark.one_python

ROOT = Path(__file__).parents[2]
ENTRY = ROOT / "docker" / "jetson-entrypoint.sh"
TIMEOUT_S = 120

FAKE = """#!/usr/bin/env bash
if [ "$1" = --version ]; then echo "edge-aac ${FAKE_VERSION:-1.0}"; exit; fi
echo "$*" >> "$FAKE_CALLS"
if [ "$1" = stream ]; then echo '{"caption": "rain falls"}'; fi
if [ "$1" = build-engine ]; then
  echo '{"report": "built"}'
  if [ -n "${FAKE_SLOW:-}" ]; then exec sleep 60; fi
  if [ -z "${FAKE_SLOWER:-}" ] && [ -z "${FAKE_STATUS:-}" ] && [ "${3#/}" = "$3" ]; then
    mkdir -p "$XDG_DATA_HOME/edge-aac/bundles/$3"
    echo built >> "$XDG_DATA_HOME/edge-aac/bundles/$3/manifest.json"
  fi
  exit "${FAKE_STATUS:-0}"
fi
"""


FAKE_GPU = """
import os
from types import SimpleNamespace

def this_gpu():
    return SimpleNamespace(name=os.environ["FAKE_GPU"], tensorrt="10.3.0")
"""
"""In place of what asks CUDA; without $FAKE_GPU there is none."""


FAKE_STORE = f"""
import os
DEFAULT_BUNDLE = os.environ.get("FAKE_DEFAULT", {DEFAULT_BUNDLE!r})
assert DEFAULT_BUNDLE
"""
"""In place of what knows the default bundle; an empty $FAKE_DEFAULT breaks it."""


class Board:
    """A board with an empty volume, on which the entry script finds a fake ``edge-aac`` and an installed package."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.volume, self.calls = folder, folder / "volume", folder / "calls"
        self.installed = folder / "site" / "edge_aac" / "bundles" / DEFAULT_BUNDLE / "manifest.json"
        self.built = self.volume / "edge-aac" / "bundles" / DEFAULT_BUNDLE
        self.installed.parent.mkdir(parents=True)
        self.installed.write_text("exported")
        (folder / "site" / "edge_aac" / "__init__.py").touch()
        engines = folder / "site" / "edge_aac" / "engines" / "tensor_rt"
        engines.mkdir(parents=True)
        (engines / "engine.py").write_text(FAKE_GPU)
        (folder / "site" / "edge_aac" / "bundle").mkdir()
        (folder / "site" / "edge_aac" / "bundle" / "store.py").write_text(FAKE_STORE)
        fake = folder / "bin" / "edge-aac"
        fake.parent.mkdir()
        fake.write_text(FAKE)
        fake.chmod(0o755)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("EDGE_AAC_")}
        self.environment = {
            **kept,
            "PATH": f"{fake.parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(folder / "site"),
            "FAKE_CALLS": str(self.calls),
            "XDG_DATA_HOME": str(self.volume),
            "TMPDIR": str(folder),
        }

    def use_real_command(self) -> None:
        """From now on it is the real ``edge-aac`` that is called."""
        fake = self.folder / "bin" / "edge-aac"
        fake.write_text(f'#!/usr/bin/env bash\nexec "{sys.executable}" -m edge_aac.cli "$@"\n')
        self.environment.pop("PYTHONPATH")

    def start(self, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        """One start of the container, to its end."""
        return subprocess.run(
            ["bash", str(ENTRY), *arguments],
            cwd=self.folder,  # the package of a checkout that Python is started in would come first
            env={**self.environment, **changes},
            check=False,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )

    def called(self) -> list[str]:
        """How ``edge-aac`` was called since the last look."""
        if not self.calls.exists():
            return []
        lines = self.calls.read_text().splitlines()
        self.calls.unlink()
        return lines


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path)


BUILD = f"build-engine --bundle {DEFAULT_BUNDLE} --backend tensorrt"


def test_the_first_start_builds_and_the_second_does_not(board: Board) -> None:
    first = board.start("--device", "mic1")
    assert (first.returncode, first.stdout) == (0, '{"caption": "rain falls"}\n'), "captions alone"
    assert "report" in first.stderr
    assert board.called() == [BUILD, "stream --device mic1"]
    second = board.start("stream", "--device", "mic1")
    assert (second.returncode, second.stderr) == (0, "")
    assert board.called() == ["stream --device mic1"]


def test_a_build_that_fails_stops_the_start_with_its_exit_code_and_is_tried_again(board: Board) -> None:
    failed = board.start(FAKE_STATUS="65")
    assert failed.returncode == 65
    assert "exit code 65" in failed.stderr
    assert board.called() == [BUILD], "nothing was streamed"
    assert board.start().returncode == 0
    assert board.called() == [BUILD, "stream"]


def test_another_edge_aac_bundle_or_backend_builds_its_own(board: Board) -> None:
    board.start()
    board.called()
    board.start(FAKE_VERSION="1.1")
    assert board.called() == [BUILD, "stream"]
    board.start("--bundle", "mine", FAKE_VERSION="1.1")
    assert board.called() == ["build-engine --bundle mine --backend tensorrt", "stream --bundle mine"]
    board.start("--bundle=/srv/my bundle", FAKE_VERSION="1.1", EDGE_AAC_BACKEND="onnxruntime")
    assert board.called()[0] == "build-engine --bundle /srv/my bundle --backend onnxruntime"
    board.start("--bundle=/srv/my bundle", "--backend=tensorrt", FAKE_VERSION="1.1")
    assert board.called()[0] == "build-engine --bundle /srv/my bundle --backend tensorrt"
    board.start(EDGE_AAC_BUNDLE="mine", FAKE_VERSION="1.1")
    assert board.called() == ["stream"], "built already, as an option"


def test_the_package_says_which_bundle_is_the_default(board: Board) -> None:
    board.start(FAKE_DEFAULT="meadow")
    assert board.called() == ["build-engine --bundle meadow --backend tensorrt", "stream"]
    board.start("--bundle", "mine", FAKE_DEFAULT="")
    assert board.called()[0] == "build-engine --bundle mine --backend tensorrt", "not asked where one is named"
    broken = board.start(FAKE_DEFAULT="")
    assert broken.returncode == 70 and "cannot tell its default bundle" in broken.stderr
    assert board.called() == []


def test_another_board_or_power_mode_builds_its_own(board: Board) -> None:
    """Orins have one name, and a container sees no device tree: multiprocessors and memory tell them apart."""
    assert board.start(FAKE_GPU="sm_87 Orin, 8 SMs, 8 GB").returncode == 0
    assert board.called() == [BUILD, "stream"]
    board.start(FAKE_GPU="sm_87 Orin, 8 SMs, 8 GB")
    assert board.called() == ["stream"]
    for other in ("sm_87 Orin, 8 SMs, 16 GB", "sm_87 Orin, 4 SMs, 16 GB"):
        started = board.start(FAKE_GPU=other)
        assert board.called() == [BUILD, "stream"]
        assert f"{other} with TensorRT 10.3.0" in started.stderr


def test_another_bundle_of_the_same_name_is_built_anew(board: Board) -> None:
    board.start()
    board.called()
    board.installed.write_text("exported again")
    assert board.start().returncode == 0
    assert board.called() == [BUILD, "stream"]
    board.start()
    assert board.called() == ["stream"]


def test_engines_that_were_removed_are_built_anew(board: Board) -> None:
    board.start()
    board.called()
    shutil.rmtree(board.built)
    board.start()
    assert board.called() == [BUILD, "stream"]


def test_a_build_that_found_nothing_faster_is_not_tried_at_every_start(board: Board) -> None:
    board.start(FAKE_SLOWER="1")
    assert board.called() == [BUILD, "stream"]
    board.start(FAKE_SLOWER="1")
    assert board.called() == ["stream"]


def test_a_bundle_in_the_volume_is_built_anew_when_it_is_replaced(board: Board) -> None:
    own = board.volume / "edge-aac" / "bundles" / "mine" / "manifest.json"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    for content, words in (("", 2), ("", 1), ("another of mine", 2), ("", 1)):
        if content:
            own.write_text(content)
        board.start("--bundle", "mine")
        assert len(board.called()) == words, "the build's own change of the manifest is none"


@pytest.mark.parametrize("words", [["devices"], ["build-engine", "--bundle", "mine"]])
def test_other_verbs_run_as_they_are(board: Board, words: list[str]) -> None:
    assert board.start(*words).returncode == 0
    assert board.called() == [" ".join(words)]


def test_help_builds_nothing(board: Board) -> None:
    board.start("--help")
    assert board.called() == ["stream --help"]


def test_a_volume_that_cannot_be_written_is_named(board: Board) -> None:
    board.volume.write_text("a file where the volume should be")
    refused = board.start()
    assert refused.returncode == 78
    assert str(board.volume) in refused.stderr and "volume" in refused.stderr
    assert board.called() == []


def test_a_stop_ends_a_build_at_once(board: Board) -> None:
    process = subprocess.Popen(
        ["bash", str(ENTRY)], env={**board.environment, "FAKE_SLOW": "1"}, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while not board.calls.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        process.wait(TIMEOUT_S)  # the build would take 60 s
        assert process.returncode == 128 + signal.SIGTERM
        assert board.called() == [BUILD]
    finally:
        process.kill()
        process.communicate()


def _state(path: Path, **changes: object) -> None:
    """What a stream that does its work writes; :mod:`edge_aac.service.state_file`."""
    state = {
        **{"node": "barn", "version": "1", "pid": 1, "phase": "running", "status": "listening to mic0; 3 captions"},
        **{"missing": [], "written_s": time.time(), "monotonic_s": time.monotonic(), "captions": 3},
        **{"sources": {}, "sinks": {}, "health": {}},
    }
    path.write_text(json.dumps({**state, **changes}))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({}, None),
        ({"missing": ["mic0: no sound was taken for 31 s"]}, "no sound was taken"),
        ({"monotonic_s": time.monotonic() - 3600}, "hangs or has gone"),
        ({"phase": "starting", "status": "starting"}, "starting"),
    ],
)
def test_health_is_what_the_stream_tells(board: Board, changes: dict[str, object], complaint: str | None) -> None:
    """With the real edge-aac: computing alone is no health."""
    board.use_real_command()
    file = board.folder / "edge-aac-health.json"
    _state(file, **changes)
    looked = board.start("health")
    assert looked.returncode == (0 if complaint is None else 1), looked
    assert (complaint or "listening to mic0") in looked.stdout


def test_a_stream_without_a_state_is_not_healthy(board: Board) -> None:
    board.use_real_command()
    looked = board.start("health", str(os.getpid()))
    assert looked.returncode == 1 and "no state" in looked.stdout


def test_the_state_of_the_container_s_last_life_is_forgotten(board: Board) -> None:
    file = board.folder / "edge-aac-health.json"
    _state(file)
    board.start()
    assert not file.exists()


def test_building_is_not_yet_healthy(board: Board) -> None:
    process = subprocess.Popen(
        ["bash", "-c", "sleep 60; exit", "jetson-entrypoint"], stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        building = board.start("health", str(process.pid))
        assert building.returncode == 1 and "being built" in building.stderr
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
