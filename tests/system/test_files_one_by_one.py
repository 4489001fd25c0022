"""``edge-aac caption`` judges its files one by one, whatever is wrong with them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.system.command import (
    COMMAND,
    TIMEOUT_S,
    environment,
    noise,
    records,
    run_bound_by_permissions,
    run_edge_aac,
    started_edge_aac,
    write_wav,
)

_FAST = ("--candidates", "1", "--format", "json")


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return write_wav(tmp_path / "good.wav", noise(2))


def _judged(result: subprocess.CompletedProcess[str]) -> tuple[int, list[str], list[str]]:
    """The code, the sources that were captioned, and what was said."""
    assert "Traceback" not in result.stderr
    return result.returncode, [each["source"] for each in records(result.stdout)], result.stderr.splitlines()


def test_a_file_that_must_not_be_read_stops_no_batch(good: Path) -> None:
    secret = write_wav(good.with_name("secret.wav"), noise(2))
    secret.chmod(0)
    closed = good.with_name("closed")
    closed.mkdir(mode=0)
    code, sources, said = _judged(
        run_bound_by_permissions("caption", *_FAST, good, secret, closed / "x.wav", closed, good)
    )
    closed.chmod(0o700)
    assert (code, sources) == (66, [str(good)] * 2)
    assert len(said) == 3 and str(secret) in said[0] and str(closed / "x.wav") in said[1] and str(closed) in said[2]


def test_what_is_no_file_is_refused_and_the_others_are_heard(good: Path) -> None:
    folder = good.parent
    os.mkdir(folder / "folder.wav")
    (folder / "circle.wav").symlink_to("circle.wav")
    (folder / "astray.wav").symlink_to("nowhere.wav")
    listener = socket.socket(socket.AF_UNIX)
    before = os.getcwd()
    os.chdir(folder)  # the address of a socket is short
    try:
        listener.bind("socket.wav")
    finally:
        os.chdir(before)
    bad = [
        *(folder / name for name in ("folder.wav", "circle.wav", "astray.wav", "socket.wav", "x" * 300)),
        *map(Path, ("/dev/zero", "/dev/full", "/dev/random", "/dev/tty", "/proc/self/mem", "/dev/null", "/dev/fd/999")),
    ]
    code, sources, said = _judged(run_edge_aac("caption", *_FAST, *bad, good))
    listener.close()
    assert (code, sources) == (66, [str(good)])
    assert [str(path) in line for path, line in zip(bad, said, strict=True)] == [True] * len(bad), said


def test_the_first_failure_gives_the_code(good: Path) -> None:
    assert _judged(run_edge_aac("caption", *_FAST, "/dev/null", good, "/dev/zero"))[0] == 65
    assert _judged(run_edge_aac("caption", *_FAST, "/dev/zero", good, "/dev/null"))[0] == 66


def test_names_that_would_steer_a_terminal(good: Path) -> None:
    names = ["a\nb.wav", "c\x1b[2Jd.wav", "e\u202ef.wav", "g\x9bh.wav"]
    for name in names:
        (good.parent / name).write_bytes(good.read_bytes())
    paths = [good.parent / name for name in names]
    gone = [path.with_suffix(".flac") for path in paths]
    result = run_edge_aac("caption", "--candidates", "1", "--format", "text", *paths, *gone)
    assert result.returncode == 66
    shown = [r"a\nb", r"c\x1b[2Jd", r"e\u202ef", r"g\x9bh"]
    for lines, suffix in ((result.stdout.splitlines(), ".wav"), (result.stderr.splitlines(), ".flac")):
        assert [part + suffix in line for part, line in zip(shown, lines, strict=True)] == [True] * 4
    assert not {"\x1b", "\x9b", "\u202e"} & set(result.stdout + result.stderr)
    # JSON holds the names as they are.
    assert [each["source"] for each in records(run_edge_aac("caption", *_FAST, *paths).stdout)] == list(map(str, paths))


def test_wrong_use_shows_names_escaped_as_well() -> None:
    result = run_edge_aac("caption", "--\x1b[2J", "x.wav")
    assert result.returncode == 2 and "\x1b" not in result.stderr and r"\x1b[2J" in result.stderr


@pytest.mark.parametrize("verb", ["caption", "stream"])
def test_a_name_that_is_no_text(verb: str, good: Path) -> None:
    path = os.fsencode(good.parent) + b"/caf\xe9.wav"
    try:
        os.rename(good, path)
    except OSError:
        pytest.skip("this file system takes no such name")
    words = [os.fsdecode(path)] if verb == "caption" else ["--device", f"file:{os.fsdecode(path)}"]
    result = run_edge_aac(verb, *_FAST, *words)
    assert result.returncode == 0, result.stderr
    assert [each["source"] for each in records(result.stdout)] == [f"{good.parent}/caf\ufffd.wav"]
    gone = run_edge_aac(verb, *_FAST, *(word.replace("caf", "tea") for word in words))
    assert gone.returncode == 66 and r"tea\xe9.wav" in gone.stderr


def test_a_file_that_is_removed_while_the_batch_runs(good: Path) -> None:
    later = good.with_name("later.wav")
    later.write_bytes(good.read_bytes())
    fifo = good.with_name("pipe.wav")
    os.mkfifo(fifo)
    with started_edge_aac("caption", *_FAST, str(fifo), str(later), str(good)) as process:
        writer = fifo.open("wb")  # the verb has come to its first file
        later.unlink()
        writer.write(good.read_bytes())
        writer.close()
        stdout, stderr = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 66
    assert [each["source"] for each in records(stdout.decode())] == [str(fifo), str(good)]
    assert str(later) in stderr.decode() and stderr.decode().count("\n") == 1


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_standard_input_is_a_file(name: str, good: Path) -> None:
    with good.open("rb") as sound:
        result = subprocess.run(
            [*COMMAND, "caption", *_FAST, name], env=environment(), stdin=sound, check=False, capture_output=True
        )
    assert (result.returncode, result.stderr) == (0, b"")
    assert [each["source"] for each in records(result.stdout.decode())] == ["/dev/stdin"]
    piped = run_edge_aac("caption", *_FAST, name, stdin=good.read_bytes())
    assert (piped.returncode, piped.stderr) == (0, "")
    assert [each["end_s"] for each in records(piped.stdout)] == [2.0]


@pytest.mark.parametrize(("redirection", "code"), [("<&-", 66), ("< /dev/null", 65), ("< /dev/zero", 66)])
def test_standard_input_without_sound(redirection: str, code: int) -> None:
    command = ["bash", "-c", f'"$@" {redirection}', "bash", *COMMAND, "caption", "-"]
    result = subprocess.run(command, env=environment(), check=False, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (code, "", 1), result.stderr


def test_standard_input_named_twice_and_a_file_of_that_name(good: Path) -> None:
    twice = run_edge_aac("caption", "-", "/dev/stdin")
    assert (twice.returncode, twice.stdout) == (2, "") and "named twice" in twice.stderr
    good.rename(good.with_name("-"))
    process = subprocess.run(
        [*COMMAND, "caption", *_FAST, "./-"], cwd=good.parent, env=environment(), check=False, capture_output=True
    )
    assert process.returncode == 0 and len(records(process.stdout.decode())) == 1


def test_silence_is_one_line_a_file(tmp_path: Path) -> None:
    samples = np.concatenate([np.zeros(35 * 16_000), noise(10), 1e-5 * np.ones(5 * 16_000)])
    path = write_wav(tmp_path / "quiet.wav", samples.astype(np.float32), subtype="FLOAT")
    result = run_edge_aac("caption", *_FAST, "--hop", "5", path)
    assert result.returncode == 0
    (line,) = result.stderr.splitlines()
    assert "6 of 9 windows silent (35.0 s, at most -120.0 dBFS A-weighted), not captioned" in line
    debugged = run_edge_aac("caption", *_FAST, "--hop", "5", path, "--debug")
    assert sum(": silent (" in line for line in debugged.stderr.splitlines()) == 6


def test_nobody_waits_for_a_verb_that_ends(good: Path) -> None:
    """A pipe whose writer is gone for good is a file that ends."""
    fifo = good.with_name("pipe.wav")
    os.mkfifo(fifo)
    feeder = threading.Thread(target=lambda: fifo.open("wb").close(), daemon=True)
    feeder.start()
    code, sources, said = _judged(run_edge_aac("caption", *_FAST, fifo, good))
    assert (code, sources) == (65, [str(good)]) and str(fifo) in said[0]


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
@pytest.mark.parametrize("ignored", [True, False], ids=["nohup", "plain"])
def test_a_signal_ends_it_between_two_windows(number: signal.Signals, ignored: bool, tmp_path: Path) -> None:
    path = write_wav(tmp_path / "long.wav", noise(40 if ignored else 600))
    command = [*COMMAND, "caption", "--hop", "1", "--candidates", "1", "--format", "json", str(path)]
    command = ["env", "--ignore-signal=HUP", *command] if ignored else command
    # Without a buffer of ours: what readline() read beyond its line, communicate() would not find.
    with subprocess.Popen(
        command, bufsize=0, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        first = process.stdout.readline()
        process.send_signal(number)
        rest, stderr = process.communicate(timeout=TIMEOUT_S)
    heard = records((first + rest).decode())
    if ignored and number == signal.SIGHUP:
        assert (process.returncode, len(heard)) == (0, 31)
    else:
        assert (process.returncode, stderr) == (128 + number, b"")
        assert len(heard) < 590
