"""The installed command on inputs of these kinds: what a script sees of them."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import pytest

from tests.edge_aac.audio.inputs.headers import CONTAINERS
from tests.edge_aac.audio.inputs.sounds import Layout, good_file, write
from tests.system.command import COMMAND, TIMEOUT_S, environment, records, run_edge_aac

pytestmark = pytest.mark.one_python

_FRAMES = 160_000
_WAV = next(container for container in CONTAINERS if container.name == "WAV")


def _told(stderr: str) -> list[str]:
    assert "Traceback" not in stderr
    return stderr.splitlines()


def _captioned_s(stdout: str) -> float:
    return max((record["end_s"] for record in records(stdout) if "end_s" in record), default=0.0)


def test_a_stale_header(tmp_path: Path) -> None:
    path = write(tmp_path / "stale.wav", _WAV.claiming(good_file(_WAV.layout, _FRAMES), 64_000))
    done = run_edge_aac("caption", path)
    assert done.returncode == 0, done.stderr
    assert _captioned_s(done.stdout) == pytest.approx(10, abs=0.1)
    assert len(_told(done.stderr)) == 1 and "stale.wav" in done.stderr, done.stderr


def test_a_recording_that_is_cut_short(tmp_path: Path) -> None:
    path = write(tmp_path / "cut.wav", good_file(_WAV.layout, _FRAMES)[: 2 * _FRAMES - 96_000])
    done = run_edge_aac("caption", path)
    assert done.returncode == 65, done.stderr
    assert len(_told(done.stderr)) == 1, done.stderr


@pytest.mark.parametrize("layout", [Layout("WAV"), Layout("FLAC"), Layout("AU")], ids=str)
def test_a_named_pipe(tmp_path: Path, layout: Layout) -> None:
    content = good_file(layout, _FRAMES)
    if layout.container == "WAV":  # as ffmpeg writes it into a pipe
        content = _WAV.saying(content, 0xFFFF_FFFF)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    threading.Thread(target=lambda: pipe.write_bytes(content), daemon=True).start()
    done = run_edge_aac("caption", pipe)
    assert done.returncode == 0, done.stderr
    assert _captioned_s(done.stdout) == pytest.approx(10, abs=0.1)


@pytest.mark.parametrize("layout", [Layout("WAV", "PCM_24", channels=3), Layout("FLAC")], ids=str)
def test_a_container_as_standard_input(tmp_path: Path, layout: Layout) -> None:
    content = good_file(layout, _FRAMES)
    piped = run_edge_aac("stream", "--device", "stdin:", stdin=content)
    assert piped.returncode == 0, piped.stderr
    read = run_edge_aac("stream", "--device", f"file:{write(tmp_path / 'sound', content)}")
    captions = [[record["caption"] for record in records(done.stdout) if "caption" in record] for done in (piped, read)]
    assert captions[0] == captions[1]
    assert captions[0], piped.stderr


@pytest.mark.parametrize(
    "content", [b"", b"ffmpeg: command not found\n" * 40, b"0.001,-0.25\n" * 40_000], ids=["nothing", "text", "table"]
)
def test_no_sound_as_standard_input(content: bytes) -> None:
    done = run_edge_aac("stream", "--device", "stdin:", stdin=content)
    assert done.returncode == 65, done.stderr
    assert [record for record in records(done.stdout) if "caption" in record] == []
    assert any("stdin" in line and line.endswith(".") for line in _told(done.stderr)), done.stderr


def test_a_damaged_sample_dump_leaves_standard_output_alone(tmp_path: Path) -> None:
    """The library prints on standard output where a checksum of an SDS file is wrong."""
    content = bytearray(good_file(Layout("SDS"), 8_000))
    content[1_000:1_400] = bytes(400)
    path = write(tmp_path / "dump.sds", bytes(content))
    done = subprocess.run(
        [*COMMAND, "caption", str(path)], env=environment(), capture_output=True, check=False, timeout=TIMEOUT_S
    )
    records(done.stdout.decode())
    assert done.returncode in (0, 65)
    assert b"Traceback" not in done.stderr
