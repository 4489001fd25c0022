"""``edge-aac stream`` as a user runs it: from files and pipes, until the end or until it is told to stop."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import struct
import subprocess
import termios
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest

from edge_aac.bundle.store import DEFAULT_BUNDLE, open_bundle
from tests.edge_aac.demo_words import tells_synthesised
from tests.system.command import (
    CAPTION_FIELDS,
    COMMAND,
    FILE_TIMES,
    TIMEOUT_S,
    environment,
    noise,
    records,
    run_edge_aac,
    started_edge_aac,
    write_wav,
)

# Longer than any test waits: what ends before all of it was heard was ended by the signal. How fast that is,
# benchmarks/stopping.py measures.
_LONGER_THAN_ANY_WAIT_S = 600.0
_SMALL_PIPE_BYTES = 4096
_LONGEST_RECORD_BYTES = 1000


@pytest.fixture(scope="module")
def seventeen_seconds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wav(tmp_path_factory.mktemp("sound") / "noise.wav", noise(17))


def _raw(samples: np.ndarray) -> bytes:
    return np.round(samples * 32_768).astype("<i2").tobytes()


def _captioned(text: str) -> list[tuple[Any, ...]]:
    return [
        (each["start_s"], each["end_s"], each["caption"], each["score"], each["rms_dbfs"]) for each in records(text)
    ]


def _log(stderr: str) -> list[str]:
    assert "Traceback" not in stderr
    lines = stderr.splitlines()
    assert all(line.startswith("edge-aac: ") for line in lines), stderr
    return lines


@pytest.fixture(scope="module")
def captioned(seventeen_seconds: Path) -> list[tuple[Any, ...]]:
    result = run_edge_aac("caption", "--hop", "2", "--seed", "3", "--threads", "1", seventeen_seconds)
    assert result.returncode == 0, result.stderr
    return _captioned(result.stdout)


def test_a_streamed_file_is_the_file(seventeen_seconds: Path, captioned: list[tuple[Any, ...]]) -> None:
    result = run_edge_aac(
        *("stream", "--device", f"file:{seventeen_seconds}", "--hop", "2", "--seed", "3", "--threads", "1"),
        "--every-window",
    )
    assert result.returncode == 0, result.stderr
    assert _captioned(result.stdout) == captioned
    assert [captions[:2] for captions in captioned] == [(0.0, 10.0), (2.0, 12.0), (4.0, 14.0), (6.0, 16.0), (7.0, 17.0)]
    tables = records(result.stdout)
    # What a window alone names is no event before another confirms it.
    assert all(set(table) - {"event", "events"} == CAPTION_FIELDS | FILE_TIMES for table in tables)
    assert any("event" in table for table in tables)
    assert {table["source"] for table in tables} == {str(seventeen_seconds)}
    assert [table["seq"] for table in tables] == [0, 1, 2, 3, 4]
    log = _log(result.stderr)
    assert len(log) == 2
    assert "listening" in log[0]
    assert "5 windows: 5 captions published" in log[1]


def test_a_raw_pipe_is_the_file(seventeen_seconds: Path, captioned: list[tuple[Any, ...]]) -> None:
    result = run_edge_aac(
        *("stream", "--device", "stdin:", "--hop", "2", "--seed", "3", "--threads", "1", "--every-window"),
        stdin=_raw(noise(17)),
    )
    assert result.returncode == 0, result.stderr
    assert _captioned(result.stdout) == captioned
    assert {table["source"] for table in records(result.stdout)} == {"stdin"}


def test_events_open_and_end(seventeen_seconds: Path) -> None:
    result = run_edge_aac(
        *("stream", "--device", f"file:{seventeen_seconds}", "--events", "--same-similarity", "-1"),
        *("--min-windows", "1", "--update-interval", "0"),
    )
    assert result.returncode == 0, result.stderr
    tables = records(result.stdout)
    # Where anything is the same as anything, there is one event, and its first window alone is a caption.
    assert [table["schema"].split("/")[1] for table in tables] == ["caption", *["event"] * 6]
    events = tables[1:]
    assert [event["state"] for event in events] == ["start", *["update"] * 4, "end"]
    assert {event["event"] for event in events} == {0} == {tables[0]["event"]}
    assert (events[-1]["start_s"], events[-1]["end_s"], events[-1]["windows"]) == (0.0, 17.0, 5)


def test_silence_says_nothing(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "silence.wav", np.zeros(16_000 * 14))
    result = run_edge_aac("stream", "--device", f"file:{path}", "--every-window", "--events")
    assert (result.returncode, result.stdout) == (0, "")
    assert "3 windows: 0 captions published, 3 silent" in _log(result.stderr)[-1]


def test_an_empty_pipe_is_bad_data() -> None:
    result = run_edge_aac("stream", "--device", "stdin:")
    assert (result.returncode, result.stdout) == (65, "")
    assert "0 bytes" in result.stderr
    _log(result.stderr)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--device", "gramophone:0"], 69),
        (["--device", "mic99"], 69),
        (["--device", "file:/nonexistent/none.wav"], 66),
        (["--device", "stdin:?rate=fast"], 2),
        (["--device", "stdin:", "--bundle", "no-such-bundle"], 66),
        (["--device", "stdin:", "--hop", "0.01"], 78),
        (["--device", "stdin:", "--same-similarity", "2"], 78),
        (["--device", "stdin:", "--node", ""], 78),
    ],
)
def test_what_cannot_be_listened_to(words: list[str], code: int) -> None:
    result = run_edge_aac("stream", *words)
    assert (result.returncode, result.stdout) == (code, ""), result.stderr
    assert len(_log(result.stderr)) == 1


def test_damage_comes_after_what_was_heard(tmp_path: Path) -> None:
    samples = noise(15)
    samples[-100] = np.nan
    path = write_wav(tmp_path / "nan.wav", samples, subtype="FLOAT")
    result = run_edge_aac("stream", "--device", f"file:{path}", "--every-window", "--events")
    assert result.returncode == 65
    tables = records(result.stdout)
    assert [table["start_s"] for table in tables if "seq" in table] == [0.0, 2.0, 4.0]
    started = [table["event"] for table in tables if table.get("state") == "start"]
    ended = [table["event"] for table in tables if table.get("state") == "end"]
    assert sorted(started) == sorted(ended)
    listening, closing, sentence = _log(result.stderr)
    assert "listening" in listening and "3 windows" in closing and str(path) in sentence


def test_the_reader_may_leave(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "long.wav", noise(60))
    words = ["stream", "--device", f"file:{path}", "--hop", "1", "--candidates", "1", "--every-window"]
    with started_edge_aac(*words) as process:
        assert process.stdout is not None and process.stderr is not None
        assert len(records(process.stdout.readline().decode())) == 1
        process.stdout.close()
        assert process.wait(TIMEOUT_S) == 0
        log = _log(process.stderr.read().decode())
        assert len(log) == 2, "the two lines of every stream, and no complaint"


class _Feeder:
    """Writes noise into a process, and leaves the pipe open."""

    def __init__(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        self._process = process
        self._data = _raw(noise(seconds))
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._thread.start()

    def _feed(self) -> None:
        assert self._process.stdin is not None
        try:
            for start in range(0, len(self._data), 3_200):
                self._process.stdin.write(self._data[start : start + 3_200])
                self._process.stdin.flush()
        except (BrokenPipeError, ValueError):
            pass

    def join(self) -> None:
        self._thread.join(TIMEOUT_S)


def _end_by(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Sends the signal and waits; the exit code must be 0."""
    process.send_signal(number)
    assert process.wait(TIMEOUT_S) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("seconds", [0.0, 14.0, _LONGER_THAN_ANY_WAIT_S], ids=["no sound", "waiting for sound", "busy"])
def test_a_signal_ends_it_before_all_is_heard(number: signal.Signals, seconds: float) -> None:
    words = ["stream", "--device", "stdin:", "--hop", "1", "--candidates", "2", "--every-window", "--events"]
    with started_edge_aac(*words) as process:
        assert process.stdout is not None and process.stderr is not None
        assert b"listening" in process.stderr.readline()
        feeder = _Feeder(process, seconds)
        first = process.stdout.readline() if seconds else b""
        if seconds == 14.0:
            time.sleep(1.0)
        _end_by(process, number)
        rest = process.stdout.read()
        feeder.join()
        tables = records((first + rest).decode())
        assert bool(tables) == (seconds > 0)
        assert all(table["end_s"] < _LONGER_THAN_ANY_WAIT_S / 2 for table in tables)
        started = {table["event"] for table in tables if table.get("state") == "start"}
        ended = {table["event"] for table in tables if table.get("state") == "end"}
        assert started == ended, "what was heard is flushed"
        assert len(_log(process.stderr.read().decode())) == 1, "the closing line"


def test_a_signal_ends_a_paced_file(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "long.wav", noise(_LONGER_THAN_ANY_WAIT_S))
    with started_edge_aac("stream", "--device", f"file:{path}?speed=1") as process:
        assert process.stderr is not None
        assert b"listening" in process.stderr.readline()
        _end_by(process, signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("writes", [False, True], ids=["no writer", "quiet writer"])
def test_a_signal_ends_a_named_pipe(
    number: signal.Signals, writes: bool, seventeen_seconds: Path, tmp_path: Path
) -> None:
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    with ExitStack() as cleanup, started_edge_aac("stream", "--device", f"file:{fifo}") as process:
        assert process.stdout is not None and process.stderr is not None
        # A line that never comes must not hang the tests.
        timer = threading.Timer(TIMEOUT_S, process.kill)
        cleanup.callback(timer.cancel)
        timer.start()
        assert b"listening" in process.stderr.readline()
        if writes:
            writer = cleanup.enter_context(os.fdopen(os.open(fifo, os.O_RDWR), "wb"))
            writer.write(seventeen_seconds.read_bytes()[:400_000])
            writer.flush()
            assert process.stdout.readline()
        _end_by(process, number)
        assert len(_log(process.stderr.read().decode())) == 1, "the closing line"


@pytest.mark.parametrize("ignored", [True, False], ids=["nohup", "on a terminal"])
def test_a_terminal_that_is_closed(ignored: bool, tmp_path: Path) -> None:
    """The records go to a file; the terminal of the session hangs up while an event is open."""
    path = write_wav(tmp_path / "long.wav", noise(_LONGER_THAN_ANY_WAIT_S if not ignored else 30.0))
    words = ["stream", "--device", f"file:{path}", "--hop", "1", "--candidates", "1", "--events", "--format", "json"]
    terminal, theirs = os.openpty()
    with (tmp_path / "heard.jsonl").open("wb") as heard:
        process = subprocess.Popen(
            ["setsid", "--ctty", *(["nohup"] if ignored else []), *COMMAND, *words],
            env=environment(),
            stdin=theirs,
            stdout=heard,
            stderr=subprocess.PIPE,
        )
    os.close(theirs)
    try:
        while not (tmp_path / "heard.jsonl").read_text(encoding="utf-8"):
            assert process.poll() is None
            time.sleep(0.1)
        os.close(terminal)  # the kernel sends SIGHUP to the session's leader
        assert process.wait(TIMEOUT_S) == 0
    finally:
        process.kill()
        process.wait()
    tables = records((tmp_path / "heard.jsonl").read_text(encoding="utf-8"))
    assert {table["event"] for table in tables if table.get("state") == "start"} == {
        table["event"] for table in tables if table.get("state") == "end"
    }
    last_s = max(table["end_s"] for table in tables)
    assert last_s > 29.0 if ignored else last_s < _LONGER_THAN_ANY_WAIT_S / 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("after_s", [0.1, 0.2, 0.4, 0.8])
def test_a_signal_while_it_starts_is_no_less_polite(number: signal.Signals, after_s: float) -> None:
    with started_edge_aac("stream", "--device", "stdin:") as process:
        # Until Python itself is there no signal can be answered: the command's own code has to run.
        while not _catches(process.pid, signal.SIGTERM):
            assert process.poll() is None
            time.sleep(0.005)
        time.sleep(after_s)
        _end_by(process, number)
        assert process.stderr is not None
        _log(process.stderr.read().decode())


def _catches(pid: int, number: int) -> bool:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


def _wait_until_full(pipe: IO[bytes]) -> None:
    """Until a pipe of ``_SMALL_PIPE_BYTES`` has no room for another record, and what writes to it is stuck."""
    deadline_s = time.monotonic() + TIMEOUT_S
    waiting, before = 0, -1
    while waiting < _SMALL_PIPE_BYTES - _LONGEST_RECORD_BYTES or waiting != before:
        assert time.monotonic() < deadline_s, f"only {waiting} bytes were written"
        time.sleep(0.1)
        before = waiting
        (waiting,) = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))


def test_a_signal_ends_it_though_nobody_reads(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "long.wav", noise(60))
    words = ["stream", "--device", f"file:{path}", "--hop", "0.1", "--candidates", "1", "--every-window", "--events"]
    with started_edge_aac(*words) as process:
        assert process.stdout is not None and process.stderr is not None
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, _SMALL_PIPE_BYTES)  # type: ignore[attr-defined]  # Linux, from Python 3.10
        assert b"listening" in process.stderr.readline()
        _wait_until_full(process.stdout)
        assert process.poll() is None
        _end_by(process, signal.SIGTERM)


def test_the_synthesised_scene_is_heard_as_what_it_is() -> None:
    done = run_edge_aac("stream", "--device", "demo:?scene=rain", "--format", "json")
    assert done.returncode == 0, done.stderr
    captions = " ".join(json.loads(line)["caption"] for line in done.stdout.splitlines())
    assert tells_synthesised(captions, open_bundle(DEFAULT_BUNDLE).manifest.sounds is not None), captions
