"""``edge-aac stream`` captions what C devices stream as it does their recordings, and they show what it heard."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import IO, Any

import pytest

from tests.firmware_bridge.c_devices import build_image, cortex_m3
from tests.firmware_bridge.udp_cases import free_port
from tests.firmware_bridge.wav_files import write_scene
from tests.system.command import records, run_edge_aac, started_edge_aac
from tests.waiting import PATIENCE_S

pytestmark = [pytest.mark.waits, pytest.mark.one_python]

_OPTIONS = ("--hop", "2", "--seed", "3", "--threads", "1", "--every-window")
_WINDOWS = 3


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """14 s as mu-law, all that the Cortex-M3's flash has room for: three windows of 10 s."""
    return write_scene(tmp_path_factory.mktemp("recording") / "scene.wav", 14.0, subtype="ULAW")


def _said(record: dict[str, Any]) -> tuple[Any, ...]:
    return record["caption"], record["score"], record["rms_dbfs"], record["dropped_ms"]


@pytest.fixture(scope="module")
def of_file(recording: Path) -> list[tuple[Any, ...]]:
    result = run_edge_aac("stream", "--device", f"file:{recording}", *_OPTIONS)
    assert result.returncode == 0, result.stderr
    tables = records(result.stdout)
    assert [(table["start_s"], table["end_s"]) for table in tables] == [(0.0, 10.0), (2.0, 12.0), (4.0, 14.0)]
    return [_said(table) for table in tables]


def _read(stdout: IO[bytes] | None) -> list[dict[str, Any]]:
    assert stdout is not None
    lines = [stdout.readline() for _ in range(_WINDOWS)]
    assert all(lines), "edge-aac ended"
    return [json.loads(line) for line in lines]


def test_the_emulated_cortex_m3_is_captioned_as_its_recording(
    c_build: Path, tmp_path: Path, recording: Path, of_file: list[tuple[Any, ...]]
) -> None:
    with cortex_m3(build_image(c_build, tmp_path, recording), tmp_path) as board:
        arguments = (
            "stream",
            "--device",
            f"serial:{board.terminal}?stall_s=60",
            "--sink",
            "stdout",
            "--sink",
            "bridge",
            *_OPTIONS,
        )
        with started_edge_aac(*arguments, env={"XDG_STATE_HOME": str(tmp_path)}) as process:
            heard = _read(process.stdout)
            shown = board.wait_for(lambda lines: len([line for line in lines if line not in {"screen ||"}]) >= 2)
            process.terminate()
            _, errors = process.communicate(timeout=PATIENCE_S)
        screens = [" ".join(rows).strip() for rows in board.screens()]
    assert [_said(record) for record in heard] == of_file
    assert {record["source"] for record in heard} == {"cortex-m3"}
    assert "0 ms of sound lost" in errors.decode()
    assert "lost 0 samples" in "".join(shown)
    texts = [caption for caption, *_ in of_file]
    assert screens[0] == "" and screens[1] == texts[0], "the first caption is on its screen"
    assert set(screens[1:]) <= {"", *texts}


@pytest.mark.parametrize("options", [(), ("--adpcm",)])
def test_the_host_program_is_captioned_over_udp(
    c_build: Path, tmp_path: Path, recording: Path, of_file: list[tuple[Any, ...]], options: tuple[str, ...]
) -> None:
    keys, port, device = tmp_path / "keys", free_port(), "00:00:00:00:00:08"
    made = run_edge_aac("bridge", "keygen", device, "--keys", keys)
    assert made.returncode == 0, made.stderr
    key_file = tmp_path / "key"
    key_file.write_text(made.stdout)
    address = f"udp://127.0.0.1:{port}?keys=file:{keys}&stall_s=60"
    arguments = ("stream", "--device", address, "--sink", "stdout", "--sink", "bridge", *_OPTIONS)
    program = [c_build / "stream_wav", "--udp", f"127.0.0.1:{port}", "--key-file", key_file, "--id", "8"]
    with started_edge_aac(*arguments, env={"XDG_STATE_HOME": str(tmp_path)}) as process:
        # Its socket is there from when it says that it listens.
        assert process.stderr is not None and b"listening" in process.stderr.readline()
        player = subprocess.Popen(
            [*program, "--name", "hall", "--stay", "3600", *options, recording], stdout=subprocess.PIPE, text=True
        )
        try:
            heard = _read(process.stdout)
            assert player.stdout is not None
            shown = next(line for line in player.stdout if line.startswith("caption "))
        finally:
            player.kill()
            player.communicate()
        process.terminate()
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert {record["source"] for record in heard} == {"hall"}
    assert "0 ms of sound lost" in errors.decode()
    assert shown.strip().endswith(heard[0]["caption"])
    if options:
        # 4 bits a sample are no PCM: the levels are.
        assert [record["rms_dbfs"] for record in heard] == pytest.approx([rms for _, _, rms, _ in of_file], abs=0.3)
    else:
        assert [_said(record) for record in heard] == of_file
