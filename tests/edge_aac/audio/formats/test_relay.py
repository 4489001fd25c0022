"""A program beside this process: it never outlives it, whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edge_aac.audio.formats.relay import Relay
from tests.waiting import PATIENCE_S, ended, until

_ONE_CHILD = """
import os, sys, threading
from edge_aac.audio.formats.relay import Relay

made = []
def make():
    made.append(Relay([sys.executable, "-c", sys.argv[1]], lambda data: True, idle_limit_s=1000, silent_limit_s=1000))

maker = threading.Thread(target=make)
maker.start()
maker.join()  # the end of the thread that made it is not the program's
print(os.read(made[0].output, 100).decode(), flush=True)
sys.stdin.read()
"""
_WAITS = "import os, time; os.write(1, str(os.getpid()).encode()); time.sleep(1000)"


def _relay(script: str, *, source: int | None = None, head: bytes = b"") -> Relay:
    command = [sys.executable, "-c", script]
    return Relay(command, lambda data: True, source=source, head=head, idle_limit_s=100, silent_limit_s=100)


def _all(relay: Relay) -> bytes:
    content = b""
    while data := os.read(relay.output, 1 << 16):
        content += data
    return content


def _lives(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def _wait_for_death(number: int) -> None:
    until(lambda: not _lives(number), lambda: "it lives on")


@pytest.mark.parametrize("ended_by", [signal.SIGKILL, signal.SIGTERM])
def test_it_dies_with_this_process(ended_by: signal.Signals) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", _ONE_CHILD, _WAITS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert parent.stdout is not None
        number = int(parent.stdout.readline())
        assert _lives(number)
        parent.send_signal(ended_by)
        _wait_for_death(number)
    finally:
        parent.kill()
        parent.communicate(timeout=PATIENCE_S)


def test_what_comes_in_goes_out(tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    path = tmp_path / "content"
    path.write_bytes(content)
    copies = "import shutil, sys; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)"
    with path.open("rb", buffering=0) as source:
        relay = _relay(copies, source=source.fileno(), head=b"head")
    try:
        assert _all(relay) == b"head" + content
        relay.wait()
        assert (relay.status, relay.received_bytes, relay.hung_s) == (0, len(content) + 4, None)
    finally:
        relay.close()


def test_a_program_that_does_not_want_all_of_it() -> None:
    reader, writer = os.pipe()
    try:
        relay = _relay("import sys; print(sys.stdin.buffer.read(4))", source=reader, head=b"abcdefgh")
        assert _all(relay) == b"b'abcd'\n"
        relay.wait()
        assert relay.status == 0
        relay.close()
    finally:
        os.close(reader)
        os.close(writer)


def test_closing_ends_a_program_that_waits_for_its_source() -> None:
    reader, writer = os.pipe()
    try:
        relay = _relay("import sys; sys.stdin.buffer.read()", source=reader)
        relay.close()
        assert relay.status == -signal.SIGKILL
    finally:
        os.close(reader)
        os.close(writer)


def test_a_reader_that_waits_comes_to_the_end() -> None:
    relay = _relay("import time; time.sleep(1000)")
    ends: list[bytes] = []
    reading = threading.Thread(target=lambda: ends.append(os.read(relay.output, 1)))
    reading.start()
    relay.stop()
    ended(reading)
    relay.close()
    assert ends == [b""]


def test_it_gets_no_more_memory_than_decoding_needs() -> None:
    relay = _relay("print(len(bytearray(1 << 28)), flush=True); bytearray(1 << 31)")
    try:
        assert _all(relay) == b"268435456\n"
        relay.wait()
        assert relay.status == 1
    finally:
        relay.close()


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError):
        Relay(["/no/such/program"], lambda data: True, idle_limit_s=1, silent_limit_s=1)
