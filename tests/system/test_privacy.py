"""Nothing but text is written: what the installed command does to the file system while it hears real sound."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge_aac.audio.sources.demo import synthesise_demo
from edge_aac.streaming.clips.flac import read_tags
from edge_aac.streaming.clips.folder import CLIP, TEMPORARY
from tests.system.command import COMMAND, TIMEOUT_S, environment, records, run_edge_aac, write_wav
from tests.system.pulse import PulseMicrophone, pulse_microphone

__all__ = ["pulse_microphone"]

pytestmark = [pytest.mark.one_python, pytest.mark.waits]

_CAPTION_S = 120.0  # a window is 10 s of sound


# Calls that make, change or remove a file by its name, and those that make one without a name.
_CALLS = "open,openat,openat2,creat,mkdir,mkdirat,mknod,mknodat,rename,renameat,renameat2,link,linkat,symlink,symlinkat"
_CALLS += ",unlink,unlinkat,rmdir,truncate,memfd_create"
_WRITING = re.compile(r"\b(?:open|openat|openat2)\(.*O_(?:WRONLY|RDWR|CREAT|TRUNC|APPEND|TMPFILE)\b")
_CHANGING = re.compile(
    r"\b(?:creat|mkdir\w*|mknod\w*|rename\w*|link|linkat|symlink\w*|unlink\w*|rmdir|truncate|memfd_create)\("
)
_OF_THE_SYSTEM = re.compile(r'"/dev/(?:null|tty|urandom)"|"/proc/self/')
_CHECKSUMS = "cache/edge-aac/hashes.json"
"""The one file that a stream writes unasked: what the model's files hashed to."""


class _Places:
    """All that a user's program may write to, below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        names = {
            "HOME": "home",
            "TMPDIR": "tmp",
            "XDG_CACHE_HOME": "cache",
            "XDG_CONFIG_HOME": "config",
            "XDG_DATA_HOME": "data",
            "XDG_STATE_HOME": "state",
        }
        self.env = {name: str(root / folder) for name, folder in names.items()}
        self.cwd = root / "cwd"
        for folder in (*map(Path, self.env.values()), self.cwd):
            folder.mkdir(parents=True)

    def check(self, *others: Path) -> None:
        """Check that no file is below them but checksums of the model's files, and ``others``."""
        found = {path for path in self.root.rglob("*") if not path.is_dir()}
        assert found == {self.root / _CHECKSUMS, *others}
        table = json.loads((self.root / _CHECKSUMS).read_text())
        assert set(table) == {"format", "files"}
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for _, digest in table["files"].values())


@pytest.fixture
def places(tmp_path: Path) -> _Places:
    return _Places(tmp_path / "places")


def test_a_stream_with_its_defaults_writes_checksums_alone(places: _Places, tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        if os.environ.get("EDGE_AAC_REQUIRE_REAL_PARTS") == "1":
            pytest.fail("strace is required here, but it is not installed (apt install strace)")
        pytest.skip("strace is not installed")
    scene, trace = write_wav(tmp_path / "scene.wav", synthesise_demo(30)), tmp_path / "trace"
    command = ["strace", "-f", "-qq", "-e", f"trace={_CALLS}", "-o", trace, *COMMAND]
    result = subprocess.run(
        [*command, "--debug", "stream", "--device", f"file:{scene}", "--health-interval", "1", "--events"],
        env=environment(places.env),
        cwd=places.cwd,
        stdin=subprocess.DEVNULL,
        check=False,
        capture_output=True,
        text=True,
        timeout=10 * TIMEOUT_S,
    )
    if result.returncode != 0 and "ptrace" in result.stderr.lower() and not result.stdout:
        pytest.skip("nothing may be traced here")
    assert result.returncode == 0, result.stderr
    captions = {record["caption"] for record in records(result.stdout)}
    assert captions, "or it did nothing"
    lines = trace.read_text(errors="replace").splitlines()
    written = [line for line in lines if _WRITING.search(line) or _CHANGING.search(line)]
    checksums = str((places.root / _CHECKSUMS).parent)
    others = [line for line in written if "= -1 " not in line and not _OF_THE_SYSTEM.search(line)]
    assert [line for line in others if checksums not in line] == []
    assert any(checksums in line for line in others), "or the trace shows nothing that is written"
    places.check()
    # What goes to the log may be kept by somebody: not even with --debug is there a caption in it.
    assert not [caption for caption in captions if caption in result.stderr]


def _scene(folder: Path) -> Path:
    """Four minutes of rain and a clock."""
    return write_wav(folder / "scene.wav", np.tile(synthesise_demo(20), 12))


@contextmanager
def _listening(places: _Places, env: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """``edge-aac stream`` at the microphone of ``env``, until its first caption is there."""
    # PulseAudio's own library makes a file there.
    env = {**environment(env), **places.env, "HOME": env["HOME"], "PULSE_COOKIE": f"{env['XDG_RUNTIME_DIR']}/cookie"}
    process = subprocess.Popen(
        [*COMMAND, "stream", "--device", "mic0", "--hop", "1", *arguments],
        env=env,
        cwd=places.cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stderr is not None
    timer = threading.Timer(_CAPTION_S, process.kill)
    timer.start()
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        yield process
    finally:
        timer.cancel()
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def _ends(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    assert process.wait(TIMEOUT_S) == 0, process.stderr.read()


def test_of_a_microphone_nothing_is_written(pulse_microphone: PulseMicrophone, places: _Places, tmp_path: Path) -> None:
    pulse_microphone.play(_scene(tmp_path))
    before = sorted(Path(pulse_microphone.env["HOME"]).iterdir())
    with _listening(places, pulse_microphone.env, "--every-window") as process:
        places.check()
        _ends(process)
    places.check()
    assert sorted(Path(pulse_microphone.env["HOME"]).iterdir()) == before


def test_clips_are_below_their_folder_alone_and_a_killed_run_leaves_no_rest(
    pulse_microphone: PulseMicrophone, places: _Places, tmp_path: Path
) -> None:
    pulse_microphone.play(_scene(tmp_path))
    folder, heard = places.root / "state" / "edge-aac" / "clips", places.cwd / "heard.jsonl"
    arguments = ("--save-clips", "--clips-min-free-mb", "0", "--sink", "stdout", "--sink", "jsonl:heard.jsonl")
    with _listening(places, pulse_microphone.env, *arguments) as process:
        deadline_s = time.monotonic() + TIMEOUT_S
        while not (list(folder.iterdir()) or time.monotonic() > deadline_s):
            time.sleep(0.05)
        process.kill()
        process.wait()
        # One a sound that went on: rain, and a clock in it.
        rests = [path for path in folder.iterdir() if not CLIP.fullmatch(path.name)]
        assert rests and all(TEMPORARY.fullmatch(path.name) for path in rests)
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    with _listening(places, pulse_microphone.env, *arguments) as process:
        assert not [path for path in rests if path.exists()]
        time.sleep(2)
        _ends(process)
    clips = sorted(folder.iterdir())
    assert clips and all(CLIP.fullmatch(path.name) for path in clips)
    assert folder.stat().st_mode & 0o777 == 0o700
    told = [record for record in records(heard.read_text()) if record["schema"] == "edge-aac/clip/1"]
    assert sorted(record["path"] for record in told) == [str(path) for path in clips]
    for record in told:
        samples, rate = soundfile.read(record["path"])
        assert rate == 16_000 and len(samples) == round(record["seconds"] * 16_000) and abs(samples).max() > 0.005
        tags = read_tags(record["path"])
        assert (tags["TITLE"], tags["START"], tags["SOURCE"]) == (record["caption"], record["start"], "mic0")
    places.check(*clips, heard)
    shown = run_edge_aac("config", "--show", "--save-clips", env=places.env)
    assert str(folder) in shown.stdout
