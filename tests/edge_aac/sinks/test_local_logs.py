"""Records in the logs of the machine, read by a socket of the test."""

from __future__ import annotations

import array
import json
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_aac.errors import ConfigError
from edge_aac.records import Record
from edge_aac.sinks.contract import TransientSinkError
from edge_aac.sinks.journal import JournalSettings, JournalSink
from edge_aac.sinks.syslog import SyslogSettings, SyslogSink
from tests.edge_aac.fakes import caption_record


class _Log:
    """A datagram socket as a log has it."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(30.0)

    def entry(self) -> bytes:
        data, ancillary, _, _ = self.socket.recvmsg(1_000_000, 1000)
        for _, _, descriptors in ancillary:
            (descriptor,) = array.array("i", descriptors)
            with open(descriptor, "rb") as file:
                file.seek(0)
                return file.read()
        return data

    def fields(self) -> dict[str, str]:
        entry, fields = self.entry(), {}
        while entry:
            head, _, entry = entry.partition(b"\n")
            name, equals, value = head.partition(b"=")
            if not equals:
                length = int.from_bytes(entry[:8], "little")
                value, entry = entry[8 : 8 + length], entry[9 + length :]
            fields[name.decode()] = value.decode()
        return fields


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def log(path: Path) -> Iterator[_Log]:
    log = _Log(path)
    yield log
    log.socket.close()


def _record(**changes: object) -> Record:
    return caption_record(3).model_copy(update={"start": "2026-05-01T10:00:00.000Z", "source": "mic0", **changes})


# RFC 5424, 6: the grammar of a line.
_LINE = re.compile(
    rb"<(?P<number>\d{1,3})>1 (?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,6}Z) (?P<host>[!-~]{1,255}) "
    rb"(?P<app>[!-~]{1,48}) (?P<pid>[!-~]{1,128}) (?P<kind>[!-~]{1,32}) "
    rb'(?P<data>-|\[[!#-<>-\\^-~]{1,32}(?: [!#-<>-\\^-~]{1,32}="(?:[^"\\\]]|\\["\\\]])*")*\]) '
    rb"\xef\xbb\xbf(?P<text>.*)",
    re.DOTALL,
)


def test_a_line_of_rfc_5424(path: Path, log: _Log) -> None:
    sink = SyslogSink.open(SyslogSettings(socket=path, facility="local3"))
    sink.publish(_record(caption='ein "Hund"\n<0>bellt', source='mic"]\\0'))
    sink.close()
    found = _LINE.fullmatch(log.entry())
    assert found is not None
    assert (found["number"], found["app"], found["kind"]) == (b"157", b"edge-aac", b"caption")
    assert found["pid"] == str(os.getpid()).encode()
    assert rb'source="mic\"\]\\0"' in found["data"] and b'start="2026-05-01T10:00:00.000Z"' in found["data"]
    assert b"\n" not in found["text"] and "bellt" in found["text"].decode()


def test_the_older_form_and_json(path: Path, log: _Log) -> None:
    sink = SyslogSink.open(SyslogSettings(socket=path, form="rfc3164", content="json"))
    record = _record()
    sink.publish(record)
    sink.close()
    found = re.fullmatch(rb"<29>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d edge-aac\[\d+\]: (.*)", log.entry())
    assert found is not None
    assert json.loads(found[1]) == json.loads(record.to_json())


def test_an_entry_of_the_journal_has_fields(path: Path, log: _Log) -> None:
    sink = JournalSink.open(JournalSettings(socket=path))
    record = _record(caption="ein Hund\nPRIORITY=0 bellt ♪")
    sink.publish(record)
    sink.close()
    fields = log.fields()
    assert (fields["SYSLOG_IDENTIFIER"], fields["PRIORITY"], fields["EDGE_AAC_KIND"]) == ("edge-aac", "5", "caption")
    assert (fields["EDGE_AAC_SOURCE"], fields["EDGE_AAC_SEQ"]) == ("mic0", "3")
    assert fields["EDGE_AAC_CAPTION"] == "ein Hund\nPRIORITY=0 bellt ♪", "a line end begins no field"
    assert json.loads(fields["EDGE_AAC_RECORD"]) == json.loads(record.to_json())
    assert "\n" not in fields["MESSAGE"]


def test_an_entry_that_is_too_large_for_a_datagram(path: Path, log: _Log) -> None:
    caption = "ein langer Satz " * 100_000
    sink = JournalSink.open(JournalSettings(socket=path))
    sink.publish(_record(caption=caption))
    assert log.fields()["EDGE_AAC_CAPTION"] == caption
    sink.close()
    lines = SyslogSink.open(SyslogSettings(socket=path))
    lines.publish(_record(caption=caption))
    lines.close()
    assert len(log.entry()) < 8192


@pytest.mark.parametrize("kind", ["syslog", "journal"])
def test_a_log_that_is_away_or_starts_again_is_waited_for(path: Path, kind: str) -> None:
    sink: SyslogSink | JournalSink = (
        SyslogSink.open(SyslogSettings(socket=path))
        if kind == "syslog"
        else JournalSink.open(JournalSettings(socket=path))
    )
    with pytest.raises(TransientSinkError, match="No such file"):
        sink.publish(_record())
    for _ in range(2):
        log = _Log(path)
        sink.publish(_record())
        assert b"edge-aac" in log.entry()
        log.socket.close()
        with pytest.raises(TransientSinkError, match="Connection refused"):
            sink.publish(_record())
        path.unlink()
    sink.close()


def test_a_path_that_is_no_socket_is_refused(path: Path) -> None:
    path.write_text("no socket")
    for open_one in (
        lambda: SyslogSink.open(SyslogSettings(socket=path)),
        lambda: JournalSink(JournalSettings(socket=path)),
    ):
        with pytest.raises(ConfigError, match="is no socket"):
            open_one()


def test_the_doctor_writes_a_line_that_says_what_it_is(path: Path, log: _Log) -> None:
    assert "a line was written" in SyslogSink.check(SyslogSettings(socket=path))
    assert b"nothing was heard" in log.entry()
    assert "an entry was written" in JournalSink.check(JournalSettings(socket=path))
    assert log.fields()["PRIORITY"] == "7"
