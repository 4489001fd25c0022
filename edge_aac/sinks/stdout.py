"""Records on standard output: JSON Lines for programs, sentences for a person."""

from __future__ import annotations

import sys
from typing import Literal, TextIO

from edge_aac.errors import DeviceError
from edge_aac.records import Caption, Event, Record

Format = Literal["auto", "json", "text"]


class StdoutSink:
    """Writes each record as a line and flushes it.

    Args:
        output_format: "auto" is text on a terminal, JSON Lines elsewhere.
        events: write event records too; captions alone are what most readers want.
        stream: where to; standard output by default.
    """

    def __init__(self, output_format: Format = "auto", *, events: bool = False, stream: TextIO | None = None) -> None:
        standard: TextIO | None = sys.stdout
        if stream is None and standard is None:
            raise DeviceError("standard output is closed: leave it open, or send it to a file")
        self._stream = stream or sys.stdout
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
