"""Records on standard output: JSON Lines for programs, sentences for a person."""

from __future__ import annotations

import os
import select
import sys
from typing import Literal, Protocol, TextIO

from edge_aac.errors import DeviceError
from edge_aac.records import Caption, Event, Record

Format = Literal["auto", "json", "text"]


class TextStream(Protocol):
    """What the sink needs of a stream."""

    def isatty(self) -> bool: ...
    def write(self, text: str, /) -> object: ...
    def flush(self) -> None: ...


class _Descriptor:
    """Text straight to a file descriptor.

    Python's own stdout holds a lock and a buffer: Python 3.10 aborts at its end when a thread is stuck in a write to a
    full pipe, and text that a full disk refused is tried again there and changes the exit code to 120.
    """

    def __init__(self, number: int) -> None:
        self._number = number

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def write(self, text: str, /) -> None:
        left = memoryview(text.encode("utf-8", "replace"))
        while left:
            try:
                left = left[os.write(self._number, left) :]
            except BlockingIOError:
                select.select([], [self._number], [])

    def flush(self) -> None:
        """Nothing is ever held back."""


class StdoutSink:
    """Writes each record as a line and flushes it.

    Args:
        output_format: "auto" is text on a terminal, JSON Lines elsewhere.
        events: write event records too; captions alone are what most readers want.
        stream: where to; standard output by default.

    Raises:
        DeviceError: standard output is closed.
    """

    def __init__(
        self, output_format: Format = "auto", *, events: bool = False, stream: TextStream | None = None
    ) -> None:
        self._stream = stream or _standard_output()
        self._events = events
        as_text = output_format == "text" or (output_format == "auto" and self._stream.isatty())
        self._line = text_line if as_text else _json_line

    def publish(self, record: Record) -> None:
        """See :class:`edge_aac.sinks.sink.Sink`; raises BrokenPipeError when the reader has gone."""
        if isinstance(record, Event) and not self._events:
            return
        try:
            self._stream.write(self._line(record) + "\n")
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise DeviceError(
                f"standard output cannot be written ({error.strerror}): make room, or send it elsewhere"
            ) from error

    def close(self) -> None:
        """See :class:`edge_aac.sinks.sink.Sink`; the stream itself stays open."""
        self._stream.flush()


def _standard_output() -> TextStream:
    standard: TextIO | None = sys.stdout
    if standard is None:
        raise DeviceError("standard output is closed: leave it open, or send it to a file")
    try:
        number = standard.fileno()
    except OSError:  # replaced by something that is no file, as a test runner does
        return standard
    standard.flush()
    return _Descriptor(number)


def open_stdout(output_format: Format = "auto", events: bool = False) -> StdoutSink:
    """The sink that every verb has."""
    return StdoutSink(output_format, events=events)


def text_line(record: Record) -> str:
    """A record for a person: when, and what is heard."""
    when = _when(record)
    if isinstance(record, Event):
        return f"{when}  [{record.state}] {record.caption}"
    return f"{when}  {record.caption}"


def _json_line(record: Record) -> str:
    return record.to_json()


def _when(record: Caption | Event) -> str:
    if record.start is not None and record.end is not None:
        # The date is the reader's own day; the clock time is what a glance needs.
        return f"{record.start[11:19]}-{record.end[11:19]} UTC"
    return f"{record.source}  {record.start_s:7.1f} s -{record.end_s:7.1f} s"
