"""The whole way from the network: a camera's sound in, captions out, through a restart, until kill -9."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import pytest

from tests.edge_aac.audio.sources.network.servers import PASSWORD, USER, FfmpegWatch, RtspServer, require_parts
from tests.system.command import run_edge_aac, started_edge_aac
from tests.waiting import eventually

pytestmark = [pytest.mark.one_python, pytest.mark.waits]

_LIMIT_S = 200.0


def test_a_camera_is_captioned_until_kill_9(tmp_path: Path) -> None:
    require_parts("gstreamer", "ffmpeg")
    (login := tmp_path / "login").write_text(f"{USER}:{PASSWORD}\n")
    login.chmod(0o600)
    server = RtspServer("digest")
    device = f"rtsp://127.0.0.1:{server.port}/aac?credentials=file:{login}&stall_s=20"
    words = ["stream", "--device", device, "--hop", "1", "--every-window", "--format", "json", "--debug"]
    try:
        with started_edge_aac(*words) as process, FfmpegWatch(process.pid) as watch:
            timer = threading.Timer(_LIMIT_S, process.kill)
            timer.start()
            assert process.stdout is not None and process.stderr is not None
            lines = [process.stdout.readline().decode()]
            server.restart()
            # The windows that have the outage in them, or follow it, tell of it.
            while json.loads(lines[-1])["dropped_ms"] == 0:
                lines.append(process.stdout.readline().decode())
            eventually(lambda: len(watch.seen) >= 2, "its second ffmpeg is not seen")
            readable = watch.readable + Path(f"/proc/{process.pid}/cmdline").read_bytes()
            # An ffmpeg that has nothing to write does not notice that nobody reads.
            assert server.process is not None
            server.process.send_signal(signal.SIGSTOP)
            assert any(map(_runs, watch.seen))
            process.kill()
            process.wait()
            eventually(lambda: not any(map(_runs, watch.seen)), "an ffmpeg is left")
            log = process.stderr.read().decode()
            timer.cancel()
    finally:
        server.kill()
    assert len(watch.seen) >= 2 and watch.highest == 1, "at most one at any time"
    assert b"127.0.0.1" in readable and "is back" in log
    assert {json.loads(line)["source"] for line in lines} == {f"rtsp://127.0.0.1:{server.port}/aac"}
    for text in (readable.decode(errors="replace"), log, "".join(lines)):
        assert "hunter" not in text and USER not in text


def test_without_ffmpeg(tmp_path: Path) -> None:
    (folder := tmp_path / "bin").mkdir()
    result = run_edge_aac("stream", "--device", "rtsp://127.0.0.1:1/x", env={"PATH": str(folder)})
    assert (result.returncode, result.stdout) == (69, "")
    assert "apt install ffmpeg" in result.stderr and len(result.stderr.splitlines()) == 1


def test_a_password_on_the_command_line_is_told(tmp_path: Path) -> None:
    require_parts("ffmpeg")
    result = run_edge_aac("stream", "--device", "rtsp://me:hunter2@127.0.0.1:1/x?token=hunter2")
    assert result.returncode == 69 and "list of processes" in result.stderr and "hunter2" not in result.stderr
    assert "refuses the connection" in result.stderr


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # Its new parent may be slow to take its status.
    return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()
