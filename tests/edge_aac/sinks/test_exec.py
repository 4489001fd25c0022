"""Records to a real program, which ends, hangs and floods as programs do."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from edge_aac.doctor.dump import is_heard
from edge_aac.errors import ConfigError, InputMissingError
from edge_aac.log_lines import LineFormatter
from edge_aac.sinks import exec as exec_module
from edge_aac.sinks.exec import ExecSettings, ExecSink
from tests.edge_aac.fakes import caption_record
from tests.waiting import PATIENCE_S, until

_HEAD = """
import os, sys, time
out = open(sys.argv[1], "a")
def keep(line):
    out.write(line)
    out.flush()
"""


@pytest.fixture(autouse=True)
def programs_have_time_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is about to end is not killed because a machine under load has no time for it."""
    monkeypatch.setattr(exec_module, "END_S", PATIENCE_S)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., ExecSink]:
    def begin(program: str, **keys: float) -> ExecSink:
        script = tmp_path / "program.py"
        script.write_text(_HEAD + program)
        command = (sys.executable, str(script), str(tmp_path / "taken"))
        return ExecSink.open(ExecSettings(command=command, spool_path=tmp_path / "spool.sqlite", **keys))

    return begin


def _taken(tmp_path: Path) -> list[int]:
    path = tmp_path / "taken"
    return [json.loads(line)["seq"] for line in path.read_text().splitlines()] if path.exists() else []


def _publish(sink: ExecSink, count: int) -> None:
    for seq in range(count):
        sink.publish(caption_record(seq))


def test_each_record_is_a_line(run: Callable[..., ExecSink], tmp_path: Path) -> None:
    sink = run("for line in sys.stdin: keep(line)")
    _publish(sink, 200)
    until(lambda: sink.status.delivered == 200)
    sink.close()
    assert _taken(tmp_path) == list(range(200))
    assert (sink.status.delivered, sink.status.retries) == (200, 0)


def test_a_program_that_ends_is_started_again_and_misses_nothing(
    run: Callable[..., ExecSink], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sink = run("for _ in range(3): keep(sys.stdin.readline())\nsys.exit(3)")
    _publish(sink, 10)
    until(lambda: _taken(tmp_path)[-1:] == [9])
    until(lambda: sink.status.queued == 0)
    sink.close()
    taken = _taken(tmp_path)
    assert list(dict.fromkeys(taken)) == list(range(10)), "in order; the last before an end may come twice"
    assert len(taken) <= 10 + 4
    assert "has ended with exit code 3, and is started again" in caplog.text


def test_what_a_program_had_not_read_when_it_was_killed_goes_to_the_next(
    run: Callable[..., ExecSink], tmp_path: Path
) -> None:
    sink = run(
        "open(sys.argv[1] + '.pid', 'w').write(str(os.getpid()))\n"
        "if not os.path.exists(sys.argv[1] + '.go'): time.sleep(3600)\n"
        "for line in sys.stdin: keep(line)"
    )
    _publish(sink, 5)
    pid = tmp_path / "taken.pid"
    until(lambda: pid.exists() and pid.read_text() != "")
    (tmp_path / "taken.go").touch()
    os.kill(int(pid.read_text()), signal.SIGKILL)
    until(lambda: sink.status.delivered == 5)
    sink.close()
    assert _taken(tmp_path) == [0, 1, 2, 3, 4]


def test_a_program_that_takes_nothing_is_started_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    # A shell has begun to read long before it counts as hung.
    script = 'if [ ! -e "$1.hung" ]; then : > "$1.hung"; exec sleep 3600; fi; exec cat >> "$1"'
    command = ("sh", "-c", script, "sh", str(tmp_path / "taken"))
    sink = ExecSink.open(ExecSettings(command=command, spool_path=tmp_path / "spool.sqlite", stall_s=2.0))
    _publish(sink, 3)
    until(lambda: sink.status.delivered == 3)
    sink.close()
    assert _taken(tmp_path) == [0, 1, 2]
    assert "has taken no input for 2 s" in caplog.text


def test_what_it_writes_is_in_the_log_and_a_flood_is_cut(
    run: Callable[..., ExecSink], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    sink = run(
        "print('ding \\x1b[31m', file=sys.stderr, flush=True)\n"
        "for n in range(20_000): print('dong', n)\n"
        "sys.stdout.flush()\n"
        "for line in sys.stdin: pass"
    )
    _publish(sink, 1)
    until(lambda: sink.status.delivered == 1)
    sink.close()
    lines = [record.getMessage() for record in caplog.records if "ding" in record.msg % record.args]
    assert len(lines) == 1 and "\x1b" not in lines[0] and "\\x1b[31m" in lines[0]
    shown = [LineFormatter().format(record) for record in caplog.records if "ding" in record.getMessage()]
    assert is_heard({"MESSAGE": shown[0]}) and is_heard({"MESSAGE": lines[0]}), "no support dump has it"
    told = [record.getMessage() for record in caplog.records if "was started" in record.getMessage()]
    assert not any(is_heard({"MESSAGE": line}) for line in told)
    assert len([record for record in caplog.records if "dong" in record.getMessage()]) < 2000


def test_at_the_end_the_program_and_what_it_started_are_gone(
    run: Callable[..., ExecSink], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exec_module, "END_S", 0.2)
    sink = run(
        "import signal, subprocess\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen(['sleep', '3600'])\n"
        "for line in sys.stdin:\n"
        "    keep(line)\n"
        "    open(sys.argv[1] + '.pids', 'w').write(f'{os.getpid()} {child.pid}')\n"
        "time.sleep(3600)"
    )
    _publish(sink, 1)
    pids = tmp_path / "taken.pids"
    until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    sink.close()
    for pid in pids.read_text().split():
        until(lambda pid=pid: not _runs(int(pid)))  # type: ignore[misc]


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_no_shell_looks_at_the_command(tmp_path: Path) -> None:
    settings = ExecSettings.parse(f"cat '$HOME' ; touch {tmp_path}/pwned")
    assert settings.command == ("cat", "$HOME", ";", "touch", f"{tmp_path}/pwned")
    sink = ExecSink.open(settings.model_copy(update={"spool_mb": 0.0}))
    sink.publish(caption_record(0))
    until(lambda: sink.status.retries > 0 or sink.status.delivered > 0)
    sink.close()
    assert not (tmp_path / "pwned").exists()


def test_a_program_that_is_not_there_or_cannot_be_run(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError, match="there is no program 'no-such-bell'"):
        ExecSink.open(ExecSettings.parse("no-such-bell"))
    (tmp_path / "text").write_text("no program")
    with pytest.raises(ConfigError, match="cannot be run"):
        ExecSink.open(ExecSettings.parse(str(tmp_path / "text")))
    assert "can be started" in ExecSink.check(ExecSettings.parse("cat"))


@pytest.mark.parametrize("command", [[], [""], ["a\0b"]])
def test_commands_that_cannot_be_meant(command: list[str]) -> None:
    with pytest.raises(ValidationError):
        ExecSettings(command=tuple(command))


@pytest.mark.parametrize("rest", ["", "  ", "bell 'unclosed"])
def test_short_forms_that_cannot_be_meant(rest: str) -> None:
    with pytest.raises(ValueError):
        ExecSettings.parse(rest)
