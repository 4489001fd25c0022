"""Parts of checks in processes of their own: one that hangs, crashes or lies ends nothing but itself."""

from __future__ import annotations

import ctypes
import faulthandler
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_aac.doctor.apart import run_apart
from edge_aac.doctor.contract import Finding, Part
from edge_aac.errors import DeviceError

OK = Finding("ok", "all is well")


def _found(run: Callable[[], Iterator[Finding]], limit_s: float = 60.0) -> list[Finding]:
    return list(run_apart(Part(run, limit_s=limit_s)))


def _of(name: str) -> Callable[[], Iterator[Finding]]:
    def run() -> Iterator[Finding]:
        yield OK
        if name == "device":
            raise DeviceError("there is no device: plug one in.")
        if name == "fault":
            raise KeyError("x")
        if name == "exit":
            raise SystemExit(3)
        if name == "crash":
            faulthandler.disable()
            ctypes.string_at(0)
        if name == "hang":
            time.sleep(3600)
        if name == "noise":
            print("what a library says")
            os.write(1, b"and what C says\n")
            os.write(2, b"and what it complains of\n")
        if name == "log":
            logging.getLogger("edge_aac.engines").warning("%s are left aside", "engines")
            logging.getLogger("edge_aac.engines").info("this is of no interest")
            logging.getLogger("another").warning("nor is this")
        if name == "flood":
            for number in range(10**6):
                yield Finding("ok", f"{number} " + "x" * 10_000)

    return run


def test_findings_come_in_order_and_errors_are_findings() -> None:
    assert _found(_of("")) == [OK]
    assert _found(_of("device")) == [OK, Finding("failed", "there is no device: plug one in")]
    assert _found(_of("fault")) == [OK, Finding("failed", "it cannot be checked (KeyError: 'x')")]
    assert _found(_of("exit"))[1].status == "failed"


def test_a_part_that_crashes_is_told_and_ends_nothing_else() -> None:
    first, second = _found(_of("crash"))
    assert first == OK
    assert second.status == "failed"
    assert "it crashed (SIGSEGV)" in second.text


def test_a_part_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"

    def run() -> Iterator[Finding]:
        yield OK
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
        pid_file.write_text(str(child.pid))
        child.wait()

    assert _found(run, 3.0) == [OK, Finding("failed", "it was not done within 3 s, and was ended")]
    pid = int(pid_file.read_text())
    # Killed; whoever adopts orphans may not have looked after it yet.
    for _ in range(600):
        status = Path(f"/proc/{pid}/stat")
        try:
            if status.read_text().rpartition(") ")[2][0] == "Z":
                break
        except FileNotFoundError:
            break
        time.sleep(0.1)
    else:
        pytest.fail("it still runs")


def test_what_is_printed_is_no_finding_and_goes_nowhere(capfd: pytest.CaptureFixture[str]) -> None:
    assert _found(_of("noise")) == [OK]
    assert capfd.readouterr() == ("", "")


def test_warnings_of_our_own_are_findings() -> None:
    assert _found(_of("log")) == [OK, Finding("warning", "engines are left aside")]


def test_a_flood_is_cut() -> None:
    found = _found(_of("flood"))
    assert found[-1].status == "failed"
    assert len(found) < 1000


def _children() -> set[str]:
    """Ids of this process's children; other tests in the same process may have some of their own."""
    return {child for task in Path("/proc/self/task").iterdir() for child in (task / "children").read_text().split()}


def test_nothing_is_left_open() -> None:
    before, children = os.listdir("/proc/self/fd"), _children()
    for name in ("", "crash", "fault"):
        _found(_of(name))
    assert len(os.listdir("/proc/self/fd")) == len(before)
    assert not _children() - children


def test_a_finding_is_plain_json() -> None:
    (finding,) = _found(lambda: iter([Finding("ok", "ä\n\udc80")]))
    assert json.dumps(finding.text)
