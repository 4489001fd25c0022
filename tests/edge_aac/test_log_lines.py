"""Lines on standard error: levels for the journal, one line a message, and nothing that repeats itself for ever."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_aac.log_lines import JournalFormatter, LineFormatter, RepeatFilter, error_line, leads_to_journal
from tests.system.command import environment


class _Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def logger() -> Iterator[tuple[logging.Logger, io.StringIO, _Clock]]:
    """A logger of its own with the lines that it writes, and the clock of its filter."""
    made, lines, clock = logging.getLogger("edge_aac.test_log_lines"), io.StringIO(), _Clock()
    handler = logging.StreamHandler(lines)
    handler.setFormatter(LineFormatter())
    handler.addFilter(RepeatFilter(60.0, clock))
    made.addHandler(handler)
    made.setLevel(logging.INFO)
    yield made, lines, clock
    made.removeHandler(handler)
    made.setLevel(logging.NOTSET)


def _taken(lines: io.StringIO) -> list[str]:
    text = lines.getvalue()
    lines.seek(0)
    lines.truncate()
    return text.splitlines()


def test_a_message_that_repeats_itself_is_shown_once_then_counted(
    logger: tuple[logging.Logger, io.StringIO, _Clock],
) -> None:
    log, lines, clock = logger
    for second in range(50):
        clock.now_s = float(second)
        log.warning("%s: %.2f s of sound were lost", "mic0", 0.1 * second)
    assert _taken(lines) == ["edge-aac: mic0: 0.00 s of sound were lost"]
    clock.now_s = 61.0
    log.warning("%s: %.2f s of sound were lost", "mic0", 7.0)
    assert _taken(lines) == [
        "edge-aac: 49 times more: mic0: 0.00 s of sound were lost",
        "edge-aac: mic0: 7.00 s of sound were lost",
    ]


def test_the_count_is_given_though_the_fault_has_gone(logger: tuple[logging.Logger, io.StringIO, _Clock]) -> None:
    log, lines, clock = logger
    for _ in range(3):
        log.warning("%s is back", "mic0")
    clock.now_s = 61.0
    log.info("something else")
    assert _taken(lines) == [
        "edge-aac: mic0 is back",
        "edge-aac: 2 times more: mic0 is back",
        "edge-aac: something else",
    ]


def test_another_source_or_another_fault_is_no_repetition(
    logger: tuple[logging.Logger, io.StringIO, _Clock],
) -> None:
    log, lines, _ = logger
    log.warning("%s failed: %s", "mic0", "no device")
    log.warning("%s failed: %s", "mic1", "no device")
    log.warning("%s failed: %s", "mic0", "no permission")
    assert len(_taken(lines)) == 3


def test_repetitions_are_shown_for_debugging(logger: tuple[logging.Logger, io.StringIO, _Clock]) -> None:
    log, lines, _ = logger
    log.setLevel(logging.DEBUG)
    log.warning("%s is back", "mic0")
    log.warning("%s is back", "mic0")
    assert len(_taken(lines)) == 2


def test_many_messages_take_bounded_memory(logger: tuple[logging.Logger, io.StringIO, _Clock]) -> None:
    log, _, _ = logger
    (kept,) = (found for found in log.handlers[0].filters if isinstance(found, RepeatFilter))
    for number in range(3000):
        log.warning("%s is strange", f"file {chr(97 + number % 26) * (1 + number // 26)}")
    assert len(kept._shown) <= 1024


@pytest.mark.parametrize(
    ("level", "front"),
    [(logging.DEBUG, "<7>"), (logging.INFO, "<6>"), (logging.WARNING, "<4>"), (logging.ERROR, "<3>"), (50, "<2>")],
)
def test_the_journal_reads_the_level_from_the_line(level: int, front: str) -> None:
    record = logging.LogRecord("x", level, "", 0, "'%s' is\nodd", ("a\x1bb",), None)
    assert JournalFormatter().format(record) == f"{front}'a\\x1bb' is\\nodd"


def test_each_line_of_a_traceback_has_its_level() -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "it broke", (), sys.exc_info())
    lines = JournalFormatter().format(record).split("\n")
    assert lines[0] == "<3>it broke"
    assert len(lines) > 3
    assert all(line.startswith("<3>") for line in lines)


def test_only_the_stream_that_is_named_leads_to_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(tmp_path / "journal", "w") as journal, open(tmp_path / "other", "w") as other:
        status = os.fstat(journal.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        assert leads_to_journal(journal)
        assert not leads_to_journal(other)
        assert not leads_to_journal(io.StringIO())
        assert (error_line("no", journal), error_line("no", other)) == ("<3>no", "edge-aac: no")


def test_a_verb_that_fails_under_the_journal_says_so_at_error_level(tmp_path: Path) -> None:
    with open(tmp_path / "journal", "w+") as journal:
        status = os.fstat(journal.fileno())
        result = subprocess.run(
            [sys.executable, "-m", "edge_aac.cli", "stream", "--device", "gramophone:"],
            env=environment({"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}),
            stderr=journal,
            check=False,
            timeout=120,
        )
        assert result.returncode == 69
        journal.seek(0)
        assert journal.read().startswith("<3>There is no source 'gramophone'")


def test_the_level_of_the_log_is_chosen_by_flag_or_environment() -> None:
    command = [sys.executable, "-m", "edge_aac.cli", "stream", "--device", "demo:?seconds=1"]
    for more, env, shown in (
        ((), {}, True),
        (("--log-level", "warning"), {}, False),
        ((), {"EDGE_AAC_LOG_LEVEL": "error"}, False),
    ):
        result = subprocess.run(
            [*command, *more], env=environment(env), capture_output=True, check=True, text=True, timeout=120
        )
        assert ("listening to demo" in result.stderr) is shown
