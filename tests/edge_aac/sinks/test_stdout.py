"""Records on standard output: lines for programs, sentences for people."""

from __future__ import annotations

import io
import json
import os
import sys

import pytest

from edge_aac.errors import DeviceError
from edge_aac.records import Caption, Event
from edge_aac.sinks.stdout import StdoutSettings, StdoutSink
from tests.edge_aac.fakes import caption_record

_EVENT = Event(
    node="kitchen",
    source="garden.wav",
    event=3,
    state="update",
    start_s=0.0,
    end_s=12.0,
    caption="rain falls",
    windows=2,
)
_LIVE = {"start_s": None, "end_s": None, "start": "2026-05-01T10:00:00.000Z", "end": "2026-05-01T10:00:10.000Z"}


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class _Flushed(io.StringIO):
    """Counts how much had been written when it was flushed last."""

    flushed = 0

    def flush(self) -> None:
        self.flushed = len(self.getvalue())


def test_json_lines_are_flushed_one_by_one() -> None:
    stream = _Flushed()
    sink = StdoutSink("json", stream=stream)
    for seq in range(3):
        sink.publish(caption_record(seq, caption="ein Hund bellt – töne ♪\nneue Zeile"))
        assert stream.flushed == len(stream.getvalue()) > 0
    lines = stream.getvalue().splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [0, 1, 2]
    assert Caption.model_validate_json(lines[1]) == caption_record(1, caption="ein Hund bellt – töne ♪\nneue Zeile")
    sink.close()
    assert not stream.closed


@pytest.mark.parametrize(
    ("output_format", "stream", "is_json"),
    [
        ("auto", io.StringIO, True),
        ("auto", _Terminal, False),
        ("json", _Terminal, True),
        ("text", io.StringIO, False),
    ],
)
def test_format(output_format: str, stream: type[io.StringIO], is_json: bool) -> None:
    written = stream()
    StdoutSink(output_format, stream=written).publish(caption_record())  # type: ignore[arg-type]
    assert written.getvalue().startswith("{") == is_json
    assert written.getvalue().count("\n") == 1


def test_text() -> None:
    stream = io.StringIO()
    sink = StdoutSink("text", stream=stream)
    for record in (caption_record(start_s=2.0, end_s=12.0), caption_record(**_LIVE), _EVENT):
        sink.publish(record)
    assert stream.getvalue().splitlines() == [
        "garden.wav      2.0 s -   12.0 s  a dog barks twice while rain falls",
        "10:00:00-10:00:10 UTC  garden.wav  a dog barks twice while rain falls",
        "garden.wav      0.0 s -   12.0 s  [update] rain falls",
    ]


class _Broken(io.StringIO):
    def __init__(self, error: OSError) -> None:
        super().__init__()
        self._failure = error

    def write(self, _text: str) -> int:
        raise self._failure


def test_a_reader_that_has_gone_is_told_apart() -> None:
    with pytest.raises(BrokenPipeError):
        StdoutSink("json", stream=_Broken(BrokenPipeError(32, "Broken pipe"))).publish(caption_record())


def test_a_full_disk_is_no_fault_of_the_program() -> None:
    with pytest.raises(DeviceError, match="No space left"):
        StdoutSink("json", stream=_Broken(OSError(28, "No space left on device"))).publish(caption_record())


def test_no_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(DeviceError, match="closed"):
        StdoutSink.open(StdoutSettings())


def test_the_factory_writes_where_standard_output_goes(capfd: pytest.CaptureFixture[str]) -> None:
    StdoutSink.open(StdoutSettings.model_validate({"format": "json"})).publish(caption_record(5))
    assert json.loads(capfd.readouterr().out)["seq"] == 5
    assert os.fstat(1)
